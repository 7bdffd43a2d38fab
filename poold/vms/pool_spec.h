/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool and its VMs are: asked for by a client or a declaration, kept in pools/NAME.json. */
#ifndef VOLT_POOLD_POOL_SPEC_H
#define VOLT_POOLD_POOL_SPEC_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/net_spec.h"
#include "pool/pool.h"
#include "snapshot/image/image_store.h"

#define CMDLINE_BYTES 1024
#define WARMUP_BYTES 1024

struct pool_spec {
    uint64_t memory_bytes;
    uint32_t vcpus;
    uint32_t priority;                /* pool.h */
    uint32_t cpu_weight, cpu_percent; /* of each VM's control group (cgroup.h); 0: not limited */
    char kernel[PATH_MAX], initrd[PATH_MAX];
    bool kernel_is_own, initrd_is_own; /* chosen by poold, not named by whoever made the pool */
    char cmdline[CMDLINE_BYTES];       /* added to volt-vmm's default */
    char warmup[WARMUP_BYTES];         /* "": none */
    /* A command that is started before the snapshot is taken and goes on in each VM; "": none. It is
     * there once it accepts connections at this TCP port of the guest's loopback. */
    char service[WARMUP_BYTES];
    uint32_t service_port; /* 0: none */
    bool service_gate;     /* instead: it asks for its calls, at the agent's gate (guest_abi.h) */
    bool service_bell;     /* instead: it waits for them at the function's bell, in user mode */
    /* Its disk: an image of the store, or a file or block device; "": none. */
    char image[IMAGE_NAME_BYTES], disk[PATH_MAX];
    bool disk_read_only;     /* of `disk`; an image's file system decides for itself */
    uint64_t disk_bandwidth; /* bytes a second for each VM; 0: no limit */
    uint32_t disk_iops;
    struct pool_net_spec net;
    bool balloon;
    uint32_t volumes; /* slots for volumes that leases are given (volumes.h) */
};

/* A pool as it is asked for: with its name and how many VMs it has. */
struct pool_body {
    char name[POOL_NAME_BYTES];
    struct pool_spec spec;
    uint32_t min, max, shells;
};

#endif
