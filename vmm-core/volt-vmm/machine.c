/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the putting together of a machine, and its whole state's way to and from sections. */
#include "volt-vmm/machine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "devices/i8042.h"
#include "snapshot/memory.h"
#include "snapshot/state_codec.h"
#include "snapshot/vm_codec.h"
#include "virtio/rng.h"

#define NET_SECTION "net0"
#define BALLOON_SECTION "balloon" /* balloon.h names it */

static int add_uart(struct machine *m, struct machine_config *config, struct err *err)
{
    int rc = uart_create(&m->vm, &m->uart, err);

    if (rc < 0)
        return rc;
    if (config->console_log_fd >= 0)
        uart_set_log(m->uart, take_fd(&config->console_log_fd));
    return vm_add_device(&m->vm, uart_device(m->uart), err);
}

static int add_i8042(struct machine *m, struct machine_config *config, struct err *err)
{
    struct device *dev;
    int rc = i8042_create(&m->vm, &dev, err);

    (void)config;
    return rc < 0 ? rc : vm_add_device(&m->vm, dev, err);
}

static int add_vsock(struct machine *m, struct machine_config *config, struct err *err)
{
    const struct vsock_config vsock = { .guest_cid = VSOCK_GUEST_CID_DEFAULT,
                                        .dir_fd = take_fd(&config->vsock_dir_fd),
                                        .listen_fd = take_fd(&config->vsock_listen_fd) };
    int rc = vsock_create(&m->vm, MACHINE_SLOT_VSOCK, &vsock, &m->vsock, err);

    return rc < 0 ? rc : vm_add_device(&m->vm, vsock_device(m->vsock), err);
}

static int add_rng(struct machine *m, struct machine_config *config, struct err *err)
{
    struct device *dev;
    int rc = rng_create(&m->vm, MACHINE_SLOT_RNG, &dev, err);

    (void)config;
    return rc < 0 ? rc : vm_add_device(&m->vm, dev, err);
}

static int add_disk(struct machine *m, struct machine_config *config, struct err *err)
{
    struct device *dev;

    if (!config->has_disk)
        return 0;
    config->has_disk = false; /* its fds are gone with the call */
    int rc = blk_create(&m->vm, MACHINE_SLOT_DISK, "disk0", &config->disk, &dev, err);
    return rc < 0 ? rc : vm_add_device(&m->vm, dev, err);
}

static int add_net(struct machine *m, struct machine_config *config, struct err *err)
{
    struct device *dev;

    if (!config->has_net)
        return 0;
    config->has_net = false; /* its back end is gone with the call */
    int rc = net_create(&m->vm, MACHINE_SLOT_NET, NET_SECTION, &config->net, &dev, err);
    return rc < 0 ? rc : vm_add_device(&m->vm, dev, err);
}

static int add_balloon(struct machine *m, struct machine_config *config, struct err *err)
{
    if (!config->has_balloon)
        return 0;
    int rc = balloon_create(&m->vm, MACHINE_SLOT_BALLOON, &m->balloon, err);
    return rc < 0 ? rc : vm_add_device(&m->vm, balloon_device(m->balloon), err);
}

static const struct {
    const char *section, *id;
    enum machine_slot slot;
} volume_slots[] = {
    { "volume0", "volt-volume0", MACHINE_SLOT_VOLUME0 },
    { "volume1", "volt-volume1", MACHINE_SLOT_VOLUME1 },
    { "volume2", "volt-volume2", MACHINE_SLOT_VOLUME2 },
};
static_assert(ARRAY_LEN(volume_slots) == CONTROL_VOLUMES_MAX, "a slot each");

static int add_volumes(struct machine *m, struct machine_config *config, struct err *err)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < config->volumes; i++) {
        struct blk_config blk = { .slot = true, .limit = config->disk.limit };

        snprintf(blk.id, sizeof blk.id, "%s", volume_slots[i].id);
        rc = blk_create(&m->vm, volume_slots[i].slot, volume_slots[i].section, &blk, &m->volume[i],
                        err);
        if (rc == 0)
            rc = vm_add_device(&m->vm, m->volume[i], err);
    }
    return rc;
}

/* The order of the device array, and so of save and load. */
static int (*const add_device[])(struct machine *, struct machine_config *, struct err *) = {
    add_uart, add_i8042, add_vsock, add_rng, add_disk, add_net, add_balloon, add_volumes,
};

int machine_add_devices(struct machine *machine, struct machine_config *config, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(add_device); i++)
        rc = add_device[i](machine, config, err);
    return rc;
}

int machine_create(struct machine *machine, const struct kvm_host *kvm, struct guest_mem *mem,
                   struct machine_config *config, struct err *err)
{
    int rc = vm_init(&machine->vm, kvm, mem, &config->vm, err);

    if (rc < 0)
        return rc;
    rc = vm_make(&machine->vm, err);
    if (rc == 0)
        rc = machine_add_devices(machine, config, err);
    if (rc < 0)
        vm_destroy(&machine->vm);
    return rc;
}

/* ---- State ---- */

