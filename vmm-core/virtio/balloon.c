/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the balloon: what the guest gives back goes out of the mapping; see balloon.h.
 *
 * Queues are numbered without gaps, as Linux and QEMU do it: of those after deflate, only the one
 * for free page reporting is there, so it is the third.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "virtio/virtio_mmio.h"

#define BALLOON_DEVICE_ID 5u
#define PFNS_A_CHAIN_MAX 65536u /* Linux sends 256; what is beyond this is not looked at */
#define PFNS_A_PIECE 256u

#define BALLOON_F_DEFLATE_ON_OOM (1ull << 2)
#define BALLOON_F_PAGE_REPORTING (1ull << 5)

enum balloon_queue { BALLOON_INFLATE, BALLOON_DEFLATE, BALLOON_REPORTING, BALLOON_QUEUE_COUNT };

/* Section 5.5.4; the fields for features that are not offered are left out. */
struct balloon_space {
    uint32_t num_pages; /* the device's wish */
    uint32_t actual;    /* the driver's answer */
};

struct balloon {
    struct virtio_dev dev; /* first */
    uint32_t target_pages;
    atomic_uint_fast64_t released_bytes, refused_ranges;
    struct virtq_chain chain;
};

static uint32_t actual_pages(const struct balloon *balloon)
{
    uint32_t actual;

    memcpy(&actual, balloon->dev.config + offsetof(struct balloon_space, actual), sizeof(actual));
    return actual;
}

static void show_target(struct balloon *balloon)
{
    memcpy(balloon->dev.config, &balloon->target_pages, sizeof(balloon->target_pages));
}

/* Gives whole pages at `at`, in the guest's mapping, back to the host. */
static void release(struct balloon *balloon, uint8_t *at, uint64_t bytes)
{
    const struct guest_mem *mem = vm_memory(balloon->dev.device.vm);
    uint64_t from = align_up((uint64_t)(at - mem->hva), BALLOON_PAGE_BYTES);
    uint64_t to = ((uint64_t)(at - mem->hva) + bytes) & ~(uint64_t)(BALLOON_PAGE_BYTES - 1);
    int rc;

    if (from >= to)
        return;
    /* Of a shared memory file, unmapping alone would free nothing. */
    if (mem->fd >= 0)
        rc = fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                       (off_t)(to - from));
    else
        rc = madvise(mem->hva + from, to - from, MADV_DONTNEED);
    if (rc == 0)
        atomic_fetch_add(&balloon->released_bytes, to - from);
}

/* ---- Inflating: arrays of page numbers. ---- */

/* Releases runs of consecutive pages. */
static void release_pages(struct balloon *balloon, const uint32_t *pfn, uint32_t count)
{
    const struct guest_mem *mem = vm_memory(balloon->dev.device.vm);

    for (uint32_t i = 0, run; i < count; i += run) {
        for (run = 1; i + run < count && pfn[i + run] == pfn[i] + run;)
            run++;
        uint64_t bytes = (uint64_t)run * BALLOON_PAGE_BYTES;
        uint8_t *at = guest_mem_at(mem, (gpa_t)pfn[i] * BALLOON_PAGE_BYTES, bytes);
        if (at)
            release(balloon, at, bytes);
        else
            atomic_fetch_add(&balloon->refused_ranges, 1);
    }
}

static void inflate(struct balloon *balloon)
{
    const struct virtq_chain *chain = &balloon->chain;
    uint32_t bytes = MIN_OF(chain->out_bytes, PFNS_A_CHAIN_MAX * 4u), n;

    for (uint32_t at = 0; at + 4 <= bytes; at += n) {
        uint32_t pfn[PFNS_A_PIECE];

        n = virtq_iov_read(chain->iov, chain->out_count, at, pfn,
                           (uint32_t)MIN_OF(sizeof(pfn), (bytes - at) & ~3u));
        release_pages(balloon, pfn, n / 4);
    }
}

/* ---- Reporting: the buffers themselves are the free pages. ---- */

static void report(struct balloon *balloon)
{
    const struct virtq_chain *chain = &balloon->chain;

    for (unsigned i = 0; i < chain->in_count; i++)
        release(balloon, chain->iov[chain->out_count + i].iov_base,
                chain->iov[chain->out_count + i].iov_len);
}

