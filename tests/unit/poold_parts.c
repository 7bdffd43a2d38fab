/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what poold reads from outside (JSON, names, options, policy) is taken or refused as
 * documented, back-off waits as long as it says, and a process's memory is told apart from what it
 * shares. Method: tables of inputs and what must come of them; a child that touches memory. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/process.h"
#include "config.h"
#include "declare.h"
#include "http/access.h"
#include "http/json_keys.h"
#include "pool/metrics.h"
#include "tap_main.h"
#include "vms/pool_keys.h"

struct sample {
    char text[8], path[8], name[8];
    uint32_t count;
    uint64_t size;
    bool flag;
};

static const struct json_key keys[] = {
    JSON_TEXT_KEY(struct sample, text, "text", JSON_KEY_TEXT, false, 1),
    JSON_TEXT_KEY(struct sample, path, "path", JSON_KEY_PATH, false, 1),
    JSON_TEXT_KEY(struct sample, name, "name", JSON_KEY_NAME, true, 1),
    JSON_NUMBER_KEY(struct sample, count, "count", JSON_KEY_COUNT, false, 1, 9),
    JSON_NUMBER_KEY(struct sample, size, "size", JSON_KEY_SIZE, false, 1024, 1 << 20),
    JSON_NUMBER_KEY(struct sample, flag, "flag", JSON_KEY_BOOL, false, 0, 0),
};

static const struct {
    const char *json;
    const char *says; /* NULL: taken */
} objects[] = {
    { "{\"name\":\"a\"}", NULL },
    { "{\"name\":\"a\",\"text\":\"1234567\",\"count\":9,\"size\":\"1M\",\"flag\":true}", NULL },
    { "{\"name\":\"a\",\"size\":1024,\"path\":\"/x\"}", NULL },
    { "{\"name\":\"a\",\"count\":null}", NULL },
    { "{}", "'name' is missing" },
    { "{\"name\":null}", "'name' is missing" },
    { "{\"name\":\"A\"}", "'name' must be" },
    { "{\"name\":\"a\",\"text\":\"12345678\"}", "'text' must be 1 to 7 bytes" },
    { "{\"name\":\"a\",\"text\":\"\"}", "'text' must be 1 to 7 bytes" },
    { "{\"name\":\"a\",\"text\":\"a\\tb\"}", "control characters" },
    { "{\"name\":\"a\",\"text\":7}", "'text' must be a string" },
    { "{\"name\":\"a\",\"path\":\"x\"}", "absolute" },
    { "{\"name\":\"a\",\"count\":0}", "from 1 to 9" },
    { "{\"name\":\"a\",\"count\":10}", "from 1 to 9" },
    { "{\"name\":\"a\",\"count\":-9223372036854775807}", "from 1 to 9" },
    { "{\"name\":\"a\",\"count\":1.5}", "an integer" },
    { "{\"name\":\"a\",\"count\":\"1\"}", "an integer" },
    { "{\"name\":\"a\",\"size\":\"1Z\"}", "a size like" },
    { "{\"name\":\"a\",\"size\":\"99999999999999999999\"}", "a size like" },
    { "{\"name\":\"a\",\"size\":\"2M\"}", "from 1K to 1M" },
    { "{\"name\":\"a\",\"size\":-1}", "from 1K to 1M" },
    { "{\"name\":\"a\",\"flag\":1}", "true or false" },
    { "{\"name\":\"a\",\"other\":1}", "unknown key 'other'" },
    { "[]", "a JSON object" },
    { "7", "a JSON object" },
};

START_TEST(json_objects_are_checked_by_their_table)
{
    for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
        json_t *object = json_loads(objects[i].json, JSON_DECODE_ANY, NULL);
        struct sample sample = { .count = 5 };
        struct err err = { 0 };
        int rc = json_keys_read(object, keys, ARRAY_LEN(keys), &sample, &err);

        ck_assert_ptr_nonnull(object);
        json_decref(object);
        if (objects[i].says)
            ck_assert_msg(rc < 0 && strstr(err.msg, objects[i].says), "%s: %s", objects[i].json,
                          err.msg);
        else
            ck_assert_msg(rc == 0, "%s: %s", objects[i].json, err.msg);
        ck_assert(rc < 0 || sample.count == 5 || sample.count == 9);
    }
}
END_TEST

