/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the gateway's connections: listening, gathering bodies, who may call; see server.h. */
#include "e2b/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "e2b/sandbox.h"
#include "e2b/strangers.h"
#include "e2b/transfer.h"

#define STACK_BYTES (1u << 20) /* the way to an agent has buffers of 200 KiB */
#define HEAD_BYTES 16384u
#define DROPPED_MAX (64u << 20) /* of a body that is refused; then the connection ends */
#define ENVD_PORT "49983"       /* the port that E2B's envd has in its sandboxes */

/* ---- Who may call ---- */

/* In a time that does not tell how much of it is right. */
static bool secret_is(const char *secret, size_t secret_bytes, const char *given)
{
    size_t bytes = strlen(given);
    unsigned differs = bytes >= secret_bytes;

    for (size_t i = 0; i < secret_bytes; i++)
        differs |= (unsigned char)(secret[i] ^ (i < bytes ? given[i] : '\0'));
    return !differs;
}

static void caller_check(struct call *call)
{
    const struct e2b_settings *settings = call->server->settings;
    const char *given = call_header(call, "X-API-KEY");
    int found = -1;

    for (unsigned i = 0; given && i < settings->key_count; i++)
        if (secret_is(settings->keys[i], E2B_KEY_BYTES, given))
            found = (int)i;
    call->key = found;
    if (settings->key_count > 0 && found < 0)
        call_refuse(call, 401, RPC_UNAUTHENTICATED,
                    given ? "the API key is not known here" : "an API key is needed (X-API-KEY)");
}

/* The sandbox that a call is for, by its header, or by its host name "49983-ID.DOMAIN". False: it is
 * for another port. */
static bool sandbox_named(const struct call *call, char ret_id[SANDBOX_ID_BYTES])
{
    const char *id = call_header(call, "E2b-Sandbox-Id");
    const char *port = call_header(call, "E2b-Sandbox-Port");
    const char *host = call_header(call, "Host");
    size_t port_bytes = host ? strspn(host, "0123456789") : 0;

    ret_id[0] = '\0';
    if (id)
        snprintf(ret_id, SANDBOX_ID_BYTES, "%s", id);
    else if (port_bytes > 0 && host[port_bytes] == '-')
        snprintf(ret_id, SANDBOX_ID_BYTES, "%.*s",
                 (int)MIN_OF(strcspn(host + port_bytes + 1, "."), SANDBOX_ID_BYTES - 1u),
                 host + port_bytes + 1);
    if (port)
        return strcmp(port, ENVD_PORT) == 0;
    return id || !ret_id[0] || strncmp(host, ENVD_PORT "-", sizeof ENVD_PORT) == 0;
}

static void sandbox_check(struct call *call)
{
    const char *token = call_header(call, "X-Access-Token");
    char id[SANDBOX_ID_BYTES];

    if (!sandbox_named(call, id)) {
        call_refuse(call, 501, RPC_UNIMPLEMENTED, "ports of a sandbox are not served here");
        return;
    }
    if (id[0])
        call->sandbox = sandbox_find(call->server->sandboxes, id);
    else if (call->route->kind == CALL_FILES)
        call->sandbox = transfer_signed(call); /* the signature says whose it is */
    if (!call->sandbox) {
        call_refuse(call, 502, RPC_UNAVAILABLE, "The sandbox was not found");
        return;
    }
    if (call->route->kind == CALL_HEALTH)
        return;
    call->by_signature =
        call->route->kind == CALL_FILES && !token && (!id[0] || transfer_is_signed(call));
    if (call->by_signature)
        return;
    if (!token || !secret_is(call->sandbox->token, sizeof call->sandbox->token, token))
        call_refuse(call, 401, RPC_UNAUTHENTICATED, "the sandbox's access token is %s",
                    token ? "another one" : "needed (X-Access-Token)");
}

static void sandbox_count(struct call *call)
{
    call->counted = true;
    if (atomic_fetch_add(&call->sandbox->calls, 1) >= SANDBOX_CALLS_MAX)
        call_refuse(call, 429, RPC_RESOURCE_EXHAUSTED,
                    "%u calls of this sandbox are under way already", SANDBOX_CALLS_MAX);
}

/* ---- A call ---- */

/* Whether the path is the route's; what stands for {} goes to ret_param. */
static bool path_is(const char *pattern, const char *path, char ret_param[SERVER_PARAM_BYTES])
{
    const char *hole = strstr(pattern, "{}");

    if (!hole)
        return strcmp(pattern, path) == 0;
    size_t before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    size_t bytes = strcspn(path + before, "/");
    if (bytes == 0 || bytes >= SERVER_PARAM_BYTES || strcmp(path + before + bytes, hole + 2) != 0)
        return false;
    memcpy(ret_param, path + before, bytes);
    ret_param[bytes] = '\0';
    return true;
}

static void route_find(struct call *call, const char *method, const char *path)
{
    bool known = false;

    for (size_t i = 0; i < route_count && !call->route; i++) {
        if (!path_is(routes[i].path, path, call->param))
            continue;
        known = true;
        if (strcmp(routes[i].method, method) == 0)
            call->route = &routes[i];
    }
    if (!call->route)
        call_refuse(call, known ? 405 : 404, RPC_UNIMPLEMENTED,
                    known ? "this path has no such method" : "there is no such path here");
}

