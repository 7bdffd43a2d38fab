/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the block device: its requests, their limits and its saved state; see blk.h. */
#include "virtio/blk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/util.h"
#include "virtio/virtio_mmio.h"

#define BLK_DEVICE_ID 2u
#define REQUESTS_A_TURN 64u /* then others on the device thread get theirs */
#define BYTES_A_TURN MIB(8)

/* virtio 1.2 section 5.2.3. */
#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

/* Section 5.2.4. */
struct blk_space {
    uint64_t capacity; /* in sectors */
    uint32_t size_max;
    uint32_t seg_max;
    uint8_t geometry[4];
    uint32_t blk_size;
    uint8_t topology[8];
    uint8_t writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
} __attribute__((packed));

static_assert(sizeof(struct blk_space) == 60, "config space layout");
static_assert(sizeof(struct blk_space) <= VIRTIO_CONFIG_BYTES_MAX, "config space fits");

/* Section 5.2.6. */
struct blk_header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

struct blk_range {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};

static_assert(sizeof(struct blk_header) == 16 && sizeof(struct blk_range) == 16, "request layout");

enum blk_type {
    BLK_IN = 0,
    BLK_OUT = 1,
    BLK_FLUSH = 4,
    BLK_GET_ID = 8,
    BLK_DISCARD = 11,
    BLK_WRITE_ZEROES = 13,
};

enum blk_status { BLK_OK, BLK_IOERR, BLK_UNSUPPORTED };

#define RANGE_FLAG_UNMAP 1u
#define RANGE_SECTORS_MAX 16384u /* 8 MiB: a bound on what zeroes by writing may take */
#define RANGES_MAX 1u

struct blk {
    struct virtio_dev dev; /* first */
    struct disk disk;
    struct rate_limit limit;
    bool limited;
    bool slot;            /* empty yet */
    struct vm_poll timer; /* ends a wait for the limit */
    uint64_t zeroed; /* bytes of zeroes written for the last request, which are not in its chain */
    char id[BLK_ID_BYTES + 1];
    struct virtq_chain chain;
    struct iovec iov[VIRTQ_NUM_MAX];
};

/* ---- Requests. ---- */

static bool in_disk(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
    uint64_t sectors = blk->disk.bytes / DISK_SECTOR_BYTES;

    return bytes % DISK_SECTOR_BYTES == 0 && sector <= sectors &&
           bytes / DISK_SECTOR_BYTES <= sectors - sector;
}

static enum blk_status status_of(int rc)
{
    return rc == 0 ? BLK_OK : BLK_IOERR;
}

/* Each gets a request whose status byte is known to be there, and adds the bytes that it writes
 * before that to *written. */
static enum blk_status request_in(struct blk *blk, const struct blk_header *header,
                                  uint32_t *written)
{
    const struct virtq_chain *chain = &blk->chain;
    uint32_t bytes = chain->in_bytes - 1;

    if (!in_disk(blk, header->sector, bytes))
        return BLK_IOERR;
    unsigned count =
        virtq_iov_slice(chain->iov + chain->out_count, chain->in_count, 0, bytes, blk->iov);
    int rc = disk_read(&blk->disk, blk->iov, count, header->sector * DISK_SECTOR_BYTES, bytes);
    if (rc == 0)
        *written = bytes;
    return status_of(rc);
}

static enum blk_status request_out(struct blk *blk, const struct blk_header *header,
                                   uint32_t *written)
{
    const struct virtq_chain *chain = &blk->chain;
    uint32_t bytes = chain->out_bytes - (uint32_t)sizeof(*header);

    (void)written;
    if (!in_disk(blk, header->sector, bytes))
        return BLK_IOERR;
    unsigned count =
        virtq_iov_slice(chain->iov, chain->out_count, sizeof(*header), bytes, blk->iov);
    return status_of(
        disk_write(&blk->disk, blk->iov, count, header->sector * DISK_SECTOR_BYTES, bytes));
}

