/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net (virtio 1.2 section 5.1): one pair of queues, checksum and segmentation offloads,
 * mergeable receive buffers, over a struct net_backend. Frames go straight between the back end and
 * the guest's buffers, on the device thread. */
#ifndef VOLT_VIRTIO_NET_H
#define VOLT_VIRTIO_NET_H

#include "devices/device.h"
#include "devices/rate_limit.h"
#include "virtio/net_backend.h"

struct net_config {
    struct net_backend *backend; /* transferred, also on failure */
    uint8_t mac[6];
    uint16_t mtu;                                /* 0: not told */
    struct rate_limit_config rx_limit, tx_limit; /* zeroes: none. rx is towards the guest */
};

/* Makes the device in virtio-mmio slot `slot` (virtio_layout.h), named `name` in snapshots; its
 * ops->destroy frees it. The MAC is not part of the saved state: a clone has its own. Before
 * vm_run. 0 or -errno with a sentence. */
int net_create(struct vm *vm, unsigned slot, const char *name, const struct net_config *config,
               struct device **ret_device, struct err *err);

#endif
