/* SPDX-License-Identifier: Apache-2.0 */
/* What the judge (net_judge.h) remembers of a VM: who has begun something with it, which fragments
 * follow what has passed, and with whom it has begun to exchange datagrams. Each VM has a table of
 * its own, so that however many others fill theirs, nothing of it is forgotten. Freestanding.
 *
 * How it works
 *   A key's hash says in which set of a few flows it is looked for; in a set that is full the one that
 *   was not used for the longest time makes room. A set is locked while it is looked at, as frames of
 *   one VM are judged on several CPUs at once. */
#ifndef VOLT_POOLD_NET_FLOWS_H
#define VOLT_POOLD_NET_FLOWS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/net_rules.h"

#define NET_INLINE static inline __attribute__((always_inline))

#define NET_FLOW_WAYS 8u

enum net_flow_kind {
    NET_FLOW_OTHERS,    /* begun by who is denied; answers pass */
    NET_FLOW_FRAGMENTS, /* remote_port is the packet's id; what follows it passes */
    NET_FLOW_OWN,       /* datagrams that the VM has begun; those that come back are let in */
};

struct net_flow_key {
    uint32_t remote;
    uint16_t remote_port, own_port;
    uint8_t protocol, kind;
    uint16_t zero;
};

struct net_flow {
    uint64_t seen_ns; /* last; 0: it is none */
    struct net_flow_key key;
    uint32_t answered; /* TCP: the connection is open */
};

struct net_flow_set {
    struct bpf_spin_lock lock;
    uint32_t zero;
    struct net_flow flow[NET_FLOW_WAYS];
};

/* The set with that number of the VM's, locked; NULL: it is not there, and is not to be made, or
 * can't be. Nothing of the world's but net_world_unlock is called until then. */
NET_INLINE struct net_flow_set *net_world_lock(void *world, const struct net_vm *vm,
                                               uint32_t number, bool make);
NET_INLINE void net_world_unlock(void *world, struct net_flow_set *set);
/* A monotonic clock. */
NET_INLINE uint64_t net_world_now(void *world);

/* `vm->key` makes it another for each VM: who floods a VM does not know what falls together. */
NET_INLINE uint32_t net_flow_set_of(const struct net_vm *vm, const struct net_flow_key *key)
{
    uint32_t ports = (uint32_t)key->remote_port << 16 | key->own_port;
    uint32_t hash = (vm->key ^ key->remote) * 0x9e3779b1u;

    hash = (hash ^ hash >> 15 ^ ports) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13 ^ key->protocol ^ (uint32_t)key->kind << 8) * 0xc2b2ae35u;
    return (hash ^ hash >> 16) % NET_FLOW_SETS;
}

NET_INLINE bool net_flow_is(const struct net_flow *flow, const struct net_flow_key *key)
{
    return flow->seen_ns && flow->key.remote == key->remote &&
           flow->key.remote_port == key->remote_port && flow->key.own_port == key->own_port &&
           flow->key.protocol == key->protocol && flow->key.kind == key->kind;
}

/* NULL: there is none. */
NET_INLINE struct net_flow *net_flow_find(struct net_flow_set *set, const struct net_flow_key *key)
{
    for (uint32_t i = 0; i < NET_FLOW_WAYS; i++) {
        if (net_flow_is(&set->flow[i], key))
            return &set->flow[i];
    }
    return (void *)0;
}

NET_INLINE void net_flow_remember(void *world, const struct net_vm *vm,
                                  const struct net_flow_key *key)
{
    const struct net_flow flow = { .seen_ns = net_world_now(world), .key = *key };
    struct net_flow_set *set = net_world_lock(world, vm, net_flow_set_of(vm, key), true);
    uint32_t at = 0;
    uint64_t oldest = UINT64_MAX;

    if (!set)
        return;
    for (uint32_t i = 0; i < NET_FLOW_WAYS; i++) {
        uint64_t seen_ns = net_flow_is(&set->flow[i], key) ? 0 : set->flow[i].seen_ns + 1;

        at = seen_ns < oldest ? i : at;
        oldest = seen_ns < oldest ? seen_ns : oldest;
    }
    set->flow[at % NET_FLOW_WAYS] = flow;
    net_world_unlock(world, set);
}

/* Whether it was seen within that time. */
NET_INLINE bool net_flow_is_recent(void *world, const struct net_vm *vm,
                                   const struct net_flow_key *key, uint64_t limit_ns)
{
    uint64_t now = net_world_now(world);
    struct net_flow_set *set = net_world_lock(world, vm, net_flow_set_of(vm, key), false);

    if (!set)
        return false;
    const struct net_flow *flow = net_flow_find(set, key);
    bool recent = flow && now - flow->seen_ns < limit_ns;
    net_world_unlock(world, set);
    return recent;
}

#endif
