/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the slots of a pool: which lists they are in and what they are counted as, both by the table
 * of phases (slot.h). */
#include <assert.h>
#include <stdlib.h>

#include "pool/pool_internal.h"

static void room_count(struct pool_room *room, const struct pool *pool, uint32_t by)
{
    room->vms += by;
    room->fds += by == 1 ? pool->vm_fds : -pool->vm_fds;
    room->bytes += by == 1 ? pool->vm_bytes : -pool->vm_bytes;
}

static void count(const struct slot *slot, uint32_t by)
{
    const uint32_t is = slot_rule(slot->phase)->is;
    struct pool *pool = slot->pool;
    struct pool_env *env = pool->env;
    const struct {
        uint32_t bit;
        uint32_t *counter;
    } rows[] = {
        { SLOT_COUNTS_WAKING, &env->waking },       { SLOT_COUNTS_DEMANDED, &env->demanded },
        { SLOT_COUNTS_GOING, &env->going },         { SLOT_COUNTS_FROZEN, &env->frozen },
        { SLOT_COUNTS_DYING, &env->dying },         { SLOT_COUNTS_VACATED, &pool->vacated },
        { SLOT_COUNTS_REFILLING, &env->refilling }, /* the last, which a trial's is not counted as */
    };

    pool->counts[slot->state] += by;
    room_count(&env->made, pool, by);
    if (slot->state == SLOT_WAKING || slot->state == SLOT_LEASED)
        room_count(&env->claimed, pool, by);
    if (slot->state == SLOT_STOPPING)
        room_count(&env->ending, pool, by);
    for (unsigned i = 0; i < ARRAY_LEN(rows) - slot->trial; i++) {
        if (is & rows[i].bit)
            *rows[i].counter += by;
    }
    if (is & SLOT_COUNTS_FROZEN)
        env->frozen_bytes += by == 1 ? slot->frozen_bytes : -slot->frozen_bytes;
}

static void enter(struct slot *slot, enum slot_phase phase)
{
    const struct slot_rule *rule = slot_rule(phase);
    struct pool_env *env = slot->pool->env;

    slot->state = rule->state;
    slot->phase = phase;
    if (rule->state == SLOT_DEAD)
        return;
    count(slot, 1);
    if (rule->is & SLOT_IS_HELD)
        list_append(&env->held, &slot->ready_node);
    if (rule->is & SLOT_IS_READYING)
        list_append(&env->readying, &slot->ready_node);
}

static struct slot *add(struct pool *pool, bool trial, enum slot_phase phase)
{
    struct slot *slot = calloc(1, sizeof *slot);

    if (!slot)
        return NULL;
    list_init(&slot->kill_node);
    list_init(&slot->ready_node);
    list_init(&slot->news_node);
    slot->end_detail = "";
    slot->pool = pool;
    slot->trial = trial;
    if (trial)
        pool->trial = slot;
    enter(slot, phase);
    list_append(&pool->slots[slot->state], &slot->node);
    return slot;
}

struct slot *pool_slot_create(struct pool *pool, bool trial)
{
    return add(pool, trial, SLOT_PHASE_NEW);
}

struct slot *pool_adopt(struct pool *pool, enum slot_state state)
{
    assert(state == SLOT_PARKED || state == SLOT_LEASED);
    return add(pool, false, state == SLOT_PARKED ? SLOT_PHASE_PARKED : SLOT_PHASE_LEASED);
}

void pool_slot_enter(struct slot *slot, enum slot_phase phase)
{
    const enum slot_state from = slot->state;

    assert(slot_rule(slot->phase)->to & 1u << phase);
    count(slot, (uint32_t)-1);
    list_remove(&slot->ready_node);
    slot->paused = false;
    enter(slot, phase);
    if (slot->state == from)
        return;
    slot->deadline_ns = 0;
    list_remove(&slot->node);
    if (slot->state == SLOT_DEAD)
        return;
    list_append(&slot->pool->slots[slot->state], &slot->node);
    slot->pool->env->ops->note(slot->pool->env->context, slot);
}

void pool_slot_deadline(struct slot *slot, uint64_t deadline_ns)
{
    slot->deadline_ns = deadline_ns;
    if (deadline_ns)
        slot->pool->env->ops->arm(slot->pool->env->context, deadline_ns);
}

uint32_t pool_vm_count(const struct pool *pool)
{
    uint32_t count = 0;

    for (unsigned i = 0; i < SLOT_DEAD; i++)
        count += pool->counts[i];
    return count;
}

struct pool *pool_newest(struct pool *pool)
{
    while (pool->after)
        pool = pool->after;
    return pool;
}

void pool_part(struct pool *pool)
{
    if (pool->before)
        pool->before->after = pool->after;
    if (pool->after)
        pool->after->before = pool->before;
    pool->before = pool->after = NULL;
}

uint32_t pool_state_count_all(const struct pool *pool, enum slot_state state)
{
    uint32_t count = 0;

    for (; pool; pool = pool->before)
        count += pool->counts[state];
    return count;
}

uint32_t pool_taken_before(const struct pool *pool)
{
    return pool_state_count_all(pool, SLOT_WAKING) - pool->counts[SLOT_WAKING] +
           pool_state_count_all(pool, SLOT_LEASED) - pool->counts[SLOT_LEASED];
}

uint32_t pool_live_count(const struct pool *pool)
{
    return pool_vm_count(pool) - pool->vacated - (pool->trial != NULL) + pool_taken_before(pool);
}
