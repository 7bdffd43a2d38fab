/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the saved state of virtio-mmio devices: one table for all of them, with a few words for what
 * a device has of its own. */
#include "virtio/virtio_state.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

struct virtio_state {
    uint32_t device_id, queue_count;
    uint64_t driver_features;
    uint32_t features_sel, driver_features_sel, queue_sel;
    uint32_t status, isr, config_generation;
    uint16_t num[VIRTIO_QUEUES_MAX];
    uint16_t next_avail[VIRTIO_QUEUES_MAX];
    uint16_t next_used[VIRTIO_QUEUES_MAX];
    uint8_t ready[VIRTIO_QUEUES_MAX];
    uint8_t broken[VIRTIO_QUEUES_MAX];
    uint64_t desc_gpa[VIRTIO_QUEUES_MAX];
    uint64_t avail_gpa[VIRTIO_QUEUES_MAX];
    uint64_t used_gpa[VIRTIO_QUEUES_MAX];
    uint64_t dev_word[VIRTIO_DEV_WORDS];
    uint16_t held[VIRTIO_QUEUES_MAX]; /* used elements written and not published */
};

#define FIELD_SINCE(member, kind, n, version)                                                      \
    STATE_FIELD(struct virtio_state, member, kind, n, version)
#define FIELD(member, kind, n) FIELD_SINCE(member, kind, n, 1)

static const struct state_field fields[] = {
    FIELD(device_id, STATE_U32, 1),
    FIELD(queue_count, STATE_U32, 1),
    FIELD(driver_features, STATE_U64, 1),
    FIELD(features_sel, STATE_U32, 1),
    FIELD(driver_features_sel, STATE_U32, 1),
    FIELD(queue_sel, STATE_U32, 1),
    FIELD(status, STATE_U32, 1),
    FIELD(isr, STATE_U32, 1),
    FIELD(config_generation, STATE_U32, 1),
    FIELD(num, STATE_U16, VIRTIO_QUEUES_MAX),
    FIELD(next_avail, STATE_U16, VIRTIO_QUEUES_MAX),
    FIELD(next_used, STATE_U16, VIRTIO_QUEUES_MAX),
    FIELD(ready, STATE_U8, VIRTIO_QUEUES_MAX),
    FIELD(broken, STATE_U8, VIRTIO_QUEUES_MAX),
    FIELD(desc_gpa, STATE_U64, VIRTIO_QUEUES_MAX),
    FIELD(avail_gpa, STATE_U64, VIRTIO_QUEUES_MAX),
    FIELD(used_gpa, STATE_U64, VIRTIO_QUEUES_MAX),
    FIELD(dev_word, STATE_U64, VIRTIO_DEV_WORDS),
    FIELD_SINCE(held, STATE_U16, VIRTIO_QUEUES_MAX, 2),
};

/* Rings are checked against guest memory in load, where there is one. */
static int post_load(const void *state, struct err *err)
{
    const struct virtio_state *s = state;

    if (s->queue_count > VIRTIO_QUEUES_MAX)
        return err_set(err, EINVAL, "queue_count is %u: at most %u", s->queue_count,
                       VIRTIO_QUEUES_MAX);
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
        if (s->num[i] > VIRTQ_NUM_MAX || s->held[i] > s->num[i] || s->ready[i] > 1 ||
            s->broken[i] > 1)
            return err_set(err, EINVAL, "queue %u has %u entries, holds %u, ready %u, broken %u", i,
                           s->num[i], s->held[i], s->ready[i], s->broken[i]);
        if (s->ready[i] && i >= s->queue_count)
            return err_set(err, EINVAL, "queue %u is ready, but there are %u", i, s->queue_count);
    }
    return 0;
}

const struct state_desc virtio_state_desc = {
    .name = "virtio",
    .version = 2,
    .field_count = ARRAY_LEN(fields),
    .field = fields,
    .struct_bytes = sizeof(struct virtio_state),
    .post_load = post_load,
};

int virtio_dev_quiesce(struct device *device, struct err *err)
{
    struct virtio_dev *dev = (struct virtio_dev *)device;
    int rc = 0;

    pthread_mutex_lock(&dev->lock);
    /* Notifications on their way are served here, so that none has to be saved. */
    virtio_dev_settle(dev);
    virtio_dev_serve(dev, (1u << dev->ops->queue_count) - 1);
    if (dev->ops->quiesce)
        rc = dev->ops->quiesce(dev, err);
    pthread_mutex_unlock(&dev->lock);
    return rc;
}

