/* SPDX-License-Identifier: Apache-2.0 */
/* The making of a pool's snapshot: a boot VM runs to its PARK, writes its state into the files of a
 * snapshot transaction, is killed, and the transaction is committed. Ends in exactly one of
 * hosted_ops.snapshotted and .boot_failed (vms.h), or silently after boot_cancel. Loop thread only. */
#ifndef VOLT_POOLD_BOOT_H
#define VOLT_POOLD_BOOT_H

#include <stdbool.h>

struct boot;
struct hosted_pool;

/* Sets hosted->boot, which goes back to NULL when all is over. */
void boot_start(struct hosted_pool *hosted);
void boot_cancel(struct boot *boot);
/* 0 to 99 of the cold boot, by the time the last one took. */
unsigned boot_percent(const struct boot *boot);
/* It takes longer than the last one. */
bool boot_overdue(const struct boot *boot);

#endif
