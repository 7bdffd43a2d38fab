/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/pools. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/json_text.h"
#include "boot.h"
#include "pool_disk.h"
#include "pool_make.h"

/* ---- POOL as JSON ---- */

static json_t *count_or_null(uint32_t count)
{
    return count ? json_integer(count) : json_null();
}

static json_t *progress_json(const struct hosted_pool *hosted)
{
    static const char *const phases[POOL_STATE_COUNT] = {
        [POOL_BOOTING] = "boot",
        [POOL_SNAPSHOTTING] = "snapshot",
        [POOL_LOADING] = "load",
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
                            json_integer(pool->counts[i]));
    return object;
}

static json_t *pool_json(const struct hosted_pool *hosted)
{
    const struct pool *pool = &hosted->pool;
    const struct pool_spec *spec = &hosted->spec;
    uint64_t now = now_ns();
    uint64_t backoff_ms =
        backoff_active(&pool->backoff, now) ? (pool->backoff.until_ns - now) / NS_PER_MS + 1 : 0;
    bool has_snapshot = hosted->snapshot_ms || hosted->cold_boot_ms;
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:o, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:o}", "name",
        json_text(pool->name), "state", json_text(pool_state_name(pool->state)), "error",
        json_text_or_null(pool->error), "progress", progress_json(hosted), "memory_bytes",
        (json_int_t)spec->memory_bytes, "vcpus", (int)spec->vcpus, "cpu_weight",
        count_or_null(spec->cpu_weight), "cpu_percent", count_or_null(spec->cpu_percent), "kernel",
        json_text(spec->kernel), "initrd", json_text_or_null(spec->initrd), "cmdline",
        json_text(spec->cmdline), "min", (int)pool->min, "max", (int)pool->max, "shells",
        (int)pool->shells, "warmup", json_text_or_null(spec->warmup));
    json_t *figures = json_pack(
        "{s:o, s:i, s:I, s:I, s:I, s:o, s:I, s:o, s:I, s:I, s:o, s:o}", "slots", slots_json(pool),
        "waiting", (int)pool->waiting, "acquires", (json_int_t)pool->counters.acquires, "missed",
        (json_int_t)pool->counters.missed, "restores", (json_int_t)pool->counters.restores,
        "failures", failures_json(pool), "backoff_ms", (json_int_t)backoff_ms, "last_failure",
        json_text_or_null(pool->last_failure), "cold_boot_ms", (json_int_t)hosted->cold_boot_ms,
        "snapshot_ms", (json_int_t)hosted->snapshot_ms, "snapshot",
        has_snapshot ? json_text(pool->name) : json_null(), "created", json_text(hosted->created));

    json_object_set_new(object, "image", json_text_or_null(spec->image));
    json_object_set_new(object, "net", json_text_or_null(spec->net.kind));
    if (spec->net.kind[0]) {
        json_object_set_new(object, "net_address", json_text(spec->net.address));
        json_object_set_new(object, "net_bandwidth", json_integer((json_int_t)spec->net.bandwidth));
        json_object_set_new(object, "net_pps", json_integer(spec->net.pps));
        json_object_set_new(object, "net_vhost",
                            json_text(spec->net.vhost[0] ? spec->net.vhost : "auto"));
    }
    json_object_set_new(object, "balloon", json_boolean(spec->balloon));
    json_object_set_new(object, "disk", json_text_or_null(spec->disk));
    if (pool_disk_wanted(spec)) {
        json_object_set_new(object, "disk_read_only", json_boolean(spec->disk_read_only));
        json_object_set_new(object, "disk_bandwidth",
                            json_integer((json_int_t)spec->disk_bandwidth));
        json_object_set_new(object, "disk_iops", json_integer(spec->disk_iops));
    }
    json_object_update(object, figures);
    json_decref(figures);
    return object;
}

struct hosted_pool *api_pool_find(struct http_request *request, const char *name)
{
    struct hosted_pool *hosted = daemon_pool_find(api_daemon(request), name);
    char names[512] = "";

    if (hosted)
        return hosted;
    LIST_FOR_EACH(at, &api_daemon(request)->pools)
    {
        size_t used = strlen(names);

        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                 list_entry(at, struct pool, node)->name);
    }
    http_reply_error(request, API_NO_SUCH_POOL, "there is no pool '%s'; pools: %s", name,
                     names[0] ? names : "none");
    return NULL;
}

void api_pools_list(struct http_request *request)
{
    json_t *array = json_array();

    LIST_FOR_EACH(at, &api_daemon(request)->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        json_array_append_new(array, pool_json(pool->owner));
    }
    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "pools", array));
}

void api_pool_show(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (hosted)
        http_reply_json(request, MHD_HTTP_OK, pool_json(hosted));
}

/* ---- Creation ---- */

static void on_made(void *data, struct hosted_pool *hosted, const struct err *err)
{
    struct http_request *request = data;

    if (hosted)
        http_reply_json(request, MHD_HTTP_CREATED, pool_json(hosted));
    else if (err->code == EEXIST)
        http_reply_error(request, API_POOL_EXISTS, "%s", err->msg);
    else if (err->code == ESHUTDOWN)
        http_reply_error(request, API_SHUTTING_DOWN, "%s", err->msg);
    else if (err->code == ENOMEM)
        http_reply_error(request, API_INTERNAL, "%s", err->msg);
    else
        http_reply_error(request, API_BAD_REQUEST, "%s", err->msg);
}

void api_pools_create(struct http_request *request)
{
    struct pool_body body;

    pool_body_default(&body);
    if (http_read_body(request, &body))
        pool_make(api_daemon(request), &body, on_made, request);
}

/* ---- Changes ---- */

void api_pool_patch(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);
    struct pool_body body;
    struct err err;

    if (!hosted)
        return;
    pool_body_default(&body);
    body.min = hosted->pool.min;
    body.max = hosted->pool.max;
    body.shells = hosted->pool.shells;
    if (!http_read_body(request, &body))
        return;
    if (pool_body_check(&body, &err) < 0) {
        http_reply_error(request, API_BAD_REQUEST, "%s", err.msg);
        return;
    }
    pool_set_limits(&hosted->pool, body.min, body.max, body.shells);
    hosted_save(hosted);
    http_reply_json(request, MHD_HTTP_OK, pool_json(hosted));
}

void api_pool_drain(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (!hosted)
        return;
    hosted_set_state(hosted, POOL_DRAINING, NULL);
    hosted_save(hosted);
    http_reply_json(request, MHD_HTTP_OK, pool_json(hosted));
}

static void on_deleted(void *data, const struct err *err)
{
    if (err)
        http_reply_error(data, API_INTERNAL,
                         "the pool is stopped, but not all of it was removed; delete it again: %s",
                         err->msg);
    else
        http_reply_empty(data, MHD_HTTP_NO_CONTENT);
}

void api_pool_delete(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);
    uint32_t in_use;
    bool force;

    if (!hosted || !http_query_bool(request, "force", &force))
        return;
    in_use = hosted->pool.counts[SLOT_LEASED] + hosted->pool.counts[SLOT_WAKING];
    if (hosted->deleting) {
        http_reply_error(request, API_POOL_BUSY, "pool '%s' is being deleted already",
                         hosted->pool.name);
        return;
    }
    if (in_use && !force) {
        http_reply_error(request, API_POOL_BUSY,
                         "%u VMs of pool '%s' are leased; release them, or delete with ?force=1",
                         in_use, hosted->pool.name);
        return;
    }
    hosted_delete(hosted, on_deleted, request);
}
