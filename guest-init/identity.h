/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a clone itself: random numbers, wall clock, hostname, machine id, network address. */
#ifndef GUEST_IDENTITY_H
#define GUEST_IDENTITY_H

#include "doorbell.h"
#include "text.h"

/* Opens and maps what identity_restore needs, and readies the kernel's random numbers if the
 * machine has a hardware source. Once, before parking. */
void identity_prepare(void);

/* Before parking for a snapshot after programs have run, which may have written, cut or replaced the
 * files that are mapped. */
void identity_renew(void);

/* A VM that was never restored: a machine id of its own. */
void identity_first(void);

/* The work of DOORBELL_OP_RESTORE. Wipes the entropy of `wake`. Returns DOORBELL_READY_FAILED_*, and
 * puts what failed into `trouble`, which is empty. */
uint32_t identity_restore(struct doorbell_wake *wake, struct text *trouble);

/* The work of DOORBELL_OP_LEASE: the clock of a VM that stood long, or whose host was busy when it
 * was set, is set again. */
void identity_lease(struct doorbell_wake *wake);

#endif
