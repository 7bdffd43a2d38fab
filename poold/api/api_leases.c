/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/leases but the streams. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/lease_news.h"
#include "api/lease_text.h"
#include "api/leases.h"
#include "api/limits.h"
#include "api/repeat.h"
#include "base/log.h"
#include "http/json_keys.h"
#include "vms/clone.h"

#define WAIT_MS_MAX (24 * 3600 * 1000ull)
#define TTL_MS_MAX (365 * 24 * 3600 * 1000ull)
#define TTL_MS_NONE UINT64_MAX /* none is asked for */

struct acquire_body {
    char pool[POOL_NAME_BYTES];
    uint64_t wait_ms, ttl_ms;
    bool bind;
    char publish[NET_PUBLISH_BYTES];
    char labels[LABELS_BYTES];
};

static const struct json_key acquire_keys[] = {
    JSON_TEXT_KEY(struct acquire_body, pool, "pool", JSON_KEY_NAME, false, 1),
    JSON_NUMBER_KEY(struct acquire_body, wait_ms, "wait_ms", JSON_KEY_LONG, false, 0, WAIT_MS_MAX),
    JSON_NUMBER_KEY(struct acquire_body, ttl_ms, "ttl_ms", JSON_KEY_LONG, false, 0, TTL_MS_MAX),
    JSON_NUMBER_KEY(struct acquire_body, bind, "bind", JSON_KEY_BOOL, false, 0, 0),
    JSON_TEXT_KEY(struct acquire_body, publish, "publish", JSON_KEY_TEXT, false, 0),
    JSON_TEXT_KEY(struct acquire_body, labels, "labels", JSON_KEY_LABELS, false, 0),
};

const struct json_table api_acquire_table = JSON_TABLE(acquire_keys);

static const struct json_key renew_keys[] = {
    JSON_NUMBER_KEY(struct acquire_body, ttl_ms, "ttl_ms", JSON_KEY_LONG, true, 0, TTL_MS_MAX),
};

const struct json_table api_renew_table = JSON_TABLE(renew_keys);

struct acquire_call {
    struct acquire acquire;
    struct http_request *request;
    struct client *client;
    uint64_t vm_bytes; /* as the client is counted for it */
    bool bind;
    struct net_publish publish; /* reserved */
    char labels[LABELS_BYTES];
    struct repeat_pending pending;
};

static const enum api_error result_errors[ACQUIRE_RESULT_COUNT] = {
    [ACQUIRE_NO_VM_FREE] = API_NO_VM_FREE,
    [ACQUIRE_NOT_READY] = API_POOL_NOT_READY,
    [ACQUIRE_NO_ROOM] = API_NO_ROOM,
    [ACQUIRE_DRAINING] = API_POOL_DRAINING,
    [ACQUIRE_RESTORE_FAILED] = API_RESTORE_FAILED,
    [ACQUIRE_SHUTTING_DOWN] = API_SHUTTING_DOWN,
};

/* A pool's errors may quote its specification: they are for administrators. */
static const char *detail_for(const struct http_request *request, const char *detail)
{
    if (request->connection->peer.rights & RIGHT_ADMIN)
        return detail;
    return *detail ? "an administrator can see why" : "";
}

static void reply_failure(struct http_request *request, const struct pool *pool,
                          enum acquire_result result)
{
    const char *error = detail_for(request, pool->error);
    char sentence[POOL_ERROR_BYTES + 128];

