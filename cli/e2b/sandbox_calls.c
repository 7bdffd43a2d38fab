/* SPDX-License-Identifier: Apache-2.0 */
/* Owns E2B's API of sandboxes; see sandbox.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/util.h"
#include "e2b/calls.h"
#include "e2b/rpc.h"
#include "e2b/sandbox.h"

/* The envd whose calls these are: E2B's clients ask no more of it than it has. */
#define ENVD_VERSION "0.5.7"
#define LIST_MAX 100u
#define METADATA_BYTES 16384u

/* ---- Replies ---- */

static json_t *ms_json(uint64_t ms)
{
    return rpc_time_json(ms / 1000, ms % 1000, 3);
}

static json_t *sandbox_json(const struct sandbox *sandbox)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:s, s:O}", "sandboxID", sandbox->id,
        "templateID", sandbox->template_id, "clientID", "volt", "envdVersion", ENVD_VERSION,
        "cpuCount", (json_int_t)sandbox->vcpus, "memoryMB", (json_int_t)sandbox->memory_mib,
        "startedAt", ms_json(sandbox->started_ms), "endAt",
        ms_json(sandbox->started_ms + (sandbox->end_ns - sandbox->started_ns) / NS_PER_MS), "state",
        "running", "metadata", sandbox->metadata);
}

/* What makes a client able to use it. */
static void reply_access(struct call *call, unsigned status, const struct sandbox *sandbox)
{
    reply_json(call, status,
               json_pack("{s:s, s:s, s:s, s:s, s:s}", "sandboxID", sandbox->id, "templateID",
                         sandbox->template_id, "clientID", "volt", "envdVersion", ENVD_VERSION,
                         "envdAccessToken", sandbox->token));
}

/* The sandbox of the path, if it is the caller's. NULL: it has replied. */
static struct sandbox *sandbox_of(struct call *call)
{
    struct sandbox *sandbox = sandbox_find(call->server->sandboxes, call->param);

    if (sandbox && sandbox->key == call->key)
        return sandbox;
    sandbox_put(sandbox);
    reply_error(call, 404, RPC_NOT_FOUND, "there is no sandbox '%s'", call->param);
    return NULL;
}

/* ---- Creation ---- */

/* "timeout" in seconds, or `fallback`. False: it is none. */
static bool timeout_take(const json_t *json, uint32_t fallback, uint32_t *ret_seconds)
{
    const json_t *value = json_object_get(json, "timeout");
    json_int_t seconds = json_integer_value(value);

    *ret_seconds = value && !json_is_null(value) ? (uint32_t)seconds : fallback;
    return !value || json_is_null(value) ||
           (json_is_integer(value) && seconds >= 1 && seconds <= SANDBOX_TIMEOUT_S_MAX);
}

static const char *const unsupported_keys[] = { "network", "iam", "volumeMounts", "mcp", NULL };

/* NULL, or what is wrong. */
static const char *wish_read(const json_t *json, struct sandbox_wish *ret_wish)
{
    json_t *metadata = json_object_get(json, "metadata"), *env = json_object_get(json, "envVars");
    const json_t *template_id = json_object_get(json, "templateID");

    ret_wish->template_id = template_id ? json_string_value(template_id) : "base";
    ret_wish->metadata = json_is_null(metadata) ? NULL : metadata;
    ret_wish->env = json_is_null(env) ? NULL : env;
    if (!ret_wish->template_id || strlen(ret_wish->template_id) >= E2B_NAME_BYTES)
        return "templateID must be a text of at most 63 bytes";
    if (!timeout_take(json, SANDBOX_TIMEOUT_S, &ret_wish->timeout_s))
        return "timeout must be from 1 to 86400 seconds";
    if ((ret_wish->metadata && !sandbox_texts_are_good(ret_wish->metadata)) ||
        (ret_wish->env && !sandbox_texts_are_good(ret_wish->env)))
        return "metadata and envVars must be at most 256 texts by name";
    if (ret_wish->metadata &&
        json_dumpb(ret_wish->metadata, NULL, 0, JSON_COMPACT) > METADATA_BYTES)
        return "metadata may have 16384 bytes";
    if (json_is_true(json_object_get(json, "autoPause")))
        return "sandboxes can't be paused here, only killed when their time is over";
    if (json_is_false(json_object_get(json, "allow_internet_access")))
        return "what a sandbox may reach is said by its pool (net, net_allow, net_deny)";
    for (unsigned i = 0; unsupported_keys[i]; i++) {
        const json_t *value = json_object_get(json, unsupported_keys[i]);

        if (value && !json_is_null(value))
            return "network, iam, volumeMounts and mcp can't be asked for here";
    }
    return NULL;
}

