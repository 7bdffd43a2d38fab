/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng (virtio 1.2 section 5.4): the host kernel's random bytes, at most RNG_REQUEST_MAX for
 * each request. */
#ifndef VOLT_VIRTIO_RNG_H
#define VOLT_VIRTIO_RNG_H

#include "devices/device.h"

#define RNG_REQUEST_MAX 4096u

/* Makes the device in virtio-mmio slot `slot` (virtio_layout.h); its ops->destroy frees it. Before
 * vm_run. 0 or -errno with a sentence. */
int rng_create(struct vm *vm, unsigned slot, struct device **ret_device, struct err *err);

#endif