START_TEST(pool_names)
{
    static const char *const good[] = { "a", "0", "a-b_c.d", "default" };
    static const char *const bad[] = { "",   "-a",  ".a",       "_a",  "A",  "a/b",
                                       "..", "a b", "\xc3\xa4", "a\n", "a:b" };
    char longest[65];

    for (unsigned i = 0; i < ARRAY_LEN(good); i++)
        ck_assert_msg(pool_name_valid(good[i]), "%s", good[i]);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!pool_name_valid(bad[i]), "%s", bad[i]);
    memset(longest, 'a', 64);
    longest[64] = '\0';
    ck_assert(!pool_name_valid(longest));
    ck_assert(pool_name_valid(longest + 1));
}
END_TEST

START_TEST(back_off_doubles_up_to_its_end)
{
    struct backoff b = { 0 };
    uint64_t now = 1000, expected = BACKOFF_FIRST_NS;

    ck_assert(!backoff_active(&b, now));
    for (unsigned i = 0; i < 100; i++) {
        backoff_failure(&b, now);
        ck_assert(backoff_active(&b, now + expected - 1));
        ck_assert(!backoff_active(&b, now + expected));
        expected = MIN_OF(expected * 2, BACKOFF_MAX_NS);
    }
    backoff_success(&b);
    ck_assert(!backoff_active(&b, now));
    backoff_failure(&b, now);
    ck_assert_uint_eq(b.until_ns, now + BACKOFF_FIRST_NS);
}
END_TEST

static const struct {
    const char *option, *value, *says; /* says NULL: taken */
} options[] = {
    { "--run-dir", "/run/x", NULL },
    { "--awake-timeout-ms", "1", NULL },
    { "--awake-timeout-ms", "0", "from 1" },
    { "--awake-timeout-ms", "-1", "from 1" },
    { "--awake-timeout-ms", "1x", "from 1" },
    { "--awake-timeout-ms", "99999999999999999999", "from 1" },
    { "--awake-timeout-ms", "", "from 1" },
    { "--uid-base", "4294967295", "from 0" },
    { "--uid-count", "1000", "from 1024" },
    { "--uid-locks", "/run/locks", NULL },
    { "--state-dir", "/a\xff", "can't be shown as text: /a" },
    { "--kernel", "/a\u202ez", "can't be shown as text" },
    { "--log-level", "loud", "error, warn" },
    { "--run-dir", "", "empty or too long" },
    { "--run-dir", "/a\"b", "a quote" },
    { "--nonsense", "1", "unknown option '--nonsense'" },
    { "--help=1", NULL, "takes no value" },
    { "--socket", NULL, "needs a value" },
    { "positional", NULL, "unknown option" },
};

START_TEST(options_are_checked_by_their_table)
{
    struct config *config = malloc(sizeof *config);

    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        char name[] = "poold", option[64], value[64];
        char *argv[] = { name, option, options[i].value ? value : NULL, NULL };
        struct declarations declarations;
        struct err err = { 0 };

        snprintf(option, sizeof option, "%s", options[i].option);
        snprintf(value, sizeof value, "%s", options[i].value ? options[i].value : "");
        int rc = config_load(config, &declarations, options[i].value ? 3 : 2, argv, &err);

        declarations_fini(&declarations);
        if (options[i].says)
            ck_assert_msg(rc < 0 && strstr(err.msg, options[i].says), "%s %s: %s", option, value,
                          err.msg);
        else
            ck_assert_msg(rc == 0, "%s %s: %s", option, value, err.msg);
    }
    free(config);
}
END_TEST

