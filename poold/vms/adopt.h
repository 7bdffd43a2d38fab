/* SPDX-License-Identifier: Apache-2.0 */
/* A pool's templates and VMs that an earlier poold has left (keep/keep.h): they become this one's.
 * Start-up, loop thread: it blocks while the walls of the pool's network are loaded.
 *
 * How it works
 *   A VM is taken over if the ledger says that it is parked or leased, its process runs, and all that
 *   it had is there: its uid, its address, its sockets. What was on its way anywhere is not, and is
 *   killed, as is what nobody knows: an acquire that was not answered gets another VM.
 *   A template that runs the volt-vmm of today goes on. Another one (after an upgrade) is retired: a
 *   new one is started for VMs to come, and it ends with the last of its own. Leased VMs that speak
 *   another control protocol stay until they are released, without new streams. */
#ifndef VOLT_POOLD_ADOPT_H
#define VOLT_POOLD_ADOPT_H

#include "vms/vms.h"

/* Takes over what is the pool's, which has neither template nor VMs yet. */
void hosted_adopt(struct hosted_pool *hosted);

#endif
