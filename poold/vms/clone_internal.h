/* SPDX-License-Identifier: Apache-2.0 */
/* What clone.c (what it is told), clone_link.c (what it says) and clone_net.c (its network while it is
 * leased) share. */
#ifndef VOLT_POOLD_CLONE_INTERNAL_H
#define VOLT_POOLD_CLONE_INTERNAL_H

#include "host/link.h"
#include "vms/clone.h"
#include "vms/template.h"

struct clone {
    struct link link;
    struct vms *vms;
    struct slot *slot; /* NULL once forgotten */
    struct vm_dir dir;
    struct vm_net net;
    struct template_child child;
    bool kill_wanted;
    bool introduced;                /* its HELLO has come */
    bool in_group;                  /* of its own (vm_groups.h) */
    struct vm_group_job *group_job; /* on its way into it; NULL: none */
    bool trial_due;                 /* it is to be recorded once its process is known */
    struct trial *trial;            /* it is recorded; NULL: not */
    char *trouble;                  /* what its guest says of a READY that failed; owned */
};

extern const struct link_ops clone_link_ops;

/* The VM is of no use any more: logged, and told to its pool, which ends it. */
void clone_fail(struct clone *clone, enum failure failure, const char *detail);

#endif