static const struct {
    const char *text, *says; /* says NULL: taken */
} policies[] = {
    { "{\"rules\":[]}", NULL },
    { "{\"rules\":[{\"uid\":7,\"rights\":[\"acquire\"],\"pools\":[\"a\"]}]}", NULL },
    { "{\"rules\":[{\"gid\":7,\"rights\":[\"admin\",\"metrics\"]}]}", NULL },
    { "{}", "it must be" },
    { "{\"rules\":[],\"more\":1}", "it must be" },
    { "{\"rules\":[{\"rights\":[]}]}", "either 'uid' or 'gid'" },
    { "{\"rules\":[{\"uid\":1,\"gid\":1,\"rights\":[]}]}", "either 'uid' or 'gid'" },
    { "{\"rules\":[{\"uid\":-1,\"rights\":[]}]}", "either 'uid' or 'gid'" },
    { "{\"rules\":[{\"uid\":1}]}", "'rights' must be a list" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[\"fly\"]}]}", "'rights' must be of" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[],\"pools\":[]}]}", "'pools' must be" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[],\"pools\":[\"/\"]}]}", "no pool's name" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[\"admin\"],\"links\":[\"br0\",\"eth0\"]}]}", NULL },
    { "{\"rules\":[{\"uid\":1,\"rights\":[],\"links\":[]}]}", "'links' must be" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[],\"links\":\"br0\"}]}", "'links' must be" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[],\"links\":[\"a/b\"]}]}", "no link's name" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[],\"links\":[\"sixteencharacter\"]}]}",
      "no link's name" },
    { "{\"rules\":[{\"uid\":1,\"rights\":[],\"x\":1}]}", "nothing else" },
    { "{\"rules\":[7]}", "rule 1" },
    { "nonsense", "line 1" },
};

START_TEST(policies_are_checked)
{
    char path[] = "/tmp/poold-policy-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    close(fd);
    for (unsigned i = 0; i < ARRAY_LEN(policies); i++) {
        FILE *out = fopen(path, "we");
        struct access access;
        struct err err = { 0 };

        fputs(policies[i].text, out);
        fclose(out);
        int rc = access_init(&access, path, &err);
        if (policies[i].says)
            ck_assert_msg(rc < 0 && strstr(err.msg, policies[i].says), "%s: %s", policies[i].text,
                          err.msg);
        else
            ck_assert_msg(rc == 0 && access.policy != NULL, "%s: %s", policies[i].text, err.msg);
        access_fini(&access);
    }
    unlink(path);
}
END_TEST

/* Whoever can write it gives himself what it gives. */
START_TEST(a_policy_of_others_is_none)
{
    static const struct {
        uid_t owner;
        mode_t mode;
        const char *says; /* NULL: it is taken */
    } rows[] = {
        { 0, 0640, NULL },
        { 0, 0664, NULL },
        { 0, 0646, "everybody can write it" },
        { 54321, 0600, "it belongs to another user (54321)" },
    };
    char path[] = "/tmp/poold-policy-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_eq(write(fd, "{\"rules\":[]}", 12), 12);
    for (unsigned i = 0; i < ARRAY_LEN(rows) && geteuid() == 0; i++) {
        struct access_policy *policy;
        struct err err = { 0 };

        ck_assert_int_eq(fchown(fd, rows[i].owner, 0), 0);
        ck_assert_int_eq(fchmod(fd, rows[i].mode), 0);
        ck_assert_int_eq(access_policy_read(path, &policy, &err) == 0, !rows[i].says);
        ck_assert(!rows[i].says || strstr(err.msg, rows[i].says));
        access_policy_free(policy);
    }
    close(fd);
    unlink(path);
}
END_TEST

START_TEST(rules_limit_pools)
{
    char pools[1][64] = { "mine" };
    struct access_rule rule = { .pool_count = 1, .pools = pools };
    struct peer limited = { .rule = &rule }, free_peer = { 0 };

    ck_assert(access_pool_allowed(&limited, "mine"));
    ck_assert(!access_pool_allowed(&limited, "other"));
    ck_assert(access_pool_allowed(&free_peer, "other"));
}
END_TEST

START_TEST(histograms_count_every_value_once)
{
    struct histogram h = { 0 };
    uint64_t total = 0;

    for (uint64_t ns = 1; ns < 100 * NS_PER_S; ns *= 3)
        histogram_add(&h, ns);
    histogram_add(&h, 10000); /* a bound belongs to its own bucket */
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
        total += h.buckets[i];
    ck_assert_uint_eq(total, h.count);
    ck_assert_uint_eq(h.buckets[0], 10); /* 3^0 to 3^8, and the bound */
}
END_TEST

/* What poold wrote before its files left out what is not set, and what is the least of one. */
static const char *const records[] = {
    "{\"memory_bytes\":134217728,\"vcpus\":1,\"cpu_weight\":0,\"cpu_percent\":0,\"kernel\":\"/k\","
    "\"initrd\":\"\",\"cmdline\":\"\",\"warmup\":\"\",\"created\":\"2026-11-29T00:00:00Z\","
    "\"cold_boot_ms\":9000,\"snapshot_ms\":400,\"min\":2,\"max\":64,\"shells\":0,\"image\":\"\","
    "\"disk\":\"\",\"disk_read_only\":false,\"disk_bandwidth\":0,\"disk_iops\":0}",
    "{\"memory_bytes\":134217728,\"vcpus\":8,\"kernel\":\"/k\",\"initrd\":\"/i\",\"cmdline\":\"x\","
    "\"warmup\":\"true\",\"created\":\"\",\"cold_boot_ms\":0,\"snapshot_ms\":0,\"min\":0,\"max\":1,"
    "\"shells\":1,\"net\":\"tap\",\"net_vhost\":\"\",\"net_address\":\"10.86.0.0/16\","
    "\"net_bandwidth\":0,\"net_pps\":7,\"net_allow\":\"\",\"net_deny\":\"\","
    "\"net_any_source\":true,\"balloon\":true,\"draining\":true}",
};

START_TEST(what_is_kept_of_a_pool_is_read_again)
{
    struct pool_record *read = calloc(2, sizeof *read);
    json_t *old = json_loads(records[_i], 0, NULL), *written;
    struct err err = { 0 };

    ck_assert_msg(
        json_keys_read(old, pool_record_table.keys, pool_record_table.key_count, read, &err) == 0,
        "%s", err.msg);
    ck_assert_str_eq(read->body.spec.kernel, "/k");
    written = json_keys_write(&pool_record_table, read);
    ck_assert_msg(json_keys_read(written, pool_record_table.keys, pool_record_table.key_count,
                                 read + 1, &err) == 0,
                  "%s", err.msg);
    for (size_t i = 0; i < pool_record_table.key_count; i++) {
        const struct json_key *key = &pool_record_table.keys[i];
        const json_t *was = json_object_get(old, key->name);

        ck_assert_msg(json_key_same(key, read, read + 1), "%s", key->name);
        if (was && !json_key_empty(key, read))
            ck_assert_msg(json_equal(was, json_object_get(written, key->name)), "%s", key->name);
    }
    json_decref(old);
    json_decref(written);
    free(read);
}
END_TEST

/* Each key that can be asked for is kept, as memory is by its number of bytes. */
START_TEST(every_key_of_a_pool_is_kept)
{
    for (size_t i = 0; i < pool_key_count; i++) {
        const struct json_key *key = &pool_keys[i].key;
        bool kept = false;

        for (size_t k = 0; k < pool_record_table.key_count; k++)
            kept |= pool_record_table.keys[k].offset == key->offset;
        ck_assert_msg(kept, "%s", key->name);
        ck_assert_ptr_nonnull(pool_keys[i].help);
    }
}
END_TEST

#define TOUCHED_BYTES (8u << 20)
#define OTHERWISE 12345u

/* A child that maps memory with these flags, touches it when it reads a byte, and then tells. */
static _Noreturn void touch_when_told(int map_flags, int told, int tell)
{
    char byte;
    char *memory =
        mmap(NULL, TOUCHED_BYTES, PROT_READ | PROT_WRITE, map_flags | MAP_ANONYMOUS, -1, 0);

    for (; memory != MAP_FAILED && read(told, &byte, 1) == 1; (void)!write(tell, &byte, 1))
        memset(memory, 1, TOUCHED_BYTES);
    _exit(0);
}

/* How much more private memory it has then than this process, of which it is a copy. */
static int64_t private_surplus(int map_flags)
{
    int told[2], tell[2];
    char byte = 0;

    ck_assert_int_eq(pipe(told), 0);
    ck_assert_int_eq(pipe(tell), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(told[1]);
        touch_when_told(map_flags, told[0], tell[1]);
    }
    ck_assert_int_eq(write(told[1], &byte, 1), 1);
    ck_assert_int_eq(read(tell[0], &byte, 1), 1);
    uint64_t touched = process_private_bytes(pid, OTHERWISE);
    ck_assert_uint_ne(touched, OTHERWISE);
    uint64_t own = process_private_bytes(getpid(), OTHERWISE);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_uint_eq(process_private_bytes(pid, OTHERWISE), OTHERWISE);
    for (unsigned i = 0; i < 2; i++) {
        close(told[i]);
        close(tell[i]);
    }
    return (int64_t)touched - (int64_t)own;
}

START_TEST(private_memory_of_a_process)
{
    const int64_t slack = TOUCHED_BYTES / 2; /* what a child of this program has of its own */

    ck_assert_uint_eq(process_private_bytes(0, OTHERWISE), OTHERWISE);
    ck_assert_uint_eq(process_private_bytes(-1, OTHERWISE), OTHERWISE);
    ck_assert_int_gt(private_surplus(MAP_PRIVATE), slack);
    ck_assert_int_lt(private_surplus(MAP_SHARED), slack);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        json_objects_are_checked_by_their_table,
        pool_names,
        back_off_doubles_up_to_its_end,
        options_are_checked_by_their_table,
        policies_are_checked,
        a_policy_of_others_is_none,
        rules_limit_pools,
        histograms_count_every_value_once,
        every_key_of_a_pool_is_kept,
        private_memory_of_a_process,
    };
    Suite *suite = suite_create("poold-parts");
    TCase *tcase = tap_case(suite, "parts");

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, what_is_kept_of_a_pool_is_read_again, 0, ARRAY_LEN(records));
    return tap_main(suite);
}
