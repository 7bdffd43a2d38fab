/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the driver's side of the rings; see virtio_driver.h. */
#include "virtio_driver.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Offsets of virtio 1.2 section 4.2.2. */
#define REG_DEVICE_FEATURES 0x010
#define REG_DEVICE_FEATURES_SEL 0x014
#define REG_DRIVER_FEATURES 0x020
#define REG_DRIVER_FEATURES_SEL 0x024
#define REG_QUEUE_SEL 0x030
#define REG_QUEUE_NUM 0x038
#define REG_QUEUE_READY 0x044
#define REG_QUEUE_NOTIFY 0x050
#define REG_INTERRUPT_STATUS 0x060
#define REG_INTERRUPT_ACK 0x064
#define REG_STATUS 0x070
#define REG_QUEUE_DESC 0x080
#define REG_QUEUE_DRIVER 0x090
#define REG_QUEUE_DEVICE 0x0a0

#define ALLOC_FROM_GPA 0x100000u

gpa_t driver_alloc(struct virtio_driver *driver, uint64_t bytes)
{
    gpa_t gpa = driver->next_gpa;

    driver->next_gpa += align_up(bytes, 4096);
    memset(driver_at(driver, gpa), 0, bytes);
    return gpa;
}

void *driver_at(struct virtio_driver *driver, gpa_t gpa)
{
    void *at = guest_mem_at(&driver->vm->mem, gpa, 1);

    if (!at)
        abort();
    return at;
}

static void put(struct virtio_driver *driver, uint64_t offset, uint32_t value)
{
    fake_write(driver->dev, offset, value, 4);
}

static uint32_t get(struct virtio_driver *driver, uint64_t offset)
{
    return fake_read(driver->dev, offset, 4);
}

static void put_gpa(struct virtio_driver *driver, uint64_t offset, gpa_t gpa)
{
    put(driver, offset, (uint32_t)gpa);
    put(driver, offset + 4, (uint32_t)(gpa >> 32));
}

static bool start_queue(struct virtio_driver *driver, unsigned index, uint16_t num)
{
    struct driver_queue *q = &driver->queue[index];

    *q = (struct driver_queue){ .num = num };
    q->desc_gpa = driver_alloc(driver, 16u * num);
    q->avail_gpa = driver_alloc(driver, 6u + 2u * num);
    q->used_gpa = driver_alloc(driver, 6u + 8u * num);
    for (uint16_t i = num; i-- > 0;)
        q->free[q->free_count++] = i;
    put(driver, REG_QUEUE_SEL, index);
    put(driver, REG_QUEUE_NUM, num);
    put_gpa(driver, REG_QUEUE_DESC, q->desc_gpa);
    put_gpa(driver, REG_QUEUE_DRIVER, q->avail_gpa);
    put_gpa(driver, REG_QUEUE_DEVICE, q->used_gpa);
    put(driver, REG_QUEUE_READY, 1);
    return get(driver, REG_QUEUE_READY) == 1;
}

bool driver_start(struct virtio_driver *driver, struct vm *vm, struct device *dev,
                  uint64_t features, unsigned queue_count, uint16_t num)
{
    return driver_start_at(driver, vm, dev, features, queue_count, num, ALLOC_FROM_GPA);
}

