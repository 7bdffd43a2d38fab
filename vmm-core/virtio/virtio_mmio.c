/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the registers of the virtio-mmio transport; see virtio_mmio.h. Saved state is in
 * virtio_state.c. */
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/util.h"
#include "virtio/virtio_state.h"

/* virtio 1.2 section 4.2.2. */
enum mmio_register {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = VIRTIO_MMIO_NOTIFY_OFFSET,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC_LOW = 0x080,
    REG_QUEUE_DESC_HIGH = 0x084,
    REG_QUEUE_DRIVER_LOW = 0x090,
    REG_QUEUE_DRIVER_HIGH = 0x094,
    REG_QUEUE_DEVICE_LOW = 0x0a0,
    REG_QUEUE_DEVICE_HIGH = 0x0a4,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

#define MMIO_MAGIC 0x74726976u /* "virt" */
#define MMIO_VERSION 2u
#define MMIO_VENDOR 0x544c4f56u /* "VOLT" */
#define ISR_USED 1u
#define ISR_CONFIG 2u

/* What a driver may set; NEEDS_RESET is the device's to say. */
#define STATUS_DRIVER_BITS                                                                         \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |                  \
     VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

/* ---- For the devices. ---- */

bool virtio_dev_running(const struct virtio_dev *dev)
{
    return (dev->status & VIRTIO_STATUS_DRIVER_OK) &&
           !(dev->status & (VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED));
}

static void interrupt(struct virtio_dev *dev, unsigned cause)
{
    atomic_fetch_or(&dev->isr, cause);
    vm_irq_pulse(dev->device.vm, dev->device.gsi);
}

void virtio_dev_interrupt_used(struct virtio_dev *dev)
{
    interrupt(dev, ISR_USED);
}

void virtio_dev_interrupt_config(struct virtio_dev *dev)
{
    dev->config_generation++;
    if (dev->status & VIRTIO_STATUS_DRIVER_OK)
        interrupt(dev, ISR_CONFIG);
}

void virtio_dev_flush(struct virtio_dev *dev, unsigned queue)
{
    if (virtq_flush(&dev->queue[queue]))
        virtio_dev_interrupt_used(dev);
}

void virtio_dev_broken(struct virtio_dev *dev)
{
    if (dev->status & VIRTIO_STATUS_NEEDS_RESET)
        return;
    dev->status |= VIRTIO_STATUS_NEEDS_RESET;
    virtio_dev_interrupt_config(dev);
}

/* ---- Notification, from the vCPU to the device thread. ---- */

static void notify(struct virtio_dev *dev, unsigned queues)
{
    uint64_t one = 1;

    /* Whoever finds bits set has company that signals. */
    if (atomic_fetch_or(&dev->pending_queues, queues) == 0) {
        ssize_t n = write(dev->kick.fd, &one, sizeof(one));
        (void)n; /* a full counter wakes as well */
    }
}

void virtio_dev_renotify(struct virtio_dev *dev, unsigned queue)
{
    notify(dev, 1u << queue);
}

static void driver_notifies(struct virtio_dev *dev, unsigned queue)
{
    const uint64_t one = 1;

    if (!dev->queue_kicks) {
        notify(dev, 1u << queue);
        return;
    }
    ssize_t n = write(dev->queue_kicks[queue], &one, sizeof(one));
    (void)n;
}

static unsigned all_queues(const struct virtio_dev *dev)
{
    return (1u << dev->ops->queue_count) - 1;
}

void virtio_dev_serve(struct virtio_dev *dev, unsigned queues)
{
    for (unsigned i = 0; i < dev->ops->queue_count; i++) {
        if ((queues & (1u << i)) && virtio_dev_running(dev) && dev->queue[i].ready)
            dev->ops->notify(dev, i);
    }
}

void virtio_dev_settle(struct virtio_dev *dev)
{
    if (dev->unsettled && dev->ops->settle)
        dev->ops->settle(dev);
    dev->unsettled = false;
}

static void kick_ready(struct vm_poll *poll, uint32_t events)
{
    struct virtio_dev *dev =
        (struct virtio_dev *)(void *)((char *)poll - offsetof(struct virtio_dev, kick));
    uint64_t count;
    ssize_t n = read(poll->fd, &count, sizeof(count));

    (void)n;
    (void)events;
    unsigned queues = atomic_exchange(&dev->pending_queues, 0);
    pthread_mutex_lock(&dev->lock);
    virtio_dev_settle(dev);
    virtio_dev_serve(dev, queues);
    pthread_mutex_unlock(&dev->lock);
}

/* ---- Registers. Under the lock but for the fast path. ---- */

static void reset(struct virtio_dev *dev)
{
    if (dev->ops->reset)
        dev->ops->reset(dev);
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
        virtq_reset(&dev->queue[i]);
    dev->status = 0;
    dev->driver_features = 0;
    dev->features_sel = dev->driver_features_sel = dev->queue_sel = 0;
    atomic_store(&dev->isr, 0);
    /* Wakes the device thread in any case, to settle. */
    dev->unsettled = true;
    atomic_store(&dev->pending_queues, 0);
    if (dev->ops->settle)
        notify(dev, all_queues(dev));
}

static void write_status(struct virtio_dev *dev, uint32_t value)
{
    if (value == 0) {
        reset(dev);
        return;
    }
    value &= STATUS_DRIVER_BITS;
    /* Section 3.1.1: FEATURES_OK stays clear when we can't live with the driver's choice. */
    if ((dev->driver_features & ~dev->features) ||
        !(dev->driver_features & VIRTIO_FEATURE_VERSION_1))
        value &= ~VIRTIO_STATUS_FEATURES_OK;
    if (!((value | dev->status) & VIRTIO_STATUS_FEATURES_OK))
        value &= ~VIRTIO_STATUS_DRIVER_OK;
    bool started = (value & ~dev->status) & VIRTIO_STATUS_DRIVER_OK;
    dev->status |= value; /* bits are only taken back by a reset */
    if (started)
        notify(dev, all_queues(dev)); /* what was queued before */
}

static void write_queue_ready(struct virtio_dev *dev, struct virtq *vq, uint32_t value)
{
    if (value != 1) {
        vq->ready = false;
        return;
    }
    if (vq->ready)
        return;
    vq->event_idx = dev->driver_features & VIRTIO_FEATURE_EVENT_IDX;
    vq->broken = false;
    vq->next_avail = vq->next_used = vq->published = 0;
    if (virtq_start(vq) < 0)
        virtio_dev_broken(dev);
}

static void set_half(uint64_t *word, bool high, uint32_t value)
{
    *word = high ? (*word & UINT32_MAX) | (uint64_t)value << 32 : (*word & ~0xffffffffull) | value;
}

static uint32_t queue_num_max(const struct virtio_dev *dev)
{
    return dev->ops->queue_num_max ? dev->ops->queue_num_max : VIRTQ_NUM_MAX;
}

static void write_queue(struct virtio_dev *dev, uint64_t offset, uint32_t value)
{
    if (dev->queue_sel >= dev->ops->queue_count)
        return;
    struct virtq *vq = &dev->queue[dev->queue_sel];
    if (offset == REG_QUEUE_READY) {
        write_queue_ready(dev, vq, value);
        return;
    }
    if (vq->ready)
        return; /* section 4.2.2.2: not while the queue is in use */
    switch (offset) {
    case REG_QUEUE_NUM:
        vq->num = value <= queue_num_max(dev) ? (uint16_t)value : 0; /* 0 fails at QueueReady */
        break;
    case REG_QUEUE_DESC_LOW:
    case REG_QUEUE_DESC_HIGH:
        set_half(&vq->desc_gpa, offset == REG_QUEUE_DESC_HIGH, value);
        break;
    case REG_QUEUE_DRIVER_LOW:
    case REG_QUEUE_DRIVER_HIGH:
        set_half(&vq->avail_gpa, offset == REG_QUEUE_DRIVER_HIGH, value);
        break;
    case REG_QUEUE_DEVICE_LOW:
    case REG_QUEUE_DEVICE_HIGH:
        set_half(&vq->used_gpa, offset == REG_QUEUE_DEVICE_HIGH, value);
        break;
    default:
        break;
    }
}

static void write_register(struct virtio_dev *dev, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case REG_DEVICE_FEATURES_SEL:
        dev->features_sel = value;
        break;
    case REG_DRIVER_FEATURES_SEL:
        dev->driver_features_sel = value;
        break;
    case REG_DRIVER_FEATURES:
        if (!(dev->status & VIRTIO_STATUS_FEATURES_OK) && dev->driver_features_sel < 2)
            set_half(&dev->driver_features, dev->driver_features_sel == 1, value);
        break;
    case REG_QUEUE_SEL:
        dev->queue_sel = value;
        break;
    case REG_STATUS:
        write_status(dev, value);
        break;
    default:
        write_queue(dev, offset, value);
        break;
    }
}

