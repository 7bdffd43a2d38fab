/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the encoding of the poold <-> volt-vmm datagrams; see control.h. */
#include "control/control.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/text.h"
#include "base/util.h"

#define HEADER_BYTES offsetof(struct control_msg, u)
#define BODY_BYTES(member) (uint32_t)(HEADER_BYTES + sizeof(((struct control_msg *)0)->u.member))

static const char *const exit_reason_names[] = {
    [EXIT_REASON_NONE] = "none",
    [EXIT_REASON_STOPPED] = "stopped",
    [EXIT_REASON_GUEST_POWEROFF] = "guest_poweroff",
    [EXIT_REASON_TRIPLE_FAULT] = "triple_fault",
    [EXIT_REASON_INTERNAL_ERROR] = "kvm_internal_error",
    [EXIT_REASON_ENTRY_FAILED] = "entry_failed",
    [EXIT_REASON_BAD_ANSWER] = "bad_answer",
    [EXIT_REASON_GUEST_MISBEHAVED] = "guest_misbehaved",
    [EXIT_REASON_HOST_ERROR] = "host_error",
    [EXIT_REASON_POOLD_GONE] = "poold_gone",
};

static_assert(ARRAY_LEN(exit_reason_names) == EXIT_REASON_COUNT, "a name for every reason");

const char *control_exit_reason_name(enum control_exit_reason reason)
{
    return (unsigned)reason < EXIT_REASON_COUNT ? exit_reason_names[reason] : "unknown";
}

uint32_t control_msg_bytes(enum control_type type)
{
    switch (type) {
    case CONTROL_HELLO:
        return BODY_BYTES(hello);
    case CONTROL_BANNER:
    case CONTROL_PARKED:
    case CONTROL_AWAKE:
    case CONTROL_READY:
        return BODY_BYTES(progress);
    case CONTROL_SNAPSHOT_DONE:
        return BODY_BYTES(snapshot_done);
    case CONTROL_STATS:
        return BODY_BYTES(stats);
    case CONTROL_EXITED:
        return BODY_BYTES(exited);
    case CONTROL_CLONED:
        return BODY_BYTES(cloned);
    case CONTROL_CHILD_EXITED:
        return BODY_BYTES(child_exited);
    case CONTROL_TROUBLE:
        return BODY_BYTES(trouble);
    case CONTROL_WAKE:
        return BODY_BYTES(wake);
    case CONTROL_GO:
        return BODY_BYTES(go);
    case CONTROL_SNAPSHOT:
        return BODY_BYTES(snapshot);
    case CONTROL_VSOCK_CONNECT:
        return BODY_BYTES(vsock_connect);
    case CONTROL_CONSOLE:
        return BODY_BYTES(console);
    case CONTROL_CLONE:
        return BODY_BYTES(clone);
    case CONTROL_VOLUME:
        return BODY_BYTES(volume);
    case CONTROL_CALL: /* their payload begins at a place that does not depend on the type */
    case CONTROL_ANSWER:
        return CONTROL_MSG_BYTES;
    case CONTROL_QUERY_STATS:
    case CONTROL_STOP:
    case CONTROL_WORKING_SET:
        return HEADER_BYTES;
    }
    return 0;
}

/* Room for the ancillary data of one message, aligned as cmsghdr wants it. */
union fd_buffer {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
};

