/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the thread that renews leases; see lease_keeper.h. */
#include "lease_keeper.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/util.h"
#include "lease.h"

static int renew_all(const struct lease_keeper *keeper, struct err *err)
{
    struct err first = { 0 };

    for (size_t i = 0; i < keeper->count; i++) {
        struct err one;

        if (lease_renew(keeper->leases[i], keeper->ttl_ms, &one) < 0 && !first.code)
            first = one;
    }
    if (!first.code)
        return 0;
    *err = first;
    return -first.code;
}

static void *keep(void *data)
{
    struct lease_keeper *keeper = data;
    uint64_t next_ns = now_ns();
    struct err err;

    pthread_mutex_lock(&keeper->lock);
    while (!keeper->stop) {
        int rc = 0;

        next_ns += keeper->ttl_ms * NS_PER_MS / 3;
        const struct timespec until = { .tv_sec = (time_t)(next_ns / NS_PER_S),
                                        .tv_nsec = (long)(next_ns % NS_PER_S) };
        while (!keeper->stop && rc == 0)
            rc = pthread_cond_timedwait(&keeper->changed, &keeper->lock, &until);
        if (keeper->stop)
            break;
        pthread_mutex_unlock(&keeper->lock);
        (void)renew_all(keeper, &err);
        pthread_mutex_lock(&keeper->lock);
    }
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

static int thread_start(struct lease_keeper *keeper)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&keeper->thread, NULL, keep, keeper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int lease_keeper_start(struct lease_keeper *keeper, const char *const *leases, size_t count,
                       uint64_t ttl_ms, struct err *err)
{
    pthread_condattr_t monotonic;
    int rc;

    *keeper = (struct lease_keeper){ .leases = leases, .count = count, .ttl_ms = ttl_ms };
    rc = renew_all(keeper, err);
    if (rc < 0)
        return rc;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = thread_start(keeper);
    return rc ? err_set_errno(err, rc, "can't start a thread that renews the lease") : 0;
}

void lease_keeper_stop(struct lease_keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->stop = true;
    pthread_cond_signal(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->lock);
}
