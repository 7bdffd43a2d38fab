/* SPDX-License-Identifier: Apache-2.0 */
/* Why a lease ended: what its user is told (docs/api.md), and what it is counted as. Any thread. */
#ifndef VOLT_POOLD_LEASE_END_H
#define VOLT_POOLD_LEASE_END_H

#include "pool/metrics.h"

/* Code, and a sentence that goes on after "the lease ended at TIME: ". In the order of the history's
 * file: new ones go to the end. */
#define LEASE_END_MAP(X)                                                                           \
    X(LEASE_END_RELEASED, "released", "it was released")                                           \
    X(LEASE_END_REVOKED, "revoked", "an administrator released it")                                \
    X(LEASE_END_EXPIRED, "expired", "its time was over")                                           \
    X(LEASE_END_CLIENT_GONE, "client_gone", "the connection that it was bound to was closed")      \
    X(LEASE_END_GUEST_POWEROFF, "guest_poweroff", "its guest powered off")                         \
    X(LEASE_END_GUEST_CRASHED, "guest_crashed", "its guest crashed")                               \
    X(LEASE_END_OUT_OF_MEMORY, "out_of_memory",                                                    \
      "its VM took more memory than it may have, and the kernel killed it")                        \
    X(LEASE_END_VM_FAILED, "vm_failed", "its VM's process failed")                                 \
    X(LEASE_END_TEMPLATE_DIED, "template_died",                                                    \
      "the template process of its pool ended, and all its VMs with it")                           \
    X(LEASE_END_NETWORK_LOST, "network_lost", "its VM's network was lost")                         \
    X(LEASE_END_POOL_DELETED, "pool_deleted", "its pool was deleted")                              \
    X(LEASE_END_POOLD_STOPPED, "poold_stopped", "poold was stopped")                               \
    X(LEASE_END_LOST, "lost", "its VM ended while there was no poold")                             \
    X(LEASE_END_HOST_MEMORY, "host_out_of_memory",                                                 \
      "the host, or the control group that poold is in, was out of memory, and the kernel killed " \
      "its VM")

enum lease_end {
#define X(name, code, sentence) name,
    LEASE_END_MAP(X)
#undef X
        LEASE_END_COUNT,
};

const char *lease_end_name(enum lease_end end);
const char *lease_end_sentence(enum lease_end end);
/* What the failure of its VM is to a lease. */
enum lease_end lease_end_of(enum failure failure);

#endif