void virtio_dev_resume(struct device *device)
{
    struct virtio_dev *dev = (struct virtio_dev *)device;

    pthread_mutex_lock(&dev->lock);
    if (dev->ops->resume)
        dev->ops->resume(dev);
    pthread_mutex_unlock(&dev->lock);
}

void virtio_dev_save(struct device *device, void *ret_state)
{
    struct virtio_dev *dev = (struct virtio_dev *)device;
    struct virtio_state *s = ret_state;

    pthread_mutex_lock(&dev->lock);
    *s = (struct virtio_state){
        .device_id = dev->ops->device_id,
        .queue_count = dev->ops->queue_count,
        .driver_features = dev->driver_features,
        .features_sel = dev->features_sel,
        .driver_features_sel = dev->driver_features_sel,
        .queue_sel = dev->queue_sel,
        .status = dev->status,
        .isr = atomic_load(&dev->isr),
        .config_generation = dev->config_generation,
    };
    for (unsigned i = 0; i < dev->ops->queue_count; i++) {
        const struct virtq *vq = &dev->queue[i];

        s->num[i] = vq->num;
        s->next_avail[i] = vq->next_avail;
        s->next_used[i] = vq->next_used;
        s->held[i] = (uint16_t)(vq->next_used - vq->published);
        s->ready[i] = vq->ready;
        s->broken[i] = vq->broken;
        s->desc_gpa[i] = vq->desc_gpa;
        s->avail_gpa[i] = vq->avail_gpa;
        s->used_gpa[i] = vq->used_gpa;
    }
    if (dev->ops->save)
        dev->ops->save(dev, s->dev_word);
    pthread_mutex_unlock(&dev->lock);
}

static int load_queue(struct virtio_dev *dev, unsigned i, const struct virtio_state *s,
                      struct err *err)
{
    struct virtq *vq = &dev->queue[i];

    vq->num = s->num[i];
    vq->next_avail = s->next_avail[i];
    vq->next_used = s->next_used[i];
    vq->published = (uint16_t)(s->next_used[i] - s->held[i]);
    vq->broken = s->broken[i];
    vq->desc_gpa = s->desc_gpa[i];
    vq->avail_gpa = s->avail_gpa[i];
    vq->used_gpa = s->used_gpa[i];
    vq->event_idx = s->driver_features & VIRTIO_FEATURE_EVENT_IDX;
    if (s->ready[i] && virtq_start(vq) < 0)
        return err_set(err, EINVAL, "device %s: the rings of queue %u are not in guest memory",
                       dev->device.name, i);
    return 0;
}

static int load_locked(struct virtio_dev *dev, const struct virtio_state *s, struct err *err)
{
    int rc = 0;

    if (s->device_id != dev->ops->device_id || s->queue_count != dev->ops->queue_count)
        return err_set(err, EINVAL,
                       "device %s: saved from a device with id %u and %u queues, but this one has "
                       "id %u and %u",
                       dev->device.name, s->device_id, s->queue_count, dev->ops->device_id,
                       dev->ops->queue_count);
    /* Before FEATURES_OK the register holds whatever the driver tried. */
    if ((s->status & VIRTIO_STATUS_FEATURES_OK) && (s->driver_features & ~dev->features))
        return err_set(err, EINVAL,
                       "device %s: the guest uses features 0x%llx, this one has 0x%llx",
                       dev->device.name, (unsigned long long)s->driver_features,
                       (unsigned long long)dev->features);
    dev->driver_features = s->driver_features;
    dev->features_sel = s->features_sel;
    dev->driver_features_sel = s->driver_features_sel;
    dev->queue_sel = s->queue_sel;
    dev->status = s->status;
    dev->config_generation = s->config_generation;
    for (unsigned i = 0; rc == 0 && i < dev->ops->queue_count; i++)
        rc = load_queue(dev, i, s, err);
    if (rc == 0 && dev->ops->load)
        rc = dev->ops->load(dev, s->dev_word, err);
    return rc;
}

int virtio_dev_load(struct device *device, const void *state, struct err *err)
{
    struct virtio_dev *dev = (struct virtio_dev *)device;
    const struct virtio_state *s = state;

    pthread_mutex_lock(&dev->lock);
    int rc = load_locked(dev, s, err);
    unsigned isr = rc == 0 ? atomic_fetch_or(&dev->isr, s->isr) | s->isr : 0;
    pthread_mutex_unlock(&dev->lock);
    /* The edge of a cause that the guest has not looked at may have been lost on the way; one too
     * many costs it a look. */
    if (isr)
        vm_irq_pulse(dev->device.vm, dev->device.gsi);
    return rc;
}
