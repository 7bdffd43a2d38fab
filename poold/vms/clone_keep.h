/* SPDX-License-Identifier: Apache-2.0 */
/* What of a clone outlives poold: its record in the ledger, its descriptors at the keeper. Loop
 * thread only. */
#ifndef VOLT_POOLD_CLONE_KEEP_H
#define VOLT_POOLD_CLONE_KEEP_H

#include "vms/clone_internal.h"

/* Its process is known: it is put as soon as no acquire waits. */
void clone_keep_soon(struct clone *clone);
/* Now; also again, when the keeper is a new one. 0; -EAGAIN: it stays due. */
int clone_keep(struct clone *clone);
/* It is not to be taken over as it was, from now on: before a wake. */
void clone_keep_busy(struct clone *clone);
/* Its slot has come into another state (vm_ops.note). */
void clone_keep_state(struct clone *clone);
/* Its slot has other layers: it may be parked or leased for as long as its group took. */
void clone_keep_layers(struct clone *clone);
/* A channel of its link is closed. */
void clone_keep_closed(struct clone *clone, enum link_channel channel);
/* Its gate has other fds. */
void clone_keep_gate(struct clone *clone);
/* Whether a VM of the pool was forked by the template with that record. */
bool clone_template_has_vms(struct hosted_pool *hosted, uint32_t record);
/* It is gone. */
void clone_keep_end(struct clone *clone);

#endif
