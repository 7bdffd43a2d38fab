/* SPDX-License-Identifier: Apache-2.0 */
/* What volt-gate knows beside the rules: the host's own addresses and who has begun something with
 * the VM. To be included once: it defines what net_judge.h asks for. */
#ifndef VOLT_POOLD_GATE_WORLD_H
#define VOLT_POOLD_GATE_WORLD_H

#include <string.h>

#include "base/util.h"
#include "net/gate/gate.h"
#include "net/net_judge.h"

#define WORLD_SETS 256u
#define WORLD_WAYS 4u
#define WORLD_TURNS_MAX 1000u

struct world_flow {
    struct net_flow_key key;
    struct net_flow flow; /* seen_ns 0: unused */
};

struct world {
    const volatile struct gate_host *host;
    struct world_flow flows[WORLD_SETS][WORLD_WAYS];
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

static inline struct world_flow *world_set(struct world *world, const struct net_flow_key *key)
{
    uint32_t hash = key->remote * 0x9e3779b1u ^ key->remote_port * 0x85ebca6bu ^
                    key->own_port * 0xc2b2ae35u ^ key->protocol;

    return world->flows[(hash ^ hash >> 16) % WORLD_SETS];
}

NET_INLINE struct net_flow *net_world_flow(void *context, const struct net_flow_key *key)
{
    struct world_flow *set = world_set(context, key);

    for (unsigned i = 0; i < WORLD_WAYS; i++) {
        if (set[i].flow.seen_ns && memcmp(&set[i].key, key, sizeof *key) == 0)
            return &set[i].flow;
    }
    return NULL;
}

/* In place of the same, of an unused one, or of the oldest of its set. */
NET_INLINE void net_world_remember(void *context, const struct net_flow_key *key,
                                   const struct net_flow *flow)
{
    struct world_flow *set = world_set(context, key), *at = set;
    struct net_flow *same = net_world_flow(context, key);

    if (same) {
        *same = *flow;
        return;
    }
    for (unsigned i = 1; i < WORLD_WAYS; i++) {
        if (set[i].flow.seen_ns < at->flow.seen_ns)
            at = &set[i];
    }
    at->key = *key;
    at->flow = *flow;
}

NET_INLINE uint64_t net_world_now(void *context)
{
    (void)context;
    return now_ns();
}

#endif
