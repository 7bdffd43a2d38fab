/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: volt-vmm's command line means what its help says, and everything else is refused with a
 * sentence that names it.
 * Method: tables of command lines. */
#include "volt-vmm/options.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "tap_main.h"

#define WORDS_MAX 8

static struct options options;
static struct err err;

static int parse(const char *const *words)
{
    char *argv[WORDS_MAX + 1] = { NULL };
    int argc = 0;

    for (; argc < WORDS_MAX && words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    err = (struct err){ 0 };
    memset(&options, 0x55, sizeof options);
    return options_parse(&options, argc, argv, &err);
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

START_TEST(nothing_given_is_a_small_machine_with_all_layers)
{
    ck_assert_int_eq(PARSE(), 0);
    ck_assert_uint_eq(options.memory_bytes, MIB(128));
    ck_assert_uint_eq(options.vcpu_count, 1);
    ck_assert_ptr_null(options.kernel);
    ck_assert(!options.net.given && !options.console && !options.pit && !options.balloon);
    ck_assert_int_eq(options.control_fd, -1);
    ck_assert_int_eq(options.bell_fd, -1);
    ck_assert_int_eq(options.snapshot_fd, -1);
    ck_assert_int_eq(options.disk_fd, -1);
    ck_assert_int_eq(options.disk_delta_fd, -1);
    ck_assert_int_eq(options.net.fd, -1);
    ck_assert_uint_eq(options.uid, SANDBOX_KEEP_ID);
    ck_assert(options.sandbox.namespaces && options.sandbox.landlock &&
              options.sandbox.capabilities && options.sandbox.seccomp);
}
END_TEST

START_TEST(values_come_with_a_blank_or_an_equals_sign)
{
    ck_assert_int_eq(
        PARSE("--kernel", "a", "--memory=2G", "--vcpus", "8", "--cmdline=b=c", "--pit"), 0);
    ck_assert_str_eq(options.kernel, "a");
    ck_assert_uint_eq(options.memory_bytes, GIB(2));
    ck_assert_uint_eq(options.vcpu_count, 8);
    ck_assert_str_eq(options.cmdline, "b=c");
    ck_assert(options.pit);
}
END_TEST

START_TEST(the_last_one_counts)
{
    ck_assert_int_eq(PARSE("--kernel", "a", "--kernel", "b"), 0);
    ck_assert_str_eq(options.kernel, "b");
}
END_TEST

START_TEST(a_network_is_parsed_once_and_for_all)
{
    ck_assert_int_eq(PARSE("--net", "user,mtu=1400,address=10.0.0.2/24"), 0);
    ck_assert(options.net.given);
    ck_assert_uint_eq(options.net.mtu, 1400);
    ck_assert_ptr_nonnull(net_source_network(&options.net));
    ck_assert_int_eq(PARSE("--net", "user"), 0);
    ck_assert_ptr_null(net_source_network(&options.net));
}
END_TEST

START_TEST(layers_are_taken_away_one_by_one)
{
    ck_assert_int_eq(PARSE("--no-seccomp", "--no-landlock"), 0);
    ck_assert(options.sandbox.namespaces && options.sandbox.capabilities);
    ck_assert(!options.sandbox.seccomp && !options.sandbox.landlock);
}
END_TEST

static const struct {
    const char *words[5];
    const char *said;
} refusals[] = {
    { { "--kernel" }, "--kernel needs a value" },
    { { "--kernal", "a" }, "unknown argument '--kernal'" },
    { { "a" }, "unknown argument 'a'" },
    { { "" }, "unknown argument ''" },
    { { "--pit=yes" }, "--pit takes no value" },
    { { "--memory", "much" }, "--memory 'much': expected a size like 128M, from 32M to" },
    { { "--memory", "-1" }, "expected a size" },
    { { "--memory", "0" }, "from 32M to 64G" },
    { { "--memory", "31M" }, "from 32M to 64G" },
    { { "--memory", "65G" }, "from 32M to 64G" },
    { { "--disk-bandwidth", "0" }, "from 512 to 9223372036854775807" },
    { { "--disk-bandwidth", "16000000T" }, "from 512 to 9223372036854775807" },
    { { "--disk-iops", "0" }, "from 1 to 4294967295" },
    { { "--disk-iops", "4294967296" }, "from 1 to 4294967295" },
    { { "--oom-score-adj", "1001" }, "from 0 to 1000" },
    { { "--net", "user,mtu=67" }, "68 to 65535" },
    { { "--net", "user,mtu=65536" }, "68 to 65535" },
    { { "--net", "user,pps=0" }, "from 1 to 4294967295" },
    { { "--net", "user,pps=4294967296" }, "from 1 to 4294967295" },
    { { "--net", "user,bandwidth=0" }, "from 1 to 9223372036854775807" },
    { { "--net", "user,bandwidth=16000000T" }, "from 1 to 9223372036854775807" },
    { { "--net", "user,address=10.0.0.2/33" }, "an IPv4 address with its prefix" },
    { { "--vcpus", "0" }, "expected a number from 1 to 8" },
    { { "--vcpus", "9" }, "expected a number from 1 to 8" },
    { { "--vcpus", "1x" }, "expected a number" },
    { { "--vcpus", "4294967297" }, "expected a number" },
    { { "--vcpus", " 1" }, "expected a number" },
    { { "--control-fd", "99999" }, "--control-fd 99999: no such file descriptor" },
    { { "--control-fd", "-1" }, "expected a number" },
    { { "--cgroup-fds", "1" }, "with --cgroup-fd" },
    { { "--cgroup-fd", "0", "--cgroup-fds", "9" }, "from 0 to 8" },
    { { "--net", "bridge=a" }, "--net: 'bridge'" },
    { { "--net", "" }, "--net: ''" },
    { { "--no-secomp" }, "unknown argument '--no-secomp'" },
};

START_TEST(anything_else_is_refused)
{
    ck_assert_int_eq(parse(refusals[_i].words), -EINVAL);
    ck_assert_msg(strstr(err.msg, refusals[_i].said) != NULL, "expected '%s': %s",
                  refusals[_i].said, err.msg);
    ck_assert_uint_eq(options.vcpu_count, 0x55555555u); /* untouched */
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vmm_options");
    TCase *tc = tap_case(s, "vmm_options");

    tcase_add_test(tc, nothing_given_is_a_small_machine_with_all_layers);
    tcase_add_test(tc, values_come_with_a_blank_or_an_equals_sign);
    tcase_add_test(tc, the_last_one_counts);
    tcase_add_test(tc, a_network_is_parsed_once_and_for_all);
    tcase_add_test(tc, layers_are_taken_away_one_by_one);
    tcase_add_loop_test(tc, anything_else_is_refused, 0, ARRAY_LEN(refusals));
    return s;
}

int main(void)
{
    return tap_main(suite());
}
