/* SPDX-License-Identifier: Apache-2.0 */
/* Owns requests to poold, its responses, and upgrades; see client.h. */
#include "client.h"

#include <errno.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "base/util.h"

#define HEAD_MAX 65536u
#define FOREVER_MS (100ull * 365 * 24 * 3600 * 1000) /* what is left of it is awaited in turns */
#define REQUEST_HEAD_BYTES 2048u

int client_init(struct client *client, const char *socket_path, struct err *err)
{
    client->fd = -1;
    client->reused = false;
    client->headers = NULL;
    memset(client->socket_path, 0, sizeof client->socket_path);
    if (strlen(socket_path) >= sizeof client->socket_path)
        return err_set(err, ENAMETOOLONG, "the socket path '%s' is too long", socket_path);
    strcpy(client->socket_path, socket_path);
    return client_connect(client, err);
}

void client_fini(struct client *client)
{
    close_fd(&client->fd);
}

void client_response_fini(struct client_response *response)
{
    free_pointer(&response->body);
    response->body_bytes = 0;
}

/* ---- Reading one response ---- */

struct reading {
    struct client_response *response;
    char field[24]; /* the last header's name, cut */
    bool in_value;
    size_t head_bytes;
    bool complete;
    bool too_large;
    client_take_fn *take; /* of client_follow; else NULL */
    void *take_data;
    struct err *take_err;
    bool refused; /* by it */
};

static int on_header_field(http_parser *parser, const char *at, size_t bytes)
{
    struct reading *reading = parser->data;
    size_t used = reading->in_value ? 0 : strlen(reading->field);

    reading->in_value = false;
    snprintf(reading->field + used, sizeof reading->field - used, "%.*s", (int)bytes, at);
    return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t bytes)
{
    struct reading *reading = parser->data;
    char *invocation = reading->response->invocation;
    size_t used = strlen(invocation);

    reading->in_value = true;
    if (strcasecmp(reading->field, "X-Volt-Invocation") == 0)
        snprintf(invocation + used, CLIENT_INVOCATION_BYTES - used, "%.*s", (int)bytes, at);
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t bytes)
{
    struct reading *reading = parser->data;
    struct client_response *response = reading->response;

    response->status = parser->status_code;
    if (reading->take && parser->status_code == 200) {
        reading->refused = reading->take(reading->take_data, at, bytes, reading->take_err) < 0;
        return reading->refused;
    }
    if (bytes > CLIENT_BODY_MAX - response->body_bytes) {
        reading->too_large = true;
        return 1;
    }
    char *grown = realloc(response->body, response->body_bytes + bytes + 1);
    if (!grown)
        return 1;
    memcpy(grown + response->body_bytes, at, bytes);
    response->body = grown;
    response->body_bytes += bytes;
    grown[response->body_bytes] = '\0';
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct reading *reading = parser->data;

    reading->complete = true;
    reading->response->status = parser->status_code;
    http_parser_pause(parser, 1); /* what follows is not this response's */
    return 0;
}

/* 1xx other than 101 would be followed by the real response; poold sends none. */
static const http_parser_settings parser_settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static int parse_fail(const struct reading *reading, const http_parser *parser, struct err *err)
{
    if (reading->too_large)
        return err_set(err, EPROTO, "the answer's body is larger than %u MiB",
                       CLIENT_BODY_MAX >> 20);
    return err_set(err, EPROTO, "the answer is not HTTP (%s); is that poold's socket?",
                   http_errno_description(HTTP_PARSER_ERRNO(parser)));
}

/* Reads until the response is complete. What came behind it is moved to the front of buffer,
 * *ret_left bytes. -ECONNRESET with nothing read at all when the peer had closed already. */
