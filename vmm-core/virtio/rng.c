/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the entropy device; see rng.h. */
#include "virtio/rng.h"

#include <errno.h>

#include "base/util.h"
#include "virtio/virtio_mmio.h"

#define RNG_DEVICE_ID 4u

struct rng {
    struct virtio_dev dev;
    struct virtq_chain chain;
};

static void fill(struct rng *rng)
{
    uint8_t random[RNG_REQUEST_MAX];
    uint32_t bytes = MIN_OF(rng->chain.in_bytes, RNG_REQUEST_MAX);

    random_bytes(random, bytes);
    virtq_iov_write(rng->chain.iov + rng->chain.out_count, rng->chain.in_count, 0, random, bytes);
    virtq_push(&rng->dev.queue[0], rng->chain.head, bytes);
}

static void rng_notify(struct virtio_dev *dev, unsigned queue)
{
    struct rng *rng = (struct rng *)dev;
    struct virtq *vq = &dev->queue[queue];
    int rc = 1;

    for (unsigned i = 0; i < vq->num && (rc = virtq_pop(vq, &rng->chain)) > 0; i++)
        fill(rng);
    virtio_dev_flush(dev, queue);
    if (rc < 0)
        virtio_dev_broken(dev);
    else if (virtq_want_notify(vq, true))
        virtio_dev_renotify(dev, queue);
}

static void rng_destroy(struct virtio_dev *dev)
{
    virtio_dev_fini(dev);
    free(dev);
}

static const struct virtio_dev_ops rng_ops = {
    .device_id = RNG_DEVICE_ID,
    .queue_count = 1,
    .notify = rng_notify,
    .destroy = rng_destroy,
};

int rng_create(struct vm *vm, unsigned slot, struct device **ret_device, struct err *err)
{
    struct rng *rng = calloc(1, sizeof(*rng));

    if (!rng)
        return err_set(err, ENOMEM, "no memory for the entropy device");
    rng->dev.ops = &rng_ops;
    int rc = virtio_dev_init(&rng->dev, vm, slot, "rng", err);
    if (rc < 0) {
        rng_destroy(&rng->dev);
        return rc;
    }
    *ret_device = &rng->dev.device;
    return 0;
}
