/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the walk through a split virtqueue's rings; see virtq.h. */
#include "virtio/virtq.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/util.h"

#define DESC_F_NEXT 1u
#define DESC_F_WRITE 2u
#define DESC_F_INDIRECT 4u
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY 1u

/* virtio 1.2 section 2.7: the three areas, all little-endian. */
struct virtq_desc {
    uint64_t gpa;
    uint32_t bytes;
    uint16_t flags;
    uint16_t next;
};

struct virtq_used_elem {
    uint32_t id;
    uint32_t bytes;
};

#define AVAIL_RING_OFFSET 4u /* after flags and idx */
#define USED_RING_OFFSET 4u

static_assert(sizeof(struct virtq_desc) == 16, "descriptor layout");
static_assert(sizeof(struct virtq_used_elem) == 8, "used element layout");

/* The rings are aligned (virtq_start checks), so these are single accesses. What the driver wrote
 * before it moved an index is there for who reads behind it, and the other way round: elements and
 * the buffers they stand for are written before the index says so. */
static uint16_t load16(const uint8_t *at)
{
    return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static void store16(uint8_t *at, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELEASE);
}

static uint32_t avail_bytes(uint16_t num)
{
    return AVAIL_RING_OFFSET + 2u * num + 2u; /* used_event at the end */
}

static uint32_t used_bytes(uint16_t num)
{
    return USED_RING_OFFSET + (uint32_t)sizeof(struct virtq_used_elem) * num + 2u;
}

void virtq_reset(struct virtq *vq)
{
    *vq = (struct virtq){ .mem = vq->mem };
}

int virtq_start(struct virtq *vq)
{
    uint16_t num = vq->num;

    if (num == 0 || num > VIRTQ_NUM_MAX || (num & (num - 1)))
        return -EINVAL;
    if (vq->desc_gpa % 16 || vq->avail_gpa % 2 || vq->used_gpa % 4)
        return -EINVAL;
    vq->desc = guest_mem_at(vq->mem, vq->desc_gpa, sizeof(struct virtq_desc) * num);
    vq->avail = guest_mem_at(vq->mem, vq->avail_gpa, avail_bytes(num));
    vq->used = guest_mem_at(vq->mem, vq->used_gpa, used_bytes(num));
    if (!vq->desc || !vq->avail || !vq->used)
        return -EINVAL;
    vq->ready = true;
    return 0;
}

/* Adds the buffer of one descriptor to the chain. False: it breaks the rules of section 2.7.5. */
static bool chain_add(const struct virtq *vq, struct virtq_chain *chain,
                      const struct virtq_desc *desc)
{
    bool in = desc->flags & DESC_F_WRITE;
    void *at = guest_mem_at(vq->mem, desc->gpa, desc->bytes);
    uint32_t *total = in ? &chain->in_bytes : &chain->out_bytes;

    if (!at || desc->bytes == 0 || (desc->flags & DESC_F_INDIRECT))
        return false;
    if (!in && chain->in_count > 0)
        return false; /* device-readable ones come first */
    if (__builtin_add_overflow(*total, desc->bytes, total))
        return false;
    chain->iov[chain->out_count + chain->in_count] =
        (struct iovec){ .iov_base = at, .iov_len = desc->bytes };
    if (in)
        chain->in_count++;
    else
        chain->out_count++;
    return true;
}

static bool chain_walk(const struct virtq *vq, uint16_t head, struct virtq_chain *chain)
{
    uint16_t index = head;

    chain->head = head;
    chain->out_count = chain->in_count = 0;
    chain->out_bytes = chain->in_bytes = 0;
    for (unsigned steps = 0; steps < vq->num; steps++) {
        struct virtq_desc desc;

        if (index >= vq->num)
            return false;
        memcpy(&desc, vq->desc + sizeof(desc) * index, sizeof(desc));
        /* The copy is what gets checked and used: the compiler must not read it again. */
        atomic_signal_fence(memory_order_seq_cst);
        if (!chain_add(vq, chain, &desc))
            return false;
        if (!(desc.flags & DESC_F_NEXT))
            return true;
        index = desc.next;
    }
    return false; /* a loop */
}

