/* SPDX-License-Identifier: Apache-2.0 */
/* What clone.c (what it is told), clone_link.c (what it says), clone_end.c (why it says no more) and
 * clone_net.c (its network while it is leased) share. */
#ifndef VOLT_POOLD_CLONE_INTERNAL_H
#define VOLT_POOLD_CLONE_INTERNAL_H

#include "base/prompt.h"
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
    struct prompt_vm prompt;
    bool kill_wanted;
    bool introduced;                /* its HELLO has come */
    bool in_group;                  /* of its own (vm_groups.h) */
    struct vm_group_job *group_job; /* on its way into it; NULL: none */
    bool trial_due;                 /* it is to be recorded once its process is known */
    struct trial *trial;            /* it is recorded; NULL: not */
    char *trouble;                  /* what its guest says of a READY that failed; owned */
    struct keep_due due;            /* clone_keep.h: it is to be put */
    uint32_t record;                /* in the ledger; LEDGER_NONE: it has none */
    int connection_fd;              /* that its lease is bound to, borrowed; -1 */
    bool lease_told, bound;         /* its lease is in the record; and a connection at the keeper */
    struct {
        const struct clone_call_ops *ops; /* NULL: none is on */
        void *owner;
        uint32_t number; /* its, or the last one's */
    } call;              /* clone_call.h */
    bool foreign;        /* it speaks another control protocol: nothing is sent to it */
};

extern const struct link_ops clone_link_ops;

/* The VM is of no use any more: logged, and told to its pool, which ends it. */
void clone_fail(struct clone *clone, enum failure failure, const char *detail);
/* The same, of a process that ended without a word: finds out why, and says detail where it can't. */
void clone_fail_silently(struct clone *clone, const char *detail);
/* A clone of this slot, without a process. NULL without memory. */
struct clone *clone_create(struct vms *vms, struct slot *slot);
/* A lease's network: a new gate (fds NULL, or without one), or that of an earlier poold, whose fds are
 * taken. 0 or -errno. */
int clone_net_lease_adopt(struct clone *clone, struct net_publish *publish, int fds[NET_GATE_FDS]);
/* Watches its control socket and its bell, which are in the link. 0 or -errno. */
int clone_watch(struct clone *clone);
/* clone_call.c: an ANSWER has come, with its payload. */
void clone_call_answered(struct clone *clone, const struct control_msg *msg, const void *payload);
/* It is ended: so is its call. */
void clone_call_ended(struct clone *clone);
/* Has it answer ahead of others, if it is parked, and in its control group as far as it gets. */
void clone_prompt(struct clone *clone);
/* Has it in a control group of its own. */
void clone_group_join(struct clone *clone, int pidfd);

#endif
