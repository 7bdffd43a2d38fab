/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon (virtio 1.2 section 5.5): the guest gives pages back to the host, on request
 * (inflate) or as it frees them (free page reporting). Pages given back read as zeroes or as the
 * snapshot has them, and take no memory of the host until the guest touches them. */
#ifndef VOLT_VIRTIO_BALLOON_H
#define VOLT_VIRTIO_BALLOON_H

#include "devices/device.h"

#define BALLOON_PAGE_BYTES 4096u

/* For Linux. Of its own accord it reports whole pageblocks (2 or 4 MiB), and only while 32 of them
 * are free above the low watermark (mm/page_reporting.c): of 128 MiB, that is never. So: from 64
 * KiB on. And it keeps up to an eighth of memory in each CPU's list of free pages, where nothing is
 * reported: a thousandth will do. */
#define BALLOON_CMDLINE                                                                            \
    "page_reporting.page_reporting_order=4 sysctl.vm.percpu_pagelist_high_fraction=1000"

struct balloon;

struct balloon_stats {
    uint32_t target_pages;   /* asked of the guest */
    uint32_t actual_pages;   /* what it says it has given */
    uint64_t released_bytes; /* given back to the host since creation, by either way */
    uint64_t refused_ranges; /* not RAM */
};

/* Makes the device in virtio-mmio slot `slot` (virtio_layout.h). Before vm_run. 0 or -errno with
 * a sentence. */
int balloon_create(struct vm *vm, unsigned slot, struct balloon **ret_balloon, struct err *err);

/* The device for the machine's array; its ops->destroy frees the balloon. */
struct device *balloon_device(struct balloon *balloon);

/* Asks the guest to give back so many pages in all; 0 lets it have all of its memory. Any thread.
 */
void balloon_set_target(struct balloon *balloon, uint32_t pages);

/* Any thread. */
void balloon_query_stats(struct balloon *balloon, struct balloon_stats *ret_stats);

#endif
