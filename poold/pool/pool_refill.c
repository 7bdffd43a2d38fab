/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a pool does when nobody asks: refill, shrink and the deadlines; see pool.h. */
#include "pool/pool_internal.h"

/* So long a pool goes without a VM that it is short of, at most, however many acquires need the CPU:
 * then one is made, and the next after as long again. */
#define STARVED_NS (200 * NS_PER_MS)

enum shortage {
    SHORT_OF_NOTHING,
    SHORT_OF_PARKED,
    SHORT_OF_SHELLS,
};

static enum shortage shortage_of(const struct pool *pool)
{
    uint32_t shells_coming = 0, parked_coming;

    LIST_FOR_EACH(at, &pool->slots[SLOT_PREPARING])
    shells_coming += list_entry(at, struct slot, node)->phase == SLOT_PHASE_CLONING;
    parked_coming = pool->counts[SLOT_PREPARING] - shells_coming - (pool->trial != NULL);
    if (pool->counts[SLOT_PARKED] + parked_coming < pool->min)
        return SHORT_OF_PARKED;
    return pool->counts[SLOT_SHELL] + shells_coming < pool->shells ? SHORT_OF_SHELLS
                                                                   : SHORT_OF_NOTHING;
}

static bool making_allowed(const struct pool *pool, uint64_t now)
{
    const struct pool_env *env = pool->env;

    return pool->state == POOL_READY && !env->stopping && !env->draining && !env->cramped &&
           env->refilling < env->refill_max && !backoff_active(&pool->backoff, now) &&
           pool_room_has_spare(pool);
}

/* No acquire needs the CPU that the making takes. */
static bool is_calm(const struct pool *pool)
{
    return pool->waiting == 0 && pool->env->waking == 0;
}

/* While acquires come, a stock that is still half full is left alone: making a VM takes the CPU
 * that their answers need. */
static bool is_half_full(const struct pool *pool)
{
    return pool->counts[SLOT_PARKED] >= (pool->min + 1) / 2 &&
           pool->counts[SLOT_SHELL] >= (pool->shells + 1) / 2;
}

/* From when on a VM that it is short of is made; now or earlier: at once. */
static uint64_t refill_due_ns(const struct pool *pool, uint64_t now)
{
    const struct pool_env *env = pool->env;
    uint64_t calm_ns = env->acquired_ns ? env->acquired_ns + POOL_CALM_NS : 0;

    if (is_half_full(pool) && now < calm_ns)
        return calm_ns;
    return is_calm(pool) ? now : MAX_OF(pool->short_since_ns, pool->refilled_ns) + STARVED_NS;
}

static void shortages_note(struct pool_env *env, uint64_t now)
{
    LIST_FOR_EACH(at, env->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (pool->state != POOL_READY || shortage_of(pool) == SHORT_OF_NOTHING)
            pool->short_since_ns = 0;
        else if (pool->short_since_ns == 0)
            pool->short_since_ns = now;
        if (pool->short_since_ns && refill_due_ns(pool, now) > now)
            env->ops->arm(env->context, refill_due_ns(pool, now));
    }
}

/* Whether a is refilled before b (NULL: there is none); both are due. */
static bool goes_first(const struct pool *a, const struct pool *b, uint64_t now)
{
    if (!b)
        return true;
    bool a_is_late = MAX_OF(a->short_since_ns, a->refilled_ns) + POOL_YIELD_NS <= now;
    bool b_is_late = MAX_OF(b->short_since_ns, b->refilled_ns) + POOL_YIELD_NS <= now;

    if (a_is_late != b_is_late)
        return a_is_late;
    return a_is_late || a->priority == b->priority ? a->refilled_ns < b->refilled_ns
                                                   : a->priority > b->priority;
}

/* Of the pools whose turn it is. */
static struct pool *next_to_refill(const struct pool_env *env, uint64_t now)
{
    struct pool *next = NULL;

    LIST_FOR_EACH(at, env->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (pool->short_since_ns && goes_first(pool, next, now) &&
            shortage_of(pool) != SHORT_OF_NOTHING && pool_live_count(pool) < pool->max &&
            refill_due_ns(pool, now) <= now && making_allowed(pool, now))
            next = pool;
    }
    return next;
}

/* False: it can't be done. */
static bool refill_one(struct pool *pool, uint64_t now)
{
    pool->refilled_ns = now;
    if (shortage_of(pool) == SHORT_OF_SHELLS)
        return pool_clone_start(pool, NULL, CLONE_SHELL);
    if (pool->counts[SLOT_SHELL] <= pool->shells)
        return pool_clone_start(pool, NULL, CLONE_PARKED);
    pool_shell_restore(list_entry(pool->slots[SLOT_SHELL].next, struct slot, node), NULL);
    return true;
}

/* After the refill: what users wait for comes first. */
static void trial_start(struct pool *pool, uint64_t now)
{
    if (pool->trials_left == 0 || pool->counts[SLOT_PREPARING] > 0 || !is_calm(pool) ||
        !making_allowed(pool, now))
        return;
    pool->trials_left--;
    pool_clone_start(pool, NULL, CLONE_TRIAL);
}

