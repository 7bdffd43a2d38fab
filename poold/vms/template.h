/* SPDX-License-Identifier: Apache-2.0 */
/* A pool's template process and the clones that it is asked for. Loop thread only. */
#ifndef VOLT_POOLD_TEMPLATE_H
#define VOLT_POOLD_TEMPLATE_H

#include "host/link.h"
#include "vms/vms.h"

/* Opens the snapshot and starts the process; sets hosted->template, which goes back to NULL when it
 * has ended, with hosted_ops.template_ended (also when it could not be started). */
void template_start(struct hosted_pool *hosted);
void template_kill(struct template *template);

/* The template of an earlier poold, in the ledger under `record`; its fds (enum keep_template_role)
 * are taken. If volt-vmm is still the one that it runs, it is the pool's; else it is retired: it
 * forks no more, and ends with its last VM. 0 or -ENOMEM. */
int template_adopt(struct hosted_pool *hosted, uint32_t record, const struct ledger_template *entry,
                   int fds[KEEP_ROLES_MAX]);
bool template_is_ready(const struct template *template);
bool template_has_working_set(const struct template *template);
/* Puts it again, for a new keeper. */
void template_keep(struct template *template);
/* Whether the pool's template with that record lives; and whether its VMs speak another control
 * protocol. */
bool template_is_there(const struct hosted_pool *hosted, uint32_t record);
bool template_is_foreign(const struct hosted_pool *hosted, uint32_t record);
/* A descriptor of that template's link, borrowed; -1: it is closed, or the template is gone. */
int template_fd(const struct hosted_pool *hosted, uint32_t record, enum link_channel channel);
/* The keeper is a new one. */
void templates_keep(struct hosted_pool *hosted);
/* Ends those that are retired and have no VMs. */
void templates_reap(struct hosted_pool *hosted,
                    bool (*has_vms)(struct hosted_pool *hosted, uint32_t record));
void templates_retired_kill(struct hosted_pool *hosted);

/* A clone that it has been asked for; inside its owner's struct. */
struct template_child {
    struct list node; /* the template's, until it is told; in no list otherwise */
    uint64_t cookie;
    uint32_t template_record; /* in the ledger, of the template that forks it; LEDGER_NONE */
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
