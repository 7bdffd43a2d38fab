/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a clone's making, from the fork to its shell: everything on the way of a cold restore, so
 * nothing here opens, parses or hashes a file, and the two threads share it: KVM's part, the
 * longest, on vCPU 0's thread, the devices and their thread's filter on the other. */
#include "volt-vmm/clone_vm.h"

#include <string.h>

#include "base/util.h"
#include "volt-vmm/program.h"

/* What the device thread makes the machine's devices of. */
struct making {
    const struct clone_source *source;
    struct machine_config config;
};

static int furnish(void *context, struct machine *machine, struct err *err)
{
    struct making *making = context;
    int rc = machine_add_devices(machine, &making->config, err);

    return rc == 0 ? machine_load_devices(machine, &making->source->image, err) : rc;
}

/* The recorded working set, mapped in a few calls while nobody waits: fewer faults on the way to
 * the answer and to READY. */
static void map_working_set(void *context, struct vm *vm)
{
    const struct making *making = context;
    const struct working_set *set = &making->source->working_set;

    if (set->range_count == 0)
        return;
    guest_mem_read_ahead(&vm->mem);
    working_set_populate(set, vm->mem.hva);
}

static int configure(const struct clone_source *source, const struct control_msg *msg,
                     struct control_clone_fds *fds, struct machine_config *ret_config,
                     struct err *err)
{
    *ret_config = MACHINE_CONFIG_INIT;
    disk_source_configure(&source->disk, &fds->disk, ret_config);
    ret_config->vm.vcpu_count = source->image.vm.vcpu_count;
    ret_config->vm.pit = source->image.vm.has_pit;
    ret_config->vsock_dir_fd = take_fd(&fds->vsock_dir);
    ret_config->vsock_listen_fd = take_fd(&fds->vsock_listen);
    ret_config->has_balloon = source->has_balloon;
    if (!source->has_net)
        return 0;
    return net_source_configure(&source->net, &fds->tap, &fds->vhost, msg->u.clone.mac, ret_config,
                                err);
}

static int confine(const struct clone_source *source, const struct control_msg *msg,
                   const struct control_clone_fds *fds, struct sandbox_status *status,
                   struct err *err)
{
    const struct sandbox_vm jail = {
        .uid = msg->u.clone.uid,
        .gid = msg->u.clone.gid,
        .socket_dir_fd = fds->vsock_dir,
        .file_bytes = MAX_OF(fds->disk >= 0 ? disk_source_file_bytes(&source->disk) : 0,
                             source->may_snapshot ? GUEST_RAM_BYTES_MAX : 0),
    };

    *status = source->status;
    return sandbox_enter_vm(&source->sandbox, &jail, status, err);
}

/* Confines the process and lays out what both of its threads work on. */
static int begin(struct clone_source *source, const struct control_msg *msg,
                 struct control_clone_fds *fds, struct machine_config *ret_config, struct err *err)
{
    struct vm_process *process = &source->process;
    struct guest_mem mem;
    int rc = confine(source, msg, fds, &process->status, err);

    if (rc == 0)
        rc = guest_mem_init(&mem, source->memory_bytes, err);
    if (rc == 0)
        rc = guest_mem_map_private(&mem, source->memory_fd, err);
    if (rc == 0)
        rc = configure(source, msg, fds, ret_config, err);
    if (rc == 0)
        rc = vm_init(&process->machine.vm, &source->kvm, &mem, &ret_config->vm, err);
    return rc;
}

static int make(struct vm *vm, const struct vm_state *state, struct err *err)
{
    int rc = vm_make(vm, err);

    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++)
        rc = vm_set_cpuid(vm, i, state->vcpu[i].cpuid, state->vcpu[i].cpuid_count, err);
    return rc;
}

int clone_vm_main(struct clone_source *source, const struct control_msg *msg,
                  struct control_clone_fds *fds, uint64_t start_ns)
{
    struct vm_process *process = &source->process;
    struct making making = { .source = source }; /* lives as long as the VM: this never returns */
    struct err err = { 0 };

    program_speaks_on(fds->control);
    int rc = begin(source, msg, fds, &making.config, &err);

    if (rc == 0) {
        const struct vm_process_config config = { .control_fd = fds->control,
                                                  .bell_fd = fds->bell,
                                                  .sandbox = source->sandbox,
                                                  .furnish = furnish,
                                                  .idle = map_working_set,
                                                  .context = &making };

        process->machine.vm.created_ns = start_ns;
        process->machine.vm.restore_from = &source->image.vm;
        rc = vm_process_start(process, &config, &err);
    }
    if (rc < 0) { /* before there is a server */
        program_report_failure(&err);
        return EXIT_SOFTWARE;
    }
    rc = make(&process->machine.vm, &source->image.vm, &err);
    /* The VM is made and its memory mapped: a guest that takes this over finds neither. */
    kvm_host_close(&source->kvm);
    close_fd(&source->memory_fd);
    vm_process_run(process, rc, &err);
}
