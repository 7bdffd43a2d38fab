/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of a leased VM whose service waits at the function's bell (guest_abi.h), one at a time. Loop
 * thread only. */
#ifndef VOLT_POOLD_CLONE_CALL_H
#define VOLT_POOLD_CLONE_CALL_H

#include "control/control.h"
#include "vms/vms.h"

/* One of them is called, once for each clone_call, unless the VM is asked for nothing any more; not from
 * within that. They must not call back into the pool. */
struct clone_call_ops {
    /* kind is what the guest says: any number. The answer's bytes are valid during the call. */
    void (*answered)(void *owner, uint32_t kind, const void *answer, uint32_t bytes);
    /* The VM has ended, or is being ended. */
    void (*ended)(void *owner);
};

/* Passes a request on, of at most FUNCTION_PAYLOAD_MAX bytes, which are copied. owner must be there
 * until one of ops was called. 0 or -errno: the VM does not take it, and none is. */
int clone_call(struct slot *slot, const void *request, uint32_t bytes,
               const struct clone_call_ops *ops, void *owner);

#endif
