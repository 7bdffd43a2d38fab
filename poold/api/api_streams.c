/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the streams into a VM: the client's own socket is handed to the VM's process, and no byte of
 * a stream passes through poold. Only the console's backlog as text is read here. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api.h"
#include "api/leases.h"
#include "base/log.h"
#include "vms/clone.h"

#define BACKLOG_BYTES_MAX (1u << 20)
#define BACKLOG_TIMEOUT_MS 5000

/* What is to be handed over once the 101 is out. The lease may have ended by then. */
struct handover {
    struct api *api;
    char lease[SLOT_ID_BYTES];
    struct control_msg msg;
};

static void on_upgraded(void *data, int fd)
{
    struct handover *handover = data;
    struct slot *slot = lease_find(handover->api->vms, handover->lease);

    if (fd >= 0 && slot) {
        int rc = clone_connect(slot, &handover->msg, fd);

        if (rc < 0 && log_share_allows(&handover->api->client_lines))
            log_warn("VM %s takes no stream: %s", handover->lease, strerror(-rc));
    }
    free(handover);
}

static void stream_start(struct http_request *request, const struct slot *slot,
                         const char *protocol, const struct control_msg *msg)
{
    const char *wanted = http_upgrade_header(request);
    struct handover *handover;

    if (!wanted || strcmp(wanted, protocol) != 0) {
        http_reply_error(request, API_UPGRADE_REQUIRED,
                         "this path needs 'Connection: Upgrade' and 'Upgrade: %s'", protocol);
        return;
    }
    handover = malloc(sizeof *handover);
    if (!handover) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    *handover = (struct handover){ .api = api_of(request), .msg = *msg };
    memcpy(handover->lease, slot->id, sizeof handover->lease);
    http_reply_upgrade(request, protocol, on_upgraded, handover);
}

void api_lease_vsock(struct http_request *request)
{
    struct control_msg msg = { .type = CONTROL_VSOCK_CONNECT };
    const char *text = http_query(request, "port");
    char *end = NULL;
    unsigned long port;
    struct slot *slot;

    errno = 0;
    port = text ? strtoul(text, &end, 10) : 0;
    if (!text || *text < '0' || *text > '9' || *end || errno || port >= UINT32_MAX) {
        http_reply_error(request, API_BAD_REQUEST, "?port= must be a number from 0 to 4294967294");
        return;
    }
    slot = api_lease_find(request);
    if (!slot)
        return;
    msg.u.vsock_connect.port = (uint32_t)port;
    stream_start(request, slot, "volt-vsock", &msg);
}

void api_lease_console(struct http_request *request)
{
    struct control_msg msg = { .type = CONTROL_CONSOLE };
    struct slot *slot = api_lease_find(request);

    if (slot)
        stream_start(request, slot, "volt-console", &msg);
}

/* ---- The backlog as text ---- */

struct backlog {
    struct http_request *request; /* NULL: answered */
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned open_handles;
    int fd;
    char *text;
    size_t bytes, room;
};

static void on_backlog_closed(uv_handle_t *handle)
{
    struct backlog *backlog = handle->data;

    if (--backlog->open_handles)
        return;
    free(backlog->text);
    free(backlog);
}

/* error NULL: the text is whole. */
static void backlog_finish(struct backlog *backlog, enum api_error code, const char *error)
{
    struct http_request *request = backlog->request;

    if (error)
        http_reply_error(request, code, "%s", error);
    else
        http_reply_text(request, MHD_HTTP_OK, "text/plain; charset=utf-8", backlog->text,
                        backlog->bytes);
    uv_close((uv_handle_t *)&backlog->poll, on_backlog_closed);
    uv_close((uv_handle_t *)&backlog->timer, on_backlog_closed);
    close_fd(&backlog->fd);
}

static void on_backlog_timeout(uv_timer_t *timer)
{
    backlog_finish(timer->data, API_INTERNAL, "the VM did not send its console's backlog in time");
}

/* Whether there is room for more: what a VM sends counts as its lessee's, who might ask for it on all
 * of its connections at once. False: it has replied. */
static bool backlog_grow(struct backlog *backlog)
{
    size_t room = MAX_OF(backlog->room * 2, 16384);
    char *text = NULL;

    if (backlog->bytes < backlog->room)
        return true;
    if (room > BACKLOG_BYTES_MAX) {
        backlog_finish(backlog, API_INTERNAL, "the console's backlog is too long");
        return false;
    }
    if (http_request_charge(backlog->request, room - backlog->room))
        text = realloc(backlog->text, room);
    if (!text) {
        backlog_finish(backlog, API_TOO_MANY,
                       "what is held for you takes too much memory; read your replies first");
        return false;
    }
    backlog->text = text;
    backlog->room = room;
    return true;
}

static void on_backlog_readable(uv_poll_t *poll, int status, int events)
{
    struct backlog *backlog = poll->data;
    ssize_t n;

    (void)status;
    (void)events;
    if (!backlog_grow(backlog))
        return;
    n = read(backlog->fd, backlog->text + backlog->bytes, backlog->room - backlog->bytes);
    if (n > 0)
        backlog->bytes += (size_t)n;
    else if (n == 0)
        backlog_finish(backlog, API_ERROR_COUNT, NULL);
    else if (errno != EAGAIN && errno != EINTR)
        backlog_finish(backlog, API_INTERNAL, "the VM ended");
}

static int backlog_start(struct backlog *backlog, struct api *api, struct slot *slot)
{
    struct control_msg msg = { .type = CONTROL_CONSOLE, .u.console.backlog_only = 1 };
    int pair[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    backlog->fd = pair[0];
    rc = clone_connect(slot, &msg, pair[1]);
    close(pair[1]);
    if (rc == 0)
        rc = uv_poll_init(api->vms->loop, &backlog->poll, backlog->fd);
    if (rc < 0) {
        close_fd(&backlog->fd);
        return rc;
    }
    uv_timer_init(api->vms->loop, &backlog->timer);
    backlog->poll.data = backlog->timer.data = backlog;
    backlog->open_handles = 2;
    uv_timer_start(&backlog->timer, on_backlog_timeout, BACKLOG_TIMEOUT_MS, 0);
    return uv_poll_start(&backlog->poll, UV_READABLE, on_backlog_readable);
}

void api_lease_console_text(struct http_request *request)
{
    struct slot *slot = api_lease_find(request);
    struct backlog *backlog;
    int rc;

    if (!slot)
        return;
    backlog = calloc(1, sizeof *backlog);
    if (backlog)
        backlog->request = request;
    rc = backlog ? backlog_start(backlog, api_of(request), slot) : -ENOMEM;
    if (rc < 0) {
        free(backlog);
        http_reply_error(request, API_INTERNAL, "the VM's console can't be reached: %s",
                         strerror(-rc));
    }
}