static uint32_t read_register(const struct virtio_dev *dev, uint64_t offset)
{
    bool queue_exists = dev->queue_sel < dev->ops->queue_count;

    switch (offset) {
    case REG_MAGIC:
        return MMIO_MAGIC;
    case REG_VERSION:
        return MMIO_VERSION;
    case REG_DEVICE_ID:
        return dev->ops->device_id;
    case REG_VENDOR_ID:
        return MMIO_VENDOR;
    case REG_DEVICE_FEATURES:
        return dev->features_sel < 2 ? (uint32_t)(dev->features >> (32 * dev->features_sel)) : 0;
    case REG_QUEUE_NUM_MAX:
        return queue_exists ? queue_num_max(dev) : 0;
    case REG_QUEUE_READY:
        return queue_exists && dev->queue[dev->queue_sel].ready;
    case REG_STATUS:
        return dev->status;
    case REG_CONFIG_GENERATION:
        return dev->config_generation;
    default:
        return UINT32_MAX;
    }
}

static bool config_range(const struct virtio_dev *dev, uint64_t offset, uint32_t bytes)
{
    return offset >= REG_CONFIG && offset - REG_CONFIG + bytes <= dev->config_bytes;
}

static void mmio_read(struct device *device, uint64_t offset, void *value, uint32_t bytes)
{
    struct virtio_dev *dev = (struct virtio_dev *)device;
    uint32_t word;

    memset(value, 0xff, bytes);
    if (offset == REG_INTERRUPT_STATUS && bytes == 4) {
        word = atomic_load(&dev->isr);
        memcpy(value, &word, 4);
        return;
    }
    pthread_mutex_lock(&dev->lock);
    if (config_range(dev, offset, bytes)) {
        memcpy(value, dev->config + (offset - REG_CONFIG), bytes);
    } else if (offset < REG_CONFIG && bytes == 4) {
        word = read_register(dev, offset);
        memcpy(value, &word, 4);
    }
    pthread_mutex_unlock(&dev->lock);
}

