/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio transport, version 2 (virtio 1.2 section 4.2), apart from the devices behind it.
 *
 * How it works
 *   A device embeds struct virtio_dev as its first member and brings a struct virtio_dev_ops. The
 *   transport does registers, status, features, queue set-up, config space, interrupts and saved
 *   state. The vCPU's write to QueueNotify only sets a bit and signals an eventfd; the queue is
 *   served on the device thread, by ops->notify.
 *
 * Locking
 *   virtio_dev.lock guards queues, status and the device's own state. The transport takes it around
 *   each op; a device takes it in its own poll callbacks. The registers of the fast path
 *   (QueueNotify, InterruptStatus, InterruptACK) are atomics, so that a vCPU never waits for a
 *   batch of work there.
 */
#ifndef VOLT_VIRTIO_VIRTIO_MMIO_H
#define VOLT_VIRTIO_VIRTIO_MMIO_H

#include <pthread.h>
#include <stdatomic.h>

#include "devices/device.h"
#include "virtio/virtio_layout.h"
#include "virtio/virtq.h"

#define VIRTIO_QUEUES_MAX 4u
#define VIRTIO_CONFIG_BYTES_MAX 96u
#define VIRTIO_DEV_WORDS 8u

/* Device status (virtio 1.2 section 2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER 2u
#define VIRTIO_STATUS_DRIVER_OK 4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED 128u

struct virtio_dev;

/* All but destroy run under the lock. Device thread, except where said. */
struct virtio_dev_ops {
    uint32_t device_id; /* virtio 1.2 section 5 */
    unsigned queue_count;
    uint16_t queue_num_max; /* longest queue that is offered; 0: VIRTQ_NUM_MAX */
    /* The driver has added chains to the queue (perhaps: spurious calls are possible). */
    void (*notify)(struct virtio_dev *dev, unsigned queue);
    /* The driver resets the device: no request in flight may touch guest memory afterwards. vCPU's
     * thread. NULL: none ever is. */
    void (*reset)(struct virtio_dev *dev);
    /* Follows a reset, before any other op: drops what belonged to the old driver. NULL: nothing.
     */
    void (*settle)(struct virtio_dev *dev);
    /* The driver has written dev->config[offset..offset + bytes); undo what it must not change.
     * vCPU's thread. NULL: the config space is read-only. */
    void (*config_written)(struct virtio_dev *dev, uint32_t offset, uint32_t bytes);
    /* The device's part of dev_ops: quiesce after all queues were served. save and load see
     * VIRTIO_DEV_WORDS words that start as zeroes. NULL: nothing to do. */
    int (*quiesce)(struct virtio_dev *dev, struct err *err);
    void (*resume)(struct virtio_dev *dev);
    void (*save)(struct virtio_dev *dev, uint64_t *ret_words);
    int (*load)(struct virtio_dev *dev, const uint64_t *words, struct err *err);
    /* Frees the device's own things and the struct itself. No lock. */
    void (*destroy)(struct virtio_dev *dev);
};

struct virtio_dev {
    struct device device;
    const struct virtio_dev_ops *ops;
    pthread_mutex_t lock;
    /* What the device offers and shows. */
    uint64_t features; /* VERSION_1 and EVENT_IDX are added by the transport */
    uint8_t config[VIRTIO_CONFIG_BYTES_MAX];
    uint32_t config_bytes;
    /* Driver's state. */
    uint64_t driver_features;
    uint32_t features_sel, driver_features_sel, queue_sel;
    uint32_t status;
    uint32_t config_generation;
    struct virtq queue[VIRTIO_QUEUES_MAX];
    /* Fast path. */
    atomic_uint isr;            /* InterruptStatus */
    atomic_uint pending_queues; /* bits of queues notified and not yet served */
    const int *queue_kicks;     /* an eventfd a queue, which take the driver's notifications in
                                   place of ops->notify; NULL: none. Set before vm_run */
    bool unsettled;             /* reset since ops->settle was last called */
    struct vm_poll kick;        /* an eventfd */
};

/* Fills in and registers a zeroed dev (ops, features, config and config_bytes set by the caller) in
 * slot `slot`, named `name` in snapshots. 0 or -errno; then virtio_dev_fini is still needed. */
int virtio_dev_init(struct virtio_dev *dev, struct vm *vm, unsigned slot, const char *name,
                    struct err *err);

/* Takes down what init made. Fine on a zeroed or half-built dev whose kick.fd is -1 or made. */
void virtio_dev_fini(struct virtio_dev *dev);

/* Whether the driver is up and the rings may be used. */
bool virtio_dev_running(const struct virtio_dev *dev);

/* Calls ops->settle if a reset is waiting for it. Every poll callback of a device with that op does
 * this first, under the lock. */
void virtio_dev_settle(struct virtio_dev *dev);

/* Interrupts the driver: it has used chains (of any queue), or its config has changed. One call a
 * batch: an interrupt can cost the guest milliseconds. */
void virtio_dev_interrupt_used(struct virtio_dev *dev);
void virtio_dev_interrupt_config(struct virtio_dev *dev);

/* virtq_flush, and the interrupt when the driver wants it. */
void virtio_dev_flush(struct virtio_dev *dev, unsigned queue);

/* Has ops->notify called again for the queue, after the others on the device thread had their turn:
 * for work left over when a batch is full, as a guest could otherwise keep one going for ever. */
void virtio_dev_renotify(struct virtio_dev *dev, unsigned queue);

/* The driver broke the rules: sets NEEDS_RESET and tells it; rings stay unused until a reset. */
void virtio_dev_broken(struct virtio_dev *dev);

#endif
