/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the taking over of VMs; see adopt.h. */
#include "vms/adopt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/util.h"
#include "vms/clone_keep.h"
#include "vms/takeover.h"
#include "vms/template.h"

/* Its network's rules are in force, under the number that its VMs know them by. */
static int net_prepare(struct hosted_pool *hosted, uint32_t policy)
{
    struct net_walls *walls = &hosted->vms->walls;
    struct err err;

    if (!hosted->spec.net.kind[0] || hosted->net.prepared)
        return 0;
    hosted->net.policy = policy;
    if (net_walls_watch(walls, &err) == 0 &&
        pool_net_prepare(&hosted->net, &hosted->spec.net, walls, &err) == 0)
        return 0;
    log_pool(LOG_LEVEL_ERROR, hosted->pool.name, "pool '%s': its VMs can't be taken over: %s",
             hosted->pool.name, err.msg);
    return -err.code;
}

static bool is_of(const struct hosted_pool *hosted, const char *pool, uint32_t generation)
{
    return strcmp(pool, hosted->pool.name) == 0 && generation == hosted->generation;
}

static void templates_adopt(struct hosted_pool *hosted)
{
    struct keep *keep = &hosted->vms->keep;

    for (uint32_t i = 0; i < LEDGER_TEMPLATES_MAX; i++) {
        struct keep_entry *held = keep_table_at(&keep->inherited, KEEP_TEMPLATE, i);
        struct ledger_template entry;

        if (!held)
            return;
        if (held->fds[KEEP_TEMPLATE_CONTROL] < 0 || held->fds[KEEP_TEMPLATE_PIDFD] < 0 ||
            ledger_template_read(keep->ledger, i, &entry) != LEDGER_READY ||
            !is_of(hosted, entry.pool, entry.generation) ||
            process_ended(held->fds[KEEP_TEMPLATE_PIDFD]) || net_prepare(hosted, entry.policy) < 0)
            continue;
        template_adopt(hosted, i, &entry, held->fds);
    }
}

/* ---- VMs ---- */

static bool net_adopt(struct clone *clone, const struct ledger_net *entry, struct keep_entry *held)
{
    struct hosted_pool *hosted = clone->slot->pool->owner;
    struct vm_net *net = &clone->net;

    *net = (struct vm_net){ .user = entry->user,
                            .source_check = entry->source_check,
                            .vhost = entry->vhost,
                            .on_bridge = entry->on_bridge,
                            .prefix_bits = (uint8_t)entry->prefix_bits,
                            .number = entry->number,
                            .address = entry->address,
                            .gateway = entry->gateway,
                            .index = entry->index,
                            .vm_fd = -1,
                            .vhost_fd = -1,
                            .peer_fd = -1,
                            .netns_fd = -1 };
    memcpy(net->mac, entry->mac, sizeof net->mac);
    snprintf(net->link, sizeof net->link, "%s", entry->link);
    if (!entry->on)
        return true;
    if (vm_net_adopt(net, &hosted->net, &hosted->spec.net) < 0)
        return false;
    net->on = true;
    net->netns_fd = take_fd(&held->fds[KEEP_VM_NETNS]);
    net->peer_fd = take_fd(&held->fds[KEEP_VM_PEER]);
    return true;
}

/* Of a client that has gone meanwhile, the lease ends. */
static bool connection_adopt(struct clone *clone, uint32_t record)
{
    struct vms *vms = clone->vms;
    struct keep_entry *held = keep_table_at(&vms->keep.inherited, KEEP_CONNECTION, record);

    clone->bound = true;
    if (!held || held->fds[0] < 0)
        return false;
    clone->slot->owner_connection =
        takeover_connection(vms, held->value, take_fd(&held->fds[0]), &clone->connection_fd);
    return clone->slot->owner_connection != NULL;
}

static void lease_fill(struct slot *slot, const struct ledger_vm *entry)
{
    const uint64_t *t = entry->timings_ns;

    slot->tier = (enum tier)entry->tier;
    slot->owner_uid = entry->owner_uid;
    slot->leased_ns = entry->leased_ns;
    slot->leased_wall_ns = entry->leased_wall_ns;
    slot->ttl_ms = entry->ttl_ms;
    slot->deadline_ns = entry->deadline_ns;
    slot->kept_by_streams = entry->kept_by_streams;
    slot->request = entry->request;
    slot->answers_due = 1; /* the poold before may have asked */
    slot->given = true;
    memcpy(slot->labels, entry->labels, sizeof slot->labels);
    slot->timings = (struct timings){ t[0], t[1], t[2], t[3] };
}

static bool lease_adopt(struct clone *clone, const struct ledger_vm *entry, uint32_t record,
                        struct keep_entry *held)
{
    struct net_publish publish = { .count = entry->publish_count };

    lease_fill(clone->slot, entry);
    clone->lease_told = true;
    if (clone->slot->deadline_ns)
        turn_arm(clone->vms->turn, clone->slot->deadline_ns);
    memcpy(publish.port, entry->publish, sizeof publish.port);
    net_publish_retake(&publish, &clone->vms->walls.ports);
    if (clone->net.on && clone->net.user &&
        clone_net_lease_adopt(clone, &publish, held->fds + KEEP_VM_GATE_CONTROL) < 0)
        return false;
    return !entry->bound || connection_adopt(clone, record);
}

