/* SPDX-License-Identifier: Apache-2.0 */
/* Asking for a lease and giving it back, as `acquire`, `run` and `release` do it. */
#ifndef VOLT_CLI_LEASE_H
#define VOLT_CLI_LEASE_H

#include "api.h"
#include "options.h"
#include "volume.h"

struct lease_request {
    const char *pool; /* NULL: default */
    uint64_t wait_ms;
    uint64_t ttl_ms;
    bool ttl_set;
    const char *publish;           /* HOST:GUEST,...; NULL: none */
    struct option_list labels;     /* K=V each */
    struct volume_options volumes; /* that it is given before its caller hears of it */
    const char *idempotency_key;   /* a reply that is lost is asked for again; NULL: none */
    bool bind; /* the lease ends with api's connection; nothing else is to be asked on it */
};

static inline void lease_request_fini(struct lease_request *request)
{
    option_list_fini(&request->labels);
    volume_options_fini(&request->volumes);
}
#define _cleanup_lease_request_ __attribute__((cleanup(lease_request_fini)))

#define LEASE_LABEL_SPEC(request)                                                                  \
    {                                                                                              \
        "label", 'l', OPTION_LIST, &(request)->labels, "K=V",                                      \
            "call the lease so, for 'ps --label' and events; may be given several times"           \
    }

/* 0 and the lease's object (owned); err.code API_ERROR_NO_VM when none was free within wait_ms. */
int lease_acquire(struct api *api, const struct lease_request *request, json_t **ret_lease,
                  struct err *err);
/* Has it end ttl_ms from now (0: never by itself), on a connection of its own. */
int lease_renew(const char *lease, uint64_t ttl_ms, struct err *err);
/* When it returns, what the lease wrote to its volumes is in them (discard: is thrown away). */
int lease_release(struct api *api, const char *lease, bool discard, struct err *err);

/* A stream into that lease's VM broke off. Has the lease ended, then *err becomes what poold says of
 * it; else it stays. */
void lease_explain(const char *lease, struct err *err);
/* The same, of what failed with rc (-errno), if that may have been its end. */
void lease_explain_broken(const char *lease, int rc, struct err *err);

/* Reports a failed call: CLI_EXIT_NO_VM when the pool was empty, else CLI_EXIT_FAILURE. */
int lease_fail(const struct err *err);

#endif
