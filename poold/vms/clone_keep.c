/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the record of a clone and what the keeper has of it; see clone_keep.h. */
#include "vms/clone_keep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

static_assert(sizeof(((struct ledger_vm *)0)->id) >= SLOT_ID_BYTES, "an id fits");

/* ---- The record ---- */

static void net_fill(const struct vm_net *net, struct ledger_net *ret)
{
    if (!net->on)
        return;
    *ret = (struct ledger_net){ .on = 1,
                                .user = net->user,
                                .source_check = net->source_check,
                                .vhost = net->vhost,
                                .on_bridge = net->on_bridge,
                                .prefix_bits = net->prefix_bits,
                                .number = net->number,
                                .address = net->address,
                                .gateway = net->gateway,
                                .index = net->index };
    memcpy(ret->mac, net->mac, sizeof ret->mac);
    snprintf(ret->link, sizeof ret->link, "%s", net->link);
}

static void lease_fill(const struct clone *clone, struct ledger_vm *ret)
{
    const struct slot *slot = clone->slot;
    const struct timings *t = &slot->timings;
    const struct net_publish *publish = vm_net_published(&clone->net);

    ret->owner_uid = slot->owner_uid;
    ret->bound = slot->owner_connection != NULL;
    ret->tier = slot->tier;
    ret->leased_ns = slot->leased_ns;
    ret->leased_wall_ns = slot->leased_wall_ns;
    ret->ttl_ms = slot->ttl_ms;
    ret->deadline_ns = slot->deadline_ns;
    ret->kept_by_streams = slot->kept_by_streams;
    ret->request = slot->request;
    memcpy(ret->labels, slot->labels, strlen(slot->labels) + 1);
    memcpy(ret->timings_ns, (uint64_t[]){ t->queue_ns, t->load_ns, t->awake_ns, t->ready_ns },
           sizeof ret->timings_ns);
    if (publish) {
        ret->publish_count = publish->count;
        memcpy(ret->publish, publish->port, publish->count * sizeof publish->port[0]);
    }
}

static void record_write(struct clone *clone)
{
    const struct slot *slot = clone->slot;
    struct ledger_vm vm = { .uid = clone->dir.uid,
                            .layers = slot->layers,
                            .landlock_abi = slot->landlock_abi,
                            .template_index = clone->child.template_record };

    memcpy(vm.id, slot->id, SLOT_ID_BYTES);
    snprintf(vm.pool, sizeof vm.pool, "%s", slot->pool->name);
    vm.generation = ((const struct hosted_pool *)slot->pool->owner)->generation;
    memcpy(vm.generation_id, slot->generation_id, sizeof vm.generation_id);
    snprintf(vm.hostname, sizeof vm.hostname, "%s", slot->hostname);
    net_fill(&clone->net, &vm.net);
    if (slot->state == SLOT_LEASED)
        lease_fill(clone, &vm);
    ledger_vm_write(clone->vms->keep.ledger, clone->record, &vm);
}

/* What a VM is to the next poold. One that is leased is so from clone_lease_kept on. */
static enum ledger_state state_of(const struct clone *clone)
{
    if (clone->slot->state == SLOT_PARKED)
        return LEDGER_PARKED;
    return clone->slot->state == SLOT_LEASED && clone->lease_told ? LEDGER_LEASED : LEDGER_BUSY;
}

/* The record before its state: see the ledger's first invariant. */
static void record_update(struct clone *clone)
{
    const enum ledger_state state = state_of(clone);

    if (clone->record == LEDGER_NONE)
        return;
    if (state != LEDGER_BUSY)
        record_write(clone);
    ledger_vm_state(clone->vms->keep.ledger, clone->record, state);
}

void clone_keep_state(struct clone *clone)
{
    if (clone->slot->state == SLOT_PARKED)
        record_update(clone);
    else if (clone->slot->state != SLOT_LEASED)
        ledger_vm_state(clone->vms->keep.ledger, clone->record, LEDGER_BUSY);
}

void clone_keep_busy(struct clone *clone)
{
    ledger_vm_state(clone->vms->keep.ledger, clone->record, LEDGER_BUSY);
}

/* ---- What the keeper has ---- */

struct fds {
    uint32_t roles;
    unsigned count;
    int fds[KEEP_ROLES_MAX];
};

/* In the order of roles. */
static void add(struct fds *fds, unsigned role, int fd)
{
    if (fd < 0)
        return;
    fds->roles |= 1u << role;
    fds->fds[fds->count++] = fd;
}

static void gate_add(struct fds *fds, const struct net_gate *gate)
{
    int its[NET_GATE_FDS];

    net_gate_fds(gate, its);
    for (unsigned i = 0; i < NET_GATE_FDS; i++)
        add(fds, KEEP_VM_GATE_CONTROL + i, its[i]);
}

static int connection_put(struct clone *clone)
{
    return clone->slot->owner_connection
               ? keep_put(&clone->vms->keep, KEEP_CONNECTION, clone->record, 1,
                          (uintptr_t)clone->slot->owner_connection, &clone->connection_fd)
               : 0;
}

