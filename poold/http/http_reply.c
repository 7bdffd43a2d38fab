/* SPDX-License-Identifier: Apache-2.0 */
/* Owns replies, upgrades and the watching of clients that wait; see http.h. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json_text.h"
#include "base/util.h"
#include "http/http_internal.h"

static const struct error_row {
    const char *code;
    unsigned status;
} errors[] = {
#define X(name, code, status) [name] = { code, status },
    API_ERROR_MAP(X)
#undef X
};
static_assert(ARRAY_LEN(errors) == API_ERROR_COUNT, "every error has a row");

/* Replies so short are not charged to anybody: the limits on connections bound them. */
#define SHORT_BYTES 4096u
/* For MHD's own part of a head, and for its record of each header and parameter of a request. */
#define OWN_HEAD_BYTES 768u
#define RECORD_BYTES 96u

void http_reply_response(struct http_request *request, unsigned status,
                         struct MHD_Response *response)
{
    struct http *http = request->http;

    assert(!request->answered && response);
    request->answered = true;
    http_request_count(request, false);
    http_watch_stop(request);
    http_phase_enter(request->connection, HTTP_REPLY);
    /* Refused only when the connection is being closed: then there is nobody to tell. */
    MHD_queue_response(request->mhd, status, response);
    MHD_destroy_response(response);
    if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->mhd);
        request->connection->lane->dirty = true;
        http->config.schedule(http->config.context);
    }
}

/* A response of these bytes; NULL: they are more than its client may have, and it has replied. */
static struct MHD_Response *response_make(struct http_request *request, const char *text,
                                          size_t bytes, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = NULL;
    /* MHD does not write to it, whatever the type says. */
    void *buffer = (void *)(uintptr_t)text;

    if (bytes <= SHORT_BYTES || http_request_charge(request, bytes))
        response = MHD_create_response_from_buffer(bytes, buffer, mode);
    if (!response) {
        if (mode == MHD_RESPMEM_MUST_FREE)
            free(buffer);
        http_reply_error(request, API_TOO_MANY,
                         "the reply is %zu bytes long, and those that you have not read yet take "
                         "too much memory; read them first",
                         bytes);
    }
    return response;
}

static void reply_buffer(struct http_request *request, unsigned status, const char *type,
                         const char *text, size_t bytes, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = response_make(request, text, bytes, mode);

    if (!response)
        return;
    if (type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    http_reply_response(request, status, response);
}

void http_reply_text(struct http_request *request, unsigned status, const char *type,
                     const char *text, size_t bytes)
{
    reply_buffer(request, status, type, text, bytes, MHD_RESPMEM_MUST_COPY);
}

/* MHD has one piece of memory for both heads; what it cannot write it hangs up on. */
bool http_reply_fits(const struct http_request *request, const struct http_header *headers,
                     size_t header_count)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const int records = MHD_get_connection_values(
        request->mhd, MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND, NULL, NULL);
    size_t bytes = info->header_size + OWN_HEAD_BYTES + (size_t)MAX_OF(records, 0) * RECORD_BYTES;

    for (size_t i = 0; i < header_count; i++)
        bytes += strlen(headers[i].name) + strlen(headers[i].value) + strlen(": \r\n");
    return bytes <= HTTP_HEAD_MAX;
}

void http_reply_with(struct http_request *request, unsigned status,
                     const struct http_header *headers, size_t header_count, char *body,
                     size_t bytes)
{
    struct MHD_Response *response =
        response_make(request, body ? body : "", body ? bytes : 0,
                      body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);

    if (!response)
        return;
    for (size_t i = 0; i < header_count; i++)
        MHD_add_response_header(response, headers[i].name, headers[i].value);
    http_reply_response(request, status, response);
}

void http_reply_empty(struct http_request *request, unsigned status)
{
    reply_buffer(request, status, NULL, "", 0, MHD_RESPMEM_PERSISTENT);
}

void http_reply_json(struct http_request *request, unsigned status, json_t *body)
{
    json_t *clean = json_texts_clean(body);
    char *text = clean ? json_dumps(clean, JSON_COMPACT) : NULL;
    size_t len = text ? strlen(text) : 0;

    json_decref(clean);
    if (!text) {
        http_reply_error(request, API_INTERNAL, "the reply could not be made");
        return;
    }
    /* The newline is for people with curl; it takes the place of the NUL. */
    text[len] = '\n';
    reply_buffer(request, status, "application/json", text, len + 1, MHD_RESPMEM_MUST_FREE);
}