void call_sandbox_create(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct sandbox_wish wish = { .key = call->key };
    struct sandbox *sandbox;
    struct err err;

    if (!json)
        return;
    const char *wrong = wish_read(json, &wish);
    if (wrong) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "%s", wrong);
        return;
    }
    unsigned status = sandbox_create(call->server->sandboxes, &wish, &sandbox, &err);
    if (status) {
        reply_error(call, status, RPC_UNAVAILABLE, "%s", err.msg);
        return;
    }
    if (call_gone(call)) /* nobody would know of it */
        sandbox_kill(sandbox);
    reply_access(call, 201, sandbox);
    sandbox_put(sandbox);
}

/* ---- One ---- */

void call_sandbox_show(struct call *call)
{
    struct sandbox *sandbox = sandbox_of(call);

    if (!sandbox)
        return;
    if (sandbox_alive(sandbox)) {
        json_t *json = sandbox_json(sandbox);

        json_object_set_new(json, "envdAccessToken", json_string(sandbox->token));
        reply_json(call, 200, json);
    } else {
        reply_error(call, 404, RPC_NOT_FOUND, "there is no sandbox '%s'", call->param);
    }
    sandbox_put(sandbox);
}

static void sandbox_set(struct call *call, bool only_later)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct sandbox *sandbox = json ? sandbox_of(call) : NULL;
    uint32_t seconds;
    struct err err;

    if (!sandbox)
        return;
    unsigned status = 0;
    if (!timeout_take(json, SANDBOX_TIMEOUT_S, &seconds))
        status = (err_set(&err, EINVAL, "timeout must be from 1 to 86400 seconds"), 400);
    else
        status = sandbox_renew(sandbox, seconds, only_later, &err);
    if (status)
        reply_error(call, status, RPC_INVALID_ARGUMENT, "%s", err.msg);
    else if (only_later)
        reply_access(call, 200, sandbox);
    else
        reply_empty(call, 204);
    sandbox_put(sandbox);
}

void call_sandbox_timeout(struct call *call)
{
    sandbox_set(call, false);
}

void call_sandbox_connect(struct call *call)
{
    sandbox_set(call, true);
}

void call_sandbox_kill(struct call *call)
{
    struct sandbox *sandbox = sandbox_of(call);

    if (!sandbox)
        return;
    if (sandbox_kill(sandbox))
        reply_empty(call, 204);
    else
        reply_error(call, 404, RPC_NOT_FOUND, "there is no sandbox '%s'", call->param);
    sandbox_put(sandbox);
}

/* No figures are kept of a sandbox, which is what E2B says of a young one. */
void call_sandbox_metrics(struct call *call)
{
    struct sandbox *sandbox = sandbox_of(call);

    if (sandbox)
        reply_json(call, 200, json_array());
    sandbox_put(sandbox);
}

/* ---- All ---- */

static void unescape(char *text)
{
    char *to = text;

    for (const char *at = text; *at; at++) {
        unsigned byte;

        if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1 && at[1] && at[2]) {
            *to++ = (char)byte;
            at += 2;
        } else {
            *to++ = *at == '+' ? ' ' : *at;
        }
    }
    *to = '\0';
}

/* "KEY=VALUE&...", each of them escaped twice. */
static bool metadata_is(const struct sandbox *sandbox, const char *filter)
{
    _cleanup_free_ char *text = strdup(filter);
    char *state = NULL;
    bool is = text != NULL;

    for (char *pair = text ? strtok_r(text, "&", &state) : NULL; pair && is;
         pair = strtok_r(NULL, "&", &state)) {
        char *value = strchr(pair, '=');

        if (!value)
            return false;
        *value++ = '\0';
        for (unsigned i = 0; i < 2; i++) {
            unescape(pair);
            unescape(value);
        }
        const char *has = json_string_value(json_object_get(sandbox->metadata, pair));
        is = has && strcmp(has, value) == 0;
    }
    return is;
}