    switch (result) {
    case ACQUIRE_NO_VM_FREE:
        snprintf(sentence, sizeof sentence, "no VM of pool '%s' came free in time (max is %u)",
                 pool->name, pool->max);
        break;
    case ACQUIRE_NO_ROOM:
        limits_tell_room(api_of(request), pool, sentence, sizeof sentence);
        break;
    case ACQUIRE_NOT_READY:
        snprintf(sentence, sizeof sentence, "pool '%s' is %s%s%s", pool->name,
                 pool_state_name(pool->state), error[0] ? ": " : "", error);
        break;
    case ACQUIRE_DRAINING:
        snprintf(sentence, sizeof sentence, "pool '%s' gives no new leases: it is draining",
                 pool->name);
        break;
    case ACQUIRE_RESTORE_FAILED:
        snprintf(sentence, sizeof sentence,
                 "no VM of pool '%s' could be restored; the last one: %s", pool->name,
                 detail_for(request, pool->last_failure));
        break;
    default:
        snprintf(sentence, sizeof sentence, "%s",
                 pool->env->draining ? "poold drains: it gives no new leases, and ends when those "
                                       "that are out are over"
                                     : "poold is shutting down");
        break;
    }
    http_reply_error(request, result_errors[result], "%s", sentence);
}

/* Whether its VMs' networks can have ports of the host. */
static bool pool_has_ports(const struct pool *pool)
{
    return pool_net_is_user(&((const struct hosted_pool *)pool->owner)->spec.net);
}

static void acquire_uncount(struct acquire_call *call)
{
    call->client->acquires--;
    call->client->acquire_bytes -= call->vm_bytes;
    list_remove(&call->pending.node);
}

static void acquire_done(struct acquire *acquire, enum acquire_result result, struct slot *slot)
{
    struct acquire_call *call = list_entry(acquire, struct acquire_call, acquire);
    struct http_request *request = call->request;
    struct api *api = api_of(request);
    char text[LEASE_TEXT_BYTES];
    size_t bytes;

    acquire_uncount(call);
    if (result != ACQUIRE_OK) {
        net_publish_release(&call->publish);
        reply_failure(request, acquire->pool, result);
    } else if (call->publish.count && !pool_has_ports(slot->pool)) {
        net_publish_release(&call->publish);
        pool_release(slot, LEASE_END_NETWORK_LOST);
        http_reply_error(request, API_BAD_REQUEST,
                         "'publish' needs a pool with 'net' user: '%s' was replaced meanwhile by "
                         "one without",
                         slot->pool->name);
    } else if (clone_net_lease(slot, &call->publish) < 0) {
        pool_release(slot, LEASE_END_NETWORK_LOST);
        http_reply_error(request, API_INTERNAL, "the VM's network can't be started");
    } else {
        slot->owner_uid = request->connection->peer.uid;
        slot->owner_connection = call->bind ? request->connection : NULL;
        request->connection->owns |= call->bind;
        slot->leased_wall_ns = clock_ns(CLOCK_REALTIME);
        slot->request = call->pending.key;
        memcpy(slot->labels, call->labels, strlen(call->labels) + 1);
        /* Before the client hears of it. */
        clone_lease_kept(slot, call->bind ? request->connection->fd : -1);
        bytes = lease_text(api, slot, 0, text);
        text[bytes++] = '\n';
        http_reply_text(request, MHD_HTTP_CREATED, "application/json", text, bytes);
        lease_news_given(api, slot);
    }
    free(call);
}

/* The client of a waiting acquire hung up. */
static void acquire_abandoned(struct http_request *request)
{
    struct acquire_call *call = request->call;

    pool_acquire_cancel(&call->acquire);
    net_publish_release(&call->publish);
    acquire_uncount(call);
    free(call);
    http_reply_error(request, API_NO_VM_FREE, "the client is gone");
}

/* Reserves the ports that `text` asks for. False: it has replied. */
static bool publish(struct http_request *request, const struct hosted_pool *hosted,
                    const char *text, struct net_publish *ret_publish)
{
    struct err err;
    int rc = net_publish_parse(text, ret_publish, &err);

    if (rc == 0 && *text && !pool_has_ports(&hosted->pool))
        rc = err_set(&err, EINVAL, "'publish' needs a pool with 'net' user, which '%s' is not",
                     hosted->pool.name);
    if (rc == 0)
        rc = net_publish_reserve(ret_publish, &api_of(request)->vms->walls.ports, &err);
    if (rc < 0)
        http_reply_error(request, rc == -EADDRINUSE ? API_PORT_BUSY : API_BAD_REQUEST, "%s",
                         err.msg);
    return rc == 0;
}