void pool_refill(struct pool_env *env)
{
    const uint64_t now = env->ops->now(env->context);
    struct pool *pool;

    shortages_note(env, now);
    /* Each round starts one VM or ends the loop; refill_max bounds it. */
    while ((pool = next_to_refill(env, now)) && refill_one(pool, now))
        ;
    LIST_FOR_EACH(at, env->pools)
    trial_start(list_entry(at, struct pool, node), now);
}

static void surplus_watch(struct pool *pool)
{
    bool surplus = pool->counts[SLOT_PARKED] > pool->min || pool->counts[SLOT_SHELL] > pool->shells;

    if (!surplus) {
        pool->surplus_since_ns = 0;
        return;
    }
    if (pool->surplus_since_ns == 0) {
        pool->surplus_since_ns = pool_now(pool);
        pool->env->ops->arm(pool->env->context,
                            pool->surplus_since_ns + pool->env->timeouts.surplus_ns);
    }
}

void pool_excess_stop(struct pool *pool)
{
    static const enum slot_state order[] = { SLOT_SHELL, SLOT_PARKED };

    for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
        uint32_t live = pool_live_count(pool) - (pool->counts[SLOT_STOPPING] - pool->vacated);
        uint32_t count = pool->counts[order[i]];

        if (live > pool->max)
            pool_stop_down_to(pool, order[i], count - MIN_OF(count, live - pool->max));
    }
}

void pool_pump(struct pool *pool)
{
    pool_kill_queue(pool->env);
    if (pool->waiting)
        pool_serve_all(pool->env);
    pool_room_make(pool->env);
    if (pool->state == POOL_FAILED || pool->state == POOL_DRAINING || pool->env->stopping ||
        pool->env->draining)
        return;
    pool_prove(pool);
    pool_excess_stop(pool);
    surplus_watch(pool);
}

/* Its time is over, or that which it had to say whether streams are open. */
static void lease_expired(struct slot *slot)
{
    struct pool_env *env = slot->pool->env;

    if (slot->asked) {
        pool_lease_end(slot, LEASE_END_EXPIRED, "its VM did not say whether streams are open");
    } else if (slot->kept_by_streams && env->ops->ask(env->context, slot) == 0) {
        slot->asked = true;
        slot->answers_due++;
        pool_slot_deadline(slot, pool_now(slot->pool) + POOL_ASK_NS);
    } else {
        pool_release(slot, LEASE_END_EXPIRED);
    }
}

static void slot_expired(struct slot *slot)
{
    const uint32_t expects = slot_rule(slot->phase)->expects;

    if (expects & SLOT_SAYS_HELLO)
        pool_slot_fail(slot, FAILURE_SETUP_TIMEOUT, "the VM was not set up in time");
    else if (expects & SLOT_SAYS_AWAKE)
        pool_slot_fail(slot, FAILURE_AWAKE_TIMEOUT, "the guest did not answer in time");
    else if (expects & (SLOT_SAYS_READY | SLOT_SAYS_PARKED))
        pool_slot_fail(slot, FAILURE_READY_TIMEOUT, "the guest did not get ready in time");
    else if (slot->state == SLOT_LEASED)
        lease_expired(slot);
    else
        pool_slot_stop(slot); /* a trial's patience */
}

static uint64_t slots_tick(struct pool *pool, uint64_t now)
{
    static const enum slot_state with_deadline[] = { SLOT_PREPARING, SLOT_WAKING, SLOT_LEASED };
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < ARRAY_LEN(with_deadline); i++) {
        LIST_FOR_EACH(at, &pool->slots[with_deadline[i]])
        {
            struct slot *slot = list_entry(at, struct slot, node);

            if (slot->deadline_ns == 0)
                continue;
            if (slot->deadline_ns <= now)
                slot_expired(slot);
            else
                next = MIN_OF(next, slot->deadline_ns);
        }
    }
    return next;
}

static uint64_t waiters_tick(struct pool *pool, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    LIST_FOR_EACH(at, &pool->waiters)
    {
        struct acquire *acquire = list_entry(at, struct acquire, node);

        if (acquire->deadline_ns > now) {
            next = MIN_OF(next, acquire->deadline_ns);
            continue;
        }
        pool_waiter_unlink(acquire);
        pool_acquire_finish(acquire, pool_shortage(pool), NULL);
    }
    return next;
}

uint64_t pool_tick(struct pool *pool, uint64_t now)
{
    uint64_t next = MIN_OF(slots_tick(pool, now), waiters_tick(pool, now));

    if (pool->surplus_since_ns) {
        uint64_t end = pool->surplus_since_ns + pool->env->timeouts.surplus_ns;

        if (end <= now) {
            pool_stop_down_to(pool, SLOT_PARKED, pool->min);
            pool_stop_down_to(pool, SLOT_SHELL, pool->shells);
            pool->surplus_since_ns = 0;
        } else {
            next = MIN_OF(next, end);
        }
    }
    if (backoff_active(&pool->backoff, now))
        next = MIN_OF(next, pool->backoff.until_ns);
    pool_held_release(pool->env);
    pool_schedule(pool);
    return next;
}
