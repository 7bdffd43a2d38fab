/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: inside the sandbox there is nothing to reach, and the status says what is true.
 * Method: enter it in a forked process, as root and as an unprivileged user, with all layers and
 * with Landlock alone; try there what must fail, and look at the process from outside in /proc.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/util.h"
#include "control/control.h"
#include "sandbox_jail.h"
#include "tap_main.h"

static void capabilities_expect_none(pid_t pid)
{
    static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };

    for (unsigned i = 0; i < ARRAY_LEN(sets); i++)
        status_expect(pid, sets[i], "0000000000000000");
    status_expect(pid, "NoNewPrivs", "1");
}

/* What waits outside of the namespace keeps nothing. */
static void outside_expect_stripped(pid_t pid)
{
    char path[64];

    status_await(pid, "Seccomp", "2"); /* it is stripped beside what it waits for */
    capabilities_expect_none(pid);
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    ck_assert_uint_eq(entries_count(path), 0);
}

static void namespaces_expect_own(pid_t pid)
{
    static const char *const kinds[] = { "mnt", "pid", "net", "ipc", "uts", "cgroup" };

    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        char path[64], own[64] = "", inner[64] = "";

        snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
        ck_assert_int_gt(readlink(path, own, sizeof(own) - 1), 0);
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i]);
        ck_assert_int_gt(readlink(path, inner, sizeof(inner) - 1), 0);
        ck_assert_msg(strcmp(own, inner) != 0, "the %s namespace is not its own", kinds[i]);
    }
}

static void root_expect_empty(pid_t pid)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/root", pid);
    ck_assert_uint_eq(entries_count(path), 0);
    snprintf(path, sizeof(path), "/proc/%d/root/new", pid);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_lt(fd, 0);
    ck_assert_int_eq(errno, EROFS); /* not even root outside may */
    snprintf(path, sizeof(path), "/proc/%d/mounts", pid);
    FILE *mounts = fopen(path, "re");
    char line[256];

    ck_assert_ptr_nonnull(mounts);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), mounts));
    ck_assert_ptr_null(fgets(line, sizeof(line), mounts)); /* one mount in all */
    fclose(mounts);
}

static void reach_expect_none(const struct report *report)
{
    ck_assert_int_ne(report->open_errno, 0);
    ck_assert_int_ne(report->create_errno, 0);
    ck_assert_int_ne(report->outside_errno, 0);
    ck_assert_int_ne(report->tcp_errno, 0);
    ck_assert_int_ne(report->abstract_errno, 0);
    ck_assert_int_ne(report->kill_errno, 0);
    ck_assert_int_eq(report->dumpable, 0);
    ck_assert_uint_eq(report->core.rlim_max, 0);
}

static void landlock_expect(const struct report *report)
{
    uint32_t abi = report->status.landlock_abi;

    if (abi == 0) {
        ck_assert_uint_eq(report->status.layers & CONTROL_LAYER_LANDLOCK, 0);
        ck_assert_ptr_nonnull(strstr(report->status.lacking, "Landlock"));
        return;
    }
    ck_assert_uint_ne(report->status.layers & CONTROL_LAYER_LANDLOCK, 0);
    ck_assert_int_eq(report->root_errno, EACCES);
    if (abi >= 4)
        ck_assert_int_eq(report->tcp_errno, EACCES);
}