static void type_check(struct call *call)
{
    const char *wanted =
        call->route->kind == CALL_STREAM ? "application/connect+json" : "application/json";
    const char *type = call_header(call, "Content-Type");
    size_t bytes = strlen(wanted);

    if (!type || strncasecmp(type, wanted, bytes) != 0 || !strchr("; ", type[bytes]))
        call_refuse(call, 415, RPC_INVALID_ARGUMENT, "the content type must be %s", wanted);
    else if (call_header(call, "Content-Encoding") ||
             (call->route->kind == CALL_STREAM && call_header(call, "Connect-Content-Encoding")))
        call_refuse(call, 415, RPC_UNIMPLEMENTED, "compressed requests are not read");
}

static struct call *call_begin(struct server *server, struct MHD_Connection *mhd, const char *path,
                               const char *method)
{
    struct call *call = calloc(1, sizeof *call);

    if (!call)
        return NULL;
    *call = (struct call){ .server = server, .mhd = mhd, .key = -1 };
    atomic_fetch_add(&server->calls, 1);
    route_find(call, method, path);
    if (!call->route)
        return call;
    if (call->route->kind == CALL_API)
        caller_check(call);
    else
        sandbox_check(call);
    if (!call->refusal && call->sandbox)
        sandbox_count(call);
    if (!call->refusal)
        strangers_forget(server, mhd);
    if (!call->refusal && (call->route->kind == CALL_UNARY || call->route->kind == CALL_STREAM))
        type_check(call);
    return call;
}

/* Room for bytes more and a NUL. */
static bool body_grow(struct call *call, size_t bytes)
{
    size_t room = MAX_OF(call->room * 2, 4096u);

    if (call->bytes + bytes > SERVER_BODY_MAX) {
        call_refuse(call, 413, RPC_RESOURCE_EXHAUSTED, "a request may have %u bytes",
                    SERVER_BODY_MAX);
        return false;
    }
    while (room <= call->bytes + bytes)
        room *= 2;
    if (call->room > call->bytes + bytes)
        return true;
    if (atomic_fetch_add(&call->server->body_bytes, room - call->room) + room - call->room >
        SERVER_BODIES_MAX) {
        atomic_fetch_sub(&call->server->body_bytes, room - call->room);
        call_refuse(call, 429, RPC_RESOURCE_EXHAUSTED,
                    "too much is being sent at once; try again in a moment");
        return false;
    }
    char *body = realloc(call->body, room);
    if (!body)
        abort(); /* of 64 MiB in all */
    call->body = body;
    call->room = room;
    return true;
}

/* False: too much of what nobody wants. */
static bool body_take(struct call *call, const char *data, size_t bytes)
{
    if (!call->refusal && call->route->take) {
        call->route->take(call, data, bytes);
        return true;
    }
    if (!call->refusal && body_grow(call, bytes)) {
        memcpy(call->body + call->bytes, data, bytes);
        call->bytes += bytes;
        call->body[call->bytes] = '\0';
        return true;
    }
    call->dropped += bytes;
    return call->dropped <= DROPPED_MAX;
}

static enum MHD_Result on_call(void *data, struct MHD_Connection *mhd, const char *path,
                               const char *method, const char *version, const char *body,
                               size_t *body_bytes, void **state)
{
    struct call *call = *state;

    (void)version;
    if (!call) {
        *state = call_begin(data, mhd, path, method);
        return *state ? MHD_YES : MHD_NO;
    }
    if (*body_bytes > 0) {
        bool taken = body_take(call, body, *body_bytes);

        *body_bytes = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    if (call->refusal) {
        atomic_fetch_add(&call->server->refused, 1);
        reply_error(call, call->refusal, call->refusal_code, "%s", call->refusal_text);
    } else {
        call->route->handle(call);
    }
    return call->result;
}

static void on_completed(void *data, struct MHD_Connection *mhd, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct call *call = *state;

    (void)mhd;
    (void)code;
    if (!call)
        return;
    atomic_fetch_sub(&((struct server *)data)->body_bytes, call->room);
    transfer_free(call->transfer);
    if (call->counted)
        atomic_fetch_sub(&call->sandbox->calls, 1);
    sandbox_put(call->sandbox);
    free(call->body);
    free(call);
    *state = NULL;
}

static void on_connection(void *data, struct MHD_Connection *mhd, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server *server = data;

    (void)state;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&server->connections, 1);
        strangers_add(server, mhd);
    } else {
        atomic_fetch_sub(&server->connections, 1);
        strangers_forget(server, mhd);
    }
}

/* ---- Start ---- */

int server_start(struct server *server, const struct e2b_settings *settings,
                 struct sandboxes *sandboxes, struct err *err)
{
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
    struct MHD_OptionItem tls[] = {
        { MHD_OPTION_HTTPS_MEM_CERT, 0, settings->tls_certificate },
        { MHD_OPTION_HTTPS_MEM_KEY, 0, settings->tls_key },
        { MHD_OPTION_END, 0, NULL },
    };

    if (settings->tls_certificate)
        flags |= MHD_USE_TLS;
    else
        tls[0].option = MHD_OPTION_END;
    server->settings = settings;
    server->sandboxes = sandboxes;
    if (strangers_watch(server, err) < 0)
        return -err->code;
    server->mhd = MHD_start_daemon(
        flags, settings->port, strangers_allow, server, on_call, server, MHD_OPTION_LISTEN_SOCKET,
        settings->listen_fd, MHD_OPTION_CONNECTION_LIMIT, SERVER_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVER_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)(2 * HEAD_BYTES), MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (!server->mhd)
        return err_set(err, EIO, "can't serve HTTP%s",
                       settings->tls_certificate ? "S: certificate or key are not usable" : "");
    return 0;
}
