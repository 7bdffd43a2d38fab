/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the agent sessions of a warm-up: EXEC, then perhaps PARK; see warmup.h. */
#include "vms/warmup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "guest_abi.h"

#define REQUEST_BYTES_MAX 2048

enum step {
    STEP_EXEC,
    STEP_PARK,
};

struct warmup {
    uv_loop_t *loop;
    const struct warmup_ops *ops;
    void *owner;
    uv_poll_t poll;
    int fd;
    enum step step;
    bool park;     /* after the command */
    bool greeted;  /* the host's "OK <port>" line has come */
    bool finished; /* freed when the poll is closed */
    char *command;
    struct err err;
    size_t bytes; /* in buffer */
    uint8_t buffer[sizeof(struct agent_frame) + AGENT_PAYLOAD_MAX];
};

static int session_start(struct warmup *warmup);

static void on_finished(uv_handle_t *handle)
{
    struct warmup *warmup = handle->data;

    free(warmup->command);
    free(warmup);
}

static void on_session_closed(uv_handle_t *handle)
{
    struct warmup *warmup = handle->data;

    if (warmup->finished) { /* cancelled meanwhile */
        on_finished(handle);
        return;
    }
    warmup->step = STEP_PARK;
    if (session_start(warmup) < 0) {
        warmup->ops->done(warmup->owner, &warmup->err);
        free(warmup->command);
        free(warmup);
    }
}

/* The last word: good, or warmup->err. */
static void finish(struct warmup *warmup)
{
    warmup->finished = true;
    uv_close((uv_handle_t *)&warmup->poll, on_finished);
    close_fd(&warmup->fd);
    warmup->ops->done(warmup->owner, warmup->err.code ? &warmup->err : NULL);
}

static void fail(struct warmup *warmup, const char *what)
{
    err_set(&warmup->err, EIO, "the warm-up: %s", what);
    finish(warmup);
}

void warmup_cancel(struct warmup *warmup)
{
    if (!warmup || warmup->finished)
        return;
    warmup->finished = true;
    if (!uv_is_closing((uv_handle_t *)&warmup->poll))
        uv_close((uv_handle_t *)&warmup->poll, on_finished);
    close_fd(&warmup->fd);
}

/* Appends a NUL-terminated string to a request. */
static size_t put_string(uint8_t *request, size_t at, const char *text)
{
    size_t len = strlen(text) + 1;

    memcpy(request + at, text, len);
    return at + len;
}

static int request_send(struct warmup *warmup)
{
    uint8_t request[REQUEST_BYTES_MAX];
    struct agent_frame frame = { .type = AGENT_PARK };
    size_t at = sizeof frame;

    if (warmup->step == STEP_EXEC) {
        const struct agent_exec exec = { .argc = 3 };

        frame.type = AGENT_EXEC;
        memcpy(request + at, &exec, sizeof exec);
        at = put_string(request, at + sizeof exec, "");
        at = put_string(request, at, "/bin/sh");
        at = put_string(request, at, "-c");
        at = put_string(request, at, warmup->command);
    }
    frame.payload_bytes = (uint32_t)(at - sizeof frame);
    memcpy(request, &frame, sizeof frame);
    /* Into an empty socket of our own: it always fits. */
    return send(warmup->fd, request, at, MSG_NOSIGNAL) == (ssize_t)at ? 0 : -EIO;
}

static void on_exit_frame(struct warmup *warmup, const uint8_t *payload, uint32_t bytes)
{
    struct agent_exit ended;
    char what[96];

    if (bytes != sizeof ended) {
        fail(warmup, "the agent sent a malformed frame");
        return;
    }
    memcpy(&ended, payload, sizeof ended);
    if (ended.kind != AGENT_EXIT_CODE || ended.value != 0) {
        snprintf(what, sizeof what, "the command ended with %s %u",
                 ended.kind == AGENT_EXIT_CODE     ? "exit code"
                 : ended.kind == AGENT_EXIT_SIGNAL ? "signal"
                                                   : "error",
                 ended.value);
        fail(warmup, what);
        return;
    }
    if (!warmup->park) {
        finish(warmup);
        return;
    }
    uv_close((uv_handle_t *)&warmup->poll, on_session_closed);
    close_fd(&warmup->fd);
}

