/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the stream back end of virtio-net: the protocol of passt and of QEMU's socket netdev, where
 * each frame has its length before it, 4 bytes, big-endian. There are no offloads on it.
 *
 * How it works
 *   Nothing may be read ahead of what the device takes, as only the socket tells the poller that
 *   there is more. So a read asks for what is missing of a length or of one frame, no more. A
 *   frame that did not fit the socket in one piece is kept (`unsent`) and goes before any other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "virtio/net_backend.h"
#include "virtio/virtq.h"

#define LENGTH_BYTES 4u
#define STREAM_FRAME_BYTES_MAX 65536u /* without its length */
#define STREAM_FRAME_BYTES_MIN 14u    /* an Ethernet header */
#define STREAM_IOV_MAX 1024u
#define STREAM_DROPS_A_TURN 64u

struct net_stream {
    struct net_backend backend; /* first */
    uint8_t length[LENGTH_BYTES];
    uint32_t length_got; /* of the length */
    uint32_t frame_got;  /* of the frame, once the length is whole */
    uint8_t frame[STREAM_FRAME_BYTES_MAX];
    uint32_t unsent_at, unsent_end;
    uint8_t unsent[LENGTH_BYTES + STREAM_FRAME_BYTES_MAX];
};

static uint32_t frame_bytes(const struct net_stream *stream)
{
    uint32_t bytes;

    memcpy(&bytes, stream->length, sizeof(bytes));
    return ntohl(bytes);
}

/* ---- Receiving. ---- */

/* One read. Bytes, or -errno. */
static ssize_t read_some(struct net_stream *stream)
{
    uint32_t wanted = stream->length_got == LENGTH_BYTES ? frame_bytes(stream) : 0;
    ssize_t n = wanted ? read(stream->backend.fd, stream->frame + stream->frame_got,
                              wanted - stream->frame_got)
                       : read(stream->backend.fd, stream->length + stream->length_got,
                              LENGTH_BYTES - stream->length_got);

    if (n == 0)
        return -ENOTCONN;
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    if (wanted)
        stream->frame_got += (uint32_t)n;
    else
        stream->length_got += (uint32_t)n;
    return n;
}

/* 1: a whole frame is there; 0: not yet; -errno. */
static int read_frame(struct net_stream *stream)
{
    ssize_t n = 1;

    while (stream->length_got < LENGTH_BYTES && (n = read_some(stream)) > 0)
        ;
    if (n < 0)
        return n == -EAGAIN ? 0 : (int)n;
    if (frame_bytes(stream) < STREAM_FRAME_BYTES_MIN ||
        frame_bytes(stream) > STREAM_FRAME_BYTES_MAX)
        return -EPROTO;
    while (stream->frame_got < frame_bytes(stream) && (n = read_some(stream)) > 0)
        ;
    if (n < 0)
        return n == -EAGAIN ? 0 : (int)n;
    return 1;
}

/* A frame that is too large for the guest's buffers is dropped, and the next one tried. */
static ssize_t stream_receive(struct net_backend *backend, const struct iovec *iov,
                              unsigned iov_count)
{
    static const uint8_t no_offloads[NET_HEADER_BYTES];
    struct net_stream *stream = (struct net_stream *)backend;
    size_t room = 0;

    for (unsigned i = 0; i < iov_count; i++)
        room += iov[i].iov_len;
    for (unsigned i = 0; i < STREAM_DROPS_A_TURN; i++) {
        int rc = read_frame(stream);
        if (rc <= 0)
            return rc == 0 ? -EAGAIN : rc == -EPROTO ? -EIO : rc;
        uint32_t bytes = frame_bytes(stream);
        stream->length_got = stream->frame_got = 0;
        if (NET_HEADER_BYTES + bytes > room)
            continue;
        virtq_iov_write(iov, iov_count, 0, no_offloads, NET_HEADER_BYTES);
        virtq_iov_write(iov, iov_count, NET_HEADER_BYTES, stream->frame, bytes);
        return NET_HEADER_BYTES + (ssize_t)bytes;
    }
    return -EAGAIN;
}

