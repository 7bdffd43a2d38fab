/* SPDX-License-Identifier: Apache-2.0 */
/* Starts volt-vmm processes, schedules poold; see process.h. */
#include "base/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arguments.h"
#include "base/util.h"

/* Out of the way of every target number, so that no dup2 overwrites a source. */
#define HIGH_FD 64
#define ENVIRONMENT_MAX 64

/* Signals as by default, none blocked, and a session of its own: a Ctrl-C meant for poold does not
 * reach it. 0 or an errno value, as from the functions below. */
static int attributes_fill(posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    int rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
                                                      POSIX_SPAWN_SETSIGMASK);

    sigfillset(&all);
    sigemptyset(&none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    return rc ? rc : posix_spawnattr_setsigmask(attributes, &none);
}

static int actions_fill(posix_spawn_file_actions_t *actions, const int *high, unsigned fd_count,
                        int text_fd)
{
    int rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, text_fd, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, text_fd, STDERR_FILENO);
    for (unsigned i = 0; i < fd_count && rc == 0; i++)
        rc = posix_spawn_file_actions_adddup2(actions, high[i], SPAWN_FIRST_FD + (int)i);
    /* Whatever poold was started with: not all that it starts (passt) closes what it does not know. */
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, SPAWN_FIRST_FD + (int)fd_count);
    return rc;
}

/* A posix_spawn copies no page tables, however large poold is. It waits for the exec, and what
 * fails up to there is its result: an errno value. */
static int start(char *const argv[], const int *high, unsigned fd_count, int text_fd,
                 pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc = posix_spawnattr_init(&attributes);

    if (rc)
        return rc;
    rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0) {
        rc = attributes_fill(&attributes);
        if (rc == 0)
            rc = actions_fill(&actions, high, fd_count, text_fd);
        if (rc == 0)
            rc = posix_spawn(ret_pid, argv[0], &actions, &attributes, argv, process_environment());
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* With the ends of its text's pipe, of which the reading one stays here. */
static int start_with_pipe(char *const argv[], const int *high, unsigned fd_count,
                           struct spawned *ret)
{
    _cleanup_close_ int read_end = -1, write_end = -1;
    int pipe[2], rc;

    if (pipe2(pipe, O_CLOEXEC) < 0)
        return errno;
    read_end = pipe[0];
    write_end = pipe[1];
    rc = start(argv, high, fd_count, write_end, &ret->pid);
    if (rc == 0)
        ret->text_fd = take_fd(&read_end);
    return rc;
}

/* Duplicates of fds, and of arguments_fd behind them. 0 or an errno value; to be closed either way.
 */
static int high_fds_make(const int *fds, unsigned fd_count, int arguments_fd, int *high)
{
    int rc = 0;

    for (unsigned i = 0; i <= fd_count; i++) {
        high[i] = fcntl(i < fd_count ? fds[i] : arguments_fd, F_DUPFD_CLOEXEC, HIGH_FD);
        if (high[i] < 0)
            rc = errno;
    }
    return rc;
}

int spawn_process(char *const argv[], const int *fds, unsigned fd_count, struct spawned *ret,
                  struct err *err)
{
    struct spawned spawned = { .pid = -1, .pidfd = -1, .text_fd = -1 };
    _cleanup_close_ int arguments_fd = arguments_put(argv + 2);
    char number[16], option[] = ARGUMENTS_FD_OPTION;
    char *const shown[] = { argv[0], argv[1], option, number, NULL };
    int high[SPAWN_FDS_MAX];

    assert(fd_count < SPAWN_FDS_MAX);
    if (arguments_fd < 0)
        return err_set_errno(err, -arguments_fd, "can't pass arguments to %s", argv[0]);
    snprintf(number, sizeof number, "%u", SPAWN_FIRST_FD + fd_count);
    int rc = high_fds_make(fds, fd_count, arguments_fd, high);
    if (rc == 0)
        rc = start_with_pipe(shown, high, fd_count + 1, &spawned);
    for (unsigned i = 0; i <= fd_count; i++)
        close_fd(&high[i]);
    if (rc)
        return err_set_errno(err, rc, "can't start %s", argv[0]);
    spawned.pidfd = (int)syscall(SYS_pidfd_open, spawned.pid, 0); /* close-on-exec by itself */
    if (spawned.pidfd < 0) {
        rc = errno;
        kill(spawned.pid, SIGKILL);
        waitpid(spawned.pid, NULL, 0);
        close(spawned.text_fd);
        return err_set_errno(err, rc, "can't watch process %d", (int)spawned.pid);
    }
    *ret = spawned;
    return 0;
}

char **process_environment(void)
{
    static const char *const kept[] = { "LD_",   "GLIBC_", "MALLOC_", "ASAN_", "LSAN_",
                                        "TSAN_", "UBSAN_", "LC_",     "VOLT_" };
    static char *environment[ENVIRONMENT_MAX + 1];
    static unsigned count;

    if (count)
        return environment;
    for (char **at = environ; *at; at++) {
        for (unsigned i = 0; i < ARRAY_LEN(kept) && count < ENVIRONMENT_MAX; i++) {
            if (strncmp(*at, kept[i], strlen(kept[i])) == 0)
                environment[count++] = *at;
        }
    }
    return environment;
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

uint64_t process_private_bytes(pid_t pid, uint64_t otherwise)
{
    unsigned long long resident, shared;
    char path[32], text[128];
    ssize_t bytes = -1;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0)
        bytes = read(fd, text, sizeof text - 1);
    close_fd(&fd);
    text[MAX_OF(bytes, 0)] = 0;
    if (sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
        return otherwise;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool process_ended(int pidfd)
{
    struct pollfd watched = { .fd = pidfd, .events = POLLIN };

    return poll(&watched, 1, 0) != 0;
}