/* False: the session is over. */
static bool on_frame(struct warmup *warmup, const struct agent_frame *frame, const uint8_t *payload)
{
    char what[256];

    switch (frame->type) {
    case AGENT_STDOUT:
    case AGENT_STDERR:
        return true;
    case AGENT_EXIT:
        if (warmup->step != STEP_EXEC)
            break;
        on_exit_frame(warmup, payload, frame->payload_bytes);
        return false;
    case AGENT_DONE:
        if (warmup->step != STEP_PARK)
            break;
        finish(warmup);
        return false;
    case AGENT_ERROR:
        if (frame->payload_bytes < sizeof(struct agent_error))
            break;
        snprintf(what, sizeof what, "the agent says: %.*s",
                 (int)(frame->payload_bytes - sizeof(struct agent_error)),
                 (const char *)payload + sizeof(struct agent_error));
        fail(warmup, what);
        return false;
    default:
        break;
    }
    fail(warmup, "the agent sent a frame out of place");
    return false;
}

/* Takes whole frames from the buffer. */
static void frames_take(struct warmup *warmup)
{
    struct agent_frame frame;
    size_t at = 0;

    while (warmup->bytes - at >= sizeof frame) {
        memcpy(&frame, warmup->buffer + at, sizeof frame);
        if (frame.payload_bytes > AGENT_PAYLOAD_MAX) {
            fail(warmup, "the agent sent an oversized frame");
            return;
        }
        if (warmup->bytes - at < sizeof frame + frame.payload_bytes)
            break;
        if (!on_frame(warmup, &frame, warmup->buffer + at + sizeof frame))
            return;
        at += sizeof frame + frame.payload_bytes;
    }
    memmove(warmup->buffer, warmup->buffer + at, warmup->bytes - at);
    warmup->bytes -= at;
}

/* Takes the greeting line, answers with the request. False: not whole yet, or failed. */
static bool greeting_take(struct warmup *warmup)
{
    uint8_t *end = memchr(warmup->buffer, '\n', warmup->bytes);

    if (!end) {
        if (warmup->bytes > 32)
            fail(warmup, "the VM did not greet");
        return false;
    }
    if (memcmp(warmup->buffer, "OK ", 3) != 0 || request_send(warmup) < 0) {
        fail(warmup, "the agent can't be reached");
        return false;
    }
    warmup->bytes -= (size_t)(end + 1 - warmup->buffer);
    memmove(warmup->buffer, end + 1, warmup->bytes);
    warmup->greeted = true;
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct warmup *warmup = poll->data;
    ssize_t n =
        read(warmup->fd, warmup->buffer + warmup->bytes, sizeof warmup->buffer - warmup->bytes);

    (void)status;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fail(warmup, "the agent hung up");
        return;
    }
    warmup->bytes += (size_t)n;
    if (warmup->greeted || greeting_take(warmup))
        frames_take(warmup);
}

static int session_start(struct warmup *warmup)
{
    int pair[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_errno(&warmup->err, errno, "the warm-up: can't make a socket pair");
    warmup->fd = pair[0];
    warmup->bytes = 0;
    warmup->greeted = false;
    rc = warmup->ops->connect(warmup->owner, pair[1]);
    close(pair[1]);
    if (rc == 0)
        rc = uv_poll_init(warmup->loop, &warmup->poll, warmup->fd);
    if (rc < 0) {
        close_fd(&warmup->fd);
        return err_set_errno(&warmup->err, -rc, "the warm-up: the VM takes no stream");
    }
    warmup->poll.data = warmup;
    return uv_poll_start(&warmup->poll, UV_READABLE, on_readable);
}

int warmup_start(struct warmup **ret_warmup, uv_loop_t *loop, const char *command, bool park,
                 const struct warmup_ops *ops, void *owner, struct err *err)
{
    struct warmup *warmup = calloc(1, sizeof *warmup);
    int rc;

    if (warmup)
        warmup->command = strdup(command);
    if (!warmup || !warmup->command) {
        free(warmup);
        return err_set(err, ENOMEM, "out of memory");
    }
    warmup->loop = loop;
    warmup->park = park;
    warmup->ops = ops;
    warmup->owner = owner;
    rc = session_start(warmup);
    if (rc < 0) {
        *err = warmup->err;
        free(warmup->command);
        free(warmup);
        return rc;
    }
    *ret_warmup = warmup;
    return 0;
}