/* The pool that the request is for, if its client may have a VM of it now, and has not got one by this
 * request before. NULL: it has replied. */
static struct hosted_pool *acquire_allowed(struct http_request *request,
                                           const struct acquire_body *body,
                                           struct request_key *ret_key)
{
    struct hosted_pool *hosted = api_pool_find(request, body->pool);

    if (!hosted || !repeat_read(request, body->pool, ret_key))
        return NULL;
    if (!access_pool_allowed(&request->connection->peer, body->pool)) {
        http_reply_error(request, API_FORBIDDEN, "you may not acquire from pool '%s'", body->pool);
        return NULL;
    }
    /* Whoever may call it shall not look into it, nor take its VMs from those who call. */
    if (!(request->connection->peer.rights & RIGHT_ADMIN) &&
        function_find(api_of(request)->functions, body->pool)) {
        http_reply_error(request, API_FORBIDDEN,
                         "pool '%s' is a function's: you may call it, and administrators alone may "
                         "have its VMs",
                         body->pool);
        return NULL;
    }
    if (hosted->pool.at_bell) {
        http_reply_error(request, API_FORBIDDEN,
                         "the VMs of pool '%s' serve the calls of its function alone", body->pool);
        return NULL;
    }
    if (ret_key->key[1] && body->bind) {
        http_reply_error(
            request, API_BAD_REQUEST,
            "'bind' and an Idempotency-Key exclude each other: with its connection the "
            "lease would be lost, too");
        return NULL;
    }
    return !repeat_answered(request, ret_key) && limits_allow(request, &hosted->pool) ? hosted
                                                                                      : NULL;
}

static void acquire_start(struct acquire_call *call, struct hosted_pool *hosted,
                          const struct acquire_body *body)
{
    struct http_request *request = call->request;

    call->bind = body->bind;
    call->client = request->connection->peer.client;
    call->vm_bytes = hosted->pool.vm_bytes;
    call->client->acquires++;
    call->client->acquire_bytes += call->vm_bytes;
    call->acquire.asked_ns = request->began_ns;
    call->acquire.wait_ns = body->wait_ms * NS_PER_MS;
    call->acquire.kept_by_streams = body->ttl_ms == TTL_MS_NONE;
    call->acquire.ttl_ms =
        body->ttl_ms == TTL_MS_NONE ? api_of(request)->settings->lease_ttl_ms : body->ttl_ms;
    memcpy(call->labels, body->labels, strlen(body->labels) + 1);
    call->acquire.done = acquire_done;
    request->call = call;
    pool_acquire(&hosted->pool, &call->acquire);
    if (request->answered)
        return;
    /* Whoever waits longer than a parked VM takes to wake may hang up meanwhile. */
    if (!call->acquire.slot || call->acquire.slot->tier != TIER_PARKED)
        http_watch(request, acquire_abandoned);
}

void api_leases_acquire(struct http_request *request)
{
    struct acquire_body body = { .pool = "default", .ttl_ms = TTL_MS_NONE };
    struct hosted_pool *hosted = NULL;
    struct acquire_call *call;
    struct request_key key;

    if (http_read_body(request, &body))
        hosted = acquire_allowed(request, &body, &key);
    if (!hosted)
        return;
    call = calloc(1, sizeof *call);
    if (!call) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    if (!publish(request, hosted, body.publish, &call->publish)) {
        free(call);
        return;
    }
    call->request = request;
    repeat_begin(request, &call->pending, &key);
    acquire_start(call, hosted, &body);
}

bool api_connection_keeps(void *context, const struct http_connection *connection)
{
    const struct api *api = context;

    return leases_bound(api->vms, connection);
}