static enum blk_status request_flush(struct blk *blk, const struct blk_header *header,
                                     uint32_t *written)
{
    (void)header;
    (void)written;
    return status_of(disk_flush(&blk->disk));
}

static enum blk_status request_id(struct blk *blk, const struct blk_header *header,
                                  uint32_t *written)
{
    const struct virtq_chain *chain = &blk->chain;
    uint32_t bytes = MIN_OF(chain->in_bytes - 1, BLK_ID_BYTES);

    (void)header;
    *written = virtq_iov_write(chain->iov + chain->out_count, chain->in_count, 0, blk->id, bytes);
    return BLK_OK;
}

static enum blk_status request_range(struct blk *blk, const struct blk_header *header,
                                     uint32_t *written)
{
    const struct virtq_chain *chain = &blk->chain;
    bool discard = header->type == BLK_DISCARD;
    struct blk_range range;

    (void)written;
    if (chain->out_bytes != sizeof(*header) + sizeof(range))
        return BLK_UNSUPPORTED;
    virtq_iov_read(chain->iov, chain->out_count, sizeof(*header), &range, sizeof(range));
    uint64_t bytes = (uint64_t)range.sectors * DISK_SECTOR_BYTES;
    /* Section 5.2.6.2: no unknown flags, and no unmap in a discard. */
    if (range.flags & ~(discard ? 0u : RANGE_FLAG_UNMAP))
        return BLK_UNSUPPORTED;
    if (range.sectors > RANGE_SECTORS_MAX || !in_disk(blk, range.sector, bytes))
        return BLK_IOERR;
    return status_of(disk_zero(&blk->disk, range.sector * DISK_SECTOR_BYTES, bytes,
                               discard || (range.flags & RANGE_FLAG_UNMAP), &blk->zeroed));
}

static const struct {
    enum blk_type type;
    enum blk_status (*serve)(struct blk *blk, const struct blk_header *header, uint32_t *written);
} requests[] = {
    { BLK_IN, request_in },     { BLK_OUT, request_out },       { BLK_FLUSH, request_flush },
    { BLK_GET_ID, request_id }, { BLK_DISCARD, request_range }, { BLK_WRITE_ZEROES, request_range },
};

/* Serves the request in blk->chain. False: it has no room for header and status, and nobody could
 * be told. */
static bool serve(struct blk *blk)
{
    const struct virtq_chain *chain = &blk->chain;
    struct blk_header header;
    uint32_t written = 0;

    blk->zeroed = 0;
    if (chain->in_bytes == 0 ||
        virtq_iov_read(chain->iov, chain->out_count, 0, &header, sizeof(header)) != sizeof(header))
        return false;
    uint8_t status = BLK_UNSUPPORTED;
    for (unsigned i = 0; i < ARRAY_LEN(requests); i++) {
        if (requests[i].type == header.type)
            status = (uint8_t)requests[i].serve(blk, &header, &written);
    }
    virtq_iov_write(chain->iov + chain->out_count, chain->in_count, chain->in_bytes - 1, &status,
                    1);
    /* The bytes up to the status are not all written where a request fails. */
    virtq_push(&blk->dev.queue[0], chain->head,
               written + 1 == chain->in_bytes ? chain->in_bytes : written);
    return true;
}

/* ---- The queue. ---- */

static void wait_for_limit(struct blk *blk, uint64_t wait_ns)
{
    const struct itimerspec at = { .it_value = { .tv_sec = (time_t)(wait_ns / NS_PER_S),
                                                 .tv_nsec = (long)(wait_ns % NS_PER_S) } };

    timerfd_settime(blk->timer.fd, 0, &at, NULL);
}

enum serve_end { SERVED_ALL, SERVED_SOME, SERVED_TO_LIMIT, RING_BROKEN };

/* Serves requests until there are none, a batch is full or the limit is reached. */
static enum serve_end serve_batch(struct blk *blk, bool limited)
{
    struct virtq *vq = &blk->dev.queue[0];
    uint64_t bytes = 0;

