/* SPDX-License-Identifier: Apache-2.0 */
/* A pool's template process and the clones that it is asked for. Loop thread only. */
#ifndef VOLT_POOLD_TEMPLATE_H
#define VOLT_POOLD_TEMPLATE_H

#include "vms/vms.h"

/* Opens the snapshot and starts the process; sets hosted->template, which goes back to NULL when it
 * has ended, with hosted_ops.template_ended (also when it could not be started). */
void template_start(struct hosted_pool *hosted);
void template_kill(struct template *template);

/* A clone that it has been asked for; inside its owner's struct. */
struct template_child {
    struct list node; /* the template's, until it is told; in no list otherwise */
    uint64_t cookie;
    const struct template_child_ops *ops;
};

/* One of the two is called, unless the child is taken out of the list before. */
struct template_child_ops {
    /* The template forked it: pidfd is the owner's. */
    void (*born)(struct template_child *child, int pidfd);
    /* It never came to be. */
    void (*unborn)(struct template_child *child, const char *detail);
};

/* What it is given, all of which stays the caller's. */
struct template_gifts {
    int control_fd, bell_fd; /* its ends */
    const struct vm_dir *dir;
    const struct vm_net *net;
};

/* Asks for a clone. 0, or -errno: nothing will come. */
int template_clone(struct template *template, struct template_child *child,
                   const struct template_gifts *gifts);

/* Has it use a working set (fd stays the caller's) for the clones to come. 0 or -errno. */
int template_working_set(struct template *template, int fd);

#endif