void api_connection_closed(void *context, const struct http_connection *connection)
{
    const struct api *api = context;

    leases_release_bound(api->vms, connection);
}

static void leases_print(struct http_request *request, FILE *out)
{
    const char *label = http_query(request, "label");
    uint64_t now = now_ns();
    const char *comma = "";

    fputs("{\"leases\":[", out);
    LEASE_FOR_EACH(slot, api_of(request)->vms)
    {
        char text[LEASE_TEXT_BYTES];

        if (!lease_visible(slot, &request->connection->peer) ||
            (label && !labels_have(slot->labels, label)))
            continue;
        lease_text(api_of(request), slot, now, text);
        fprintf(out, "%s\n%s", comma, text);
        comma = ",";
    }
    fputs("]}\n", out);
}

void api_leases_list(struct http_request *request)
{
    const char *label = http_query(request, "label");
    _cleanup_free_ char *text = NULL;
    size_t bytes = 0;

    if (label && (label[0] == '\0' || label[0] == '=')) {
        http_reply_error(request, API_BAD_REQUEST, "'label' must be KEY=VALUE or KEY, not '%s'",
                         label);
        return;
    }
    FILE *out = open_memstream(&text, &bytes);

    if (out) {
        leases_print(request, out);
        fclose(out);
    }
    if (!text) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    http_reply_text(request, MHD_HTTP_OK, "application/json", text, bytes);
}

static void reply_lease(struct http_request *request, const struct slot *slot)
{
    char text[LEASE_TEXT_BYTES];
    size_t bytes = lease_text(api_of(request), slot, now_ns(), text);

    text[bytes++] = '\n';
    http_reply_text(request, MHD_HTTP_OK, "application/json", text, bytes);
}

void api_lease_show(struct http_request *request)
{
    struct slot *slot = api_lease_find(request);

    if (slot)
        reply_lease(request, slot);
}

/* How programs of the lease's image are started: {} when nothing is said. */
void api_lease_config(struct http_request *request)
{
    struct slot *slot = api_lease_find(request);

    if (!slot)
        return;
    const struct hosted_pool *hosted = slot->pool->owner;
    json_auto_t *config = json_loads(hosted->image_config ? hosted->image_config : "{}", 0, NULL);
    /* The image's own texts go to programs as they are, and to no terminal. */
    _cleanup_free_ char *text = json_dumps(config, JSON_COMPACT | JSON_ENSURE_ASCII);

    if (text)
        http_reply_text(request, MHD_HTTP_OK, "application/json", text, strlen(text));
    else
        http_reply_error(request, API_INTERNAL, "the reply could not be made");
}

void api_lease_renew(struct http_request *request)
{
    struct acquire_body body = { .ttl_ms = 0 };
    struct slot *slot;

    if (!http_read_body(request, &body))
        return;
    slot = api_lease_find(request);
    if (!slot)
        return;
    slot->kept_by_streams = false; /* a time was asked for */
    pool_renew(slot, body.ttl_ms);
    clone_lease_renewed(slot);
    reply_lease(request, slot);
}

void api_lease_release(struct http_request *request)
{
    struct slot *slot = api_lease_find(request);
    bool discard;

    if (!slot || !http_query_bool(request, "discard", &discard))
        return;
    const enum lease_end end =
        slot->owner_uid == request->connection->peer.uid ? LEASE_END_RELEASED : LEASE_END_REVOKED;
    if (!discard && volumes_unsaved(api_of(request)->vms, slot)) {
        api_lease_release_saving(request, slot, end);
        return;
    }
    pool_release(slot, end);
    http_reply_empty(request, MHD_HTTP_NO_CONTENT);
}

void api_leases_release_all(struct http_request *request)
{
    const uint32_t count = leases_release_user(api_of(request)->vms, request->connection->peer.uid);

    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:i}", "released", (int)count));
}
