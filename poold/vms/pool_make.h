/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a pool of what was asked for, by a client or by the configuration. Loop thread only. */
#ifndef VOLT_POOLD_POOL_MAKE_H
#define VOLT_POOLD_POOL_MAKE_H

#include "vms/pool_spec.h"
#include "vms/vms.h"

/* With hosted NULL, err says why there is no pool: EEXIST there is one of that name, ESHUTDOWN poold
 * is shutting down, ENOMEM, EMFILE poold has no descriptors for it; else what was asked for can't be. */
typedef void (*pool_made_fn)(void *data, struct hosted_pool *hosted, const struct err *err);

/* Checks the body, opens its files on the thread pool, as maker may (NULL: as poold may; taken), and
 * adds the pool, which begins to boot. made(data, ...) is called once, maybe from within. */
void pool_make(struct vms *vms, const struct pool_body *body, struct client_ids *maker,
               pool_made_fn made, void *data);
/* The same for a pool that is to take the place of the one of its name (hosted_replace.h), which is
 * what made is given: EBUSY it can't be replaced now, ENOENT there is none. */
void pool_remake(struct vms *vms, const struct pool_body *body, struct client_ids *maker,
                 pool_made_fn made, void *data);

#endif
