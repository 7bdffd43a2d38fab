/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a poold takes over and hands on as a whole; see takeover.h. */
#include "vms/takeover.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "vms/clone_keep.h"
#include "vms/template.h"

/* ---- The start ---- */

int takeover_begin(struct vms *vms, const char *run_dir, struct err *err)
{
    return keep_start(&vms->keep, vms->loop, run_dir, vms->settings->keeper, vms->settings->keep_ms,
                      err);
}

/* Whether the VM of a record is to go on. */
static bool record_read(const struct ledger *ledger, uint32_t index, struct ledger_vm *ret_entry)
{
    const enum ledger_state state = ledger_vm_read(ledger, index, ret_entry);

    return state == LEDGER_PARKED || state == LEDGER_LEASED;
}

bool takeover_keeps_dir(void *data, const char *id)
{
    const struct vms *vms = data;
    const uint32_t end = ledger_vm_end(vms->keep.ledger);
    struct ledger_vm entry;

    for (uint32_t i = 0; i < end; i++) {
        if (record_read(vms->keep.ledger, i, &entry) && strcmp(entry.id, id) == 0)
            return true;
    }
    return false;
}

void takeover_uids(struct vms *vms)
{
    struct keep *keep = &vms->keep;
    const uint32_t room = keep->inherited.kinds[KEEP_UIDS].room;
    struct vm_uid_lock *locks = calloc(MAX_OF(room, 1u), sizeof *locks);

    for (uint32_t i = 0; locks && i < room; i++) {
        struct keep_entry *held = keep_table_at(&keep->inherited, KEEP_UIDS, i);

        if (held->fds[0] < 0)
            continue;
        locks[vms->vm_dirs.lock_count++] =
            (struct vm_uid_lock){ (uint32_t)held->value, take_fd(&held->fds[0]) };
    }
    vms->vm_dirs.locks = locks;
}

/* A record whose uid can't be held is none: its VM ends, as what is no pool's does. */
void takeover_uids_hold(struct vms *vms)
{
    struct ledger *ledger = vms->keep.ledger;
    struct vm_uids *uids = &vms->vm_dirs.uids;
    const uint32_t end = ledger_vm_end(ledger);
    struct ledger_vm entry;

    uids->next = ledger_numbers(ledger)->uid_next;
    for (uint32_t i = 0; i < end; i++) {
        if (record_read(ledger, i, &entry) && !vm_uids_retake(uids, entry.uid)) {
            log_error("VM %s of pool '%s' can't be taken over: its uid %u is not to be had",
                      entry.id, entry.pool, entry.uid);
            ledger_vm_state(ledger, i, LEDGER_BUSY);
        }
    }
}

void takeover_walls(struct vms *vms)
{
    struct keep *keep = &vms->keep;
    struct keep_entry *held = keep_table_at(&keep->inherited, KEEP_WALLS, 0);

    if (held)
        net_walls_inherit(&vms->walls, held->fds, ledger_numbers(keep->ledger)->policy_next);
}

/* It is in no pool: it was on its way to one, or its pool is gone. */
static void kill_all(struct keep *keep, enum keep_kind kind, unsigned role)
{
    for (uint32_t i = 0; i < keep->inherited.kinds[kind].room; i++) {
        const struct keep_entry *held = keep_table_at(&keep->inherited, kind, i);

        if (held->fds[role] >= 0)
            syscall(SYS_pidfd_send_signal, held->fds[role], SIGKILL, NULL, 0);
    }
}

/* Of a VM that was to be taken over, and could not be; with it goes its uid. */
static void dir_give_back(struct vms *vms, uint32_t record)
{
    struct vm_dir dir = { .fd = -1, .listen_fd = -1 };
    struct ledger_vm entry;

    if (!record_read(vms->keep.ledger, record, &entry))
        return;
    dir.uid = entry.uid;
    memcpy(dir.id, entry.id, sizeof dir.id);
    vm_dirs_give_back(&vms->vm_dirs, &dir);
}

/* Records of what has ended. */
static void records_free(struct vms *vms)
{
    struct ledger *ledger = vms->keep.ledger;
    const uint32_t end = ledger_vm_end(ledger);
    _cleanup_free_ bool *used = calloc(MAX_OF(end, 1u), sizeof *used);

    if (!used)
        return;
    LIST_FOR_EACH(pool_at, &vms->pools)
    {
        struct pool *pool = list_entry(pool_at, struct pool, node);

        for (unsigned state = 0; state < SLOT_DEAD; state++) {
            LIST_FOR_EACH(at, &pool->slots[state])
            {
                const struct clone *clone = list_entry(at, struct slot, node)->vm;

                if (clone && clone->record < end)
                    used[clone->record] = true;
            }
        }
    }
    for (uint32_t i = 0; i < end; i++) {
        struct ledger_vm entry;

        if (used[i])
            continue;
        if (ledger_vm_read(ledger, i, &entry) == LEDGER_LEASED)
            vms->lease_lost(vms->told_data, &entry);
        dir_give_back(vms, i);
        ledger_vm_state(ledger, i, LEDGER_FREE);
    }
}

