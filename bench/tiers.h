/* SPDX-License-Identifier: Apache-2.0 */
/* One restore of each tier, timed: what the suites that drive volt-vmm directly have in common. */
#ifndef VOLT_BENCH_TIERS_H
#define VOLT_BENCH_TIERS_H

#include "vmm.h"

enum tier { TIER_COLD, TIER_SHELL, TIER_PARKED, TIER_COUNT };
const char *tier_name(enum tier tier);

/* All from when the request was sent, CLONE for the cold tier, WAKE for the others. */
struct tier_times {
    uint64_t answer_ns;   /* to the guest's checked answer, at the VMM */
    uint64_t received_ns; /* to AWAKE read by who asked */
    uint64_t ready_ns;    /* to READY; 0 for the parked tier, which was ready before */
    /* The answer's parts; they add up to answer_ns. */
    uint64_t
        request_ns;   /* cold: until the fork began. Others: until the vCPU thread had the WAKE */
    uint64_t make_ns; /* cold: fork to a vCPU thread that takes its WAKE; others: 0 */
    uint64_t load_ns; /* vCPU and chip state loaded */
    uint64_t run_ns;  /* KVM_RUN to the checked answer */
};

/* flags: DOORBELL_FLAG_*, of the first WAKE. The VM is dead and reaped afterwards. */
int tier_measure_cold(struct vmm *template, uint32_t flags, struct tier_times *ret,
                      struct err *err);

/* Makes one shell, wakes it, lets it park again, wakes it once more. Before the first WAKE,
 * `before_wake` (may be NULL) is called. */
int tier_measure_shell(struct vmm *template, uint32_t flags, struct tier_times *ret_shell,
                       struct tier_times *ret_parked, int (*before_wake)(void *data, struct err *),
                       void *data, struct err *err);

#endif
