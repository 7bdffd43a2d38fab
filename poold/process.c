/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what happens between fork and exec of a volt-vmm process; see process.h. */
#include "process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

/* Out of the way of every target number, so that no dup2 overwrites a source. */
#define HIGH_FD 64

/* The child's side; never returns. What fails goes to the parent as errno through report_fd, which
 * is closed by a successful exec. */
_Noreturn static void child_exec(char *const argv[], const int *high, unsigned fd_count,
                                 int report_fd)
{
    sigset_t none;
    int error;

    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A session of its own: a Ctrl-C meant for poold does not reach it. */
    setsid();
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool ready = null_fd >= 0 && dup2(null_fd, STDIN_FILENO) >= 0;
    for (unsigned i = 0; ready && i < fd_count; i++)
        ready = dup2(high[i], SPAWN_FIRST_FD + (int)i) >= 0;
    if (ready)
        execv(argv[0], argv);
    error = errno;
    while (write(report_fd, &error, sizeof error) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* Waits for the exec: 0, or the errno of what failed in the child, which is reaped then. */
static int child_wait_exec(pid_t pid, int report_fd)
{
    int error = 0;
    ssize_t n;

    do {
        n = read(report_fd, &error, sizeof error);
    } while (n < 0 && errno == EINTR);
    if (n != sizeof error)
        return 0;
    waitpid(pid, NULL, 0);
    return error;
}

static int fork_exec(char *const argv[], const int *high, unsigned fd_count, pid_t *ret_pid)
{
    int report[2], error;
    pid_t pid;

    if (pipe2(report, O_CLOEXEC) < 0)
        return errno;
    _cleanup_close_ int read_end = report[0];
    _cleanup_close_ int write_end = fcntl(report[1], F_DUPFD_CLOEXEC, HIGH_FD);
    close(report[1]);
    if (write_end < 0)
        return errno;
    pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0)
        child_exec(argv, high, fd_count, write_end);
    close_fd(&write_end);
    error = child_wait_exec(pid, read_end);
    if (error == 0)
        *ret_pid = pid;
    return error;
}

int spawn_process(char *const argv[], const int *fds, unsigned fd_count, pid_t *ret_pid,
                  int *ret_pidfd, struct err *err)
{
    int high[SPAWN_FDS_MAX];
    int rc = 0, pidfd = -1;
    pid_t pid = -1;

    assert(fd_count <= SPAWN_FDS_MAX);
    for (unsigned i = 0; i < fd_count; i++) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
        if (high[i] < 0)
            rc = errno;
    }
    if (rc == 0)
        rc = fork_exec(argv, high, fd_count, &pid);
    for (unsigned i = 0; i < fd_count; i++)
        close_fd(&high[i]);
    if (rc)
        return err_set_errno(err, rc, "can't start %s", argv[0]);
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
    if (pidfd < 0) {
        rc = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return err_set_errno(err, rc, "can't watch process %d", (int)pid);
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

pid_t process_of_pidfd(int pidfd)
{
    char path[48], line[128];
    FILE *info;
    int pid = 0;

    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    info = fopen(path, "re");
    if (!info)
        return 0;
    while (fgets(line, sizeof line, info) && sscanf(line, "Pid: %d", &pid) != 1)
        ;
    fclose(info);
    return pid > 0 ? pid : 0;
}