/* ---- What all VMs share ---- */

static void uids_put(struct vms *vms)
{
    const struct vm_uids *uids = &vms->vm_dirs.uids;

    while (vms->blocks_kept < uids->block_count) {
        const struct vm_uid_block *block = uids->blocks[vms->blocks_kept];

        if (keep_put(&vms->keep, KEEP_UIDS, vms->blocks_kept, 1, block->first, &block->lock_fd) ==
            -EAGAIN)
            return;
        vms->blocks_kept++;
    }
}

static void walls_put(struct vms *vms)
{
    int all[NET_WALLS_FDS], fds[NET_WALLS_FDS];
    uint32_t roles = 0;
    unsigned count = 0;

    net_walls_fds(&vms->walls, all);
    for (unsigned i = 0; i < NET_WALLS_FDS; i++) {
        if (all[i] < 0)
            continue;
        roles |= 1u << i;
        fds[count++] = all[i];
    }
    if (roles != vms->walls_kept && keep_put(&vms->keep, KEEP_WALLS, 0, roles, 0, fds) != -EAGAIN)
        vms->walls_kept = roles;
}

static void groups_put(struct vms *vms)
{
    const struct cgroup_host *host = &vms->vm_groups.host;

    for (unsigned i = 0; i < host->hierarchy_count && !vms->groups_kept; i++) {
        if (host->hierarchy[i].v2)
            vms->groups_kept = keep_put(&vms->keep, KEEP_GROUPS, 0, 1, 0,
                                        &host->hierarchy[i].parent_fd) != -EAGAIN;
    }
}

static void shared_put(struct vms *vms)
{
    uids_put(vms);
    walls_put(vms);
    groups_put(vms);
}

/* ---- The keeper's end ---- */

/* The keeper is a new one: everything is put again. */
static void on_anew(void *data)
{
    struct vms *vms = data;
    unsigned later = 0;

    vms->blocks_kept = vms->walls_kept = 0;
    vms->groups_kept = false;
    shared_put(vms);
    vms->keep_anew(vms->told_data);
    LIST_FOR_EACH(pool_at, &vms->pools)
    {
        struct pool *pool = list_entry(pool_at, struct pool, node);

        templates_keep(pool->owner);
        for (unsigned state = 0; state < SLOT_DEAD; state++) {
            LIST_FOR_EACH(at, &pool->slots[state])
            {
                struct clone *clone = list_entry(at, struct slot, node)->vm;

                if (!clone || clone->link.fds[LINK_PIDFD] < 0 || clone_keep(clone) == 0)
                    continue;
                clone_keep_soon(clone);
                later++;
            }
        }
    }
    log_info("the new keeper has what the one before had%s", later ? ", but for a moment" : "");
    turn_schedule(vms->turn);
}

void takeover_finish(struct vms *vms)
{
    struct keep *keep = &vms->keep;

    kill_all(keep, KEEP_VM, KEEP_VM_PIDFD);
    kill_all(keep, KEEP_VM, KEEP_VM_GATE_PIDFD);
    kill_all(keep, KEEP_VM, KEEP_VM_PASST_PIDFD);
    kill_all(keep, KEEP_TEMPLATE, KEEP_TEMPLATE_PIDFD);
    for (uint32_t i = 0; i < keep->inherited.kinds[KEEP_TEMPLATE].room; i++) {
        const struct keep_entry *held = keep_table_at(&keep->inherited, KEEP_TEMPLATE, i);

        if (keep_entry_roles(held))
            ledger_template_state(keep->ledger, i, LEDGER_FREE);
    }
    records_free(vms);
    keep_inherited_end(keep);
    free(vms->takeover_connections);
    vms->takeover_connections = NULL;
    volumes_adopt(vms);
    keep_watch(keep, on_anew, vms);
}

/* ---- Connections ---- */

/* Of one connection there is an fd for each lease that is bound to it; it is opened once. */
struct takeover_connection {
    uint64_t number;
    int fd;
    void *connection; /* NULL: it could not be */
};

void *takeover_connection(struct vms *vms, uint64_t number, int fd, int *ret_fd)
{
    struct takeover_connection *seen = vms->takeover_connections;
    const uint32_t count = vms->takeover_connection_count;

    for (uint32_t i = 0; i < count; i++) {
        if (seen[i].number != number)
            continue;
        close(fd);
        *ret_fd = seen[i].fd;
        return seen[i].connection;
    }
    seen = reallocarray(seen, count + 1, sizeof *seen);
    if (!seen) {
        close(fd);
        return NULL;
    }
    vms->takeover_connections = seen;
    vms->takeover_connection_count++;
    seen[count] =
        (struct takeover_connection){ number, fd, vms->connection_adopt(vms->told_data, fd) };
    *ret_fd = fd;
    return seen[count].connection;
}

void takeover_pump(struct vms *vms, bool pressed)
{
    if (!pressed)
        shared_put(vms);
    keep_pump(&vms->keep, pressed);
}
