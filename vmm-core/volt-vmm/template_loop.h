/* SPDX-License-Identifier: Apache-2.0 */
/* The template's side of the control protocol (control.h): forks a clone for each CLONE, tells of
 * its birth and its end, until STOP or the end of the socket. Knows nothing of what clones do. One
 * thread. */
#ifndef VOLT_VMM_TEMPLATE_LOOP_H
#define VOLT_VMM_TEMPLATE_LOOP_H

#include <stddef.h>
#include <sys/types.h>

#include "control/control.h"

struct template_ops {
    /* A clone's whole life, in the process forked for it, which has none of the template's fds but
     * those that came with the CLONE (transferred). Returns its exit status. */
    int (*clone)(void *context, const struct control_msg *msg, struct control_clone_fds *fds,
                 uint64_t start_ns);
    /* A WORKING_SET came; fd borrowed. */
    void (*working_set)(void *context, int fd);
};

/* Which clone a pid was, for CHILD_EXITED. */
struct template_child {
    pid_t pid;
    uint64_t cookie;
};

struct template_loop {
    const struct template_ops *ops;
    void *context;
    int control_fd; /* owned */
    int signal_fd;  /* owned; SIGCHLD */
    struct template_child *child;
    size_t child_count, child_room;
};

/* Takes over control_fd and blocks SIGCHLD. 0 or -errno. */
int template_loop_init(struct template_loop *loop, int control_fd, const struct template_ops *ops,
                       void *context, struct err *err);

/* Serves poold until the template is to end. */
void template_loop_run(struct template_loop *loop);

void template_loop_fini(struct template_loop *loop);

#endif
