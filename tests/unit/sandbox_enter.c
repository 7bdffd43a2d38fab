/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: on the way into the sandbox nothing inherited stays open, and what fails or is not allowed
 * is told. Method: sandbox_enter, or its first step, in a forked process that exits with what it
 * found; a filter of the test's own forbids what some hosts do. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "control/control.h"
#include "leave.h"
#include "sandbox/sandbox_internal.h"
#include "tap_main.h"

START_TEST(fds_are_closed)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int keep[4], left = 0;

        for (int i = 0; i < 200; i++)
            (void)!dup(2);
        for (unsigned i = 0; i < ARRAY_LEN(keep); i++)
            keep[i] = 150 - 20 * (int)i; /* not in order */
        keep[3] = keep[0];               /* and one twice */
        if (sandbox_close_fds(keep, ARRAY_LEN(keep), NULL) < 0)
            _exit(99);
        for (int fd = 3; fd < 1024; fd++)
            left += fcntl(fd, F_GETFD) >= 0;
        for (unsigned i = 0; i < ARRAY_LEN(keep); i++) {
            if (fcntl(keep[i], F_GETFD) < 0)
                _exit(98);
        }
        _exit(fcntl(0, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0 ? left : 97);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 3);
}
END_TEST

static int work_in_vain(void *context, struct err *err)
{
    (void)context;
    return err_set(err, ENODEV, "there is no such machine");
}

START_TEST(work_that_fails_is_told)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const struct sandbox_config layers = SANDBOX_CONFIG_ALL;
        const struct sandbox_meanwhile meanwhile = { work_in_vain, NULL };
        struct sandbox_status sandbox = { 0 };
        struct err err = { 0 };
        int r = sandbox_enter(&layers, SANDBOX_KEEP_ID, NULL, 0, &meanwhile, &sandbox, &err);

        leave(r == -ENODEV && strcmp(err.msg, "there is no such machine") == 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* As a container's profile may: unshare fails wherever a network namespace is asked for. */
static bool network_namespaces_forbid(void)
{
    const struct sock_filter insn[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWNET, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { ARRAY_LEN(insn), (struct sock_filter *)(uintptr_t)insn };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

START_TEST(namespaces_that_are_only_partly_allowed_are_lacking)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const struct sandbox_config layers = { .namespaces = true };
        struct sandbox_status sandbox = { 0 };

        if (!network_namespaces_forbid())
            _exit(1);
        if (sandbox_enter(&layers, SANDBOX_KEEP_ID, NULL, 0, NULL, &sandbox, NULL) != 0)
            _exit(2);
        if (sandbox.layers != 0 || !strstr(sandbox.lacking, "namespaces"))
            _exit(3);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* In the child: a process in a namespace of its own that lives on its lifeline, and whose parent ends. */
static void __attribute__((noreturn)) lifeline_child(int lifeline_fd, int alive_fd)
{
    const struct sandbox_config layers = { .namespaces = true,
                                           .seccomp = true,
                                           .lifeline_fd = lifeline_fd };
    const int keep[] = { lifeline_fd, alive_fd };
    struct sandbox_status sandbox = { 0 };

    if (fork() != 0)
        _exit(0);
    if (sandbox_enter(&layers, SANDBOX_KEEP_ID, keep, 2, NULL, &sandbox, NULL) != 0)
        _exit(1);
    (void)!write(alive_fd, "x", 1);
    for (;;)
        pause();
}

/* Its parent's end is not its own, that of the lifeline is. */
START_TEST(a_lifeline_outlives_the_parent)
{
    int lifeline[2], alive[2], status;
    char byte;

    if (geteuid() != 0) {
        printf("# skipped: needs root\n");
        return;
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lifeline), 0);
    ck_assert_int_eq(pipe2(alive, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(lifeline[0]);
        close(alive[0]);
        lifeline_child(lifeline[1], alive[1]);
    }
    close(lifeline[1]);
    close(alive[1]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(read(alive[0], &byte, 1), 1);
    struct pollfd polled = { .fd = alive[0], .events = POLLIN };
    ck_assert_int_eq(poll(&polled, 1, 200), 0); /* it lives: its end of the pipe is open */
    close(lifeline[0]);
    ck_assert_int_eq(read(alive[0], &byte, 1), 0);
    close(alive[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox_enter");
    TCase *tests = tap_case(suite, "enter");

    tcase_add_test(tests, fds_are_closed);
    tcase_add_test(tests, work_that_fails_is_told);
    tcase_add_test(tests, a_lifeline_outlives_the_parent);
    tcase_add_test(tests, namespaces_that_are_only_partly_allowed_are_lacking);
    return tap_main(suite);
}
