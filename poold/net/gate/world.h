/* SPDX-License-Identifier: Apache-2.0 */
/* What volt-gate knows beside the rules: the host's own addresses and who has begun something with
 * the VM. To be included once: it defines what net_judge.h asks for. */
#ifndef VOLT_POOLD_GATE_WORLD_H
#define VOLT_POOLD_GATE_WORLD_H

#include "base/util.h"
#include "net/gate/gate.h"
#include "net/net_judge.h"

#define WORLD_TURNS_MAX 1000u

struct world {
    const volatile struct gate_host *host;
    struct net_flow_set flows[NET_FLOW_SETS];
};

/* By bisection. An answer that poold has written over is not taken: -1. */
static inline int world_look_up(const volatile struct gate_host *host, uint32_t address)
{
    uint32_t turn = __atomic_load_n(&host->turn, __ATOMIC_ACQUIRE), low = 0;
    uint32_t high = MIN_OF(host->count, GATE_HOST_RANGES_MAX);
    int found = 0;

    while (low < high && !found) {
        uint32_t middle = low + (high - low) / 2;

        if (address < host->range[middle].first)
            high = middle;
        else if (address > host->range[middle].last)
            low = middle + 1;
        else
            found = 1;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return turn & 1 || turn != host->turn ? -1 : found;
}

/* Should poold end in the middle of writing, everything is the host's. */
NET_INLINE bool net_world_is_host(void *context, uint32_t address)
{
    const struct world *world = context;
    int found = -1;

    for (unsigned i = 0; i < WORLD_TURNS_MAX && found < 0; i++)
        found = world_look_up(world->host, address);
    return found != 0;
}

/* One VM, one thread. */
NET_INLINE struct net_flow_set *net_world_lock(void *context, const struct net_vm *vm,
                                               uint32_t number, bool make)
{
    struct world *world = context;

    (void)vm;
    (void)make;
    return &world->flows[number];
}

NET_INLINE void net_world_unlock(void *context, struct net_flow_set *set)
{
    (void)context;
    (void)set;
}

NET_INLINE uint64_t net_world_now(void *context)
{
    (void)context;
    return now_ns();
}

#endif
