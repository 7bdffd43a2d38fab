/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a clone's making; see clone_vm.h.
 *
 * Everything here is on the way of a cold restore, so two threads share it. In a template's fork
 * nothing opens, parses or hashes a file: KVM's part, the longest, is made by vCPU 0's thread, the
 * devices and their thread's filter by the other. In a process of its own, the snapshot is opened and
 * KVM's part made beside the sandbox instead, which takes as long, as no template has entered it
 * before.
 */
#include "volt-vmm/clone_vm.h"

#include <string.h>

#include "base/util.h"
#include "volt-vmm/program.h"

#define RESTORE_FDS 5u /* of struct control_clone_fds, that a VM without a template can have */

/* What a clone is being made of, on both threads: lives as long as the VM. */
struct making {
    struct clone_source *source;
    struct options *options; /* without a template: to open the source by */
    const struct control_msg *msg;
    struct control_clone_fds *fds;
    uint64_t start_ns;
    struct machine_config config;
    bool decode; /* the devices' state still has to be */
};

/* ---- The device thread ---- */

static int furnish(void *context, struct machine *machine, struct err *err)
{
    struct making *making = context;
    struct clone_source *source = making->source;
    int rc = machine_add_devices(machine, &making->config, err);

    if (rc == 0 && making->decode)
        rc = machine_image_decode(machine, &source->snapshot.state, &source->image, err);
    return rc == 0 ? machine_load_devices(machine, &source->image, err) : rc;
}

/* ---- vCPU 0's thread ---- */

/* The recorded working set, mapped in a few calls while nobody waits: fewer faults on the way to
 * the answer and to READY. */
static void map_working_set(void *context, struct vm *vm)
{
    const struct making *making = context;
    const struct working_set *set = &making->source->snapshot.working_set;

    if (set->range_count == 0)
        return;
    guest_mem_read_ahead(&vm->mem);
    working_set_populate(set, vm->mem.hva);
}

static int confine(const struct making *making, struct err *err)
{
    struct clone_source *source = making->source;
    struct sandbox_vm jail = {
        .uid = making->msg->u.clone.uid,
        .gid = making->msg->u.clone.gid,
        .socket_dir_fd = making->fds->vsock_dir,
        .file_bytes = MAX_OF(disk_source_file_bytes(&source->disk),
                             source->may_snapshot ? MAX_OF(source->snapshot.manifest.memory_bytes,
                                                           STATE_FILE_BYTES_MAX)
                                                  : 0),
    };

    /* How large its volumes will be, nobody knows yet. */
    if (source->extras.volumes)
        jail.file_bytes = MAX_OF(jail.file_bytes, CONTROL_VOLUME_BYTES_MAX);

    source->process.status = source->status;
    return sandbox_enter_vm(&source->sandbox, &jail, &source->process.status, err);
}

static int configure(struct making *making, struct err *err)
{
    const struct clone_source *source = making->source;
    struct control_clone_fds *fds = making->fds;
    struct machine_config *config = &making->config;

    *config = MACHINE_CONFIG_INIT;
    disk_source_configure(&source->disk, &fds->disk, config);
    config->vm.vcpu_count = source->image.vm.vcpu_count;
    config->vm.pit = source->image.vm.has_pit;
    /* Without a root of its own it has no use for the directory, nor any business with one. */
    if (source->process.status.rooted)
        config->vsock_dir_fd = take_fd(&fds->vsock_dir);
    close_fd(&fds->vsock_dir);
    config->vsock_listen_fd = take_fd(&fds->vsock_listen);
    config->has_balloon = source->extras.balloon;
    config->volumes = source->extras.volumes;
    if (!source->extras.net)
        return 0;
    return net_source_configure(&source->net, &fds->tap, &fds->vhost, making->msg->u.clone.mac,
                                config, err);
}

