/* SPDX-License-Identifier: Apache-2.0 */
/* The one machine that volt-vmm builds: a struct vm with Volt's devices in their fixed order. */
#ifndef VOLT_VMM_MACHINE_H
#define VOLT_VMM_MACHINE_H

#include "base/err.h"
#include "devices/uart.h"
#include "machine/vm.h"
#include "snapshot/sections.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/net.h"
#include "virtio/vsock.h"

/* virtio-mmio slots; part of the snapshot format, as the guest's kernel knows them by address. */
enum machine_slot {
    MACHINE_SLOT_VSOCK,
    MACHINE_SLOT_RNG,
    MACHINE_SLOT_DISK,    /* only of a machine with a disk */
    MACHINE_SLOT_NET = 5, /* only of a machine with a network; GSIs 8 and 9, which guests' kernels
                             may expect clock and ACPI on, are left out */
    MACHINE_SLOT_BALLOON, /* only of a machine with a balloon */
    MACHINE_SLOT_VOLUME0, /* the volumes' are not in one piece: GSI 13 is left out, too */
    MACHINE_SLOT_VOLUME1 = 9,
    MACHINE_SLOT_VOLUME2,
    MACHINE_SLOT_COUNT,
};

struct machine {
    struct vm vm;
    struct uart *uart; /* these belong to vm.device[] */
    struct vsock *vsock;
    struct balloon *balloon;                    /* NULL: it has none */
    struct device *volume[CONTROL_VOLUMES_MAX]; /* NULL: it has no such slot */
};

/* What the machine has that not every machine has, beside its disk. */
struct machine_extras {
    bool net, balloon;
    uint32_t volumes; /* slots for volumes, at most CONTROL_VOLUMES_MAX */
};

struct machine_config {
    struct vm_config vm;
    int vsock_dir_fd;    /* transferred; -1: none (vsock.h) */
    int vsock_listen_fd; /* transferred; -1: none */
    int console_log_fd;  /* transferred; -1: none */
    bool has_disk;
    struct blk_config disk; /* if it has one; its fds are transferred */
    bool has_net, has_balloon;
    struct net_config net; /* if has_net; its back end is transferred */
    uint32_t volumes;      /* slots for them, which are empty at first */
};

#define MACHINE_CONFIG_INIT                                                                        \
    (struct machine_config)                                                                        \
    {                                                                                              \
        .vm = { .vcpu_count = 1 }, .vsock_dir_fd = -1, .vsock_listen_fd = -1, .console_log_fd = -1 \
    }

/* Adds the devices to machine->vm, which vm_init has set up. The thread that will be the device
 * thread, or before there is one. 0 or -errno: what was added stays the vm's. */
int machine_add_devices(struct machine *machine, struct machine_config *config, struct err *err);

/* Creates VM and devices over mem (moved; on failure it is freed or still the caller's, as mem
 * tells). 0 or -errno. */
int machine_create(struct machine *machine, const struct kvm_host *kvm, struct guest_mem *mem,
                   struct machine_config *config, struct err *err);

/* What a snapshot says of a machine, decoded and checked; KVM's part by vm_state_decode. */
struct machine_image {
    struct vm_state vm;
    void *device_state[VM_DEVICES_MAX]; /* owned; in the order of vm.device[] */
    uint32_t device_count;
};

/* Which of the devices that not every machine has the machine had that saved this state. */
void machine_image_devices(struct state_reader *reader, struct machine_extras *ret_extras);

/* Decodes the sections of the devices that `machine`, a machine of the same shape, would save, into
 * an image that has KVM's part; then every section must have been asked for. */
int machine_image_decode(struct machine *machine, struct state_reader *reader,
                         struct machine_image *image, struct err *err);
void machine_image_fini(struct machine_image *image);

/* Gives each vCPU the CPUID that it had. As vm_set_cpuid. */
int machine_set_cpuid(struct machine *machine, const struct machine_image *image, struct err *err);

/* Loads the devices' state; KVM's state is loaded by the first WAKE (vm.restore_from). */
int machine_load_devices(struct machine *machine, const struct machine_image *image,
                         struct err *err);

/* Saves a parked machine (run_lock held by the caller) into state_fd and memory_fd, two empty
 * files. Fills in msg->u.snapshot_done, also on failure. Device thread. */
void machine_snapshot(struct machine *machine, int state_fd, int memory_fd,
                      struct control_msg *msg);

#endif