    for (unsigned i = 0; i < REQUESTS_A_TURN && bytes < BYTES_A_TURN; i++) {
        int rc = virtq_pop(vq, &blk->chain);

        if (rc <= 0)
            return rc < 0 ? RING_BROKEN : SERVED_ALL;
        uint64_t size = (uint64_t)blk->chain.out_bytes + blk->chain.in_bytes;
        uint64_t wait_ns = limited ? rate_limit_take(&blk->limit, size, now_ns()) : 0;
        if (wait_ns) {
            virtq_unpop(vq);
            wait_for_limit(blk, wait_ns);
            return SERVED_TO_LIMIT;
        }
        if (!serve(blk)) {
            vq->broken = true;
            return RING_BROKEN;
        }
        rate_limit_charge(&blk->limit, blk->zeroed);
        bytes += size + blk->zeroed;
    }
    return SERVED_SOME;
}

static void blk_notify(struct virtio_dev *dev, unsigned queue)
{
    struct blk *blk = (struct blk *)dev;
    enum serve_end end = serve_batch(blk, blk->limited);

    virtio_dev_flush(dev, queue);
    if (end == RING_BROKEN)
        virtio_dev_broken(dev);
    else if (end == SERVED_SOME ||
             (end == SERVED_ALL && virtq_want_notify(&dev->queue[queue], true)))
        virtio_dev_renotify(dev, queue);
}

static void timer_ready(struct vm_poll *poll, uint32_t events)
{
    struct blk *blk = (struct blk *)(void *)((char *)poll - offsetof(struct blk, timer));
    uint64_t count;
    ssize_t n = read(poll->fd, &count, sizeof(count));

    (void)n;
    (void)events;
    pthread_mutex_lock(&blk->dev.lock);
    if (virtio_dev_running(&blk->dev))
        blk_notify(&blk->dev, 0);
    pthread_mutex_unlock(&blk->dev.lock);
}

/* ---- Saved state and life. ---- */

static int blk_quiesce(struct virtio_dev *dev, struct err *err)
{
    struct blk *blk = (struct blk *)dev;

    /* The guest stands still, so the ring empties; limits can wait. */
    while (virtio_dev_running(dev) && dev->queue[0].ready) {
        enum serve_end end = serve_batch(blk, false);

        virtio_dev_flush(dev, 0);
        if (end == RING_BROKEN)
            virtio_dev_broken(dev);
        if (end != SERVED_SOME)
            break;
    }
    if (virtio_dev_running(dev) && dev->queue[0].ready)
        virtq_want_notify(&dev->queue[0], true);
    int rc = disk_flush(&blk->disk);
    return rc < 0 ? err_set_errno(err, -rc, "device %s: flushing the disk", dev->device.name) : 0;
}

static void blk_save(struct virtio_dev *dev, uint64_t *ret_words)
{
    ret_words[0] = ((struct blk *)dev)->disk.bytes;
}

static int blk_load(struct virtio_dev *dev, const uint64_t *words, struct err *err)
{
    struct blk *blk = (struct blk *)dev;

    if (words[0] != blk->disk.bytes)
        return err_set(
            err, EINVAL, "device %s: saved with a disk of %llu bytes, but this one has %llu",
            dev->device.name, (unsigned long long)words[0], (unsigned long long)blk->disk.bytes);
    return 0;
}

static void blk_destroy(struct virtio_dev *dev)
{
    struct blk *blk = (struct blk *)dev;

    if (blk->timer.fd >= 0)
        vm_poll_del(dev->device.vm, &blk->timer);
    close_fd(&blk->timer.fd);
    disk_close(&blk->disk);
    virtio_dev_fini(dev);
    free(blk);
}

static const struct virtio_dev_ops blk_ops = {
    .device_id = BLK_DEVICE_ID,
    .queue_count = 1,
    .notify = blk_notify,
    .quiesce = blk_quiesce,
    .save = blk_save,
    .load = blk_load,
    .destroy = blk_destroy,
};

