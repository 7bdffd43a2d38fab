/* SPDX-License-Identifier: Apache-2.0 */
/* Device side of a split virtqueue (virtio 1.2 section 2.7).
 *
 * How it works
 *   The three rings lie in guest memory and may change at any moment. virtq_start resolves them
 *   through guest_mem_at once. virtq_pop copies each descriptor once and validates the copy; the
 *   iovecs it returns come from guest_mem_at alone. virtq_push fills used elements, and one
 *   virtq_flush a batch publishes them all and says whether the driver wants an interrupt.
 *
 * Invariants
 *   1. A chain has at most `num` descriptors, so a loop is found after num steps.
 *   2. No index from the guest is used without being checked against num or taken modulo num.
 *   3. A broken ring stays broken until the driver resets the device.
 *
 * Indirect descriptors are not offered. All functions: under the device's lock.
 */
#ifndef VOLT_VIRTIO_VIRTQ_H
#define VOLT_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory/guest_mem.h"

#define VIRTQ_NUM_MAX 256u

#define VIRTIO_FEATURE_EVENT_IDX (1ull << 29)
#define VIRTIO_FEATURE_VERSION_1 (1ull << 32)

struct virtq {
    const struct guest_mem *mem;
    /* Set by the driver through the transport. */
    uint16_t num; /* power of two, 1 to VIRTQ_NUM_MAX */
    bool ready;
    gpa_t desc_gpa, avail_gpa, used_gpa;
    bool event_idx;
    /* Running state. */
    bool broken;
    uint16_t next_avail; /* the next avail index to take */
    uint16_t next_used;  /* the next used index to write */
    uint16_t published;  /* the used index that the driver can see */
    const uint8_t *desc; /* host addresses while ready */
    uint8_t *avail;
    uint8_t *used;
};

/* One request: `out_count` iovecs that the device reads, then `in_count` that it writes. */
struct virtq_chain {
    uint16_t head;
    uint16_t out_count, in_count;
    uint32_t out_bytes, in_bytes;
    struct iovec iov[VIRTQ_NUM_MAX];
};

/* Clears all but mem. */
void virtq_reset(struct virtq *vq);

/* Checks num, alignment and place of the rings and makes the queue ready. 0, -EINVAL. */
int virtq_start(struct virtq *vq);

/* Takes the next chain. 1: ret_chain is filled; 0: none there (or not ready); -EPROTO: the ring is
 * broken, now or before. */
int virtq_pop(struct virtq *vq, struct virtq_chain *ret_chain);

/* Gives the chain of the last virtq_pop back to the ring, as if it had not been taken. */
void virtq_unpop(struct virtq *vq);

/* Returns a chain to the driver, with `written_bytes` written to its in part. Not seen before
 * virtq_flush. */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t written_bytes);

/* Publishes what was pushed. True: the driver wants an interrupt for it. */
bool virtq_flush(struct virtq *vq);

/* Goes on where another, who served the ring of a ready queue, has got to: next_avail is what it
 * told, the used index what it left in the ring. */
void virtq_take_over(struct virtq *vq, uint16_t next_avail);

/* Asks the driver to notify (or not) when it adds chains. With `on`, returns true when chains are
 * there already, which nobody will notify of. */
bool virtq_want_notify(struct virtq *vq, bool on);

/* Copies between a buffer and iovecs, from byte `offset` of them on; returns the bytes copied. */
uint32_t virtq_iov_read(const struct iovec *iov, unsigned iov_count, uint32_t offset, void *buffer,
                        uint32_t bytes);
uint32_t virtq_iov_write(const struct iovec *iov, unsigned iov_count, uint32_t offset,
                         const void *buffer, uint32_t bytes);

/* The iovecs that cover `bytes` bytes from byte `offset` of others on (fewer where those end), into
 * ret_iov, which has room for as many as there are. Returns how many. */
unsigned virtq_iov_slice(const struct iovec *iov, unsigned iov_count, uint32_t offset,
                         uint32_t bytes, struct iovec *ret_iov);

#endif
