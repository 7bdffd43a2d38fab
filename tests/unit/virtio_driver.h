/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny virtio-mmio driver over a fake machine: what a guest's kernel would do, step by step, for
 * tests and fuzzers. */
#ifndef VOLT_TESTS_VIRTIO_DRIVER_H
#define VOLT_TESTS_VIRTIO_DRIVER_H

#include "fake_vm.h"
#include "virtio/virtio_mmio.h"

#define DRIVER_QUEUES 4u

struct driver_queue {
    uint16_t num;
    gpa_t desc_gpa, avail_gpa, used_gpa;
    uint16_t next_avail;          /* to be written */
    uint16_t next_used;           /* to be read */
    uint16_t free[VIRTQ_NUM_MAX]; /* stack of descriptors */
    uint16_t free_count;
    uint16_t chain_length[VIRTQ_NUM_MAX]; /* by head */
    uint16_t chain_next[VIRTQ_NUM_MAX];
};

struct virtio_driver {
    struct vm *vm;
    struct device *dev;
    uint64_t features; /* negotiated */
    gpa_t next_gpa;    /* bump allocator */
    struct driver_queue queue[DRIVER_QUEUES];
};

struct driver_buffer {
    gpa_t gpa;
    uint32_t bytes;
};

/* Guest memory, zeroed, aligned to 4 KiB. */
gpa_t driver_alloc(struct virtio_driver *driver, uint64_t bytes);
void *driver_at(struct virtio_driver *driver, gpa_t gpa);

/* Resets the device and negotiates those of `features` that it offers; queues have `num` entries.
 * `driver` is filled in; memory is taken from 1 MiB on. False: the device did not come up. */
bool driver_start(struct virtio_driver *driver, struct vm *vm, struct device *dev,
                  uint64_t features, unsigned queue_count, uint16_t num);

/* The same with memory from base_gpa on, where drivers share a machine. */
bool driver_start_at(struct virtio_driver *driver, struct vm *vm, struct device *dev,
                     uint64_t features, unsigned queue_count, uint16_t num, gpa_t base_gpa);

/* The same driver goes on with another device: the one its guest was moved to. */
void driver_follow(struct virtio_driver *driver, struct device *dev);

/* Adds a chain: out buffers, then in buffers. Returns its head. */
uint16_t driver_add(struct virtio_driver *driver, unsigned queue,
                    const struct driver_buffer *buffer, unsigned out_count, unsigned in_count);

/* Writes one raw descriptor, of any contents. */
void driver_write_desc(struct virtio_driver *driver, unsigned queue, uint16_t index, gpa_t gpa,
                       uint32_t bytes, uint16_t flags, uint16_t next);
/* Makes `head` available, whatever it is. */
void driver_offer(struct virtio_driver *driver, unsigned queue, uint16_t head);

/* QueueNotify, whether or not the device asked for it; and whether it did ask, at the last add. */
void driver_notify(struct virtio_driver *driver, unsigned queue);

/* Takes a used element, frees its descriptors. False: none. */
bool driver_used(struct virtio_driver *driver, unsigned queue, uint16_t *ret_head,
                 uint32_t *ret_bytes);

/* Interrupts since the last call; acknowledges them. */
unsigned driver_interrupts(struct virtio_driver *driver);

uint32_t driver_status(struct virtio_driver *driver);

#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u

#endif
