/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls about poold itself: version, status, shutdown, metrics. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/metrics_text.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/version.h"

#define GRACE_MS_MAX (365 * 24 * 3600 * 1000ull)

static json_t *version_json(void)
{
    return json_pack("{s:o, s:i, s:i}", "version", json_text(VOLT_VERSION), "api", 1,
                     "control_protocol", (int)CONTROL_VERSION);
}

void api_version(struct http_request *request)
{
    http_reply_json(request, MHD_HTTP_OK, version_json());
}

/* Where on the host it is, which is administrators' to know. */
static json_t *places_add(const struct api *api, json_t *status)
{
    json_object_set_new(status, "run_dir", json_text(api->run_dir));
    json_object_set_new(status, "state_dir", json_text(api->state_dir));
    json_object_set_new(status, "log", json_text(log_target()));
    return status;
}

/* What poold is at; with when a drain ends, if it has a limit. */
static void state_add(const struct api *api, json_t *status)
{
    const struct pool_env *env = &api->vms->env;
    const uint64_t until_ns = env->draining ? api->ops->drain_until(api->daemon) : UINT64_MAX;
    const uint64_t now = now_ns();

    json_object_set_new(status, "state",
                        json_text(env->stopping   ? "stopping"
                                  : env->draining ? "draining"
                                                  : "running"));
    if (env->draining)
        json_object_set_new(
            status, "drain_ms_left",
            until_ns == UINT64_MAX
                ? json_null()
                : json_integer(until_ns > now ? (json_int_t)((until_ns - now) / NS_PER_MS) : 0));
}

void api_status(struct http_request *request)
{
    const struct peer *peer = &request->connection->peer;
    struct api *api = api_of(request);
    uint32_t pools = 0, vms = 0, leases = 0;

    /* Of those that the client may know of. */
    LIST_FOR_EACH(at, &api->vms->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        if (!access_pool_seen(peer, pool->name))
            continue;
        pools += hosted_is_current(pool);
        vms += pool_vm_count(pool);
        leases += pool->counts[SLOT_LEASED];
    }
    json_t *status = json_pack(
        "{s:o, s:i, s:I, s:{s:o, s:o}, s:i, s:i, s:i, s:b}", "version", json_text(VOLT_VERSION),
        "pid", (int)getpid(), "uptime_ms", (json_int_t)((now_ns() - api->started_ns) / NS_PER_MS),
        "kvm", "kind", json_text(api->kvm_kind), "path", json_text("/dev/kvm"), "pools", (int)pools,
        "leases", (int)leases, "vms", (int)vms, "unsafe", (int)api->vms->settings->skip_guest_work);
    state_add(api, status);
    http_reply_json(request, MHD_HTTP_OK,
                    peer->rights & RIGHT_ADMIN ? places_add(api, status) : status);
}

/* A text's lines, each of them ended. */
static json_t *lines_json(const char *text)
{
    json_t *array = json_array();

    for (size_t bytes; *text; text += bytes + 1) {
        char line[512];

        bytes = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)bytes, text);
        json_array_append_new(array, json_text(line));
    }
    return array;
}

static void on_reloaded(void *data, const struct err *err, const char *notes)
{
    struct http_request *request = data;

    if (!err)
        http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "notes", lines_json(notes)));
    else if (err->code == ESHUTDOWN)
        http_reply_error(request, API_SHUTTING_DOWN, "%s", err->msg);
    else
        http_reply_error(request, API_BAD_REQUEST, "%s; nothing was changed", err->msg);
}

void api_reload(struct http_request *request)
{
    api_of(request)->ops->reload(api_of(request)->daemon, on_reloaded, request);
}

struct shutdown_body {
    bool drain;
    uint64_t grace_ms;
};

static const struct json_key shutdown_keys[] = {
    JSON_NUMBER_KEY(struct shutdown_body, drain, "drain", JSON_KEY_BOOL, false, 0, 0),
    JSON_NUMBER_KEY(struct shutdown_body, grace_ms, "grace_ms", JSON_KEY_LONG, false, 0,
                    GRACE_MS_MAX),
};

const struct json_table api_shutdown_table = JSON_TABLE(shutdown_keys);

void api_shutdown(struct http_request *request)
{
    struct api *api = api_of(request);
    struct shutdown_body body = { .drain = false };

    if (!http_read_body(request, &body))
        return;
    if (body.grace_ms && !body.drain) {
        http_reply_error(request, API_BAD_REQUEST,
                         "'grace_ms' is the time of a drain: it needs "
                         "\"drain\": true");
        return;
    }
    http_reply_json(request, MHD_HTTP_ACCEPTED,
                    json_pack("{s:o}", "state", json_text(body.drain ? "draining" : "stopping")));
    api->ops->shutdown(api->daemon, body.drain, body.grace_ms);
}

void api_metrics(struct http_request *request)
{
    _cleanup_free_ char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    if (out) {
        metrics_text_print(api_of(request), &request->connection->peer, out);
        fclose(out);
    }
    if (!text) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    http_reply_text(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, bytes);
}
