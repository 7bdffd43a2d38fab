/* SPDX-License-Identifier: Apache-2.0 */
/* The replacement of a pool by another one of the same name, without an acquire that is refused for
 * it. Loop thread only.
 *
 *   role       CURRENT --------------------------------> GOING ----> deleted with its last VM
 *                 :                                   /
 *              COMING: BOOTING ... PROVING, READY --+---> CURRENT
 *                 |                            its file is written
 *                 +--> deleted: it failed, the pool is drained or deleted (replace_error says why)
 *
 * How it works
 *   There are two hosted pools of one name, told apart by their generation: the first of a name has
 *   0, each that takes its place one more. Of a generation beyond 0, snapshot, file and console are
 *   named NAME~GENERATION, and what the ledger has of VMs and templates says it, too. Only the CURRENT
 *   one is found by its name; it owns the COMING one (hosted->coming). The GOING ones stay behind
 *   their successor (pool.before) until the last of their leases is over, with all that these need:
 *   template, network, image_config.
 *   A COMING pool has no file. Once a clone of it has got READY its file is written, and that is the
 *   switch: of the files of one name the highest generation is the pool. So a poold that is killed
 *   before leaves the next one the old pool, and a snapshot without a file, which is deleted; one that
 *   is killed after leaves the new pool, and the old one's leases, which go on.
 *   With the switch those that wait at the old pool wait at the new one, and the old one is drained.
 *
 * What comes meanwhile
 *   scale            holds for both; while the file is written, for the new one
 *   drain, delete    end the replacement
 *   a second one     is refused
 *   undrain, retry   are of the old pool */
#ifndef VOLT_POOLD_HOSTED_REPLACE_H
#define VOLT_POOLD_HOSTED_REPLACE_H

#include "vms/pool_spec.h"
#include "vms/vms.h"

/* 0, or -errno with a sentence: why it can't be replaced now. */
int hosted_replaceable(const struct hosted_pool *hosted, struct err *err);
/* Adds the COMING pool and has it booted. Takes maker and files; -ENOMEM: then they stay the caller's. */
int hosted_come(struct hosted_pool *current, const struct pool_body *body, struct client_ids *maker,
                const struct pool_files *files);
/* Has it deleted, if there is one, and its end told as `why`. */
void hosted_come_end(struct hosted_pool *current, const char *why);
/* With a pool that is CURRENT the others of its name are deleted, before itself. */
void hosted_relatives_delete(struct hosted_pool *hosted);
/* It goes: nobody refers to it any more. */
void hosted_relatives_leave(struct hosted_pool *hosted);
/* Moves on a pool that is not CURRENT: of each turn. */
void hosted_replace_pump(struct hosted_pool *hosted);
/* `going` was replaced by `current`, as an earlier poold's files say. */
void hosted_replaced(struct hosted_pool *current, struct hosted_pool *going);

#endif
