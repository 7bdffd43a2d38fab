/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a VM's control group is made, limits what it says, and leaves nothing behind.
 * Method: the real hierarchies of this machine, in a parent group of the test's own; processes that
 * go over their limits must die or be refused alone. Where none is writable: skipped, with why.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "host/cgroup.h"
#include "host/cgroup_own.h"
#include "tap_main.h"

static struct cgroup_host host;
static char name[40];

static void setup(void)
{
    snprintf(name, sizeof(name), "test-%d", getpid());
    ck_assert_int_eq(cgroup_host_open(&host, &(struct cgroup_owner){ name, 0, false }, NULL), 0);
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
    ck_assert_int_eq(cgroup_group_oom(&host, "tight"), CGROUP_OOM_OWN);
    ck_assert_int_eq(run_inside("wide", memory_body), 0);
    ck_assert_int_eq(cgroup_group_oom(&host, "wide"), CGROUP_OOM_NONE);
    group_remove("tight");
    group_remove("wide");
}
END_TEST

/* For all groups together; 0: as much as there is. */
static void memory_limit_all(size_t bytes)
{
    char text[24];

    for (unsigned i = 0; i < host.hierarchy_count; i++) {
        const struct cgroup_hierarchy *h = &host.hierarchy[i];

        if (!(h->controllers & 1u << CGROUP_MEMORY))
            continue;
        if (bytes)
            snprintf(text, sizeof text, "%zu", bytes);
        else
            snprintf(text, sizeof text, "%s", h->v2 ? "max" : "-1");
        int fd = openat(h->parent_fd, h->v2 ? "memory.max" : "memory.limit_in_bytes",
                        O_WRONLY | O_CLOEXEC);
        ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
    }
}

START_TEST(memory_of_all_is_not_its_own)
{
    const struct cgroup_limits wide = { .memory_bytes = MIB(512) };
    int status;

    if (lacks(CGROUP_MEMORY))
        return;
    ck_assert_int_eq(cgroup_group_create(&host, "wide", &wide, NULL), 0);
    memory_limit_all(MIB(16));
    status = run_inside("wide", memory_body);
    memory_limit_all(0);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert_int_eq(cgroup_group_oom(&host, "wide"), CGROUP_OOM_HOST);
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

/* What the kernel has for the parent of all groups; -1 where there is none. */
static int idle_of(const char *group)
{
    for (unsigned i = 0; i < host.hierarchy_count; i++) {
        const struct cgroup_hierarchy *h = &host.hierarchy[i];
        char path[64], text[8] = "";

        snprintf(path, sizeof path, "../volt-%s/cpu.idle", group);
        if (h->controllers & 1u << CGROUP_CPU &&
            cgroup_file_read(h->parent_fd, path, text, sizeof text) > 0)
            return atoi(text);
    }
    return -1;
}

START_TEST(vms_are_behind_others_only_where_that_is_asked_for)
{
    struct cgroup_host idle;
    char other[40];

    if (idle_of(name) < 0) {
        printf("# no cpu.idle here (Linux 5.15, a cpu controller)\n");
        return;
    }
    ck_assert_int_eq(idle_of(name), 0);
    snprintf(other, sizeof other, "%s-idle", name);
    ck_assert_int_eq(cgroup_host_open(&idle, &(struct cgroup_owner){ other, 0, true }, NULL), 0);
    ck_assert_int_eq(idle_of(other), 1);
    ck_assert_int_eq(idle_of(name), 0);
    /* One that was killed, and the next that is told otherwise. */
    for (unsigned i = 0; i < idle.hierarchy_count; i++)
        close_fd(&idle.hierarchy[i].parent_fd);
    ck_assert_int_eq(cgroup_host_open(&idle, &(struct cgroup_owner){ other, 0, false }, NULL), 0);
    ck_assert_int_eq(idle_of(other), 0);
    cgroup_host_close(&idle, other);
}
END_TEST

START_TEST(bad_names_and_leftovers)
{
    const struct cgroup_limits limits = { 0 };
    struct cgroup_host again;

    ck_assert_int_eq(cgroup_group_create(&host, "../up", &limits, NULL), -EINVAL);
    ck_assert_int_eq(cgroup_group_create(&host, "", &limits, NULL), -EINVAL);
    ck_assert_int_eq(cgroup_host_open(&again, &(struct cgroup_owner){ "a/b", 0, false }, NULL),
                     -EINVAL);
    if (host.hierarchy_count == 0)
        return;
    ck_assert_int_eq(cgroup_group_create(&host, "left-over", &limits, NULL), 0);
    ck_assert_int_eq(cgroup_group_create(&host, "left-over", &limits, NULL), -EEXIST);
    /* What a killed poold left is swept by the next one of the same name. */
    ck_assert_int_eq(cgroup_host_open(&again, &(struct cgroup_owner){ name, 0, false }, NULL), 0);
    ck_assert_int_eq(cgroup_group_create(&again, "left-over", &limits, NULL), 0);
    cgroup_host_close(&again, name);
}
END_TEST

#define V2_ROOT "/sys/fs/cgroup"

static bool file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    close_fd(&fd);
    return good;
}

/* As poold in the group of its service, which its keeper was started in. The exit status. */
static int serve_in(const char *group)
{
    struct cgroup_owner owner = { "served", 0, false };
    struct cgroup_host served;
    char procs[160];
    int status;

    snprintf(procs, sizeof procs, "%s/cgroup.procs", group);
    if (!file_write(procs, "0"))
        return 77;
    owner.keeper = fork();
    if (owner.keeper == 0) {
        pause();
        _exit(0);
    }
    cgroup_host_open(&served, &owner, NULL);
    status =
        served.hierarchy_count == 1 && served.controllers == (1u << CGROUP_CONTROLLER_COUNT) - 1
            ? 0
            : 1;
    if (status)
        printf("# %s\n", served.lacking);
    cgroup_host_close(&served, owner.name);
    kill(owner.keeper, SIGKILL);
    waitpid(owner.keeper, NULL, 0);
    file_write(V2_ROOT "/cgroup.procs", "0");
    return status;
}

START_TEST(a_keeper_is_not_in_the_way)
{
    char group[80], child[120];
    int status;
    pid_t pid;

    if (!file_write(V2_ROOT "/cgroup.subtree_control", "+memory +pids +cpu")) {
        printf("# skipped: no cgroup v2 with controllers at " V2_ROOT "\n");
        return;
    }
    snprintf(group, sizeof group, V2_ROOT "/test-service-%d", getpid());
    ck_assert_int_eq(mkdir(group, 0755), 0);
    pid = fork();
    if (pid == 0)
        _exit(serve_in(group));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    snprintf(child, sizeof child, "%s/volt-daemon", group);
    ck_assert_int_eq(rmdir(child), 0);
    ck_assert_int_eq(rmdir(group), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold_cgroup");
    TCase *tests = tap_case(suite, "cgroup");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, pids_are_limited);
    tcase_add_test(tests, memory_is_limited);
    tcase_add_test(tests, memory_of_all_is_not_its_own);
    tcase_add_test(tests, cpu_is_limited);
    tcase_add_test(tests, join_by_pid);
    tcase_add_test(tests, bad_names_and_leftovers);
    tcase_add_test(tests, vms_are_behind_others_only_where_that_is_asked_for);
    tests = tap_case(suite, "service");
    tcase_add_test(tests, a_keeper_is_not_in_the_way);
    return tap_main(suite);
}