START_TEST(all_layers_as_root)
{
    const struct jail_config config = {
        .layers = SANDBOX_CONFIG_ALL, .as_vm = true, .work = true, .uid = VM_UID
    };
    struct jail jail;
    pid_t pid;

    if (geteuid() != 0) {
        printf("# skipped: needs root\n");
        return;
    }
    jail_start(&jail, &config);
    pid = jail_inner_pid(&jail);
    ck_assert_uint_eq(jail.report->status.layers & ~CONTROL_LAYER_LANDLOCK,
                      CONTROL_LAYER_NAMESPACES | CONTROL_LAYER_CAPABILITIES | CONTROL_LAYER_UID);
    ck_assert_int_eq(jail.report->pid, 1);
    ck_assert_int_eq(jail.report->ppid, 0);
    ck_assert_int_eq(jail.report->worker_pid, 1);
    ck_assert(jail.report->status.rooted);
    reach_expect_none(jail.report);
    landlock_expect(jail.report);
    if (jail.report->status.landlock_abi >= 1)
        ck_assert_int_eq(jail.report->socket_errno, EACCES); /* not even in its own directory */
    ck_assert_uint_eq(jail.report->file.rlim_max, 0);
    capabilities_expect_none(pid);
    namespaces_expect_own(pid);
    status_expect(pid, "Uid", "100007\t100007\t100007\t100007");
    status_expect(pid, "Gid", "100007\t100007\t100007\t100007");
    status_expect(pid, "Groups", "");
    outside_expect_stripped(jail.outer);
    status_expect(jail.outer, "Uid", "100007\t100007\t100007\t100007");
    status_await(pid, "Threads", "1"); /* joined, it may be there for a moment more */
    jail_end(&jail);
}
END_TEST

START_TEST(template_as_root)
{
    const struct jail_config config = { .layers = SANDBOX_CONFIG_ALL };
    struct jail jail;
    pid_t pid;

    if (geteuid() != 0) {
        printf("# skipped: needs root\n");
        return;
    }
    jail_start(&jail, &config);
    pid = jail_inner_pid(&jail);
    reach_expect_none(jail.report);
    landlock_expect(jail.report);
    namespaces_expect_own(pid);
    root_expect_empty(pid);
    outside_expect_stripped(jail.outer);
    ck_assert_int_ne(jail.report->socket_errno, 0);
    status_expect(pid, "CapBnd", "0000000000000000");
    status_expect(pid, "CapPrm", "00000000000400c4"); /* SYS_CHROOT, SETUID, SETGID, DAC_READ */
    status_expect(pid, "NoNewPrivs", "1");
    jail_end(&jail);
}
END_TEST

START_TEST(all_layers_as_user)
{
    const struct jail_config config = { .layers = SANDBOX_CONFIG_ALL,
                                        .as_nobody = geteuid() == 0,
                                        .as_vm = true,
                                        .uid = SANDBOX_KEEP_ID };
    struct jail jail;
    pid_t pid;

    jail_start(&jail, &config);
    pid = jail_inner_pid(&jail);
    reach_expect_none(jail.report);
    landlock_expect(jail.report);
    if (jail.report->status.landlock_abi >= 1)
        ck_assert_int_eq(jail.report->socket_errno, EACCES);
    ck_assert_uint_eq(jail.report->status.layers & CONTROL_LAYER_UID, 0);
    status_expect(pid, "CapEff", "0000000000000000");
    status_expect(pid, "CapPrm", "0000000000000000");
    status_expect(pid, "NoNewPrivs", "1");
    ck_assert(jail.report->status.rooted ==
              !!(jail.report->status.layers & CONTROL_LAYER_NAMESPACES));
    if (jail.report->status.layers & CONTROL_LAYER_NAMESPACES) {
        capabilities_expect_none(pid);
        ck_assert_int_eq(jail.report->pid, 1);
    } else {
        /* Users may be denied namespaces; then it is said. */
        ck_assert_ptr_nonnull(strstr(jail.report->status.lacking, "namespaces"));
    }
    jail_end(&jail);
}
END_TEST

/* Where users may make no namespaces, they may not change roots either: a VM runs all the same, and
 * knows that names lead out of it. */
START_TEST(user_without_namespaces)
{
    struct jail_config config = { .layers = SANDBOX_CONFIG_ALL,
                                  .as_nobody = geteuid() == 0,
                                  .as_vm = true,
                                  .uid = SANDBOX_KEEP_ID };
    struct jail jail;

    config.layers.namespaces = false;
    jail_start(&jail, &config);
    ck_assert(!jail.report->status.rooted);
    ck_assert_uint_eq(jail.report->status.layers & CONTROL_LAYER_NAMESPACES, 0);
    landlock_expect(jail.report);
    ck_assert_int_eq(jail.report->dumpable, 0);
    status_expect(jail.outer, "CapPrm", "0000000000000000");
    jail_end(&jail);
}
END_TEST

