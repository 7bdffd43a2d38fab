/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps every virtio device busy over each PARK: requests are made and notified right before it,
 * and looked at after the WAKE, which may be in another machine. READY tells what went wrong. */
#include "devices.h"
#include "rude.h"

#define SLOT_DISK 2u
#define SLOT_NET 5u
#define SLOT_BALLOON 6u

#define RX 0u
#define TX 1u
#define EVENT 2u
#define PATIENCE 4000000u /* register reads */
#define BALLOON_PAGE_GPA 0x1c0000u
#define BALLOON_PAGES 8u
#define NET_HEADER_BYTES 12u
#define PACKET_BYTES 44u
#define SECTOR_BYTES 512u

/* Every queue of every device has rings and a page of buffers of its own. */
static uint64_t area(uint32_t slot, uint32_t queue)
{
    return 0x100000u + (slot * 4 + queue) * 0x4000u;
}

static volatile uint8_t *bytes_at(uint64_t gpa)
{
    return (volatile uint8_t *)(uintptr_t)gpa;
}

static volatile uint16_t *halves_at(uint64_t gpa)
{
    return (volatile uint16_t *)(uintptr_t)gpa;
}

static uint64_t buffer(uint32_t slot, uint32_t queue)
{
    return area(slot, queue) + 0x3000u;
}

static void fill(uint64_t gpa, uint8_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        bytes_at(gpa)[i] = value;
}

static int is_filled(uint64_t gpa, uint8_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (bytes_at(gpa)[i] != value)
            return 0;
    }
    return 1;
}

/* ---- A driver ---- */

static int start_device(uint32_t slot, uint32_t queues)
{
    *reg(slot, REG_STATUS) = 0;
    *reg(slot, REG_STATUS) = 3;
    *reg(slot, REG_DRIVER_FEATURES_SEL) = 1;
    *reg(slot, REG_DRIVER_FEATURES) = 1; /* VERSION_1 and nothing else */
    *reg(slot, REG_STATUS) = STATUS_READY_FOR_QUEUES;
    for (uint32_t queue = 0; queue < queues; queue++) {
        uint64_t at = area(slot, queue);

        *reg(slot, REG_QUEUE_SEL) = queue;
        *reg(slot, REG_QUEUE_NUM) = QUEUE_NUM;
        reg_set64(slot, REG_QUEUE_DESC, at);
        reg_set64(slot, REG_QUEUE_DRIVER, at + 0x1000);
        reg_set64(slot, REG_QUEUE_DEVICE, at + 0x2000);
        *reg(slot, REG_QUEUE_READY) = 1;
    }
    *reg(slot, REG_STATUS) = STATUS_READY_FOR_QUEUES | STATUS_DRIVER_OK;
    return *reg(slot, REG_STATUS) == (STATUS_READY_FOR_QUEUES | STATUS_DRIVER_OK);
}

static void set_desc(uint32_t slot, uint32_t queue, uint32_t index, uint64_t gpa, uint32_t bytes,
                     uint16_t flags)
{
    volatile struct desc *desc = (volatile struct desc *)(uintptr_t)area(slot, queue) + index;

    desc->gpa = gpa;
    desc->bytes = bytes;
    desc->flags = flags;
    desc->next = (uint16_t)(index + 1);
}

/* Adds the chain that begins at `head` to those that are available. */
static void add(uint32_t slot, uint32_t queue, uint16_t head)
{
    volatile uint16_t *avail = halves_at(area(slot, queue) + 0x1000);

    avail[2 + avail[1] % QUEUE_NUM] = head;
    avail[1]++;
}

static void notify(uint32_t slot, uint32_t queue)
{
    *reg(slot, REG_QUEUE_NOTIFY) = queue;
}

/* Waits until all that was made available is used. */
static int all_used(uint32_t slot, uint32_t queue)
{
    volatile uint16_t *avail = halves_at(area(slot, queue) + 0x1000);
    volatile uint16_t *used = halves_at(area(slot, queue) + 0x2000);

    for (uint32_t i = 0; i < PATIENCE && used[1] != avail[1]; i++)
        (void)*reg(slot, REG_STATUS);
    return used[1] == avail[1];
}