int virtq_pop(struct virtq *vq, struct virtq_chain *ret_chain)
{
    if (!vq->ready)
        return 0;
    if (vq->broken)
        return -EPROTO;
    uint16_t waiting = (uint16_t)(load16(vq->avail + 2) - vq->next_avail);
    if (waiting == 0)
        return 0;
    uint16_t slot = vq->next_avail & (vq->num - 1);
    uint16_t head = load16(vq->avail + AVAIL_RING_OFFSET + 2u * slot);
    if (waiting > vq->num || !chain_walk(vq, head, ret_chain)) {
        vq->broken = true;
        return -EPROTO;
    }
    vq->next_avail++;
    return 1;
}

void virtq_unpop(struct virtq *vq)
{
    vq->next_avail--;
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written_bytes)
{
    struct virtq_used_elem elem = { .id = head, .bytes = written_bytes };

    if (!vq->ready || vq->broken)
        return;
    uint16_t slot = vq->next_used++ & (vq->num - 1);
    memcpy(vq->used + USED_RING_OFFSET + sizeof(elem) * slot, &elem, sizeof(elem));
}

bool virtq_flush(struct virtq *vq)
{
    uint16_t old = vq->published;

    if (!vq->ready || vq->broken || vq->next_used == old)
        return false;
    store16(vq->used + 2, vq->next_used);
    vq->published = vq->next_used;
    /* The index is out before we look whether the driver wants to know: it writes its wish, then
     * looks at the index (section 2.7.7.2). */
    atomic_thread_fence(memory_order_seq_cst);
    if (!vq->event_idx)
        return !(load16(vq->avail) & AVAIL_F_NO_INTERRUPT);
    uint16_t used_event = load16(vq->avail + AVAIL_RING_OFFSET + 2u * vq->num);
    return (uint16_t)(vq->published - used_event - 1) < (uint16_t)(vq->published - old);
}

void virtq_take_over(struct virtq *vq, uint16_t next_avail)
{
    vq->next_avail = next_avail;
    vq->next_used = vq->published = load16(vq->used + 2);
}

bool virtq_want_notify(struct virtq *vq, bool on)
{
    if (!vq->ready || vq->broken)
        return false;
    if (!vq->event_idx)
        store16(vq->used, on ? 0 : USED_F_NO_NOTIFY);
    else if (on)
        store16(vq->used + USED_RING_OFFSET + sizeof(struct virtq_used_elem) * vq->num,
                vq->next_avail);
    /* With event_idx there is no "off": an event index that is not moved on is never reached. */
    if (!on)
        return false;
    /* The wish is out before we look at the index; the driver does it the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    return load16(vq->avail + 2) != vq->next_avail;
}

/* The two copies differ in direction alone. */
static uint32_t iov_copy(const struct iovec *iov, unsigned iov_count, uint32_t offset,
                         uint8_t *buffer, uint32_t bytes, bool to_iov)
{
    uint32_t done = 0;

    for (unsigned i = 0; i < iov_count && done < bytes; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= (uint32_t)iov[i].iov_len;
            continue;
        }
        uint8_t *at = (uint8_t *)iov[i].iov_base + offset;
        uint32_t n = MIN_OF((uint32_t)iov[i].iov_len - offset, bytes - done);
        memcpy(to_iov ? at : buffer + done, to_iov ? buffer + done : at, n);
        done += n;
        offset = 0;
    }
    return done;
}

uint32_t virtq_iov_read(const struct iovec *iov, unsigned iov_count, uint32_t offset, void *buffer,
                        uint32_t bytes)
{
    return iov_copy(iov, iov_count, offset, buffer, bytes, false);
}

uint32_t virtq_iov_write(const struct iovec *iov, unsigned iov_count, uint32_t offset,
                         const void *buffer, uint32_t bytes)
{
    union {
        const void *from;
        uint8_t *bytes;
    } source = { .from = buffer }; /* only read in this direction */

    return iov_copy(iov, iov_count, offset, source.bytes, bytes, true);
}

unsigned virtq_iov_slice(const struct iovec *iov, unsigned iov_count, uint32_t offset,
                         uint32_t bytes, struct iovec *ret_iov)
{
    unsigned count = 0;

    for (unsigned i = 0; i < iov_count && bytes > 0; i++) {
        uint32_t have = (uint32_t)iov[i].iov_len;

        if (offset >= have) {
            offset -= have;
            continue;
        }
        uint32_t n = MIN_OF(have - offset, bytes);
        ret_iov[count++] =
            (struct iovec){ .iov_base = (uint8_t *)iov[i].iov_base + offset, .iov_len = n };
        bytes -= n;
        offset = 0;
    }
    return count;
}
