/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk (virtio 1.2 section 5.2): one request queue over a struct disk. Requests are served on
 * the device thread, in order. */
#ifndef VOLT_VIRTIO_BLK_H
#define VOLT_VIRTIO_BLK_H

#include "devices/device.h"
#include "devices/rate_limit.h"
#include "virtio/disk.h"

#define BLK_ID_BYTES 20u

struct blk_config {
    struct disk_config disk;        /* its fds are transferred, also on failure */
    struct rate_limit_config limit; /* zeroes: none */
    char id[BLK_ID_BYTES + 1];      /* what GET_ID answers; /dev/disk/by-id in Linux */
    bool slot;                      /* it is empty (disk is not looked at) until blk_attach */
};

/* Makes the device in virtio-mmio slot `slot` (virtio_layout.h), named `name` in snapshots; its
 * ops->destroy frees it. Quiesce serves and flushes everything, so that base and deltas are
 * consistent with the guest's memory when it returns. Before vm_run. 0 or -errno with a sentence.
 */
int blk_create(struct vm *vm, unsigned slot, const char *name, const struct blk_config *config,
               struct device **ret_device, struct err *err);

/* Puts a disk into a device that was made as a slot and is empty still: the guest is told of its new
 * capacity by a configuration interrupt (5.2.5.2). A slot never offers RO, as what it will hold is not
 * known when the driver asks: writes to a read-only disk fail one by one. All fds are transferred, also
 * on failure. Device thread. 0, -EBUSY: it is in use; or -errno with a sentence. */
int blk_attach(struct device *device, const struct disk_config *config, struct err *err);

#endif