/* ---- The devices: what is asked before a PARK, and what must have come of it ---- */

static void rng_ask(uint8_t round)
{
    (void)round;
    fill(buffer(SLOT_RNG, 0), 0, 64);
    set_desc(SLOT_RNG, 0, 0, buffer(SLOT_RNG, 0), 64, DESC_F_WRITE);
    add(SLOT_RNG, 0, 0);
    notify(SLOT_RNG, 0);
}

static int rng_check(uint8_t round)
{
    (void)round;
    return all_used(SLOT_RNG, 0) && !is_filled(buffer(SLOT_RNG, 0), 0, 64);
}

/* A request of one sector in descriptors 3 * index and on. */
static void disk_request(uint32_t index, uint32_t type, uint64_t sector)
{
    uint64_t at = buffer(SLOT_DISK, 0) + index * 0x400u;
    volatile uint32_t *header = (volatile uint32_t *)(uintptr_t)(at + 0x200);

    header[0] = type;
    header[1] = 0;
    header[2] = (uint32_t)sector;
    header[3] = 0;
    bytes_at(at + 0x210)[0] = 0xee;
    set_desc(SLOT_DISK, 0, 3 * index, at + 0x200, 16, DESC_F_NEXT);
    set_desc(SLOT_DISK, 0, 3 * index + 1, at, SECTOR_BYTES,
             DESC_F_NEXT | (type == 0 ? DESC_F_WRITE : 0));
    set_desc(SLOT_DISK, 0, 3 * index + 2, at + 0x210, 1, DESC_F_WRITE);
    add(SLOT_DISK, 0, (uint16_t)(3 * index));
}

/* Two writes at once: by its limit the device can't do the second one before the PARK. */
static void disk_ask(uint8_t round)
{
    for (uint32_t i = 0; i < 2; i++) {
        fill(buffer(SLOT_DISK, 0) + i * 0x400u, i ? (uint8_t)~round : round, SECTOR_BYTES);
        disk_request(i, 1, DEVICES_SECTOR(round) + i);
    }
    notify(SLOT_DISK, 0);
}

static int disk_statuses(void)
{
    return all_used(SLOT_DISK, 0) && bytes_at(buffer(SLOT_DISK, 0) + 0x210)[0] == 0 &&
           bytes_at(buffer(SLOT_DISK, 0) + 0x610)[0] == 0;
}

static int disk_check(uint8_t round)
{
    if (!disk_statuses())
        return 0;
    for (uint32_t i = 0; i < 2; i++) {
        fill(buffer(SLOT_DISK, 0) + i * 0x400u, 0x55, SECTOR_BYTES);
        disk_request(i, 0, DEVICES_SECTOR(round) + i);
    }
    notify(SLOT_DISK, 0);
    return disk_statuses() && is_filled(buffer(SLOT_DISK, 0), round, SECTOR_BYTES) &&
           is_filled(buffer(SLOT_DISK, 0) + 0x400u, (uint8_t)~round, SECTOR_BYTES);
}

/* A frame goes out, and a buffer waits for one that comes after the WAKE. */
static void net_ask(uint8_t round)
{
    uint64_t out = buffer(SLOT_NET, TX), in = buffer(SLOT_NET, RX);

    fill(out, 0, NET_HEADER_BYTES);
    fill(out + NET_HEADER_BYTES, (uint8_t)~round, DEVICES_FRAME_BYTES);
    bytes_at(out + NET_HEADER_BYTES)[0] = round;
    set_desc(SLOT_NET, TX, 0, out, NET_HEADER_BYTES + DEVICES_FRAME_BYTES, 0);
    add(SLOT_NET, TX, 0);
    notify(SLOT_NET, TX);
    fill(in, 0x55, 128);
    set_desc(SLOT_NET, RX, 0, in, 0x1000, DESC_F_WRITE);
    add(SLOT_NET, RX, 0);
    notify(SLOT_NET, RX);
}