/* ---- Errors ---- */

unsigned http_error_status(enum api_error code)
{
    return errors[code].status;
}

/* members: beside code and message; NULL: none. */
static char *error_text(enum api_error code, const char *message, json_t *members)
{
    json_t *error = json_pack("{s:o, s:o}", "code", json_text(errors[code].code), "message",
                              json_text(message));
    json_t *body = json_pack("{s:o}", "error", error);
    char *text;
    size_t len;

    if (members)
        json_object_update(error, members);
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!text)
        abort(); /* out of memory for a sentence */
    len = strlen(text);
    char *whole = realloc(text, len + 2);
    if (!whole)
        abort();
    memcpy(whole + len, "\n", 2);
    return whole;
}

char *http_error_text(enum api_error code, const char *message)
{
    return error_text(code, message, NULL);
}

/* text: the body, taken. allow: the value of that header, NULL for none. */
static void reply_error(struct http_request *request, enum api_error code, char *text,
                        const char *allow)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

    if (!response)
        abort(); /* out of memory for a sentence */
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    http_reply_response(request, errors[code].status, response);
}

void http_reply_error(struct http_request *request, enum api_error code, const char *fmt, ...)
{
    char message[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    reply_error(request, code, http_error_text(code, message), NULL);
}

void http_reply_error_with(struct http_request *request, enum api_error code, json_t *members,
                           const char *fmt, ...)
{
    char message[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    char *text = error_text(code, message, members);
    json_decref(members);
    reply_error(request, code, text, NULL);
}

void http_reply_not_allowed(struct http_request *request)
{
    const char *methods = request->param;
    char message[256];

    snprintf(message, sizeof message, "this path has no such method, but: %s", methods);
    reply_error(request, API_METHOD_NOT_ALLOWED, http_error_text(API_METHOD_NOT_ALLOWED, message),
                methods);
}

/* ---- Upgrades ---- */

static void on_upgraded(void *data, struct MHD_Connection *mhd, void *request_context,
                        const char *extra, size_t extra_bytes, MHD_socket fd,
                        struct MHD_UpgradeResponseHandle *handle)
{
    struct http_request *request = request_context;
    void (*upgraded)(void *, int) = request->upgraded;

    (void)data;
    (void)mhd;
    (void)extra;
    request->upgraded = NULL;
    http_phase_enter(request->connection, HTTP_CLOSING);
    /* What came before the 101 can't follow the socket into the VM: clients wait for it. */
    upgraded(request->upgrade_data, extra_bytes == 0 ? fd : -1);
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
    request->connection->lane->dirty = true;
    request->http->config.schedule(request->context);
}

void http_reply_upgrade(struct http_request *request, const char *protocol,
                        void (*upgraded)(void *data, int fd), void *data)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgraded, NULL);

    if (!response)
        abort();
    request->upgraded = upgraded;
    request->upgrade_data = data;
    MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, protocol);
    http_reply_response(request, MHD_HTTP_SWITCHING_PROTOCOLS, response);
}

void http_upgrade_end(struct http_request *request)
{
    if (request->upgraded)
        request->upgraded(request->upgrade_data, -1);
    request->upgraded = NULL;
}

const char *http_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

const char *http_upgrade_header(const struct http_request *request)
{
    return http_header(request, MHD_HTTP_HEADER_UPGRADE);
}

/* ---- Watching ---- */

struct http_watch {
    uv_poll_t poll;
    struct http_request *request;
    void (*gone)(struct http_request *request);
};

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void http_watch_stop(struct http_request *request)
{
    struct http_watch *watch = request->watch;

    if (!watch)
        return;
    request->watch = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static void on_disconnect(uv_poll_t *poll, int status, int events)
{
    struct http_watch *watch = poll->data;
    struct http_request *request = watch->request;
    void (*gone)(struct http_request *) = watch->gone;

    (void)status;
    (void)events;
    http_watch_stop(request);
    gone(request);
}

int http_watch(struct http_request *request, void (*gone)(struct http_request *request))
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_watch *watch = calloc(1, sizeof *watch);
    int rc;

    if (!watch)
        return -ENOMEM;
    rc = uv_poll_init(request->http->config.loop, &watch->poll, info->connect_fd);
    if (rc < 0) {
        free(watch);
        return rc;
    }
    watch->poll.data = watch;
    watch->request = request;
    watch->gone = gone;
    request->watch = watch;
    return uv_poll_start(&watch->poll, UV_DISCONNECT, on_disconnect);
}
