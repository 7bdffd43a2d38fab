/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the fake clock and VMs of the pool's tests; see poold_fake.h. */
#include "poold_fake.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned done_order;

static int op_clone(void *context, struct slot *slot, bool wake, uint32_t wake_flags)
{
    struct fake_host *host = context;
    struct fake_vm *vm = &host->vms[host->vm_count % FAKE_VMS_MAX];

    if (host->clone_fails)
        return -EAGAIN;
    ck_assert_ptr_null(vm->slot);
    host->vm_count++;
    *vm = (struct fake_vm){
        .slot = slot, .woken = wake, .op = DOORBELL_OP_RESTORE, .flags = wake_flags
    };
    slot->vm = vm;
    return 0;
}

static int op_wake(void *context, struct slot *slot, enum doorbell_op op, uint32_t flags)
{
    struct fake_host *host = context;
    struct fake_vm *vm = slot->vm;

    if (host->wake_fails)
        return -EPIPE;
    vm->woken = true;
    vm->op = op;
    vm->flags = flags;
    return 0;
}

static int op_pause(void *context, struct slot *slot)
{
    struct fake_vm *vm = slot->vm;

    ck_assert(!vm->paused && !vm->frozen && !vm->killed);
    vm->paused = !((struct fake_host *)context)->freeze_fails;
    return vm->paused ? 0 : -ESRCH;
}

static void op_resume(void *context, struct slot *slot)
{
    struct fake_vm *vm = slot->vm;

    (void)context;
    ck_assert(vm->paused && !vm->frozen && !vm->killed);
    vm->paused = false;
}

static int op_freeze(void *context, struct slot *slot, uint64_t *ret_bytes)
{
    struct fake_vm *vm = slot->vm;

    *ret_bytes = FAKE_VM_BYTES;

    ck_assert(!vm->frozen && !vm->killed);
    vm->frozen = !((struct fake_host *)context)->freeze_fails;
    return vm->frozen ? 0 : -ESRCH;
}

static void op_kill(void *context, struct slot *slot)
{
    struct fake_vm *vm = slot->vm;

    (void)context;
    ck_assert(!vm->killed);
    vm->killed = true;
}

static int op_ask(void *context, struct slot *slot)
{
    struct fake_host *host = context;

    if (host->ask_fails)
        return -ENOTCONN;
    ((struct fake_vm *)slot->vm)->asked++;
    return 0;
}

static void op_trial(void *context, struct slot *slot)
{
    struct fake_vm *vm = slot->vm;

    (void)context;
    ck_assert(slot->trial && !vm->on_trial);
    vm->on_trial = true;
}

static void op_proved(void *context, struct pool *pool, const char *trouble)
{
    struct fake_host *host = context;

    host->proofs++;
    snprintf(host->trouble, sizeof host->trouble, "%s", trouble ? trouble : "");
    pool_set_state(pool, trouble ? POOL_FAILED : POOL_READY, trouble);
}

static void op_note(void *context, struct slot *slot)
{
    (void)context;
    (void)slot;
}

static void op_forget(void *context, struct slot *slot)
{
    struct fake_vm *vm = slot->vm;

    (void)context;
    if (vm)
        vm->slot = NULL;
}

static void op_go(void *context, struct slot *slot, uint32_t rest_ms)
{
    struct fake_host *host = context;

    (void)slot;
    host->gone_on++;
    host->rest_ms = rest_ms;
}

static uint64_t op_now(void *context)
{
    return ((struct fake_host *)context)->now_ns;
}

static void op_schedule(void *context)
{
    ((struct fake_host *)context)->scheduled = true;
}

static void op_arm(void *context, uint64_t deadline_ns)
{
    struct fake_host *host = context;

    host->armed_ns = MIN_OF(host->armed_ns, deadline_ns);
}

static const struct vm_ops fake_ops = {
    .clone = op_clone,
    .wake = op_wake,
    .go = op_go,
    .pause = op_pause,
    .resume = op_resume,
    .freeze = op_freeze,
    .kill = op_kill,
    .ask = op_ask,
    .trial = op_trial,
    .proved = op_proved,
    .note = op_note,
    .forget = op_forget,
    .now = op_now,
    .schedule = op_schedule,
    .arm = op_arm,
};

