/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the opening of a snapshot for clones; see clone_source.h. */
#include "volt-vmm/clone_source.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "boot/cpuid.h"
#include "control/control.h"
#include "snapshot/opened.h"

#define KEEP_FDS_MAX 8u

/* Whether this host can give every vCPU the features that the guest has seen. On a software-only
 * KVM guest user mode sees the host's own CPU, whatever KVM was told: there the manifest's vendor
 * and kind of KVM, which snapshot_open has compared, are all that can be checked. */
static int check_cpus(const struct kvm_host *kvm, const struct vm_state *state, struct err *err)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[VM_CPUID_MAX];
    } supported, saved;
    int rc = 0;

    if (kvm->software_only)
        return 0;
    rc = kvm_host_cpuid(kvm, &supported.head, err);
    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++) {
        saved.head.nent = MIN_OF(state->vcpu[i].cpuid_count, VM_CPUID_MAX);
        memcpy(saved.entry, state->vcpu[i].cpuid, saved.head.nent * sizeof saved.entry[0]);
        rc = cpuid_check_restorable(&saved.head, &supported.head, err);
    }
    return rc;
}

/* A machine of the snapshot's shape over its memory, which never runs. */
static int make_scratch(struct clone_source *source, struct snapshot_opened *snapshot,
                        struct machine *ret_scratch, struct err *err)
{
    struct machine_config config = MACHINE_CONFIG_INIT;
    struct guest_mem mem;

    config.vm.vcpu_count = snapshot->manifest.vcpus;
    disk_source_configure(&source->disk, NULL, &config);
    machine_image_devices(&snapshot->state, &source->has_net, &source->has_balloon);
    config.has_balloon = source->has_balloon;
    int rc = guest_mem_init(&mem, snapshot->manifest.memory_bytes, err);
    if (rc == 0)
        rc = guest_mem_map_private(&mem, snapshot->memory_fd, err);
    if (rc == 0 && source->has_net)
        rc = net_source_configure(&source->net, &(int){ -1 }, &(int){ -1 }, NULL, &config, err);
    if (rc < 0)
        return rc;
    rc = machine_create(ret_scratch, &source->kvm, &mem, &config, err);
    if (rc < 0)
        guest_mem_fini(&mem);
    return rc;
}

/* The scratch machine gives the device tables to decode with, tries the loading, and shows which
 * MSRs a new vCPU has anyway. */
static int decode_image(struct clone_source *source, struct snapshot_opened *snapshot,
                        struct err *err)
{
    static struct machine scratch; /* large */
    struct vm_state *state = &source->image.vm;
    int rc = make_scratch(source, snapshot, &scratch, err);

    if (rc < 0)
        return rc;
    rc = machine_image_decode(&scratch, &snapshot->state, &source->image, err);
    if (rc == 0)
        rc = state_reader_check_used(&snapshot->state, err);
    if (rc == 0 && state->vcpu_count != snapshot->manifest.vcpus)
        rc = err_set(err, EINVAL, "state: %u vCPUs, but manifest.json says %u", state->vcpu_count,
                     snapshot->manifest.vcpus);
    if (rc == 0)
        rc = check_cpus(&source->kvm, state, err);
    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++)
        rc = vm_set_cpuid(&scratch.vm, i, state->vcpu[i].cpuid, state->vcpu[i].cpuid_count, err);
    if (rc == 0)
        rc = machine_load_devices(&scratch, &source->image, err);
    if (rc == 0)
        rc = vm_state_prune_msrs(&scratch.vm, state, err);
    if (rc == 0)
        vm_state_mend_tr(&source->kvm, state);
    vm_destroy(&scratch.vm);
    return rc;
}

static int load_snapshot(struct clone_source *source, const struct options *options,
                         struct err *err)
{
    struct snapshot_opened snapshot;
    int rc = snapshot_open(options->snapshot_fd, 0, &snapshot, err);

    if (rc < 0)
        return rc;
    rc = disk_source_open(&source->disk, options, err);
    if (rc == 0)
        rc = disk_source_check(&source->disk, &snapshot.manifest, options->snapshot_fd, err);
    if (rc == 0)
        rc = decode_image(source, &snapshot, err);
    if (rc == 0) {
        source->memory_bytes = snapshot.manifest.memory_bytes;
        source->memory_fd = take_fd(&snapshot.memory_fd);
        source->snapshot_id = snapshot.manifest.id;
        source->working_set = snapshot.working_set;
        snapshot.working_set = (struct working_set){ 0 };
        /* A cold page cache starts to fill while the rest is set up; a failure costs only time. */
        working_set_readahead(&source->working_set, source->memory_fd);
    }
    snapshot_close(&snapshot);
    return rc;
}

/* What must be open before the process gives up its right to open anything. */
static int open_all(struct clone_source *source, struct options *options, struct err *err)
{
    int rc = vm_process_init(&source->process, err);

    if (rc == 0)
        rc = kvm_host_open(&source->kvm, err);
    if (rc == 0)
        rc = kvm_host_list_msrs(&source->kvm, err);
    if (rc == 0)
        rc = load_snapshot(source, options, err);
    close_fd(&options->snapshot_fd);
    return rc;
}

int clone_source_prepare(struct clone_source *source, struct options *options, const int *keep_fds,
                         unsigned keep_count, struct err *err)
{
    int keep[KEEP_FDS_MAX + DISK_SOURCE_FDS_MAX];
    unsigned kept = 0;

    source->memory_fd = -1;
    source->disk = (struct disk_source)DISK_SOURCE_INIT;
    source->net = options->net;
    if (!source->net.given)
        source->net.offloads = true; /* whatever the guest uses: it leads nowhere */
    source->may_snapshot = options->api_socket != NULL;
    source->sandbox = options->sandbox;
    int rc = open_all(source, options, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < keep_count; i++)
        keep[kept++] = keep_fds[i];
    keep[kept++] = source->kvm.fd;
    keep[kept++] = source->memory_fd;
    kept += disk_source_fds(&source->disk, keep + kept);
    source->status.layers |= CONTROL_LAYER_CPUID; /* what the filter made at boot, checked above */
    return sandbox_enter(&source->sandbox, keep, kept, NULL, &source->status, err);
}

void clone_source_take_working_set(struct clone_source *source, int fd)
{
    struct working_set set;

    if (working_set_read(fd, &source->snapshot_id, source->memory_bytes, &set, NULL) < 0)
        return;
    working_set_fini(&source->working_set);
    source->working_set = set;
}
