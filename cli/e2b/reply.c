/* SPDX-License-Identifier: Apache-2.0 */
/* Owns replies, and what calls are asked for by their head and body; see server.h. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/util.h"
#include "e2b/rpc.h"
#include "e2b/server.h"

const char *const rpc_error_names[RPC_ERROR_COUNT] = {
#define X(name, code, status) [name] = code,
    RPC_ERROR_MAP(X)
#undef X
};

unsigned rpc_error_status(enum rpc_error code)
{
    static const unsigned statuses[RPC_ERROR_COUNT] = {
#define X(name, code, status) [name] = status,
        RPC_ERROR_MAP(X)
#undef X
    };

    return statuses[code];
}

json_t *error_json(unsigned status, const char *message)
{
    return json_pack("{s:i, s:o}", "code", (int)status, "message", json_text(message));
}

void call_refuse(struct call *call, unsigned status, enum rpc_error code, const char *fmt, ...)
{
    va_list args;

    if (call->refusal)
        return;
    call->refusal = status;
    call->refusal_code = code;
    va_start(args, fmt);
    vsnprintf(call->refusal_text, sizeof call->refusal_text, fmt, args);
    va_end(args);
}

void reply_response(struct call *call, unsigned status, struct MHD_Response *response)
{
    if (!response) {
        call->result = MHD_NO;
        return;
    }
    call->result = MHD_queue_response(call->mhd, status, response);
    MHD_destroy_response(response);
}

static void reply_bytes(struct call *call, unsigned status, const char *type, char *taken,
                        size_t bytes, const char *next_token)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(bytes, taken, MHD_RESPMEM_MUST_FREE);

    if (response && type)
        MHD_add_response_header(response, "Content-Type", type);
    if (response && next_token)
        MHD_add_response_header(response, "X-Next-Token", next_token);
    reply_response(call, status, response);
}

static void json_reply(struct call *call, unsigned status, json_t *body, const char *next_token)
{
    char *text = json_dumps(body, JSON_COMPACT);

    json_decref(body);
    if (!text)
        abort(); /* out of memory for a few bytes */
    reply_bytes(call, status, "application/json", text, strlen(text), next_token);
}

void reply_json(struct call *call, unsigned status, json_t *body)
{
    json_reply(call, status, body, NULL);
}

void reply_json_next(struct call *call, json_t *body, const char *next_token)
{
    json_reply(call, 200, body, next_token);
}

void reply_empty(struct call *call, unsigned status)
{
    reply_bytes(call, status, NULL, NULL, 0, NULL);
}

void reply_text(struct call *call, unsigned status, const char *type, const char *text)
{
    reply_bytes(call, status, type, strdup(text), strlen(text), NULL);
}

void reply_error(struct call *call, unsigned status, enum rpc_error code, const char *fmt, ...)
{
    enum call_kind kind = call->route ? call->route->kind : CALL_API;
    char text[ERR_MSG_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (kind == CALL_STREAM && status != 502 && status != 415)
        reply_response(call, 200, rpc_stream_error(code, text));
    else if ((kind == CALL_UNARY || kind == CALL_STREAM) && status != 502)
        reply_json(call, status == 415 ? status : rpc_error_status(code),
                   rpc_error_json(code, text));
    else
        reply_json(call, status, error_json(status, text));
}

const char *call_header(const struct call *call, const char *name)
{
    return MHD_lookup_connection_value(call->mhd, MHD_HEADER_KIND, name);
}

const char *call_query(const struct call *call, const char *name)
{
    return MHD_lookup_connection_value(call->mhd, MHD_GET_ARGUMENT_KIND, name);
}

bool call_gone(const struct call *call)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd fd = { .fd = info ? info->connect_fd : -1, .events = POLLRDHUP };

    return poll(&fd, 1, 0) > 0 && fd.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* Each value of JSON takes a hundred times its bytes in memory: there may be so many, before it is read. */
static bool json_is_small(const char *text, size_t bytes)
{
    size_t parts = 0;
    bool in_text = false;

    for (size_t i = 0; i < bytes; i++) {
        if (in_text && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_text = !in_text;
        else if (!in_text && text[i] && strchr("{[,:", text[i]))
            parts++;
    }
    return parts <= SERVER_JSON_PARTS;
}

json_t *call_json(struct call *call)
{
    const char *body = call->body;
    size_t bytes = call->bytes;
    json_error_t error;

    if (call->route->kind == CALL_STREAM && !rpc_envelope_open(call, &body, &bytes))
        return NULL;
    if (!json_is_small(body, bytes)) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "the body has more than %u parts",
                    SERVER_JSON_PARTS);
        return NULL;
    }
    json_t *json =
        json_loadb(bytes ? body : "{}", bytes ? bytes : 2, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(json))
        return json;
    reply_error(call, 400, RPC_INVALID_ARGUMENT, "the body is no JSON object%s%s", json ? "" : ": ",
                json ? "" : error.text);
    json_decref(json);
    return NULL;
}

/* The name in "Basic BASE64(NAME:PASSWORD)", or "". False: it is none. */
static bool basic_user(const char *header, char ret_user[SERVER_USER_BYTES])
{
    unsigned char text[256];
    const char *encoded = header + strlen("Basic ");
    size_t bytes = strlen(header);

    if (strncasecmp(header, "Basic ", 6) != 0 || bytes - 6 >= sizeof text)
        return false;
    int count = EVP_DecodeBlock(text, (const unsigned char *)encoded, (int)(bytes - 6));
    if (count < 0)
        return false;
    text[count] = '\0';
    size_t name = strcspn((const char *)text, ":");
    if (name >= SERVER_USER_BYTES)
        return false;
    memcpy(ret_user, text, name);
    ret_user[name] = '\0';
    return true;
}

bool call_user_read(const struct call *call, char ret_user[SERVER_USER_BYTES],
                    const char **ret_name)
{
    const char *header = call->by_signature ? NULL : call_header(call, "Authorization");
    const char *name = call_query(call, "username");
    bool good = true;

    ret_user[0] = '\0';
    if (header)
        good = basic_user(header, ret_user);
    else if (name)
        good = (size_t)snprintf(ret_user, SERVER_USER_BYTES, "%s", name) < SERVER_USER_BYTES;
    /* E2B's images have a user of that name, others have whom their maker wants. */
    *ret_name = ret_user[0] && strcmp(ret_user, "user") != 0 ? ret_user : NULL;
    return good && !strpbrk(ret_user, ":/\n");
}

bool call_user(struct call *call, char ret_user[SERVER_USER_BYTES], const char **ret_name)
{
    const bool good = call_user_read(call, ret_user, ret_name);

    if (!good)
        reply_error(call, 400, RPC_INVALID_ARGUMENT, CALL_USER_WRONG);
    return good;
}
