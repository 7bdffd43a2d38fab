/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/pools. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/json_text.h"
#include "vms/boot.h"
#include "vms/hosted.h"
#include "vms/pool_body.h"
#include "vms/pool_keys.h"
#include "vms/pool_make.h"

/* ---- POOL as JSON ---- */

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
                            json_integer(pool->counts[i]));
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
        has_snapshot ? json_text(pool->name) : json_null());
}

static json_t *pool_json(const struct http_request *request, const struct hosted_pool *hosted)
{
    json_t *object = use_json(hosted);
    struct pool_body body;

    if (request->connection->peer.rights & RIGHT_ADMIN) {
        hosted_body(hosted, &body);
        json_object_update_new(object, pool_keys_show(&body));
        json_object_update_new(object, figures_json(hosted));
    }
    return object;
}

/* The names of those that the client may know of, with commas between. */
static void names_list(const struct http_request *request, char *ret_names, size_t bytes)
{
    ret_names[0] = '\0';
    LIST_FOR_EACH(at, &api_of(request)->vms->pools)
    {
        const char *name = list_entry(at, struct pool, node)->name;
        size_t used = strlen(ret_names);

        if (access_pool_seen(&request->connection->peer, name))
            snprintf(ret_names + used, bytes - used, "%s%s", used ? ", " : "", name);
    }
}

struct hosted_pool *api_pool_find(struct http_request *request, const char *name)
{
    struct hosted_pool *hosted = hosted_find(api_of(request)->vms, name);
    char names[512];

    /* Whether there is one or not is not to be told. */
    if (!access_pool_seen(&request->connection->peer, name)) {
        http_reply_error(request, API_FORBIDDEN, "poold's policy does not give you the pool '%s'",
                         name);
        return NULL;
    }
    if (hosted)
        return hosted;
    names_list(request, names, sizeof names);
    http_reply_error(request, API_NO_SUCH_POOL, "there is no pool '%s'; pools: %s", name,
                     names[0] ? names : "none");
    return NULL;
}

void api_pools_list(struct http_request *request)
{
    json_t *array = json_array();

    LIST_FOR_EACH(at, &api_of(request)->vms->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (access_pool_seen(&request->connection->peer, pool->name))
            json_array_append_new(array, pool_json(request, pool->owner));
    }
    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "pools", array));
}

void api_pool_show(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (hosted)
        http_reply_json(request, MHD_HTTP_OK, pool_json(request, hosted));
}

/* ---- Creation ---- */

/* Of an errno value that says why a pool was not made or changed. */
enum api_error api_failure_code(int code, enum api_error otherwise)
{
    static const struct {
        int code;
        enum api_error error;
    } codes[] = {
        { EEXIST, API_POOL_EXISTS }, { EBUSY, API_POOL_BUSY }, { ESHUTDOWN, API_SHUTTING_DOWN },
        { ENOSPC, API_NO_SPACE },    { EDQUOT, API_NO_SPACE }, { EMFILE, API_NO_ROOM },
        { ENOMEM, API_INTERNAL },    { EIO, API_INTERNAL },    { EROFS, API_INTERNAL },
    };

    for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i].code == code)
            return codes[i].error;
    }
    return otherwise;
}

static void on_made(void *data, struct hosted_pool *hosted, const struct err *err)
{
    struct http_request *request = data;

    if (hosted)
        http_reply_json(request, MHD_HTTP_CREATED, pool_json(request, hosted));
    else
        http_reply_error(request, api_failure_code(err->code, API_BAD_REQUEST), "%s", err->msg);
}

bool api_links_allowed(struct http_request *request, const struct pool_net_spec *net)
{
    const char *equals = strchr(net->kind, '='); /* bridge=LINK, macvtap=LINK */

    if (!equals || access_link_allowed(&request->connection->peer, equals + 1))
        return true;
    http_reply_error(request, API_FORBIDDEN,
                     "you may not connect VMs to the host's link '%s': poold's policy says which "
                     "('links')",
                     equals + 1);
    return false;
}

void api_pools_create(struct http_request *request)
{
    struct client_ids *maker = NULL;
    struct pool_body body;
    int rc = 0;

    pool_body_default(&body);
    if (!http_read_body(request, &body) || !api_links_allowed(request, &body.spec.net))
        return;
    if (!request->connection->peer.trusted)
        rc = client_ids_of_peer(request->connection->fd, &maker);
    if (rc < 0)
        http_reply_error(request, API_INTERNAL, "can't tell who you are: %s", strerror(-rc));
    else
        pool_make(api_of(request)->vms, &body, maker, on_made, request);
}

/* ---- Changes ---- */

/* With a success, the pool is there. */
static void on_changed(void *data, const struct err *err)
{
    struct http_request *request = data;

    if (err)
        http_reply_error(request, api_failure_code(err->code, API_INTERNAL),
                         "nothing was changed: %s", err->msg);
    else
        http_reply_json(request, MHD_HTTP_OK,
                        pool_json(request, hosted_find(api_of(request)->vms, request->param)));
}

/* The request's pool, if it can be changed. NULL: it has replied. */
static struct hosted_pool *changeable_find(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (!hosted || !hosted->broken)
        return hosted;
    http_reply_error(request, API_POOL_NOT_READY, "pool '%s' can only be deleted: %s",
                     hosted->pool.name, hosted->pool.error);
    return NULL;
}

void api_pool_patch(struct http_request *request)
{
    struct hosted_pool *hosted = changeable_find(request);
    struct pool_body body;
    struct pool_wish wish;
    struct err err;

    if (!hosted)
        return;
    wish = hosted_wish(hosted);
    hosted_body(hosted, &body);
    body.min = wish.min;
    body.max = wish.max;
    body.shells = wish.shells;
    if (!http_read_body(request, &body))
        return;
    if (pool_body_check(&body, &err) < 0) {
        http_reply_error(request, API_BAD_REQUEST, "%s", err.msg);
        return;
    }
    wish.min = body.min;
    wish.max = body.max;
    wish.shells = body.shells;
    hosted_change(hosted, &wish, on_changed, request);
}

static void draining_set(struct http_request *request, bool draining)
{
    struct hosted_pool *hosted = changeable_find(request);
    struct pool_wish wish;

    if (!hosted)
        return;
    if (hosted->deleting) {
        http_reply_error(request, API_POOL_BUSY, "pool '%s' is being deleted", hosted->pool.name);
        return;
    }
    wish = hosted_wish(hosted);
    wish.draining = draining;
    hosted_change(hosted, &wish, on_changed, request);
}

void api_pool_drain(struct http_request *request)
{
    draining_set(request, true);
}

void api_pool_undrain(struct http_request *request)
{
    draining_set(request, false);
}

void api_pool_retry(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);
    struct err err = { 0 };

    if (!hosted)
        return;
    if (hosted_retry(hosted, &err) < 0)
        http_reply_error(request, api_failure_code(err.code, API_POOL_NOT_READY), "%s", err.msg);
    else
        http_reply_json(request, MHD_HTTP_OK, pool_json(request, hosted));
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
    if (function_find(api_of(request)->functions, hosted->pool.name)) {
        http_reply_error(request, API_POOL_BUSY,
                         "'%s' is the pool of a function; delete that (voltctl function delete)",
                         hosted->pool.name);
        return;
    }
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