/* Landlock has to hold without the others: nothing else keeps these attempts from succeeding. */
START_TEST(landlock_alone)
{
    struct jail_config config = { .layers = { .landlock = true } };
    struct jail jail;
    uint32_t abi;

    jail_start(&jail, &config);
    abi = jail.report->status.landlock_abi;
    landlock_expect(jail.report);
    ck_assert_uint_eq(jail.report->status.layers & CONTROL_LAYER_NAMESPACES, 0);
    if (abi >= 1) {
        ck_assert_int_eq(jail.report->open_errno, EACCES);
        ck_assert_int_eq(jail.report->create_errno, EACCES);
    }
    if (abi >= 6) {
        ck_assert_int_eq(jail.report->abstract_errno, EPERM);
        ck_assert_int_eq(jail.report->kill_errno, EPERM);
    }
    jail_end(&jail);
}
END_TEST

/* The attempts do succeed where nothing forbids them: the tests above can fail. */
START_TEST(no_layers)
{
    struct jail_config config = { .layers = { 0 } };
    struct jail jail;

    jail_start(&jail, &config);
    ck_assert_uint_eq(jail.report->status.layers, 0);
    ck_assert_int_eq(jail.report->open_errno, 0);
    ck_assert_int_eq(jail.report->root_errno, 0);
    ck_assert_int_eq(jail.report->abstract_errno, 0);
    ck_assert_int_eq(jail.report->kill_errno, 0);
    ck_assert_int_eq(jail.report->tcp_errno, ECONNREFUSED);
    unlink("/vsock");
    unlink("/new");
    jail_end(&jail);
}
END_TEST

static const struct jail_config outers[] = {
    { .layers = SANDBOX_CONFIG_ALL },                               /* of a template */
    { .layers = SANDBOX_CONFIG_ALL, .as_vm = true, .uid = VM_UID }, /* of a boot VM */
    { .layers = SANDBOX_CONFIG_ALL, .as_nobody = true },            /* without root */
};

/* Killing what poold knows (the outer process) kills the one that runs the VM, and so all clones: the
 * pipe that it holds gets its end of file. Though it is stopped, and hears of nothing. */
START_TEST(death_of_the_outer_process)
{
    struct pollfd done;
    struct jail jail;
    char byte;

    if (geteuid() != 0) {
        printf("# skipped: needs root\n");
        return;
    }
    jail_start(&jail, &outers[_i]);
    if (jail_inner_pid(&jail) != jail.outer) {
        status_await(jail.outer, "Seccomp", "2");
        ck_assert_int_eq(kill(jail_inner_pid(&jail), SIGSTOP), 0);
    }
    ck_assert_int_eq(kill(jail.outer, SIGKILL), 0);
    done = (struct pollfd){ .fd = jail.done_fd, .events = POLLIN };
    ck_assert_int_eq(poll(&done, 1, TAP_TIMEOUT_S * 1000), 1);
    ck_assert_int_eq(read(jail.done_fd, &byte, 1), 0);
    ck_assert_int_eq(waitpid(jail.outer, NULL, 0), jail.outer);
    close(jail.done_fd);
    close(jail.release_fd);
    close(jail.abstract_fd);
    if (jail.dir[0])
        ck_assert_int_eq(rmdir(jail.dir), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox_layers");
    TCase *tests = tap_case(suite, "layers");

    tcase_add_test(tests, all_layers_as_root);
    tcase_add_test(tests, template_as_root);
    tcase_add_test(tests, all_layers_as_user);
    tcase_add_test(tests, user_without_namespaces);
    tcase_add_test(tests, landlock_alone);
    tcase_add_test(tests, no_layers);
    tcase_add_loop_test(tests, death_of_the_outer_process, 0, ARRAY_LEN(outers));
    return tap_main(suite);
}