void fake_host_init(struct fake_host *host, uint32_t min, uint32_t max, uint32_t shells)
{
    memset(host, 0, sizeof *host);
    host->now_ns = NS_PER_S;
    host->armed_ns = UINT64_MAX;
    host->env = (struct pool_env){
        .ops = &fake_ops,
        .context = host,
        .timeouts = { .setup_ns = 5 * NS_PER_S,
                      .awake_ns = 2 * NS_PER_S,
                      .ready_ns = 15 * NS_PER_S,
                      .surplus_ns = 10 * NS_PER_S,
                      .trial_ns = 60 * NS_PER_S },
        .refill_max = 2,
        .demand_max = 4,
        .going_max = 2,
        .dying_max = 3,
        .room = { UINT32_MAX, UINT32_MAX, UINT64_MAX },
        .pools = &host->pools,
    };
    list_init(&host->pools);
    list_init(&host->env.kill_queue);
    list_init(&host->env.held);
    list_init(&host->env.readying);
    pool_init(&host->pool, &host->env, "test");
    list_append(&host->pools, &host->pool.node);
    host->pool.vm_bytes = FAKE_VM_BYTES;
    host->pool.vm_fds = FAKE_VM_FDS;
    pool_set_limits(&host->pool, min, max, shells);
    pool_set_state(&host->pool, POOL_READY, NULL);
    fake_host_settle(host);
}

static uint32_t length(const struct list *head)
{
    uint32_t count = 0;

    for (const struct list *at = head->next; at != head; at = at->next)
        count++;
    return count;
}

static void room_add(struct pool_room *room, struct pool_room more)
{
    room->vms += more.vms;
    room->fds += more.fds;
    room->bytes += more.bytes;
}

/* What is counted is what is there; `sum` and the lengths of env's queues are added to. */
static void pool_counts_check(const struct pool *pool, struct pool_env *sum, uint32_t queues[3])
{
    uint32_t phases[SLOT_PHASE_COUNT] = { 0 };
    const struct pool_room vm = { 1, pool->vm_fds, pool->vm_bytes };

    for (unsigned state = 0; state < SLOT_DEAD; state++) {
        ck_assert_uint_eq(pool->counts[state], length(&pool->slots[state]));
        LIST_FOR_EACH(at, &pool->slots[state])
        {
            ck_assert_int_eq(list_entry(at, struct slot, node)->state, state);
            phases[list_entry(at, struct slot, node)->phase]++;
            room_add(&sum->made, vm);
            if (state == SLOT_WAKING || state == SLOT_LEASED)
                room_add(&sum->claimed, vm);
            if (state == SLOT_STOPPING)
                room_add(&sum->ending, vm);
        }
    }
    ck_assert_uint_eq(pool->vacated, phases[SLOT_PHASE_KILLED] + phases[SLOT_PHASE_FROZEN]);
    sum->refilling += pool->counts[SLOT_PREPARING] - (pool->trial != NULL);
    sum->waking += pool->counts[SLOT_WAKING];
    sum->demanded += phases[SLOT_PHASE_DEMANDED];
    sum->going += phases[SLOT_PHASE_GOING];
    sum->frozen += phases[SLOT_PHASE_FROZEN];
    sum->frozen_bytes += phases[SLOT_PHASE_FROZEN] * pool->vm_bytes;
    sum->dying += phases[SLOT_PHASE_KILLED];
    queues[0] += phases[SLOT_PHASE_HELD];
    queues[1] += phases[SLOT_PHASE_SETTLING] + phases[SLOT_PHASE_GOING];
    queues[2] += phases[SLOT_PHASE_QUEUED] + phases[SLOT_PHASE_FROZEN];
}

static void counts_check(const struct fake_host *host)
{
    const struct pool_env *env = &host->env;
    uint32_t queues[3] = { 0 };
    struct pool_env sum = { 0 };

    LIST_FOR_EACH(at, &host->pools)
    pool_counts_check(list_entry(at, struct pool, node), &sum, queues);
    ck_assert_uint_eq(env->refilling, sum.refilling);
    ck_assert_uint_eq(env->waking, sum.waking);
    ck_assert_uint_eq(env->demanded, sum.demanded);
    ck_assert_uint_eq(env->going, sum.going);
    ck_assert_uint_eq(env->frozen, sum.frozen);
    ck_assert_uint_eq(env->frozen_bytes, sum.frozen_bytes);
    ck_assert_uint_eq(env->dying, sum.dying);
    ck_assert(memcmp(&env->made, &sum.made, sizeof sum.made) == 0);
    ck_assert(memcmp(&env->claimed, &sum.claimed, sizeof sum.claimed) == 0);
    ck_assert(memcmp(&env->ending, &sum.ending, sizeof sum.ending) == 0);
    ck_assert_uint_eq(length(&env->held), queues[0]);
    ck_assert_uint_eq(length(&env->readying), queues[1]);
    ck_assert_uint_eq(length(&env->kill_queue), queues[2]);
}

void fake_host_settle(struct fake_host *host)
{
    counts_check(host);
    for (unsigned i = 0; host->scheduled; i++) {
        ck_assert_msg(i < 1000, "the pool asks to be pumped for ever");
        host->scheduled = false;
        LIST_FOR_EACH(at, &host->pools)
        pool_pump(list_entry(at, struct pool, node));
        pool_refill(&host->env);
        counts_check(host);
    }
}

