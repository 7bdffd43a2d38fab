/* SPDX-License-Identifier: Apache-2.0 */
/* A process in the sandbox, for tests: it tries there what must not work, reports, and waits to be
 * looked at from outside. */
#ifndef VOLT_TESTS_UNIT_SANDBOX_JAIL_H
#define VOLT_TESTS_UNIT_SANDBOX_JAIL_H

#include <sys/resource.h>
#include <sys/types.h>

#include "sandbox/sandbox_internal.h"

#define NOBODY 65534u
#define VM_UID 100007u

/* Shared with the sandboxed process, which has no other way to tell but its pipe. */
struct report {
    struct sandbox_status status;
    char error[ERR_MSG_BYTES];
    pid_t pid, ppid;
    pid_t worker_pid; /* which process the work meanwhile was done in */
    int open_errno, create_errno, root_errno, tcp_errno, abstract_errno, kill_errno;
    int socket_errno, outside_errno;
    unsigned root_entries;
    struct rlimit core, file;
    int dumpable;
};

struct jail {
    struct report *report;
    pid_t outer;       /* what was forked; waits for the sandboxed process */
    int done_fd;       /* readable when the report is written; end of file: it died */
    int release_fd;    /* close it and the sandboxed process ends */
    int abstract_fd;   /* listens on an abstract socket outside */
    char abstract[64]; /* its name */
    char dir[64];      /* the VM's socket directory; "" none */
};

struct jail_config {
    struct sandbox_config layers;
    bool as_nobody; /* drop to an unprivileged user first */
    bool as_vm;     /* sandbox_enter_vm too */
    bool work;      /* something is done meanwhile */
    uint32_t uid;   /* of the VM */
};

/* Starts it and waits for its report; fails the test if it could not enter. */
void jail_start(struct jail *jail, const struct jail_config *config);
/* Lets it end, and takes all away. */
void jail_end(struct jail *jail);
/* The sandboxed process as seen from outside: the outer one's only child, or the outer itself. */
pid_t jail_inner_pid(const struct jail *jail);

/* How many files a directory has. */
unsigned entries_count(const char *path);
/* Copies the value of a line of /proc/PID/status, without leading blanks. */
void status_line(pid_t pid, const char *key, char *value, size_t value_bytes);
void status_expect(pid_t pid, const char *key, const char *expected);
/* The same, as soon as it is so. */
void status_await(pid_t pid, const char *key, const char *expected);

#endif