static void identity_fill(struct slot *slot, struct clone *clone, const struct ledger_vm *entry)
{
    memcpy(slot->id, entry->id, sizeof slot->id);
    memcpy(slot->generation_id, entry->generation_id, sizeof slot->generation_id);
    snprintf(slot->hostname, sizeof slot->hostname, "%s", entry->hostname);
    slot->layers = entry->layers;
    slot->landlock_abi = entry->landlock_abi;
    memcpy(clone->dir.id, slot->id, sizeof clone->dir.id);
    clone->dir.uid = entry->uid;
    clone->dir.fd = clone->dir.listen_fd = -1;
}

/* Everything is the slot's now, or is ended with it. */
static void vm_attach(struct clone *clone, struct keep_entry *held)
{
    int pidfd = take_fd(&held->fds[KEEP_VM_PIDFD]);

    clone->introduced = true;
    clone->in_group = clone->slot->layers & CONTROL_LAYER_CGROUP;
    clone->link.fds[LINK_CONTROL] = take_fd(&held->fds[KEEP_VM_CONTROL]);
    clone->link.fds[LINK_BELL] = take_fd(&held->fds[KEEP_VM_BELL]);
    if (link_attach(&clone->link, LINK_PIDFD, pidfd) < 0 ||
        (!clone->foreign && clone_watch(clone) < 0)) {
        clone_fail(clone, FAILURE_HOST_ERROR, "it can't be watched");
        return;
    }
    prompt_vm_adopt(&clone->prompt, pidfd);
    clone_group_join(clone, pidfd);
    clone_prompt(clone);
}

static void vm_adopt(struct hosted_pool *hosted, enum slot_state state, uint32_t record,
                     const struct ledger_vm *entry, struct keep_entry *held)
{
    struct vms *vms = hosted->vms;
    struct slot *slot;
    struct clone *clone;

    slot = pool_adopt(&hosted->pool, state);
    clone = slot ? clone_create(vms, slot) : NULL;
    if (!clone) {
        if (slot)
            pool_vm_gone(slot);
        return;
    }
    identity_fill(slot, clone, entry);
    clone->record = record;
    clone->child.template_record = entry->template_index;
    clone->foreign = template_is_foreign(hosted, entry->template_index);
    bool whole = net_adopt(clone, &entry->net, held) &&
                 (state != SLOT_LEASED || lease_adopt(clone, entry, record, held));
    vm_attach(clone, held);
    if (!whole && slot->state == SLOT_LEASED)
        pool_release(slot, entry->bound && !slot->owner_connection ? LEASE_END_CLIENT_GONE
                                                                   : LEASE_END_LOST);
    else if (!whole)
        clone_fail(clone, FAILURE_HOST_ERROR, "its network can't be taken over");
    else
        clone_keep_soon(clone); /* with what is new of it */
    keep_fds_close(held->fds, KEEP_ALL_ROLES);
}

/* What of a VM must be there for it to go on. */
static bool is_alive(struct hosted_pool *hosted, const struct ledger_vm *entry,
                     const struct keep_entry *held, enum ledger_state state)
{
    return held->fds[KEEP_VM_CONTROL] >= 0 && held->fds[KEEP_VM_BELL] >= 0 &&
           held->fds[KEEP_VM_PIDFD] >= 0 && !process_ended(held->fds[KEEP_VM_PIDFD]) &&
           template_is_there(hosted, entry->template_index) &&
           (state == LEDGER_LEASED || !template_is_foreign(hosted, entry->template_index));
}

void hosted_adopt(struct hosted_pool *hosted)
{
    struct keep *keep = &hosted->vms->keep;
    const uint32_t end = ledger_vm_end(keep->ledger);

    templates_adopt(hosted);
    for (uint32_t i = 0; i < end; i++) {
        struct keep_entry *held = keep_table_at(&keep->inherited, KEEP_VM, i);
        struct ledger_vm entry;
        enum ledger_state state = ledger_vm_read(keep->ledger, i, &entry);

        if (!held || (state != LEDGER_PARKED && state != LEDGER_LEASED) ||
            !is_of(hosted, entry.pool, entry.generation) || !is_alive(hosted, &entry, held, state))
            continue;
        vm_adopt(hosted, state == LEDGER_LEASED ? SLOT_LEASED : SLOT_PARKED, i, &entry, held);
    }
    templates_reap(hosted, clone_template_has_vms);
    if (!pool_vm_count(&hosted->pool))
        return;
    hosted->pool.proven = hosted->template != NULL; /* by those that it has forked */
    log_pool(LOG_LEVEL_INFO, hosted->pool.name,
             "pool '%s': %u parked and %u leased VMs of the poold before are taken over",
             hosted->pool.name, hosted->pool.counts[SLOT_PARKED], hosted->pool.counts[SLOT_LEASED]);
}