void fake_host_pass(struct fake_host *host, uint64_t ns)
{
    uint64_t end = host->now_ns + ns;

    while (host->armed_ns <= end) {
        host->now_ns = MAX_OF(host->now_ns, host->armed_ns);
        host->armed_ns = UINT64_MAX;
        LIST_FOR_EACH(at, &host->pools)
        {
            uint64_t next = pool_tick(list_entry(at, struct pool, node), host->now_ns);

            host->armed_ns = MIN_OF(next, host->armed_ns);
        }
        fake_host_settle(host);
    }
    host->now_ns = end;
}

/* True: it had something to say. */
static bool vm_speak(struct fake_host *host, struct fake_vm *vm)
{
    host->now_ns += NS_PER_US;
    if (!vm->woken) {
        if (vm->slot->phase != SLOT_PHASE_CLONING)
            return false;
        pool_vm_hello(vm->slot, 0, 0);
        return true;
    }
    vm->woken = false;
    pool_vm_awake(vm->slot, 100);
    if (vm->op != DOORBELL_OP_RESTORE || vm->killed)
        return true;
    pool_vm_ready(vm->slot, 0, NULL);
    if (vm->flags & DOORBELL_FLAG_PARK_AGAIN && !vm->killed)
        pool_vm_parked(vm->slot);
    return true;
}

bool fake_host_step(struct fake_host *host)
{
    bool busy = false;

    for (unsigned i = 0; i < FAKE_VMS_MAX; i++) {
        struct fake_vm *vm = &host->vms[i];

        if (!vm->slot)
            continue;
        if (!vm->killed)
            busy |= vm_speak(host, vm);
        else
            pool_vm_gone(vm->slot);
        busy |= vm->killed;
    }
    busy |= host->scheduled;
    fake_host_settle(host);
    return busy;
}

void fake_host_run(struct fake_host *host)
{
    for (unsigned round = 0; fake_host_step(host); round++)
        ck_assert_msg(round < 10000, "the VMs talk for ever");
}

void fake_host_fini(struct fake_host *host)
{
    host->env.stopping = true;
    host->env.dying_max = UINT32_MAX;
    LIST_FOR_EACH(at, &host->pools)
    pool_stop_all(list_entry(at, struct pool, node), ACQUIRE_SHUTTING_DOWN);
    pool_kill_queue(&host->env);
    fake_host_run(host);
    ck_assert_uint_eq(pool_vm_count(&host->pool), 0);
    ck_assert_uint_eq(host->env.refilling, 0);
    ck_assert_uint_eq(host->env.demanded, 0);
    ck_assert_uint_eq(host->env.waking, 0);
    ck_assert_uint_eq(host->env.dying, 0);
    ck_assert_uint_eq(host->env.frozen, 0);
    ck_assert_uint_eq(host->env.frozen_bytes, 0);
    ck_assert_uint_eq(host->pool.vacated, 0);
    ck_assert_uint_eq(host->env.made.vms + host->env.claimed.vms + host->env.ending.vms, 0);
    ck_assert_uint_eq(host->env.made.fds + host->env.claimed.fds + host->env.ending.fds, 0);
    ck_assert_uint_eq(host->env.made.bytes + host->env.claimed.bytes + host->env.ending.bytes, 0);
    ck_assert_uint_eq(host->pool.waiting, 0);
    ck_assert(list_empty(&host->env.kill_queue));
}

static void on_done(struct acquire *acquire, enum acquire_result result, struct slot *slot)
{
    struct fake_acquire *fake = list_entry(acquire, struct fake_acquire, acquire);

    ck_assert_msg(!fake->done, "an acquire is done twice");
    ck_assert(!slot || slot->state == SLOT_LEASED);
    fake->done = true;
    fake->result = result;
    fake->slot = slot;
    fake->order = ++done_order;
}

void fake_host_add(struct fake_host *host, struct pool *pool, uint32_t min, uint32_t max)
{
    memset(pool, 0, sizeof *pool);
    pool_init(pool, &host->env, "another");
    list_append(&host->pools, &pool->node);
    pool->vm_bytes = FAKE_VM_BYTES;
    pool->vm_fds = FAKE_VM_FDS;
    pool_set_limits(pool, min, max, 0);
    pool_set_state(pool, POOL_READY, NULL);
    fake_host_settle(host);
}

void fake_acquire_start(struct fake_host *host, struct fake_acquire *acquire, uint64_t wait_ms)
{
    fake_acquire_from(host, &host->pool, acquire, wait_ms);
}

void fake_acquire_from(struct fake_host *host, struct pool *pool, struct fake_acquire *acquire,
                       uint64_t wait_ms)
{
    memset(acquire, 0, sizeof *acquire);
    acquire->acquire.asked_ns = host->now_ns;
    acquire->acquire.wait_ns = wait_ms * NS_PER_MS;
    acquire->acquire.ttl_ms = 60000;
    acquire->acquire.done = on_done;
    pool_acquire(pool, &acquire->acquire);
}
