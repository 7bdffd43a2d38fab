/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a VM's control group is made, limits what it says, and leaves nothing behind.
 * Method: the real hierarchies of this machine, in a parent group of the test's own; processes that
 * go over their limits must die or be refused alone. Where none is writable: skipped, with why.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/util.h"
#include "host/cgroup.h"
#include "tap_main.h"

static struct cgroup_host host;
static char name[40];

static void setup(void)
{
    snprintf(name, sizeof(name), "test-%d", getpid());
    ck_assert_int_eq(cgroup_host_open(&host, name, NULL), 0);
}

static void teardown(void)
{
    cgroup_host_close(&host, name);
}

static bool lacks(enum cgroup_controller controller)
{
    if (host.controllers & 1u << controller)
        return false;
    printf("# skipped: %s\n", host.lacking);
    return true;
}

/* Runs body in a child that is in group `id`; returns its wait status. */
static int run_inside(const char *id, int (*body)(void))
{
    int fds[CGROUP_HIERARCHIES_MAX], status;
    unsigned count = 0;
    pid_t pid;

    ck_assert_int_eq(cgroup_group_open(&host, id, fds, &count, NULL), 0);
    ck_assert_uint_eq(count, host.hierarchy_count);
    pid = fork();
    if (pid == 0) {
        for (unsigned i = 0; i < count; i++) {
            if (write(fds[i], "0", 1) != 1)
                _exit(77);
        }
        _exit(body());
    }
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(!(WIFEXITED(status) && WEXITSTATUS(status) == 77), "joining failed");
    return status;
}

static void group_remove(const char *id)
{
    int r = -EBUSY;

    for (unsigned i = 0; r == -EBUSY && i < 30000; i++) {
        r = cgroup_group_remove(&host, id);
        usleep(1000);
    }
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(cgroup_group_remove(&host, id), 0); /* gone is fine too */
}

static int fork_body(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid < 0 && errno == EAGAIN ? 42 : 0;
}

START_TEST(pids_are_limited)
{
    const struct cgroup_limits tight = { .pids = 1 }, wide = { .pids = 10 };

    if (lacks(CGROUP_PIDS))
        return;
    ck_assert_int_eq(cgroup_group_create(&host, "tight", &tight, NULL), 0);
    ck_assert_int_eq(cgroup_group_create(&host, "wide", &wide, NULL), 0);
    ck_assert_int_eq(WEXITSTATUS(run_inside("tight", fork_body)), 42);
    ck_assert_int_eq(run_inside("wide", fork_body), 0);
    group_remove("tight");
    group_remove("wide");
}
END_TEST

static int memory_body(void)
{
    const size_t bytes = MIB(64);
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return 1;
    memset(memory, 1, bytes);
    return 0;
}

START_TEST(memory_is_limited)
{
    const struct cgroup_limits tight = { .memory_bytes = MIB(16) }, wide = { 0 };
    int status;

    if (lacks(CGROUP_MEMORY))
        return;
    ck_assert_int_eq(cgroup_group_create(&host, "tight", &tight, NULL), 0);
    ck_assert_int_eq(cgroup_group_create(&host, "wide", &wide, NULL), 0);
    status = run_inside("tight", memory_body);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert(cgroup_group_oom_killed(&host, "tight"));
    ck_assert_int_eq(run_inside("wide", memory_body), 0);
    ck_assert(!cgroup_group_oom_killed(&host, "wide"));
    group_remove("tight");
    group_remove("wide");
}
END_TEST

static int cpu_body(void)
{
    const uint64_t start = now_ns();
    struct timespec used;

    while (now_ns() - start < 600 * NS_PER_MS)
        ;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int)((used.tv_sec * 1000 + used.tv_nsec / 1000000) / 6); /* percent of 600 ms */
}

START_TEST(cpu_is_limited)
{
    const struct cgroup_limits tight = { .cpu_percent = 10, .cpu_weight = 50 };
    int status;

    if (lacks(CGROUP_CPU))
        return;
    ck_assert_int_eq(cgroup_group_create(&host, "slow", &tight, NULL), 0);
    status = run_inside("slow", cpu_body);
    ck_assert(WIFEXITED(status));
    ck_assert_int_lt(WEXITSTATUS(status), 35);
    group_remove("slow");
}
END_TEST

START_TEST(join_by_pid)
{
    const struct cgroup_limits limits = { 0 };
    pid_t pid;

    ck_assert_int_eq(cgroup_group_create(&host, "joined", &limits, NULL), 0);
    pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    ck_assert_int_eq(cgroup_group_join(&host, "joined", pid, NULL), 0);
    if (host.hierarchy_count > 0)
        ck_assert_int_eq(cgroup_group_remove(&host, "joined"), -EBUSY);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    if (host.hierarchy_count > 0)
        ck_assert_int_eq(cgroup_group_join(&host, "joined", pid, NULL), -ESRCH);
    group_remove("joined");
}
END_TEST

START_TEST(bad_names_and_leftovers)
{
    const struct cgroup_limits limits = { 0 };
    struct cgroup_host again;

    ck_assert_int_eq(cgroup_group_create(&host, "../up", &limits, NULL), -EINVAL);
    ck_assert_int_eq(cgroup_group_create(&host, "", &limits, NULL), -EINVAL);
    ck_assert_int_eq(cgroup_host_open(&again, "a/b", NULL), -EINVAL);
    if (host.hierarchy_count == 0)
        return;
    ck_assert_int_eq(cgroup_group_create(&host, "left-over", &limits, NULL), 0);
    ck_assert_int_eq(cgroup_group_create(&host, "left-over", &limits, NULL), -EEXIST);
    /* What a killed poold left is swept by the next one of the same name. */
    ck_assert_int_eq(cgroup_host_open(&again, name, NULL), 0);
    ck_assert_int_eq(cgroup_group_create(&again, "left-over", &limits, NULL), 0);
    cgroup_host_close(&again, name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold_cgroup");
    TCase *tests = tap_case(suite, "cgroup");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, pids_are_limited);
    tcase_add_test(tests, memory_is_limited);
    tcase_add_test(tests, cpu_is_limited);
    tcase_add_test(tests, join_by_pid);
    tcase_add_test(tests, bad_names_and_leftovers);
    return tap_main(suite);
}