/* Of VMs beyond the ledger's, once until there is room again: they end with this poold. */
static void full_tell(struct vms *vms, bool full)
{
    if (full && !vms->ledger_full)
        log_warn(
            "there are %u VMs: those beyond are not taken over by the next poold, and end with "
            "this one",
            LEDGER_VMS_MAX);
    vms->ledger_full = full;
}

int clone_keep(struct clone *clone)
{
    struct keep *keep = &clone->vms->keep;
    struct fds fds = { 0 };

    if (clone->record == LEDGER_NONE)
        clone->record = ledger_vm_take(keep->ledger);
    full_tell(clone->vms, clone->record == LEDGER_NONE);
    if (clone->record == LEDGER_NONE) {
        list_remove(&clone->due.node);
        return 0;
    }
    add(&fds, KEEP_VM_CONTROL, clone->link.fds[LINK_CONTROL]);
    add(&fds, KEEP_VM_BELL, clone->link.fds[LINK_BELL]);
    add(&fds, KEEP_VM_PIDFD, clone->link.fds[LINK_PIDFD]);
    add(&fds, KEEP_VM_NETNS, clone->net.on ? clone->net.netns_fd : -1);
    add(&fds, KEEP_VM_PEER, clone->net.on ? clone->net.peer_fd : -1);
    if (clone->net.on && clone->net.gate)
        gate_add(&fds, clone->net.gate);
    int rc = keep_put(keep, KEEP_VM, clone->record, fds.roles, 0, fds.fds);
    if (rc == 0)
        rc = connection_put(clone);
    if (rc < 0)
        return rc;
    list_remove(&clone->due.node);
    record_update(clone);
    ledger_numbers(keep->ledger)->uid_next = clone->vms->vm_dirs.uids.next;
    return 0;
}

static int due_put(struct keep_due *due)
{
    struct clone *clone = list_entry(due, struct clone, due);

    return clone->slot ? clone_keep(clone) : 0;
}

void clone_keep_soon(struct clone *clone)
{
    struct keep *keep = &clone->vms->keep;

    clone->due.put = due_put;
    list_remove(&clone->due.node);
    list_append(&keep->due, &clone->due.node);
    turn_schedule(clone->vms->turn);
}

void clone_keep_gate(struct clone *clone)
{
    struct keep *keep = &clone->vms->keep;
    struct fds fds = { 0 };

    if (!clone->slot || clone->record == LEDGER_NONE || !clone->net.gate)
        return;
    gate_add(&fds, clone->net.gate);
    if (keep_put(keep, KEEP_VM, clone->record, fds.roles, 0, fds.fds) < 0) {
        clone_keep_soon(clone);
        return;
    }
    keep_take_back(keep, KEEP_VM, clone->record, 1u << KEEP_VM_PEER);
}

void clone_keep_closed(struct clone *clone, enum link_channel channel)
{
    const unsigned role = channel == LINK_BELL ? KEEP_VM_BELL : KEEP_VM_CONTROL;

    if (clone->record != LEDGER_NONE)
        keep_take_back(&clone->vms->keep, KEEP_VM, clone->record, 1u << role);
}

bool clone_template_has_vms(struct hosted_pool *hosted, uint32_t record)
{
    for (unsigned state = 0; state < SLOT_DEAD; state++) {
        LIST_FOR_EACH(at, &hosted->pool.slots[state])
        {
            const struct clone *clone = list_entry(at, struct slot, node)->vm;

            if (clone && clone->child.template_record == record)
                return true;
        }
    }
    return false;
}

/* The record goes last: one that is free has nothing at the keeper, or will have nothing before it is
 * put there again. */
void clone_keep_end(struct clone *clone)
{
    struct keep *keep = &clone->vms->keep;

    list_remove(&clone->due.node);
    if (clone->record == LEDGER_NONE)
        return;
    keep_take_back(keep, KEEP_VM, clone->record, KEEP_ALL_ROLES);
    if (clone->bound)
        keep_take_back(keep, KEEP_CONNECTION, clone->record, KEEP_ALL_ROLES);
    ledger_vm_state(keep->ledger, clone->record, LEDGER_FREE);
    clone->record = LEDGER_NONE;
}

void clone_lease_kept(struct slot *slot, int connection_fd)
{
    struct clone *clone = slot->vm;

    clone->lease_told = true;
    clone->connection_fd = connection_fd;
    clone->bound = slot->owner_connection != NULL;
    /* One that was restored for this lease, or that another connection is to be kept for. */
    const bool whole = !list_empty(&clone->due.node) || clone->record == LEDGER_NONE;
    if ((whole && clone_keep(clone) < 0) || (!whole && clone->bound && connection_put(clone) < 0))
        clone_keep_soon(clone);
    record_update(clone);
}

void clone_keep_layers(struct clone *clone)
{
    record_update(clone);
}

void clone_lease_renewed(struct slot *slot)
{
    record_update(slot->vm);
}
