/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the framing of the guest agent's protocol; see agent.h. */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "fd_io.h"

#define ACCEPT_TIMEOUT_MS 30000u

struct agent *agent_create(int fd)
{
    struct agent *agent = malloc(sizeof *agent);

    if (!agent)
        return NULL;
    agent->fd = fd;
    agent->in_begin = agent->in_end = agent->out_begin = agent->out_end = 0;
    return agent;
}

void agent_close(struct agent *agent)
{
    if (!agent)
        return;
    close_fd(&agent->fd);
    free(agent);
}

/* Reads the line "OK <port>\n" that comes before the guest's first byte. */
static int accept_wait(struct agent *agent, struct err *err)
{
    uint64_t deadline_ns = now_ns() + ACCEPT_TIMEOUT_MS * NS_PER_MS;

    for (;;) {
        uint8_t *end = memchr(agent->in, '\n', agent->in_end);

        if (end) {
            if (end - agent->in < 3 || memcmp(agent->in, "OK ", 3) != 0)
                return err_set(err, EPROTO, "the VM answered with something else than 'OK'");
            agent->in_begin = (size_t)(end - agent->in) + 1;
            return 0;
        }
        if (agent->in_end > 32)
            return err_set(err, EPROTO, "the VM answered with something else than 'OK'");
        int rc = client_wait_readable(agent->fd, deadline_ns);
        if (rc == -ETIMEDOUT)
            return err_set(err, ETIMEDOUT, "the guest's agent did not accept within %u s",
                           ACCEPT_TIMEOUT_MS / 1000);
        if (rc == 0)
            rc = agent_fill(agent);
        if (rc == -ENOTCONN)
            return err_set(err, ECONNREFUSED,
                           "the guest refused the connection to its agent (vsock port %u)",
                           AGENT_VSOCK_PORT);
        if (rc < 0 && rc != -EAGAIN)
            return err_set_errno(err, -rc, "lost the connection to the VM");
    }
}

int agent_open(struct agent **ret_agent, struct api *api, const char *lease, struct err *err)
{
    char path[API_PATH_BYTES], query[32];
    struct client_stream stream;

    snprintf(query, sizeof query, "/vsock?port=%u", AGENT_VSOCK_PORT);
    int rc = api_path(path, err, "/v1/leases/", lease, query);
    if (rc == 0)
        rc = api_upgrade(api, path, "volt-vsock", &stream, err);
    if (rc < 0)
        return rc;
    struct agent *agent = agent_create(stream.fd);
    if (!agent) {
        close_fd(&stream.fd);
        return err_set(err, ENOMEM, "out of memory");
    }
    _Static_assert(CLIENT_STREAM_BYTES <= sizeof agent->in, "early bytes fit");
    memcpy(agent->in, stream.early, stream.early_bytes);
    agent->in_end = stream.early_bytes;
    rc = accept_wait(agent, err);
    if (rc < 0) {
        agent_close(agent);
        return rc;
    }
    *ret_agent = agent;
    return 0;
}

int agent_queue(struct agent *agent, enum agent_frame_type type, const void *payload, size_t bytes)
{
    struct agent_frame frame = { .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };

    if (bytes > AGENT_PAYLOAD_MAX)
        return -EMSGSIZE;
    if (agent->out_begin > 0) {
        memmove(agent->out, agent->out + agent->out_begin, agent->out_end - agent->out_begin);
        agent->out_end -= agent->out_begin;
        agent->out_begin = 0;
    }
    if (sizeof agent->out - agent->out_end < sizeof frame + bytes)
        return -ENOBUFS;
    memcpy(agent->out + agent->out_end, &frame, sizeof frame);
    if (bytes > 0)
        memcpy(agent->out + agent->out_end + sizeof frame, payload, bytes);
    agent->out_end += sizeof frame + bytes;
    return 0;
}

