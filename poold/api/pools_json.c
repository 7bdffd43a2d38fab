/* SPDX-License-Identifier: Apache-2.0 */
/* Owns POOL as JSON; see pools_json.h. */
#include "api/pools_json.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/json_text.h"
#include "vms/boot.h"
#include "vms/hosted.h"
#include "vms/pool_keys.h"

static json_t *progress_json(const struct hosted_pool *hosted)
{
    static const char *const phases[POOL_STATE_COUNT] = {
        [POOL_BOOTING] = "boot",
        [POOL_SNAPSHOTTING] = "snapshot",
        [POOL_LOADING] = "load",
        [POOL_PROVING] = "first VM",
    };
    const char *phase = phases[hosted->pool.state];

    if (!phase)
        return json_null();
    return json_pack("{s:o, s:i, s:I, s:b}", "phase", json_text(phase), "percent",
                     hosted->boot ? (int)boot_percent(hosted->boot) : 99, "elapsed_ms",
                     (json_int_t)((now_ns() - hosted->phase_began_ns) / NS_PER_MS), "overdue",
                     hosted->boot && boot_overdue(hosted->boot));
}

static json_t *failures_json(const struct pool *pool)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < FAILURE_COUNT; i++)
        json_object_set_new(object, failure_name((enum failure)i),
                            json_integer((json_int_t)pool->counters.failures[i]));
    return object;
}

static json_t *slots_json(const struct pool *pool)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < SLOT_DEAD; i++)
        json_object_set_new(object, slot_state_name((enum slot_state)i),
                            json_integer(pool_state_count_all(pool, (enum slot_state)i)));
    return object;
}

/* What everybody may know who may acquire from it. */
static json_t *use_json(const struct hosted_pool *hosted)
{
    const struct pool *pool = &hosted->pool;
    char net[POOL_NET_KIND_BYTES];

    snprintf(net, sizeof net, "%.*s", (int)strcspn(hosted->spec.net.kind, "="),
             hosted->spec.net.kind);
    return json_pack(
        "{s:o, s:o, s:o, s:I, s:i, s:o, s:i, s:i, s:o, s:i, s:o}", "name", json_text(pool->name),
        "state", json_text(pool_state_name(pool->state)), "progress", progress_json(hosted),
        "memory_bytes", (json_int_t)hosted->spec.memory_bytes, "vcpus", (int)hosted->spec.vcpus,
        "net", json_text_or_null(net), "min", (int)pool->min, "max", (int)pool->max, "slots",
        slots_json(pool), "waiting", (int)pool->waiting, "created", json_text(hosted->created));
}

/* How it went. */
static json_t *figures_json(const struct hosted_pool *hosted)
{
    const struct pool *pool = &hosted->pool;
    uint64_t now = now_ns();
    uint64_t backoff_ms =
        backoff_active(&pool->backoff, now) ? (pool->backoff.until_ns - now) / NS_PER_MS + 1 : 0;
    bool has_snapshot = hosted->snapshot_ms || hosted->cold_boot_ms;

    return json_pack(
        "{s:o, s:I, s:I, s:I, s:o, s:I, s:o, s:I, s:I, s:o}", "error",
        json_text_or_null(pool->error), "acquires", (json_int_t)pool->counters.acquires, "missed",
        (json_int_t)pool->counters.missed, "restores", (json_int_t)pool->counters.restores,
        "failures", failures_json(pool), "backoff_ms", (json_int_t)backoff_ms, "last_failure",
        json_text_or_null(pool->last_failure), "cold_boot_ms", (json_int_t)hosted->cold_boot_ms,
        "snapshot_ms", (json_int_t)hosted->snapshot_ms, "snapshot",
        has_snapshot ? json_text(hosted->id) : json_null());
}

/* Of the one that is to take its place, or that failed to. */
static json_t *replacement_json(const struct hosted_pool *hosted)
{
    const struct hosted_pool *coming = hosted->coming;
    const char *state = "failed";

    if (coming)
        state =
            coming->pool.state == POOL_DRAINING ? "stopping" : pool_state_name(coming->pool.state);
    else if (!hosted->replace_error[0])
        return json_null();
    return json_pack("{s:I, s:o, s:o, s:o}", "generation", (json_int_t)hosted->generation + 1,
                     "state", json_text(state), "progress",
                     coming ? progress_json(coming) : json_null(), "error",
                     json_text_or_null(coming ? "" : hosted->replace_error));
}

json_t *pools_json_of(const struct http_request *request, const struct hosted_pool *hosted)
{
    json_t *object = use_json(hosted);
    struct pool_body body;

    if (request->connection->peer.rights & RIGHT_ADMIN) {
        hosted_body(hosted, &body);
        json_object_update_new(object, pool_keys_show(&body));
        json_object_update_new(object, figures_json(hosted));
        json_object_set_new(object, "generation", json_integer(hosted->generation));
        json_object_set_new(object, "replacement", replacement_json(hosted));
    }
    return object;
}
