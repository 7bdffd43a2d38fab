/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the buffer of a direction; see lane.h. */
#include "net/gate/lane.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool lane_has_room(const struct lane *lane)
{
    return lane->end < LANE_BYTES;
}

bool lane_has_unsent(const struct lane *lane)
{
    return lane->sent < lane->ready;
}

int lane_fill(struct lane *lane, int fd)
{
    if (!lane_has_room(lane))
        return -EAGAIN;
    ssize_t n = recv(fd, lane->buffer + lane->end, LANE_BYTES - lane->end, MSG_DONTWAIT);
    if (n == 0)
        return -ENOTCONN;
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    lane->end += (uint32_t)n;
    return 0;
}

static uint32_t length_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int lane_sift(struct lane *lane, lane_keep *keep, void *context)
{
    uint8_t *buffer = lane->buffer;
    uint32_t at = lane->ready;

    while (lane->end - at >= LANE_LENGTH_BYTES) {
        uint32_t bytes = length_at(buffer + at), whole = LANE_LENGTH_BYTES + bytes;

        if (bytes < LANE_FRAME_BYTES_MIN || bytes > LANE_FRAME_BYTES_MAX)
            return -EPROTO;
        if (lane->end - at < whole)
            break;
        if (keep(context, buffer + at + LANE_LENGTH_BYTES, bytes)) {
            if (at > lane->ready) /* behind one that was taken out */
                memmove(buffer + lane->ready, buffer + at, whole);
            lane->ready += whole;
        }
        at += whole;
    }
    memmove(buffer + lane->ready, buffer + at, lane->end - at);
    lane->end -= at - lane->ready;
    return 0;
}

/* What is left, not yet a whole frame, moves to the beginning: all that was to go has gone. */
static void compact(struct lane *lane)
{
    memmove(lane->buffer, lane->buffer + lane->ready, lane->end - lane->ready);
    lane->end -= lane->ready;
    lane->sent = lane->ready = 0;
}

int lane_drain(struct lane *lane, int fd)
{
    while (lane_has_unsent(lane)) {
        ssize_t n = send(fd, lane->buffer + lane->sent, lane->ready - lane->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
        lane->sent += (uint32_t)n;
    }
    compact(lane);
    return 0;
}

void lane_cut_source(struct lane *lane)
{
    lane->end = lane->ready;
}

void lane_cut_target(struct lane *lane)
{
    uint32_t next = 0; /* the buffer begins with a whole frame */

    while (next < lane->sent)
        next += LANE_LENGTH_BYTES + length_at(lane->buffer + next);
    lane->sent = next;
    if (lane->sent == lane->ready)
        compact(lane);
}
