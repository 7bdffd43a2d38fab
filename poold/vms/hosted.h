/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a hosted pool around its VMs: creation, boot, snapshot, template, what is kept of it
 * in STATE_DIR/pools/NAME.json, deletion. Loop thread only. */
#ifndef VOLT_POOLD_HOSTED_H
#define VOLT_POOLD_HOSTED_H

#include <jansson.h>

#include "vms/pool_keys.h"
#include "vms/vms.h"

/* Adds a pool in state BOOTING, which hosted_boot is to follow once it is saved; with replaced, one
 * that is COMING for it. Takes maker and files; NULL without memory, then they stay the caller's. */
struct hosted_pool *hosted_create(struct vms *vms, const struct pool_body *body,
                                  struct client_ids *maker, const struct pool_files *files,
                                  const struct hosted_pool *replaced);
/* Of one that was added: what its VMs are, and its limits. */
void hosted_spec_set(struct hosted_pool *hosted, const struct pool_body *body);
/* Adds a pool without anything, CURRENT and BOOTING by name alone; NULL without memory. */
struct hosted_pool *hosted_add(struct vms *vms, const char *name, uint32_t generation);
/* Has it booted, as soon as it is its turn. */
void hosted_boot(struct hosted_pool *hosted);
/* Starts the boots whose turn it is: of each turn. */
void hosted_boots_start(struct vms *vms);
/* Takes it out of vms->pools; nothing runs for it any more: hosted_idle. */
void hosted_free(struct hosted_pool *hosted);

/* For struct vms. */
extern const struct hosted_ops hosted_ops;

/* Tells others what state it is in. */
void hosted_tell(const struct hosted_pool *hosted, bool deleted);
void hosted_set_state(struct hosted_pool *hosted, enum pool_state state, const char *error);

/* What it is, as it would be asked for. */
void hosted_body(const struct hosted_pool *hosted, struct pool_body *ret_body);

/* Has what failed tried again, at once: its boot, its saving, its template. 0 or -errno with a
 * sentence: -EINVAL, there is nothing to retry. A pool that is ready stays as it is. */
int hosted_retry(struct hosted_pool *hosted, struct err *err);
/* Parts of it. Has its files opened again, and it booted; -ENOMEM. Its snapshot is there: has that
 * written to its file, and then loaded; has it loaded. */
int hosted_boot_again(struct hosted_pool *hosted, struct err *err);
void hosted_save_booted(struct hosted_pool *hosted);
void hosted_load(struct hosted_pool *hosted);

/* What of a pool can be changed while it lives. */
struct pool_wish {
    uint32_t min, max, shells;
    bool draining;
};

/* With err nothing has changed. It may be ENOSPC and what else writing a file gives, ENOMEM, or EBUSY:
 * the pool is being deleted. Without, the pool is there. */
typedef void (*hosted_changed_fn)(void *data, const struct err *err);

/* Its draining is over: it is loaded again, from where it was. */
void hosted_undrained(struct hosted_pool *hosted);

/* What the pool will be once all changes hold that are under way. */
struct pool_wish hosted_wish(const struct hosted_pool *hosted);
/* Writes the pool's file as it is wished, off the loop and in the order of the calls; then the wish
 * holds, and changed is called: maybe from within. */
void hosted_change(struct hosted_pool *hosted, const struct pool_wish *wish,
                   hosted_changed_fn changed, void *data);
/* The next change, if none is out; those of a pool that is being deleted are refused. */
void hosted_changes_start(struct hosted_pool *hosted);

/* Stops its VMs, deletes its snapshot and file; deleted(data, NULL) when all is gone. What can't be
 * removed leaves a DRAINING pool that can be deleted again; deleted(data, err) then. */
void hosted_delete(struct hosted_pool *hosted, void (*deleted)(void *data, const struct err *err),
                   void *data);
/* Kills boot VM and template. */
void hosted_stop_processes(struct hosted_pool *hosted);
/* Frees it if it is being deleted and nothing is left of it. */
void hosted_reap(struct hosted_pool *hosted);
/* Nothing runs for it any more. */
bool hosted_idle(const struct hosted_pool *hosted);
/* A template that ended is started again when its back-off is over; the next time to look, or
 * UINT64_MAX. */
uint64_t hosted_tick(struct hosted_pool *hosted, uint64_t now);

#endif
