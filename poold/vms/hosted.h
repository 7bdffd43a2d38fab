/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a hosted pool around its VMs: creation, boot, snapshot, template, what is kept of it
 * in STATE_DIR/pools/NAME.json, deletion. Loop thread only. */
#ifndef VOLT_POOLD_HOSTED_H
#define VOLT_POOLD_HOSTED_H

#include <jansson.h>

#include "vms/pool_keys.h"
#include "vms/vms.h"

/* Adds a pool in state BOOTING and starts its cold boot. Takes maker and files; NULL without memory,
 * then they stay the caller's. */
struct hosted_pool *hosted_create(struct vms *vms, const struct pool_body *body,
                                  struct client_ids *maker, const struct pool_files *files);
/* Adds a pool of an earlier run, whose snapshot is loaded again. Takes maker; NULL without memory,
 * then it stays the caller's. */
struct hosted_pool *hosted_restore(struct vms *vms, const char *name,
                                   const struct pool_record *record, struct client_ids *maker);
/* Takes it out of vms->pools; nothing runs for it any more. */
void hosted_free(struct hosted_pool *hosted);

/* For struct vms. */
extern const struct hosted_ops hosted_ops;

void hosted_set_state(struct hosted_pool *hosted, enum pool_state state, const char *error);

/* What it is, as it would be asked for. */
void hosted_body(const struct hosted_pool *hosted, struct pool_body *ret_body);

/* Writes pools/NAME.json, off the loop. */
void hosted_save(struct hosted_pool *hosted);

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