/* ---- Sending. ---- */

static int stream_flush(struct net_backend *backend)
{
    struct net_stream *stream = (struct net_stream *)backend;

    while (stream->unsent_at < stream->unsent_end) {
        ssize_t n = send(backend->fd, stream->unsent + stream->unsent_at,
                         stream->unsent_end - stream->unsent_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
        stream->unsent_at += (uint32_t)n;
    }
    backend->unsent = false;
    return 0;
}

/* Keeps bytes [from..) of what iov holds. */
static void keep_rest(struct net_stream *stream, const struct iovec *iov, unsigned iov_count,
                      size_t from)
{
    uint32_t end = 0;

    for (unsigned i = 0; i < iov_count; i++) {
        size_t skip = MIN_OF(from, iov[i].iov_len);

        memcpy(stream->unsent + end, (const uint8_t *)iov[i].iov_base + skip,
               iov[i].iov_len - skip);
        end += (uint32_t)(iov[i].iov_len - skip);
        from -= skip;
    }
    stream->unsent_at = 0;
    stream->unsent_end = end;
    stream->backend.unsent = true;
}

static ssize_t stream_send(struct net_backend *backend, const struct iovec *iov, unsigned iov_count)
{
    struct iovec out[STREAM_IOV_MAX];
    uint32_t length;
    unsigned count = 1;
    size_t skip = NET_HEADER_BYTES, bytes = 0;

    if (backend->unsent) {
        int rc = stream_flush(backend);
        if (rc < 0)
            return rc;
    }
    if (iov_count >= STREAM_IOV_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < iov_count; i++) {
        size_t skipped = MIN_OF(skip, iov[i].iov_len);

        skip -= skipped;
        if (iov[i].iov_len == skipped)
            continue;
        out[count] =
            (struct iovec){ (uint8_t *)iov[i].iov_base + skipped, iov[i].iov_len - skipped };
        bytes += out[count++].iov_len;
    }
    if (bytes < STREAM_FRAME_BYTES_MIN || bytes > STREAM_FRAME_BYTES_MAX)
        return -EINVAL;
    length = htonl((uint32_t)bytes);
    out[0] = (struct iovec){ &length, sizeof(length) };
    struct msghdr msg = { .msg_iov = out, .msg_iovlen = count };
    ssize_t n = sendmsg(backend->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
    if ((size_t)n < LENGTH_BYTES + bytes)
        keep_rest((struct net_stream *)backend, out, count, (size_t)n);
    return NET_HEADER_BYTES + (ssize_t)bytes;
}

/* ---- Life. ---- */

static int stream_set_offloads(struct net_backend *backend, uint32_t offloads)
{
    (void)backend;
    return offloads ? -EINVAL : 0;
}

static void stream_destroy(struct net_backend *backend)
{
    close_fd(&backend->fd);
    free(backend);
}

static const struct net_backend_ops stream_ops = {
    .name = "stream",
    .offloads = 0,
    .send = stream_send,
    .receive = stream_receive,
    .flush = stream_flush,
    .set_offloads = stream_set_offloads,
    .destroy = stream_destroy,
};

int net_stream_open(int stream_fd, struct net_backend **ret_backend, struct err *err)
{
    _cleanup_close_ int fd = stream_fd;
    int flags = fcntl(fd, F_GETFL);
    struct net_stream *stream;

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "the network's socket: making it non-blocking");
    stream = calloc(1, sizeof(*stream));
    if (!stream)
        return err_set(err, ENOMEM, "no memory for the network's socket");
    stream->backend = (struct net_backend){ .ops = &stream_ops, .fd = take_fd(&fd) };
    *ret_backend = &stream->backend;
    return 0;
}
