/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a gate: frames come from one stream, some are taken out, the others go to the
 * other stream. What is whole goes on at once; nothing is allocated. */
#ifndef VOLT_POOLD_GATE_LANE_H
#define VOLT_POOLD_GATE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#define LANE_LENGTH_BYTES 4u
#define LANE_FRAME_BYTES_MIN 14u
#define LANE_FRAME_BYTES_MAX 65536u
#define LANE_BYTES (2 * (LANE_LENGTH_BYTES + LANE_FRAME_BYTES_MAX))

/* buffer: [0, sent) has gone, [sent, ready) is whole frames that are to go, [ready, end) has not
 * been looked at or is not yet a whole frame. */
struct lane {
    uint32_t sent, ready, end;
    uint8_t buffer[LANE_BYTES];
};

/* Whether a frame goes on. */
typedef bool lane_keep(void *context, const uint8_t *frame, uint32_t bytes);

/* Is there room for more? */
bool lane_has_room(const struct lane *lane);
bool lane_has_unsent(const struct lane *lane);

/* Reads what a stream has and there is room for. 0; -EAGAIN; -ENOTCONN: it has ended; -errno. */
int lane_fill(struct lane *lane, int fd);
/* Asks `keep` for each whole frame. 0, or -EPROTO: what was read is no stream of frames. */
int lane_sift(struct lane *lane, lane_keep *keep, void *context);
/* Sends what is to go. 0; -EAGAIN: some of it is still there; -errno. */
int lane_drain(struct lane *lane, int fd);

/* The stream that it is read from is another from now on: a frame that has not come whole is gone. */
void lane_cut_source(struct lane *lane);
/* The stream that it goes to is: the frame that has gone in part is gone, and the others go there. */
void lane_cut_target(struct lane *lane);

#endif
