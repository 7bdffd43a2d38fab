/* SPDX-License-Identifier: Apache-2.0 */
/* One clone: a VM of a pool, slot->vm. Shared by template.c and clone.c only. */
#ifndef VOLT_POOLD_CLONE_H
#define VOLT_POOLD_CLONE_H

#include "host/link.h"
#include "vms/vms.h"

struct clone {
    struct link link;
    struct vms *vms;
    struct slot *slot; /* NULL once forgotten */
    struct vm_dir dir;
    struct vm_net net;
    struct list unborn; /* in its template's list until CLONED comes */
    uint64_t cookie;
    bool kill_wanted;
    bool introduced;                /* its HELLO has come */
    bool in_group;                  /* of its own (vm_groups.h) */
    struct vm_group_job *group_job; /* on its way into it; NULL: none */
    bool trial_due;                 /* it is to be recorded once its process is known */
    struct trial *trial;            /* it is recorded; NULL: not */
    char *trouble;                  /* what its guest says of a READY that failed; owned */
};

/* The VM is of no use any more: logged, and told to its pool, which ends it. */
void clone_fail(struct clone *clone, enum failure failure, const char *detail);

#endif