static int response_read(int fd, uint64_t deadline_ns, struct reading *reading, http_parser *parser,
                         uint8_t *buffer, size_t *ret_left, struct err *err)
{
    while (!reading->complete) {
        int rc = client_wait_readable(fd, deadline_ns);
        if (rc == -ETIMEDOUT)
            return err_set(err, ETIMEDOUT, "poold gave no answer in time");
        if (rc < 0)
            return err_set_errno(err, -rc, "cannot wait for poold's answer");
        ssize_t n = read(fd, buffer, CLIENT_STREAM_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot read poold's answer");
        reading->head_bytes += (size_t)n;
        size_t used = http_parser_execute(parser, &parser_settings, (char *)buffer, (size_t)n);
        enum http_errno error = HTTP_PARSER_ERRNO(parser);
        if (error != HPE_OK && error != HPE_PAUSED)
            return n == 0 ? err_set(err, ECONNRESET, "poold closed the connection in mid-answer")
                          : parse_fail(reading, parser, err);
        if (reading->complete) {
            *ret_left = (size_t)n - used;
            memmove(buffer, buffer + used, *ret_left);
            return 0;
        }
        if (n == 0)
            return err_set(err, ECONNRESET, "poold closed the connection without an answer");
    }
    return 0;
}

/* What goes with a request: data, and behind it a file if fd is not negative. */
struct request_body {
    const char *data; /* NULL: none */
    size_t data_bytes;
    const char *type; /* NULL: it is not told */
    int fd;
    uint64_t bytes; /* of the file */
};

static int send_file(int socket_fd, int fd, uint64_t bytes)
{
    off_t offset = 0;

    while ((uint64_t)offset < bytes) {
        ssize_t n = sendfile(socket_fd, fd, &offset, MIN_OF(bytes - (uint64_t)offset, GIB(1)));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -ENODATA;
    }
    return 0;
}

static int request_send(struct client *client, const char *method, const char *path,
                        const char *headers, const struct request_body *payload, struct err *err)
{
    const size_t body_bytes = payload->data_bytes;
    _cleanup_free_ char *request = malloc(REQUEST_HEAD_BYTES + body_bytes);

    if (!request)
        return err_set(err, ENOMEM, "out of memory");
    int n = snprintf(request, REQUEST_HEAD_BYTES,
                     "%s %s HTTP/1.1\r\nHost: volt\r\n%s%s%sContent-Length: %llu\r\n%s\r\n", method,
                     path, payload->type ? "Content-Type: " : "",
                     payload->type ? payload->type : "", payload->type ? "\r\n" : "",
                     (unsigned long long)body_bytes + payload->bytes, headers);
    if (n < 0 || (unsigned)n >= REQUEST_HEAD_BYTES)
        return err_set(err, ENAMETOOLONG, "the request's path is too long");
    if (body_bytes)
        memcpy(request + n, payload->data, body_bytes);
    int rc = client_send_all(client->fd, request, (size_t)n + body_bytes);
    if (rc == 0 && payload->fd >= 0)
        rc = send_file(client->fd, payload->fd, payload->bytes);
    /* A server that refuses early has answered and closed: the answer says why. */
    if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET)
        return err_set_errno(err, -rc, "cannot send the request to poold");
    return 0;
}

static int exchange(struct client *client, const char *method, const char *path,
                    const char *headers, const struct request_body *body, uint64_t timeout_ms,
                    struct reading *reading, struct client_stream *stream, struct err *err)
{
    uint8_t buffer[CLIENT_STREAM_BYTES];
    uint64_t deadline_ns = now_ns() + timeout_ms * NS_PER_MS;
    http_parser parser;
    size_t left = 0;

    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = reading;
    int rc = request_send(client, method, path, headers, body, err);
    if (rc == 0)
        rc = response_read(client->fd, deadline_ns, reading, &parser,
                           stream ? stream->early : buffer, &left, err);
    if (rc < 0) {
        client_fini(client);
        return rc;
    }
    client->reused = true;
    if (stream && parser.upgrade && reading->response->status == 101) {
        stream->fd = take_fd(&client->fd);
        stream->early_bytes = left;
        return 0;
    }
    if (reading->response->status == 101 || left > 0) {
        client_fini(client);
        return err_set(err, EPROTO, "poold's answer to %s %s is out of place", method, path);
    }
    http_parser_pause(&parser, 0);
    if (!http_should_keep_alive(&parser))
        client_fini(client);
    return 0;
}

