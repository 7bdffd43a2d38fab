/* SPDX-License-Identifier: Apache-2.0 */
/* Starting programs: clone(CLONE_VM | CLONE_VFORK) and exec.
 *
 * The child runs on a stack of its own in volt-init's memory while volt-init waits, makes nothing
 * but system calls, and tells what failed by writing into the caller's frame.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "applets.h"
#include "guest_abi.h"
#include "text.h"

#define CHILD_STACK_BYTES 16384
#define INHERITED_FD_MAX 1023u /* looked for where one call does not close all */

char *const environment_default[] = {
    "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME=/root",
    "TERM=linux",
    NULL,
};

struct child {
    const struct spawn *spawn;
    const char *path; /* PATH's value */
    enum spawn_stage stage;
    int error;
};

static int self_fd = -1; /* this program, wherever the root is by now */
static _Alignas(16) char child_stack[CHILD_STACK_BYTES];

void child_programs_open(void)
{
    self_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
}

/* Kernels before Linux 5.9 have no call for it. */
static void close_between(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0u) == 0)
        return;
    for (unsigned fd = first; fd <= MIN_OF(last, INHERITED_FD_MAX); fd++)
        close((int)fd);
}

void child_close_inherited(int kept_fd)
{
    int program_fd = self_fd < 0 ? kept_fd : self_fd;
    unsigned low = (unsigned)MIN_OF(program_fd, kept_fd);
    unsigned high = low + (unsigned)abs(program_fd - kept_fd);
    const unsigned ranges[][2] = { { 3, low - 1 }, { low + 1, high - 1 }, { high + 1, ~0u } };

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        close_between(ranges[i][0], ranges[i][1]);
}

const char *environment_get(char *const *envp, const char *name)
{
    size_t length = strlen(name);

    for (; *envp; envp++)
        if (!strncmp(*envp, name, length) && (*envp)[length] == '=')
            return *envp + length + 1;
    return NULL;
}

/* Tries argv[0] in each directory of PATH. Returns the errno of the failure that tells most: a
 * program that is there but can't be run beats one that is nowhere. */
static int exec_search(const struct child *child)
{
    const struct spawn *spawn = child->spawn;
    const char *name = spawn->argv[0], *at = child->path;
    int error = ENOENT;
    char program[512];

    if (strchr(name, '/') || !*name) {
        execve(name, spawn->argv, spawn->envp);
        return errno;
    }
    while (at && *at) {
        size_t length = strcspn(at, ":");
        struct text text;

        text_init(&text, program, sizeof(program));
        text_add_bytes(&text, length ? at : ".", length ? length : 1);
        text_add(&text, "/");
        text_add(&text, name);
        if (text.length + 1 < sizeof(program)) {
            execve(program, spawn->argv, spawn->envp);
            if (errno != ENOENT && errno != ENOTDIR)
                error = errno;
        }
        at += length + (at[length] == ':');
    }
    if (error == ENOENT && applets_known(name))
        execve(APPLETS_PROGRAM, spawn->argv, spawn->envp);
    if (error == ENOENT && self_fd >= 0 && !strcmp(name, FILES_PROGRAM)) {
        syscall(SYS_execveat, self_fd, "", spawn->argv, spawn->envp, AT_EMPTY_PATH);
        error = errno;
    }
    return error;
}

static void child_terminal(const struct spawn *spawn)
{
    pid_t self;

    if (spawn->stay_in_session) {
        /* The signals of job control are still blocked: this can't stop us. */
        setpgid(0, 0);
        self = getpid();
        if (spawn->terminal)
            ioctl(spawn->fds[0], TIOCSPGRP, &self);
        return;
    }
    setsid();
    if (spawn->terminal)
        ioctl(spawn->fds[0], TIOCSCTTY, 0);
}

static _Noreturn void child_fail(struct child *child)
{
    child->error = errno;
    _exit(127);
}

/* What it was given as its streams is its own, so that it can open them again by name. */
static void streams_own(const struct spawn *spawn)
{
    struct stat st;

    for (int i = 0; i < 3; i++)
        if (fstat(spawn->fds[i], &st) == 0 && (S_ISFIFO(st.st_mode) || spawn->terminal))
            (void)fchown(spawn->fds[i], spawn->user->uid, (gid_t)-1);
}

/* By system call: the C library would want to do it in all threads. */
static int child_become(const struct spawn *spawn)
{
    const struct user *user = spawn->user;

    streams_own(spawn);
    if (syscall(SYS_setgroups, user->group_count, user->groups) < 0 ||
        syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0 ||
        syscall(SYS_setresuid, user->uid, user->uid, user->uid) < 0)
        return -1;
    return 0;
}

static int child_main(void *argument)
{
    struct child *child = argument;
    const struct spawn *spawn = child->spawn;
    sigset_t none;

    child_terminal(spawn);
    child->stage = SPAWN_STAGE_BELL;
    if (spawn->bell && bell_port_open() < 0)
        child_fail(child);
    /* As root still: a user may be put where it could not go itself, as containers do. */
    child->stage = SPAWN_STAGE_CWD;
    if (strcmp(spawn->cwd, "/") != 0 && chdir(spawn->cwd) < 0)
        child_fail(child);
    child->stage = SPAWN_STAGE_USER;
    if (spawn->user && child_become(spawn) < 0)
        child_fail(child);
    child->stage = SPAWN_STAGE_EXEC;
    for (int i = 0; i < 3; i++)
        dup2(spawn->fds[i], i);
    if (spawn->bell) {
        dup2(spawn->bell->gate, FUNCTION_GATE_FD);
        dup2(spawn->bell->memory, FUNCTION_MEMORY_FD);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    child->error = exec_search(child);
    _exit(127);
}

int spawn_program(const struct spawn *spawn, pid_t *ret_pid, enum spawn_stage *ret_stage)
{
    struct child child = {
        .spawn = spawn,
        .path = environment_get(spawn->envp, "PATH"),
        .stage = SPAWN_STAGE_START,
    };
    int pid = clone(child_main, child_stack + sizeof(child_stack), CLONE_VM | CLONE_VFORK | SIGCHLD,
                    &child);

    *ret_stage = child.stage;
    if (pid < 0)
        return -errno;
    if (child.error)
        return -child.error;
    *ret_pid = pid;
    return 0;
}