static void balloon_notify(struct virtio_dev *dev, unsigned queue)
{
    struct balloon *balloon = (struct balloon *)dev;
    struct virtq *vq = &dev->queue[queue];
    int rc = 1;

    for (unsigned i = 0; i < vq->num && (rc = virtq_pop(vq, &balloon->chain)) > 0; i++) {
        if (queue == BALLOON_INFLATE)
            inflate(balloon);
        else if (queue == BALLOON_REPORTING)
            report(balloon);
        /* Deflated pages need nothing: touching one brings it back. */
        virtq_push(vq, balloon->chain.head, 0);
    }
    virtio_dev_flush(dev, queue);
    if (rc < 0)
        virtio_dev_broken(dev);
    else if (virtq_want_notify(vq, true))
        virtio_dev_renotify(dev, queue);
}

/* ---- Config space, saved state, life. ---- */

static void balloon_config_written(struct virtio_dev *dev, uint32_t offset, uint32_t bytes)
{
    (void)offset;
    (void)bytes;
    show_target((struct balloon *)dev); /* only `actual` is the driver's */
}

static void balloon_save(struct virtio_dev *dev, uint64_t *ret_words)
{
    ret_words[0] = ((struct balloon *)dev)->target_pages;
    ret_words[1] = actual_pages((struct balloon *)dev);
}

static int balloon_load(struct virtio_dev *dev, const uint64_t *words, struct err *err)
{
    struct balloon *balloon = (struct balloon *)dev;
    uint32_t actual = (uint32_t)words[1];

    if (words[0] > UINT32_MAX || words[1] > UINT32_MAX)
        return err_set(err, EINVAL, "device %s: target or size beyond 32 bits", dev->device.name);
    balloon->target_pages = (uint32_t)words[0];
    show_target(balloon);
    memcpy(dev->config + offsetof(struct balloon_space, actual), &actual, sizeof(actual));
    return 0;
}

static void balloon_destroy(struct virtio_dev *dev)
{
    virtio_dev_fini(dev);
    free(dev);
}

static const struct virtio_dev_ops balloon_ops = {
    .device_id = BALLOON_DEVICE_ID,
    .queue_count = BALLOON_QUEUE_COUNT,
    .notify = balloon_notify,
    .config_written = balloon_config_written,
    .save = balloon_save,
    .load = balloon_load,
    .destroy = balloon_destroy,
};

int balloon_create(struct vm *vm, unsigned slot, struct balloon **ret_balloon, struct err *err)
{
    struct balloon *balloon = calloc(1, sizeof(*balloon));

    if (!balloon)
        return err_set(err, ENOMEM, "no memory for the balloon");
    balloon->dev.ops = &balloon_ops;
    balloon->dev.features = BALLOON_F_DEFLATE_ON_OOM | BALLOON_F_PAGE_REPORTING;
    balloon->dev.config_bytes = sizeof(struct balloon_space);
    int rc = virtio_dev_init(&balloon->dev, vm, slot, "balloon", err);
    if (rc < 0) {
        balloon_destroy(&balloon->dev);
        return rc;
    }
    *ret_balloon = balloon;
    return 0;
}

struct device *balloon_device(struct balloon *balloon)
{
    return &balloon->dev.device;
}

void balloon_set_target(struct balloon *balloon, uint32_t pages)
{
    pthread_mutex_lock(&balloon->dev.lock);
    balloon->target_pages = pages;
    show_target(balloon);
    virtio_dev_interrupt_config(&balloon->dev);
    pthread_mutex_unlock(&balloon->dev.lock);
}

void balloon_query_stats(struct balloon *balloon, struct balloon_stats *ret_stats)
{
    pthread_mutex_lock(&balloon->dev.lock);
    ret_stats->target_pages = balloon->target_pages;
    ret_stats->actual_pages = actual_pages(balloon);
    pthread_mutex_unlock(&balloon->dev.lock);
    ret_stats->released_bytes = atomic_load(&balloon->released_bytes);
    ret_stats->refused_ranges = atomic_load(&balloon->refused_ranges);
}
