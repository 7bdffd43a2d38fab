/* SPDX-License-Identifier: Apache-2.0 */
/* Brings a store's snapshots of format version 1 to the one of today. */
#ifndef VOLT_SNAPSHOT_STORE_UPGRADE_H
#define VOLT_SNAPSHOT_STORE_UPGRADE_H

#include "snapshot/image/image_store.h"
#include "snapshot/upgrade_log.h"

/* Upgrades what there is of version 1 in the store of store_fd. Images of that version must have
 * been upgraded before, in `images` (NULL: there are none). What can't be upgraded stays as it is,
 * and nobody can use it: `log` (may be NULL) hears why. Interrupted, it goes on when it is called
 * the next time. Call before snapshot_store_clean. Blocks for as long as reading everything takes.
 */
void snapshot_store_upgrade(int store_fd, struct image_store *images,
                            const struct upgrade_log *log);

#endif
