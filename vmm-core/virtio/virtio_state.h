/* SPDX-License-Identifier: Apache-2.0 */
/* Saved state of every virtio-mmio device, and the transport's part in saving it. Between the
 * transport's own files; devices see virtio_mmio.h alone. */
#ifndef VOLT_VIRTIO_VIRTIO_STATE_H
#define VOLT_VIRTIO_VIRTIO_STATE_H

#include "virtio/virtio_mmio.h"

extern const struct state_desc virtio_state_desc;

int virtio_dev_quiesce(struct device *device, struct err *err);
void virtio_dev_resume(struct device *device);
void virtio_dev_save(struct device *device, void *ret_state);
int virtio_dev_load(struct device *device, const void *state, struct err *err);

/* Calls ops->notify for each of the queues (a bit mask) that is ready. Under the lock. */
void virtio_dev_serve(struct virtio_dev *dev, unsigned queues);

#endif