static int send_whole(int socket_fd, const struct msghdr *head)
{
    ssize_t sent;

    do {
        sent = sendmsg(socket_fd, head, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* Where the length of its payload is; NULL: it has none. */
static uint32_t *payload_bytes_of(struct control_msg *msg)
{
    switch (msg->type) {
    case CONTROL_CALL:
        return &msg->u.call.payload_bytes;
    case CONTROL_ANSWER:
        return &msg->u.answer.payload_bytes;
    default:
        return NULL;
    }
}

int control_send_payload(int socket_fd, struct control_msg *msg, const void *payload,
                         uint32_t bytes)
{
    uint32_t *length = payload_bytes_of(msg);
    struct iovec iov[2] = { { .iov_base = msg, .iov_len = CONTROL_MSG_BYTES },
                            { .iov_base = (void *)(uintptr_t)payload, .iov_len = bytes } };
    const struct msghdr head = { .msg_iov = iov, .msg_iovlen = 2 };

    assert(length && bytes <= FUNCTION_PAYLOAD_MAX);
    msg->bytes = CONTROL_MSG_BYTES;
    *length = bytes;
    return send_whole(socket_fd, &head);
}

int control_send(int socket_fd, struct control_msg *msg, const int *fds, unsigned fd_count)
{
    union fd_buffer ancillary;
    struct iovec iov = { .iov_base = msg };
    struct msghdr head = { .msg_iov = &iov, .msg_iovlen = 1 };

    msg->bytes = control_msg_bytes((enum control_type)msg->type);
    assert(msg->bytes && fd_count <= CONTROL_FDS_MAX);
    iov.iov_len = msg->bytes;
    if (fd_count > 0) {
        memset(&ancillary, 0, sizeof ancillary);
        head.msg_control = ancillary.bytes;
        head.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&head);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
    }
    return send_whole(socket_fd, &head);
}

static unsigned collect_fds(struct msghdr *head, int ret_fds[CONTROL_FDS_MAX])
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned here = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < here && count < CONTROL_FDS_MAX; i++)
            memcpy(&ret_fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return count;
}

/* The sentences in a message, which whoever has taken over a VM may have written. */
static void details_clean(const struct control_msg *got, struct control_msg *msg)
{
    if (got->type == CONTROL_EXITED)
        text_clean(msg->u.exited.detail, sizeof msg->u.exited.detail, got->u.exited.detail,
                   sizeof got->u.exited.detail);
    if (got->type == CONTROL_TROUBLE)
        text_clean(msg->u.trouble.text, sizeof msg->u.trouble.text, got->u.trouble.text,
                   sizeof got->u.trouble.text);
    if (got->type == CONTROL_SNAPSHOT_DONE)
        text_clean(msg->u.snapshot_done.detail, sizeof msg->u.snapshot_done.detail,
                   got->u.snapshot_done.detail, sizeof got->u.snapshot_done.detail);
}

/* Whether what came, n bytes, is what its head says that it is. */
static bool is_whole(struct control_msg *got, size_t n)
{
    const size_t head_bytes = MIN_OF(n, sizeof *got);
    const uint32_t *payload_bytes;

    if (n < HEADER_BYTES || got->bytes != head_bytes ||
        got->bytes != control_msg_bytes((enum control_type)got->type))
        return false;
    payload_bytes = payload_bytes_of(got);
    return n - head_bytes == (payload_bytes ? *payload_bytes : 0);
}

int control_recv(int socket_fd, struct control_msg *msg, int ret_fds[CONTROL_FDS_MAX],
                 unsigned *ret_fd_count)
{
    return control_recv_payload(socket_fd, msg, ret_fds, ret_fd_count, NULL, 0);
}

int control_recv_payload(int socket_fd, struct control_msg *msg, int ret_fds[CONTROL_FDS_MAX],
                         unsigned *ret_fd_count, void *ret_payload, uint32_t room)
{
    union fd_buffer ancillary;
    int fds[CONTROL_FDS_MAX];
    struct control_msg got;
    struct iovec iov[2] = { { .iov_base = &got, .iov_len = sizeof got },
                            { .iov_base = ret_payload, .iov_len = room } };
    struct msghdr head = { .msg_iov = iov,
                           .msg_iovlen = 2,
                           .msg_control = ancillary.bytes,
                           .msg_controllen = sizeof ancillary.bytes };
    ssize_t n = 0;

    /* A peer that ends with messages unread resets the connection, and the kernel tells so once,
     * before what the peer itself had still sent: its EXITED. */
    bool reset_told = false;
    do {
        reset_told |= n < 0 && errno == ECONNRESET;
        n = recvmsg(socket_fd, &head, MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || (errno == ECONNRESET && !reset_told)));
    if (n < 0)
        return -errno;
    /* An empty datagram looks like the end, but may bring fds. */
    unsigned count = collect_fds(&head, fds);
    bool cut = head.msg_flags & MSG_CTRUNC, no_room = cut && count < CONTROL_FDS_MAX;
    bool malformed =
        (head.msg_flags & MSG_TRUNC) || (cut && !no_room) || !is_whole(&got, (size_t)n);
    if (malformed || no_room) {
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
    }
    if (malformed)
        return n == 0 ? -ENOTCONN : -EPROTO;
    memcpy(msg, &got, got.bytes);
    details_clean(&got, msg);
    if (no_room)
        return -EMFILE;
    memcpy(ret_fds, fds, count * sizeof(int));
    *ret_fd_count = count;
    return 0;
}
