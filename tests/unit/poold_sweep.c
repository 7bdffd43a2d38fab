/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what poolds leave that are killed with their keepers goes when another one starts, and nothing
 * else does; no other user holds that up. Method: the real hierarchies of this machine, as in
 * poold_cgroup.c, with poolds that are processes of the test.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "host/cgroup.h"
#include "tap_main.h"

static struct cgroup_host host;
static char name[40];

static void host_open(struct cgroup_host *opened, const char *of)
{
    ck_assert_int_eq(cgroup_host_open(opened, &(struct cgroup_owner){ of, 0, false }, NULL), 0);
}

static void setup(void)
{
    snprintf(name, sizeof name, "%08xface0000", getpid());
    host_open(&host, name);
}

static void teardown(void)
{
    cgroup_host_close(&host, name);
}

/* A host of its own name, opened by a process that ends, as if killed, with a VM's group left, and
 * with `vm` in that. */
static void die_with_a_group(const char *other, pid_t vm)
{
    char pid[16];
    int fds[CGROUP_HIERARCHIES_MAX], status;
    unsigned count = 0;
    pid_t poold = fork();

    if (poold == 0) {
        struct cgroup_host dead;

        host_open(&dead, other);
        if (cgroup_group_create(&dead, "vm", &(struct cgroup_limits){ 0 }, NULL) < 0 ||
            cgroup_group_open(&dead, "vm", fds, &count, NULL) < 0)
            _exit(1);
        snprintf(pid, sizeof pid, "%d", vm);
        for (unsigned i = 0; vm && i < count; i++) {
            if (write(fds[i], pid, strlen(pid)) < 0)
                _exit(2);
        }
        _exit(0);
    }
    ck_assert_int_eq(waitpid(poold, &status, 0), poold);
    ck_assert_int_eq(status, 0);
}

static bool group_is_there(const char *other)
{
    char path[64];

    snprintf(path, sizeof path, "../volt-%s/vm", other);
    return faccessat(host.hierarchy[0].parent_fd, path, F_OK, 0) == 0;
}

/* Those of poolds that have ended go with the start of any; neither what lives nor what holds a
 * process is touched. */
START_TEST(groups_of_dead_poolds_are_swept)
{
    struct cgroup_host mine;
    char dead[48], held[48], third[48], stranger[48];
    pid_t vm;

    if (host.hierarchy_count == 0)
        return;
    snprintf(dead, sizeof dead, "%08xdead0000", getpid());
    snprintf(held, sizeof held, "%08x0e1d0000", getpid());
    snprintf(third, sizeof third, "%08x3d000000", getpid());
    snprintf(stranger, sizeof stranger, "test-%d", getpid());
    vm = fork();
    if (vm == 0) {
        pause();
        _exit(0);
    }
    die_with_a_group(dead, 0);
    ck_assert(group_is_there(dead));
    die_with_a_group(held, vm);
    die_with_a_group(stranger, 0); /* by its name no poold's */
    ck_assert_int_eq(cgroup_group_create(&host, "vm", &(struct cgroup_limits){ 0 }, NULL), 0);
    host_open(&mine, third);
    ck_assert(!group_is_there(dead));
    ck_assert(group_is_there(held));
    ck_assert(group_is_there(name));
    ck_assert(group_is_there(stranger));
    cgroup_host_close(&mine, third);
    kill(vm, SIGKILL);
    ck_assert_int_eq(waitpid(vm, NULL, 0), vm);
    host_open(&mine, held);
    ck_assert(!group_is_there(held));
    cgroup_host_close(&mine, held);
    host_open(&mine, stranger);
    cgroup_host_close(&mine, stranger);
}
END_TEST

/* A user who locks the group of a poold as soon as it can be had, and never lets go. */
static pid_t stranger_lock(const char *group)
{
    const int all = openat(host.hierarchy[0].parent_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char path[64], byte;
    int told[2];

    snprintf(path, sizeof path, "volt-%s", group);
    ck_assert_int_eq(pipe(told), 0);
    pid_t stranger = fork();
    if (stranger == 0) {
        (void)!setuid(65534);
        int fd = openat(all, path, O_RDONLY | O_DIRECTORY);
        bool has = fd >= 0 && flock(fd, LOCK_EX) == 0;
        if (write(told[1], has ? "y" : "n", 1) == 1 && has)
            pause();
        _exit(0);
    }
    close(all);
    close(told[1]);
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    close(told[0]);
    if (byte == 'y')
        return stranger;
    ck_assert_int_eq(waitpid(stranger, NULL, 0), stranger);
    return 0;
}

START_TEST(who_locks_the_group_of_a_dead_poold_holds_up_nobody)
{
    char path[64], dead[48];
    struct cgroup_host mine;
    pid_t stranger;

    if (host.hierarchy_count == 0 || geteuid() != 0)
        return;
    snprintf(dead, sizeof dead, "%08xdead0001", getpid());
    snprintf(path, sizeof path, "../volt-%s", dead);
    die_with_a_group(dead, 0);
    ck_assert_int_eq(stranger_lock(dead), 0);
    /* One that an earlier version has left, which everybody may open. */
    ck_assert_int_eq(fchmodat(host.hierarchy[0].parent_fd, path, 0755, 0), 0);
    stranger = stranger_lock(dead);
    ck_assert_int_gt(stranger, 0);
    host_open(&mine, dead);
    ck_assert_uint_eq(mine.hierarchy_count, host.hierarchy_count);
    kill(stranger, SIGKILL);
    ck_assert_int_eq(waitpid(stranger, NULL, 0), stranger);
    ck_assert_int_eq(stranger_lock(dead), 0);
    cgroup_host_close(&mine, dead);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold_sweep");
    TCase *tests = tap_case(suite, "sweep");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, groups_of_dead_poolds_are_swept);
    tcase_add_test(tests, who_locks_the_group_of_a_dead_poold_holds_up_nobody);
    return tap_main(suite);
}
