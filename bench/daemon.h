/* SPDX-License-Identifier: Apache-2.0 */
/* A poold of the benchmark's own, with one pool, and what suites ask of it over the API. */
#ifndef VOLT_BENCH_DAEMON_H
#define VOLT_BENCH_DAEMON_H

#include "api.h"
#include "bench.h"
#include "process.h"

#define DAEMON_POOL "bench"
#define DAEMON_VMS_MAX 2100u
#define DAEMON_LEASE_BYTES 80

enum daemon_work {
    DAEMON_ALL_WORK, /* as users have it */
    DAEMON_NO_WORK,  /* poold --unsafe-skip-guest-work: nothing asked of the guest's kernel */
};

struct daemon {
    struct process process;
    enum daemon_work work;
    struct api api; /* of the suite's main thread */
    char socket[108];
    char snapshot_dir[512];
};

struct daemon_slots {
    unsigned preparing, shell, parked, leased, stopping;
    uint64_t failures;
};

/* What one acquire brought. */
struct daemon_lease {
    char id[DAEMON_LEASE_BYTES], tier[16];
    uint64_t latency_ns; /* request written to response read */
    uint64_t response_at_ns;
    uint64_t queue_us, load_us, awake_us, ready_us, total_us; /* poold's own account */
};

/* The run's poold with its pool ready; started the first time, again when `work` changes.
 * BENCH_SKIPPED when there is no poold or no kernel. */
int daemon_get(struct bench *bench, enum daemon_work work, struct daemon **ret_daemon,
               struct err *err);
void daemon_free(struct bench *bench);

/* A further connection; any one thread. */
int daemon_connect(const struct daemon *daemon, struct api *ret_api, struct err *err);

/* Waits until a pool that was made, or is booted again, has its snapshot. */
int daemon_wait_pool(struct daemon *daemon, const char *pool, struct err *err);

int daemon_scale(struct daemon *daemon, unsigned min, unsigned shells, struct err *err);
int daemon_slots(struct daemon *daemon, struct daemon_slots *ret, struct err *err);

/* Waits until at least `parked` VMs are parked and none is being made or ended. */
int daemon_wait_parked(struct daemon *daemon, unsigned parked, struct err *err);

/* Makes the pool hold just so many parked VMs and keep them, without refilling. */
int daemon_stock(struct daemon *daemon, unsigned parked, struct err *err);

/* Uses up and releases everything that is prepared: the pool is empty and stays so. */
int daemon_empty(struct daemon *daemon, struct err *err);

/* From DAEMON_POOL, or another. */
int daemon_acquire(struct api *api, struct daemon_lease *ret_lease, struct err *err);
int daemon_acquire_from(struct api *api, const char *pool, struct daemon_lease *ret_lease,
                        struct err *err);
int daemon_release(struct api *api, const struct daemon_lease *lease, struct err *err);
int daemon_release_all(struct daemon *daemon, struct err *err);

/* The process of a lease's VM. */
int daemon_lease_pid(struct daemon *daemon, const struct daemon_lease *lease, pid_t *ret_pid,
                     struct err *err);

#endif