int agent_flush(struct agent *agent)
{
    while (agent_has_output(agent)) {
        ssize_t n =
            fd_send(agent->fd, agent->out + agent->out_begin, agent->out_end - agent->out_begin);

        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        agent->out_begin += (size_t)n;
    }
    return 0;
}

int agent_send(struct agent *agent, enum agent_frame_type type, const void *payload, size_t bytes,
               struct err *err)
{
    int rc = agent_queue(agent, type, payload, bytes);

    if (rc == 0) {
        rc = client_send_all(agent->fd, agent->out + agent->out_begin,
                             agent->out_end - agent->out_begin);
        agent->out_begin = agent->out_end = 0;
    }
    return rc < 0 ? err_set_errno(err, -rc, "cannot send to the guest's agent") : 0;
}

int agent_fill(struct agent *agent)
{
    if (agent->in_begin > 0) {
        memmove(agent->in, agent->in + agent->in_begin, agent->in_end - agent->in_begin);
        agent->in_end -= agent->in_begin;
        agent->in_begin = 0;
    }
    if (agent->in_end == sizeof agent->in)
        return 0; /* a whole frame is there to be taken */
    ssize_t n = fd_receive(agent->fd, agent->in + agent->in_end, sizeof agent->in - agent->in_end);
    if (n < 0)
        return (int)n;
    if (n == 0)
        return -ENOTCONN;
    agent->in_end += (size_t)n;
    return 0;
}

int agent_next(struct agent *agent, struct agent_message *ret_message, struct err *err)
{
    size_t have = agent->in_end - agent->in_begin;
    struct agent_frame frame;

    if (have < sizeof frame)
        return 0;
    memcpy(&frame, agent->in + agent->in_begin, sizeof frame);
    if (frame.payload_bytes > AGENT_PAYLOAD_MAX)
        return err_set(err, EPROTO,
                       "the guest's agent sent a frame of %u bytes, more than the %u allowed",
                       frame.payload_bytes, AGENT_PAYLOAD_MAX);
    if (have < sizeof frame + frame.payload_bytes)
        return 0;
    ret_message->type = frame.type;
    ret_message->bytes = frame.payload_bytes;
    ret_message->payload = agent->in + agent->in_begin + sizeof frame;
    agent->in_begin += sizeof frame + frame.payload_bytes;
    return 1;
}

int agent_receive(struct agent *agent, uint64_t deadline_ns, struct agent_message *ret_message,
                  struct err *err)
{
    for (;;) {
        int rc = agent_next(agent, ret_message, err);

        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = client_wait_readable(agent->fd, deadline_ns);
        if (rc == -ETIMEDOUT)
            return err_set(err, ETIMEDOUT, "the guest's agent gave no answer in time");
        if (rc == 0)
            rc = agent_fill(agent);
        if (rc == -ENOTCONN)
            return err_set(err, ENOTCONN, "the VM ended, or its agent closed the connection");
        if (rc < 0 && rc != -EAGAIN)
            return err_set_errno(err, -rc, "lost the connection to the VM");
    }
}

int agent_refusal(const struct agent_message *message, struct err *err)
{
    struct agent_error error;

    if (message->type != AGENT_ERROR)
        return err_set(err, EPROTO, "the guest's agent sent a frame out of place (type %u)",
                       (unsigned)message->type);
    if (message->bytes < sizeof error)
        return err_set(err, EPROTO, "the guest's agent sent a cut ERROR frame");
    memcpy(&error, message->payload, sizeof error);
    char text[256];
    size_t bytes = MIN_OF(message->bytes - sizeof error, sizeof text - 1);
    for (size_t i = 0; i < bytes; i++) {
        char c = (char)message->payload[sizeof error + i];

        text[i] = (unsigned char)c < ' ' || c == 0x7f ? '?' : c;
    }
    text[bytes] = '\0';
    int code = error.error > 0 && error.error < 4096 ? (int)error.error : EREMOTEIO;
    return err_set(err, code, "the guest's agent says: %s", bytes ? text : strerror(code));
}