bool driver_start_at(struct virtio_driver *driver, struct vm *vm, struct device *dev,
                     uint64_t features, unsigned queue_count, uint16_t num, gpa_t base_gpa)
{
    uint64_t offered;
    bool ok = true;

    *driver = (struct virtio_driver){ .vm = vm, .dev = dev, .next_gpa = base_gpa };
    put(driver, REG_STATUS, 0);
    put(driver, REG_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    put(driver, REG_DEVICE_FEATURES_SEL, 1);
    offered = (uint64_t)get(driver, REG_DEVICE_FEATURES) << 32;
    put(driver, REG_DEVICE_FEATURES_SEL, 0);
    offered |= get(driver, REG_DEVICE_FEATURES);
    driver->features = offered & (features | VIRTIO_FEATURE_VERSION_1);
    put(driver, REG_DRIVER_FEATURES_SEL, 0);
    put(driver, REG_DRIVER_FEATURES, (uint32_t)driver->features);
    put(driver, REG_DRIVER_FEATURES_SEL, 1);
    put(driver, REG_DRIVER_FEATURES, (uint32_t)(driver->features >> 32));
    put(driver, REG_STATUS, get(driver, REG_STATUS) | VIRTIO_STATUS_FEATURES_OK);
    if (!(get(driver, REG_STATUS) & VIRTIO_STATUS_FEATURES_OK))
        return false;
    for (unsigned i = 0; i < queue_count; i++)
        ok = ok && start_queue(driver, i, num);
    put(driver, REG_STATUS, get(driver, REG_STATUS) | VIRTIO_STATUS_DRIVER_OK);
    return ok;
}

void driver_follow(struct virtio_driver *driver, struct device *dev)
{
    driver->dev = dev;
    driver->vm = dev->vm;
}

void driver_write_desc(struct virtio_driver *driver, unsigned queue, uint16_t index, gpa_t gpa,
                       uint32_t bytes, uint16_t flags, uint16_t next)
{
    uint8_t *at = driver_at(driver, driver->queue[queue].desc_gpa + 16u * index);

    memcpy(at, &gpa, 8);
    memcpy(at + 8, &bytes, 4);
    memcpy(at + 12, &flags, 2);
    memcpy(at + 14, &next, 2);
}

void driver_offer(struct virtio_driver *driver, unsigned queue, uint16_t head)
{
    struct driver_queue *q = &driver->queue[queue];
    uint16_t *avail = driver_at(driver, q->avail_gpa);

    __atomic_store_n(&avail[2 + q->next_avail % q->num], head, __ATOMIC_RELAXED);
    __atomic_store_n(&avail[1], ++q->next_avail, __ATOMIC_RELEASE);
}

uint16_t driver_add(struct virtio_driver *driver, unsigned queue,
                    const struct driver_buffer *buffer, unsigned out_count, unsigned in_count)
{
    struct driver_queue *q = &driver->queue[queue];
    unsigned count = out_count + in_count;

    if (q->free_count < count)
        abort();
    q->free_count = (uint16_t)(q->free_count - count);
    const uint16_t *index = q->free + q->free_count; /* taken from the top, the last one first */
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags =
            (uint16_t)((i >= out_count ? DESC_WRITE : 0) | (i + 1 < count ? DESC_NEXT : 0));
        uint16_t next = i + 1 < count ? index[count - 2 - i] : 0;

        driver_write_desc(driver, queue, index[count - 1 - i], buffer[i].gpa, buffer[i].bytes,
                          flags, next);
        q->chain_next[index[count - 1 - i]] = next;
    }
    uint16_t head = index[count - 1];
    q->chain_length[head] = (uint16_t)count;
    driver_offer(driver, queue, head);
    return head;
}

void driver_notify(struct virtio_driver *driver, unsigned queue)
{
    put(driver, REG_QUEUE_NOTIFY, queue);
}

bool driver_used(struct virtio_driver *driver, unsigned queue, uint16_t *ret_head,
                 uint32_t *ret_bytes)
{
    struct driver_queue *q = &driver->queue[queue];
    const uint16_t *used = driver_at(driver, q->used_gpa);
    uint16_t *avail = driver_at(driver, q->avail_gpa);
    uint32_t elem[2];

    if (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) == q->next_used)
        return false;
    memcpy(elem, used + 2 + 4u * (q->next_used % q->num), 8);
    /* used_event: tell me of the next. */
    __atomic_store_n(&avail[2 + q->num], ++q->next_used, __ATOMIC_RELAXED);
    *ret_head = (uint16_t)elem[0];
    *ret_bytes = elem[1];
    if (elem[0] >= q->num || q->chain_length[elem[0]] == 0)
        abort(); /* a head that was never offered */
    for (uint16_t i = (uint16_t)elem[0], n = q->chain_length[elem[0]]; n > 0; n--) {
        q->free[q->free_count++] = i;
        i = q->chain_next[i];
    }
    q->chain_length[elem[0]] = 0;
    return true;
}

unsigned driver_interrupts(struct virtio_driver *driver)
{
    unsigned count = atomic_exchange(&driver->vm->pulses[driver->dev->gsi], 0);
    uint32_t isr = get(driver, REG_INTERRUPT_STATUS);

    put(driver, REG_INTERRUPT_ACK, isr);
    return count;
}

uint32_t driver_status(struct virtio_driver *driver)
{
    return get(driver, REG_STATUS);
}