static void mmio_write(struct device *device, uint64_t offset, const void *value, uint32_t bytes)
{
    struct virtio_dev *dev = (struct virtio_dev *)device;
    uint32_t word = 0;

    if (offset < REG_CONFIG) {
        if (bytes != 4)
            return;
        memcpy(&word, value, 4);
    }
    if (offset == REG_QUEUE_NOTIFY) {
        if (word < dev->ops->queue_count)
            driver_notifies(dev, word);
        return;
    }
    if (offset == REG_INTERRUPT_ACK) {
        atomic_fetch_and(&dev->isr, ~word);
        return;
    }
    pthread_mutex_lock(&dev->lock);
    if (offset < REG_CONFIG) {
        write_register(dev, offset, word);
    } else if (dev->ops->config_written && config_range(dev, offset, bytes)) {
        memcpy(dev->config + (offset - REG_CONFIG), value, bytes);
        dev->ops->config_written(dev, (uint32_t)(offset - REG_CONFIG), bytes);
    }
    pthread_mutex_unlock(&dev->lock);
}

/* ---- Life. ---- */

static void mmio_destroy(struct device *device)
{
    struct virtio_dev *dev = (struct virtio_dev *)device;

    if (dev)
        dev->ops->destroy(dev);
}

static const struct dev_ops mmio_ops = {
    .name = "virtio-mmio",
    .read = mmio_read,
    .write = mmio_write,
    .quiesce = virtio_dev_quiesce,
    .resume = virtio_dev_resume,
    .desc = &virtio_state_desc,
    .save = virtio_dev_save,
    .load = virtio_dev_load,
    .destroy = mmio_destroy,
};

int virtio_dev_init(struct virtio_dev *dev, struct vm *vm, unsigned slot, const char *name,
                    struct err *err)
{
    pthread_mutex_init(&dev->lock, NULL);
    dev->features |= VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_EVENT_IDX;
    dev->device = (struct device){ .ops = &mmio_ops,
                                   .vm = vm,
                                   .bus = BUS_MMIO,
                                   .base = VIRTIO_MMIO_SLOT_GPA(slot),
                                   .bytes = VIRTIO_MMIO_SLOT_BYTES,
                                   .gsi = VIRTIO_MMIO_SLOT_GSI(slot) };
    strncpy(dev->device.name, name, sizeof(dev->device.name) - 1);
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
        dev->queue[i].mem = vm_memory(vm);
    dev->kick = (struct vm_poll){ .ready = kick_ready, .fd = -1 };
    if (slot >= VIRTIO_MMIO_SLOT_COUNT)
        return err_set(err, ENOSPC, "device %s: there are only %u virtio-mmio slots", name,
                       VIRTIO_MMIO_SLOT_COUNT);
    _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, errno, "making an eventfd for device %s", name);
    dev->kick.fd = fd;
    int rc = vm_poll_add(vm, &dev->kick, EPOLLIN);
    if (rc < 0) {
        dev->kick.fd = -1;
        return err_set_errno(err, -rc, "watching the eventfd of device %s", name);
    }
    take_fd(&fd);
    return 0;
}

void virtio_dev_fini(struct virtio_dev *dev)
{
    if (dev->kick.fd >= 0)
        vm_poll_del(dev->device.vm, &dev->kick);
    close_fd(&dev->kick.fd);
    pthread_mutex_destroy(&dev->lock);
}