static void describe(struct blk *blk)
{
    struct blk_space space = {
        .capacity = blk->disk.bytes / DISK_SECTOR_BYTES,
        .seg_max = VIRTQ_NUM_MAX - 2, /* beside header and status */
        .blk_size = DISK_SECTOR_BYTES,
        .max_discard_sectors = RANGE_SECTORS_MAX,
        .max_discard_seg = RANGES_MAX,
        .discard_sector_alignment = DISK_CLUSTER_BYTES / DISK_SECTOR_BYTES,
        .max_write_zeroes_sectors = RANGE_SECTORS_MAX,
        .max_write_zeroes_seg = RANGES_MAX,
        .write_zeroes_may_unmap = 1,
    };

    blk->dev.features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH;
    blk->dev.features |=
        blk->disk.read_only && !blk->slot ? BLK_F_RO : BLK_F_DISCARD | BLK_F_WRITE_ZEROES;
    blk->dev.config_bytes = sizeof(space);
    memcpy(blk->dev.config, &space, sizeof(space));
}

/* The rest of the config space does not depend on the disk. */
static void describe_capacity(struct blk *blk)
{
    const uint64_t sectors = blk->disk.bytes / DISK_SECTOR_BYTES;

    memcpy(blk->dev.config + offsetof(struct blk_space, capacity), &sectors, sizeof sectors);
}

static int make_timer(struct blk *blk, struct err *err)
{
    _cleanup_close_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (fd < 0)
        return err_set_errno(err, errno, "making a timer for the disk's limit");
    blk->timer = (struct vm_poll){ .ready = timer_ready, .fd = fd };
    int rc = vm_poll_add(blk->dev.device.vm, &blk->timer, EPOLLIN);
    if (rc < 0) {
        blk->timer.fd = -1;
        return err_set_errno(err, -rc, "watching the timer of the disk's limit");
    }
    take_fd(&fd);
    return 0;
}

int blk_create(struct vm *vm, unsigned slot, const char *name, const struct blk_config *config,
               struct device **ret_device, struct err *err)
{
    struct disk disk = DISK_EMPTY;
    int rc = config->slot ? 0 : disk_open(&disk, &config->disk, err);

    if (rc < 0) {
        err_wrap(err, "device %s", name);
        return rc;
    }
    struct blk *blk = calloc(1, sizeof(*blk));
    if (!blk) {
        disk_close(&disk);
        return err_set(err, ENOMEM, "no memory for device %s", name);
    }
    blk->disk = disk;
    blk->slot = config->slot;
    blk->dev.ops = &blk_ops;
    blk->timer.fd = -1;
    blk->limited = config->limit.bytes.per_s || config->limit.ops.per_s;
    rate_limit_init(&blk->limit, &config->limit, now_ns());
    memcpy(blk->id, config->id, BLK_ID_BYTES);
    describe(blk);
    rc = virtio_dev_init(&blk->dev, vm, slot, name, err);
    if (rc == 0 && blk->limited)
        rc = make_timer(blk, err);
    if (rc < 0) {
        blk_destroy(&blk->dev);
        return rc;
    }
    *ret_device = &blk->dev.device;
    return 0;
}

int blk_attach(struct device *device, const struct disk_config *config, struct err *err)
{
    struct blk *blk = (struct blk *)device;
    struct disk disk;
    int rc = disk_open(&disk, config, err);

    if (rc < 0)
        return err_wrap(err, "device %s", device->name);
    pthread_mutex_lock(&blk->dev.lock);
    if (blk->slot) {
        blk->slot = false;
        blk->disk = disk;
        describe_capacity(blk);
        virtio_dev_interrupt_config(&blk->dev);
    } else {
        disk_close(&disk);
        rc = err_set(err, EBUSY, "device %s has a disk already", device->name);
    }
    pthread_mutex_unlock(&blk->dev.lock);
    return rc;
}
