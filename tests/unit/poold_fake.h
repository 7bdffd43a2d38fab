/* SPDX-License-Identifier: Apache-2.0 */
/* A pool with a fake clock and fake VMs: what the pool asks of them is recorded, what they say is
 * said by the test. */
#ifndef VOLT_TESTS_POOLD_FAKE_H
#define VOLT_TESTS_POOLD_FAKE_H

#include "pool/pool.h"

#define FAKE_VMS_MAX 256
#define FAKE_VM_BYTES 4096u
#define FAKE_VM_FDS 4u
#define COUNT(host, state) ((host)->pool.counts[state])

struct fake_vm {
    struct slot *slot; /* NULL: gone */
    bool woken, paused, frozen, killed;
    unsigned asked;
    bool on_trial; /* READY as a trial VM */
    enum doorbell_op op;
    uint32_t flags;
};

struct fake_host {
    unsigned gone_on; /* VMs told to go on after their answer */
    uint32_t rest_ms; /* what the last of them was told */
    struct pool_env env;
    struct pool pool;
    struct list pools; /* it, and those added */
    uint64_t now_ns;
    uint64_t armed_ns; /* UINT64_MAX: no deadline */
    bool scheduled;
    unsigned proofs;                /* how often the pool's proof came, or was given up */
    char trouble[POOL_ERROR_BYTES]; /* why it was given up */
    bool clone_fails, wake_fails, freeze_fails, ask_fails;
    struct fake_vm vms[FAKE_VMS_MAX];
    unsigned vm_count;
};

struct fake_acquire {
    struct acquire acquire;
    bool done;
    enum acquire_result result;
    struct slot *slot;
    unsigned order; /* in which they were done, from 1 */
};

/* A READY pool with these limits, refilled. No VM is frozen as long as env.frozen_bytes_max is 0.
 */
void fake_host_init(struct fake_host *host, uint32_t min, uint32_t max, uint32_t shells);
/* Ends all VMs and checks that nothing is left. */
void fake_host_fini(struct fake_host *host);

/* Pumps as often as the pool asks for it. */
void fake_host_settle(struct fake_host *host);
/* Lets time pass, with every deadline on the way. */
void fake_host_pass(struct fake_host *host, uint64_t ns);

/* Every living VM says what is expected of it, until there is nothing more to say; killed ones go.
 */
void fake_host_run(struct fake_host *host);
/* Each says one thing. True: there may be more. */
bool fake_host_step(struct fake_host *host);

/* One READY pool more. */
void fake_host_add(struct fake_host *host, struct pool *pool, uint32_t min, uint32_t max);

void fake_acquire_start(struct fake_host *host, struct fake_acquire *acquire, uint64_t wait_ms);
void fake_acquire_from(struct fake_host *host, struct pool *pool, struct fake_acquire *acquire,
                       uint64_t wait_ms);

#endif