void machine_image_devices(struct state_reader *reader, struct machine_extras *ret_extras)
{
    struct state_section section;
    uint32_t volumes = 0;

    while (volumes < ARRAY_LEN(volume_slots) &&
           state_reader_find(reader, volume_slots[volumes].section, &section, NULL) == 0)
        volumes++;
    *ret_extras = (struct machine_extras){
        .net = state_reader_find(reader, NET_SECTION, &section, NULL) == 0,
        .balloon = state_reader_find(reader, BALLOON_SECTION, &section, NULL) == 0,
        .volumes = volumes,
    };
}

int machine_image_decode(struct machine *machine, struct state_reader *reader,
                         struct machine_image *image, struct err *err)
{
    int rc = 0;

    image->device_count = machine->vm.device_count;
    for (uint32_t i = 0; rc == 0 && i < image->device_count; i++) {
        const struct device *dev = machine->vm.device[i];
        const struct state_desc *desc = dev->ops->desc;

        if (!desc)
            continue;
        image->device_state[i] = calloc(1, desc->struct_bytes);
        rc = image->device_state[i]
                 ? state_decode(reader, dev->name, desc, image->device_state[i], err)
                 : err_set_errno(err, ENOMEM, "device %s", dev->name);
    }
    return rc == 0 ? state_reader_check_used(reader, err) : rc;
}

void machine_image_fini(struct machine_image *image)
{
    for (uint32_t i = 0; i < image->device_count; i++)
        free_pointer(&image->device_state[i]);
    vm_state_fini(&image->vm);
}

int machine_set_cpuid(struct machine *machine, const struct machine_image *image, struct err *err)
{
    const struct vm_state *state = &image->vm;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++)
        rc = vm_set_cpuid(&machine->vm, i, state->vcpu[i].cpuid, state->vcpu[i].cpuid_count, err);
    return rc;
}

int machine_load_devices(struct machine *machine, const struct machine_image *image,
                         struct err *err)
{
    vm_irqs_hold(&machine->vm);
    for (uint32_t i = 0; i < image->device_count; i++) {
        struct device *dev = machine->vm.device[i];

        if (!image->device_state[i])
            continue;
        int rc = dev->ops->load(dev, image->device_state[i], err);
        if (rc < 0)
            return err_wrap(err, "loading device %s", dev->name);
    }
    return 0;
}

static int quiesce_devices(struct vm *vm, struct err *err)
{
    for (uint32_t i = 0; i < vm->device_count; i++) {
        struct device *dev = vm->device[i];
        int rc = dev->ops->quiesce ? dev->ops->quiesce(dev, err) : 0;

        if (rc < 0)
            return err_wrap(err, "quiescing device %s", dev->name);
    }
    return 0;
}

static void resume_devices(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->device_count; i++) {
        struct device *dev = vm->device[i];

        if (dev->ops->resume)
            dev->ops->resume(dev);
    }
}

static int encode_device(struct state_builder *builder, struct device *dev, struct err *err)
{
    const struct state_desc *desc = dev->ops->desc;

    if (!desc)
        return 0;
    _cleanup_free_ void *state = calloc(1, desc->struct_bytes);
    if (!state)
        return err_set_errno(err, ENOMEM, "saving device %s", dev->name);
    dev->ops->save(dev, state);
    return state_encode(builder, dev->name, desc, state);
}

/* Devices first: interrupts that they raise on quiescing are then part of KVM's state. */
static int write_state(struct vm *vm, int state_fd, uint64_t *ret_bytes, struct err *err)
{
    struct state_builder builder;
    struct vm_state state;
    int rc = 0;

    state_builder_init(&builder);
    for (uint32_t i = 0; rc == 0 && i < vm->device_count; i++)
        rc = encode_device(&builder, vm->device[i], err);
    if (rc == 0)
        rc = vm_state_save(vm, &state, err);
    if (rc == 0) {
        vm_state_encode(&builder, &state);
        vm_state_fini(&state);
        rc = state_builder_write(&builder, state_fd, ret_bytes, err);
    }
    state_builder_fini(&builder);
    return rc;
}

void machine_snapshot(struct machine *machine, int state_fd, int memory_fd, struct control_msg *msg)
{
    struct vm *vm = &machine->vm;
    struct snapshot_memory_stats stats = { 0 };
    struct err err = { 0 };
    uint64_t start = now_ns();
    uint64_t state_bytes = 0;

    int rc = quiesce_devices(vm, &err);
    if (rc == 0)
        rc = write_state(vm, state_fd, &state_bytes, &err);
    if (rc == 0)
        rc = snapshot_memory_write(&vm->mem, memory_fd, &stats, &err);
    resume_devices(vm);
    msg->u.snapshot_done.error = -rc;
    msg->u.snapshot_done.reserved = 0;
    msg->u.snapshot_done.stopped_ns = now_ns() - start;
    msg->u.snapshot_done.memory_data_bytes = stats.data_bytes;
    msg->u.snapshot_done.state_bytes = state_bytes;
    snprintf(msg->u.snapshot_done.detail, sizeof msg->u.snapshot_done.detail, "%s",
             rc < 0 ? err.msg : "");
}