static int request(struct client *client, const char *method, const char *path,
                   const struct request_body *body, uint64_t timeout_ms,
                   struct client_response *ret_response, struct err *err)
{
    struct client_response response = { 0 };
    struct reading reading = { .response = &response };
    const char *headers = client->headers ? client->headers : "";
    int rc = client->fd < 0 ? client_connect(client, err) : 0;
    /* poold may have closed it meanwhile, or be on its way down, and another on its way up. */
    bool may_repeat = strcmp(method, "GET") == 0;

    if (rc == 0)
        rc = exchange(client, method, path, headers, body, timeout_ms, &reading, NULL, err);
    if (rc < 0 && may_repeat && reading.head_bytes == 0 && rc != -ETIMEDOUT) {
        rc = client_connect(client, err);
        if (rc == 0)
            rc = exchange(client, method, path, headers, body, timeout_ms, &reading, NULL, err);
    }
    if (rc < 0) {
        client_response_fini(&response);
        return rc;
    }
    *ret_response = response;
    return 0;
}

int client_request(struct client *client, const char *method, const char *path, const char *body,
                   uint64_t timeout_ms, struct client_response *ret_response, struct err *err)
{
    const struct request_body text = { .data = body,
                                       .data_bytes = body ? strlen(body) : 0,
                                       .type = body ? "application/json" : NULL,
                                       .fd = -1 };

    return request(client, method, path, &text, timeout_ms, ret_response, err);
}

int client_post(struct client *client, const char *path, const char *type, const void *data,
                size_t bytes, uint64_t timeout_ms, struct client_response *ret_response,
                struct err *err)
{
    const struct request_body body = { .data = data, .data_bytes = bytes, .type = type, .fd = -1 };

    return request(client, "POST", path, &body, timeout_ms, ret_response, err);
}

int client_follow(struct client *client, const char *path, client_take_fn *take, void *data,
                  struct client_response *ret_response, struct err *err)
{
    struct client_response response = { 0 };
    struct err take_err = { 0 };
    struct reading reading = {
        .response = &response, .take = take, .take_data = data, .take_err = &take_err
    };
    const struct request_body none = { .fd = -1 };
    int rc = client->fd < 0 ? client_connect(client, err) : 0;

    if (rc == 0)
        rc = exchange(client, "GET", path, "", &none, FOREVER_MS, &reading, NULL, err);
    if (reading.refused)
        *err = take_err;
    else if (rc == -ECONNRESET && response.status == 200)
        rc = 0; /* in the middle of it: as poold's end, or its being killed, is seen */
    if (reading.refused)
        rc = -err->code;
    if (rc < 0) {
        client_response_fini(&response);
        return rc;
    }
    *ret_response = response;
    return 0;
}

int client_upload(struct client *client, const char *path, const char *before, int body_fd,
                  uint64_t body_bytes, uint64_t timeout_ms, struct client_response *ret_response,
                  struct err *err)
{
    const struct request_body file = { .data = before,
                                       .data_bytes = before ? strlen(before) : 0,
                                       .fd = body_fd,
                                       .bytes = body_bytes };

    return request(client, "POST", path, &file, timeout_ms, ret_response, err);
}

int client_upgrade(struct client *client, const char *path, const char *protocol,
                   uint64_t timeout_ms, struct client_stream *ret_stream,
                   struct client_response *ret_response, struct err *err)
{
    struct client_response response = { 0 };
    struct reading reading = { .response = &response };
    const struct request_body none = { .fd = -1 };
    char headers[128];
    int rc = client->fd < 0 ? client_connect(client, err) : 0;

    ret_stream->fd = -1;
    snprintf(headers, sizeof headers, "Connection: Upgrade\r\nUpgrade: %s\r\n", protocol);
    if (rc == 0)
        rc = exchange(client, "POST", path, headers, &none, timeout_ms, &reading, ret_stream, err);
    if (rc < 0) {
        client_response_fini(&response);
        return rc;
    }
    *ret_response = response;
    return 0;
}