/* Lays out what both threads work on. */
static int lay_out(struct making *making, struct err *err)
{
    struct clone_source *source = making->source;
    struct vm *vm = &source->process.machine.vm;
    struct guest_mem mem;
    int rc = guest_mem_init(&mem, source->snapshot.manifest.memory_bytes, err);

    if (rc == 0)
        rc = guest_mem_map_private(&mem, source->snapshot.memory.fd, err);
    if (rc == 0)
        rc = configure(making, err);
    if (rc == 0)
        rc = vm_init(vm, &source->kvm, &mem, &making->config.vm, err);
    if (rc < 0)
        return rc;
    vm->created_ns = making->start_ns;
    vm->restore_from = &source->image.vm;
    return 0;
}

static int make(struct making *making, struct err *err)
{
    struct clone_source *source = making->source;
    int rc = vm_make(&source->process.machine.vm, err);

    return rc == 0 ? machine_set_cpuid(&source->process.machine, &source->image, err) : rc;
}

/* The VM is made and its memory mapped: a guest that takes this over finds neither. */
static void let_go(struct clone_source *source)
{
    kvm_host_close(&source->kvm);
    close_fd(&source->snapshot.memory.fd);
}

static int start(struct making *making, struct err *err)
{
    const struct vm_process_config config = { .control_fd = making->fds->control,
                                              .bell_fd = making->fds->bell,
                                              .sandbox = making->source->sandbox,
                                              .furnish = furnish,
                                              .idle = map_working_set,
                                              .context = making };

    return vm_process_start(&making->source->process, &config, err);
}

int clone_vm_main(struct clone_source *source, const struct control_msg *msg,
                  struct control_clone_fds *fds, uint64_t start_ns, struct err *err)
{
    struct making making = { .source = source, .msg = msg, .fds = fds, .start_ns = start_ns };

    program_speaks_on(fds->control);
    int rc = confine(&making, err);
    if (rc == 0)
        rc = lay_out(&making, err);
    if (rc == 0)
        rc = start(&making, err);
    if (rc < 0)
        return EXIT_SOFTWARE;
    rc = make(&making, err);
    let_go(source);
    vm_process_run(&source->process, rc, err);
}

/* ---- Without a template ---- */

/* Beside the sandbox, and beside the check of the memory, which is over before anything runs. The
 * thread that goes into the sandbox leaves this one's root and rights as they are, which end with
 * it. */
static int open_and_make(void *context, struct err *err)
{
    struct making *making = context;
    struct clone_source *source = making->source;
    int rc = clone_source_open(source, making->options, err);

    if (rc == 0)
        rc = snapshot_check_begin(&source->snapshot, err);
    if (rc == 0)
        rc = clone_source_decode_vm(source, err);
    if (rc == 0)
        rc = lay_out(making, err);
    if (rc == 0)
        rc = make(making, err);
    if (rc == 0)
        rc = snapshot_check(&source->snapshot, err);
    let_go(source);
    return rc;
}

int clone_vm_restore(struct clone_source *source, struct options *options,
                     const struct control_msg *msg, struct control_clone_fds *fds,
                     uint64_t start_ns, struct err *err)
{
    struct making making = { .source = source,
                             .options = options,
                             .msg = msg,
                             .fds = fds,
                             .start_ns = start_ns,
                             .decode = true };
    int keep[RESTORE_FDS + CLONE_SOURCE_FDS_MAX] = { fds->control, fds->bell, fds->disk, fds->tap,
                                                     fds->vhost };
    unsigned keep_count = RESTORE_FDS + clone_source_given(options, keep + RESTORE_FDS);

    int rc =
        sandbox_enter(&source->sandbox, SANDBOX_KEEP_ID, keep, keep_count,
                      &(struct sandbox_meanwhile){ open_and_make, &making }, &source->status, err);
    if (rc == 0)
        rc = confine(&making, err);
    if (rc == 0)
        rc = start(&making, err);
    if (rc < 0)
        return EXIT_SOFTWARE;
    vm_process_run(&source->process, 0, err);
}