static int net_check(uint8_t round)
{
    uint64_t in = buffer(SLOT_NET, RX) + NET_HEADER_BYTES;

    return all_used(SLOT_NET, TX) && all_used(SLOT_NET, RX) && bytes_at(in)[0] == round &&
           is_filled(in + 1, (uint8_t)~round, DEVICES_FRAME_BYTES - 1);
}

/* A connection is asked for to a port that nobody listens on: refused by a packet. */
static void vsock_ask(uint8_t round)
{
    uint64_t out = buffer(SLOT_VSOCK, TX), in = buffer(SLOT_VSOCK, RX);
    volatile uint32_t *packet = (volatile uint32_t *)(uintptr_t)out;

    fill(out, 0, PACKET_BYTES);
    packet[0] = 3; /* from CID, to CID, from port, to port */
    packet[2] = 2;
    packet[4] = 1000u + round;
    packet[5] = 9999;
    packet[7] = 0x00010001; /* a stream's REQUEST */
    packet[9] = 65536;      /* credit */
    fill(in, 0, PACKET_BYTES);
    set_desc(SLOT_VSOCK, RX, 0, in, 0x800, DESC_F_WRITE);
    add(SLOT_VSOCK, RX, 0);
    notify(SLOT_VSOCK, RX);
    set_desc(SLOT_VSOCK, TX, 0, out, PACKET_BYTES, 0);
    add(SLOT_VSOCK, TX, 0);
    notify(SLOT_VSOCK, TX);
}

static int vsock_check(uint8_t round)
{
    volatile uint32_t *packet = (volatile uint32_t *)(uintptr_t)buffer(SLOT_VSOCK, RX);

    return all_used(SLOT_VSOCK, RX) && packet[4] == 9999 && packet[5] == 1000u + round &&
           packet[7] == 0x00030001; /* RST */
}

/* Pages with something in them are given back: then they are empty. */
static void balloon_ask(uint8_t round)
{
    volatile uint32_t *pfn = (volatile uint32_t *)(uintptr_t)buffer(SLOT_BALLOON, 0);

    fill(BALLOON_PAGE_GPA, round, BALLOON_PAGES * 4096);
    for (uint32_t i = 0; i < BALLOON_PAGES; i++)
        pfn[i] = BALLOON_PAGE_GPA / 4096 + i;
    set_desc(SLOT_BALLOON, 0, 0, buffer(SLOT_BALLOON, 0), BALLOON_PAGES * 4, 0);
    add(SLOT_BALLOON, 0, 0);
    notify(SLOT_BALLOON, 0);
}

static int balloon_check(uint8_t round)
{
    (void)round;
    return all_used(SLOT_BALLOON, 0) && is_filled(BALLOON_PAGE_GPA, 0, BALLOON_PAGES * 4096);
}

static const struct {
    uint32_t slot, queues, failed;
    void (*ask)(uint8_t round);
    int (*check)(uint8_t round);
} devices[] = {
    { SLOT_RNG, 1, DEVICES_FAILED_RNG, rng_ask, rng_check },
    { SLOT_DISK, 1, DEVICES_FAILED_DISK, disk_ask, disk_check },
    { SLOT_NET, 2, DEVICES_FAILED_NET, net_ask, net_check },
    { SLOT_VSOCK, 3, DEVICES_FAILED_VSOCK, vsock_ask, vsock_check },
    { SLOT_BALLOON, 2, DEVICES_FAILED_BALLOON, balloon_ask, balloon_check },
};

#define DEVICE_COUNT (sizeof devices / sizeof devices[0])

GUEST_MAIN
{
    uint32_t failed = 0;

    for (uint32_t i = 0; i < DEVICE_COUNT; i++)
        failed |= start_device(devices[i].slot, devices[i].queues) ? 0 : DEVICES_FAILED_START;
    for (uint8_t round = 1;; round++) {
        for (uint32_t i = 0; i < DEVICE_COUNT; i++)
            devices[i].ask(round);
        park_and_answer(0);
        for (uint32_t i = 0; i < DEVICE_COUNT; i++)
            failed |= devices[i].check(round) ? 0 : devices[i].failed;
        mailbox()->ready_status = failed;
        outl(DOORBELL_PORT_READY, failed);
    }
}
