/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a clone's making, from the fork to its shell: everything on the way of a cold restore, so
 * nothing here opens, parses or hashes a file, and the two threads share it: KVM's part, the
 * longest, on vCPU 0's thread, the devices and their thread's filter on the other. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "volt-vmm/program.h"
#include "volt-vmm/server.h"

/* fds of a CLONE by name; -1 where there is none. */
struct clone_fds {
    int control, bell, vsock_dir, cgroup, disk, tap, vsock_listen, vhost;
};

static bool sort_fds(const struct control_msg *msg, const int *fds, unsigned fd_count,
                     struct clone_fds *ret)
{
    struct {
        uint32_t bit;
        int *fd;
    } extra[] = {
        { CONTROL_CLONE_FD_VSOCK_DIR, &ret->vsock_dir },
        { CONTROL_CLONE_FD_CGROUP, &ret->cgroup },
        { CONTROL_CLONE_FD_DISK, &ret->disk },
        { CONTROL_CLONE_FD_TAP, &ret->tap },
        { CONTROL_CLONE_FD_VSOCK_LISTEN, &ret->vsock_listen },
        { CONTROL_CLONE_FD_VHOST, &ret->vhost },
    };
    unsigned at = 2;

    *ret = (struct clone_fds){ -1, -1, -1, -1, -1, -1, -1, -1 };
    if (fd_count < 2)
        return false;
    ret->control = fds[0];
    ret->bell = fds[1];
    for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
        if (!(msg->u.clone.extra_fds & extra[i].bit))
            continue;
        if (at == fd_count)
            return false;
        *extra[i].fd = fds[at++];
    }
    return at == fd_count;
}

/* What the device thread makes the machine's devices of. */
struct furniture {
    const struct clone_source *source;
    struct machine_config config;
};

static int furnish(struct machine *machine, void *context, struct err *err)
{
    struct furniture *furniture = context;
    int rc = machine_add_devices(machine, &furniture->config, err);

    return rc == 0 ? machine_load_devices(machine, furniture->source->image, err) : rc;
}

static int configure(const struct clone_source *source, const struct control_msg *msg,
                     struct clone_fds *fds, struct machine_config *ret_config, struct err *err)
{
    *ret_config = MACHINE_CONFIG_INIT;
    disk_source_configure(source->disk, &fds->disk, ret_config);
    ret_config->vm.vcpu_count = source->image->vm.vcpu_count;
    ret_config->vm.pit = source->has_pit;
    ret_config->vsock_dir_fd = take_fd(&fds->vsock_dir);
    ret_config->vsock_listen_fd = take_fd(&fds->vsock_listen);
    ret_config->has_balloon = source->has_balloon;
    if (!source->has_net)
        return 0;
    return net_source_configure(&source->net, &fds->tap, &fds->vhost, msg->u.clone.mac, ret_config,
                                err);
}

/* Confines the process and lays out what both of its threads work on. */
static int begin(const struct clone_source *source, const struct control_msg *msg,
                 struct clone_fds *fds, struct sandbox_status *status, struct machine *machine,
                 struct machine_config *ret_config, struct err *err)
{
    struct sandbox_vm jail = { .uid = msg->u.clone.uid,
                               .gid = msg->u.clone.gid,
                               .cgroup_fds = { fds->cgroup },
                               .cgroup_count = fds->cgroup >= 0,
                               .socket_dir_fd = fds->vsock_dir,
                               .file_bytes =
                                   fds->disk >= 0 ? disk_source_file_bytes(source->disk) : 0 };
    /* It may be asked for snapshots. */
    const uint64_t snapshot_bytes = source->options->api_socket ? GUEST_RAM_BYTES_MAX : 0;
    struct guest_mem mem;
    int rc;

    jail.file_bytes = MAX_OF(jail.file_bytes, snapshot_bytes);
    rc = sandbox_enter_vm(&source->options->sandbox, &jail, status, err);
    if (rc == 0)
        rc = guest_mem_init(&mem, source->memory_bytes, err);
    if (rc == 0)
        rc = guest_mem_map_private(&mem, source->memory_fd, err);
    if (rc == 0)
        rc = configure(source, msg, fds, ret_config, err);
    return rc == 0 ? vm_init(&machine->vm, source->kvm, &mem, &ret_config->vm, err) : rc;
}

static int make(struct vm *vm, const struct vm_state *state, struct err *err)
{
    int rc = vm_make(vm, err);

    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++)
        rc = vm_set_cpuid(vm, i, state->vcpu[i].cpuid, state->vcpu[i].cpuid_count, err);
    return rc;
}

/* The recorded working set, mapped in a few calls while nobody waits: fewer faults on the way to
 * the answer and to READY. */
static void map_working_set(struct vm *vm, const void *context)
{
    const struct working_set *set = context;

    if (set->range_count == 0)
        return;
    guest_mem_read_ahead(&vm->mem);
    working_set_populate(set, vm->mem.hva);
}

int clone_main(const struct clone_source *source, const struct control_msg *msg, int *fds,
               unsigned fd_count, uint64_t start_ns)
{
    static struct machine machine; /* large, and lives as long as the process */
    static struct furniture furniture;
    struct sandbox_status status = *source->status;
    struct clone_fds named;
    struct err err = { 0 };

    if (!sort_fds(msg, fds, fd_count, &named))
        return EXIT_SOFTWARE;
    program_speaks_on(named.control);
    furniture.source = source;
    int rc = begin(source, msg, &named, &status, &machine, &furniture.config, &err);
    close_fd(&named.cgroup);
    if (rc == 0) {
        machine.vm.created_ns = start_ns;
        machine.vm.restore_from = &source->image->vm;
        machine.vm.shell_idle = map_working_set;
        machine.vm.shell_idle_context = source->working_set;
        rc = vm_serve_start(&machine, named.control, named.bell, source->options, &status, furnish,
                            &furniture, &err);
    }
    if (rc < 0) { /* before there is a server */
        program_report_failure(&err);
        return EXIT_SOFTWARE;
    }
    rc = make(&machine.vm, &source->image->vm, &err);
    /* The VM is made and its memory mapped: a guest that takes this over finds neither. */
    close(source->kvm->fd);
    close(source->memory_fd);
    vm_serve_run(&machine, rc, &err);
}