static bool is_listed(struct call *call, const struct sandbox *sandbox)
{
    const char *metadata = call_query(call, "metadata"), *state = call_query(call, "state"),
               *template_id = call_query(call, "template");

    return (!metadata || metadata_is(sandbox, metadata)) && (!state || strstr(state, "running")) &&
           (!template_id || strcmp(template_id, sandbox->template_id) == 0);
}

/* The most there are in a page, and the sandbox that it goes on behind; false: one of them is none. */
static bool page_read(struct call *call, uint64_t *ret_limit, uint64_t *ret_behind)
{
    const char *limit = call_query(call, "limit"), *token = call_query(call, "nextToken");
    char *end = NULL;

    *ret_limit = limit ? strtoull(limit, &end, 10) : LIST_MAX;
    if (limit && (*end || *ret_limit < 1 || *ret_limit > LIST_MAX))
        return false;
    *ret_behind = token ? strtoull(token, &end, 10) : 0;
    return !token || (!*end && *ret_behind > 0);
}

void call_sandbox_list(struct call *call)
{
    const char *order = call_query(call, "order");
    const bool oldest_first = order && strcmp(order, "asc") == 0;
    uint64_t limit, behind;
    char next[24] = "";
    size_t count;

    if (!page_read(call, &limit, &behind)) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT,
                    "limit is from 1 to 100, and nextToken one that was given");
        return;
    }
    struct sandbox **all = sandbox_all(call->server->sandboxes, call->key, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct sandbox *sandbox = all[oldest_first ? count - 1 - i : i];
        bool seen =
            behind && (oldest_first ? sandbox->number <= behind : sandbox->number >= behind);

        if (seen || !is_listed(call, sandbox) || next[0] || !sandbox_alive(sandbox))
            continue;
        json_array_append_new(list, sandbox_json(sandbox));
        if (json_array_size(list) == limit && i + 1 < count)
            snprintf(next, sizeof next, "%" PRIu64, sandbox->number);
    }
    for (size_t i = 0; i < count; i++)
        sandbox_put(all[i]);
    free(all);
    reply_json_next(call, list, next[0] ? next : NULL);
}

/* ---- The rest ---- */

void call_unsupported(struct call *call)
{
    reply_error(call, 501, RPC_UNIMPLEMENTED, "this is not to be had here (docs/e2b.md)");
}

void call_health(struct call *call)
{
    if (sandbox_alive(call->sandbox))
        reply_empty(call, 204);
    else
        reply_error(call, 502, RPC_UNAVAILABLE, "The sandbox was not found");
}

/* Prometheus' text. */
void call_figures(struct call *call)
{
    const struct server *server = call->server;
    char text[2048];

    snprintf(text, sizeof text,
             "# HELP volt_e2b_sandboxes Sandboxes that are there.\n"
             "# TYPE volt_e2b_sandboxes gauge\nvolt_e2b_sandboxes %u\n"
             "# HELP volt_e2b_sandboxes_total Sandboxes that were created.\n"
             "# TYPE volt_e2b_sandboxes_total counter\nvolt_e2b_sandboxes_total %llu\n"
             "# HELP volt_e2b_processes Processes that run in sandboxes.\n"
             "# TYPE volt_e2b_processes gauge\nvolt_e2b_processes %u\n"
             "# HELP volt_e2b_connections Open connections of clients.\n"
             "# TYPE volt_e2b_connections gauge\nvolt_e2b_connections %u\n"
             "# HELP volt_e2b_calls_total Calls.\n"
             "# TYPE volt_e2b_calls_total counter\nvolt_e2b_calls_total %llu\n"
             "# HELP volt_e2b_refused_total Calls without a right, or of no known path.\n"
             "# TYPE volt_e2b_refused_total counter\nvolt_e2b_refused_total %llu\n",
             atomic_load(&server->sandboxes->count), atomic_load(&server->sandboxes->created),
             atomic_load(&server->processes), atomic_load(&server->connections),
             atomic_load(&server->calls), atomic_load(&server->refused));
    reply_text(call, 200, "text/plain; version=0.0.4", text);
}
