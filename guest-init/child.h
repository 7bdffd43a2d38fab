/* SPDX-License-Identifier: Apache-2.0 */
/* Starting programs without fork: the address space is shared until the exec, which on a
 * software-only KVM saves tens of milliseconds of page-table work.
 */
#ifndef GUEST_CHILD_H
#define GUEST_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "bell.h"
#include "user.h"

struct spawn {
    char *const *argv; /* NULL-terminated, at least one */
    char *const *envp; /* NULL-terminated; its PATH is searched for an argv[0] without '/' */
    const char *cwd;
    int fds[3];                  /* become stdin, stdout, stderr; borrowed */
    bool terminal;               /* fds[0] becomes the controlling terminal */
    const struct user *user;     /* NULL: as volt-init; also gets the pipes or terminal of fds */
    const struct bell_fds *bell; /* of a service that waits at the function's bell; else NULL */
    bool stay_in_session;        /* a new process group only, and in the foreground of fds[0] */
};

enum spawn_stage {
    SPAWN_STAGE_START, /* no process could be made */
    SPAWN_STAGE_BELL,
    SPAWN_STAGE_CWD,
    SPAWN_STAGE_USER,
    SPAWN_STAGE_EXEC,
};

/* Starts the program as leader of a new session (and process group). 0 and its pid, or -errno and
 * at which stage; a failed child is left for the reaper. */
int spawn_program(const struct spawn *spawn, pid_t *ret_pid, enum spawn_stage *ret_stage);

/* Has FILES_PROGRAM found by all that are started from now on. Before the root is another one. */
void child_programs_open(void);

/* In a copy of this process that goes on without exec: closes what running commands and the agent have
 * open, without whose end here some of them would not end. Not 0 to 2, kept_fd and what
 * child_programs_open has opened. */
void child_close_inherited(int kept_fd);

/* The value of `name` in an environment, or NULL. */
const char *environment_get(char *const *envp, const char *name);

/* What programs get when nobody says otherwise. NULL-terminated. */
extern char *const environment_default[];

#endif
