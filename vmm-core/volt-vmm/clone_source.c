/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the opening of a snapshot for clones; see clone_source.h. */
#include "volt-vmm/clone_source.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "boot/cpuid.h"
#include "control/control.h"
#include "snapshot/vm_codec.h"

#define MSR_EFER 0xc0000080u
#define EFER_SVME (1ull << 12)
#define CR4_VMXE (1ull << 13)

struct cpuid_list {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entry[VM_CPUID_MAX];
};

static void cpuid_of(const struct vcpu_state *vcpu, struct cpuid_list *ret_cpuid)
{
    ret_cpuid->head.nent = MIN_OF(vcpu->cpuid_count, VM_CPUID_MAX);
    memcpy(ret_cpuid->entry, vcpu->cpuid, ret_cpuid->head.nent * sizeof ret_cpuid->entry[0]);
}

/* No guest has the registers of a hypervisor; but KVM lets a state have them whose CPUID offers none, so
 * that a guest could go on with what it can't begin. EFER has its place in SREGS, and is among no MSRs
 * that KVM lists. */
static int check_registers(const struct vcpu_state *vcpu, struct err *err)
{
    bool efer_msr = false;

    for (uint32_t i = 0; i < vcpu->msr_count; i++)
        efer_msr |= vcpu->msr[i].index == MSR_EFER;
    if (!efer_msr && !(vcpu->sregs.efer & EFER_SVME) && !(vcpu->sregs.cr4 & CR4_VMXE))
        return 0;
    return err_set(err, EINVAL, "registers that no guest gets: EFER 0x%llx%s, CR4 0x%llx",
                   (unsigned long long)vcpu->sregs.efer, efer_msr ? " and as an MSR" : "",
                   (unsigned long long)vcpu->sregs.cr4);
}

/* Whether every vCPU is one that a guest could have been booted with: whoever wrote the state may have
 * been taken over by its guest. */
static int check_forged(const struct vm_state *state, bool pmu, struct err *err)
{
    struct cpuid_list saved;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++) {
        cpuid_of(&state->vcpu[i], &saved);
        rc = cpuid_check_filtered(&saved.head, pmu, err);
        if (rc == 0)
            rc = check_registers(&state->vcpu[i], err);
        if (rc < 0)
            err_wrap(err, "state: vCPU %u", i);
    }
    return rc;
}

/* Whether this host can give every vCPU the features that the guest has seen. On a software-only
 * KVM guest user mode sees the host's own CPU, whatever KVM was told: there the manifest's vendor
 * and kind of KVM, which snapshot_open has compared, are all that can be checked. */
static int check_cpus(const struct kvm_host *kvm, const struct vm_state *state, struct err *err)
{
    struct cpuid_list supported, saved;
    int rc = 0;

    if (kvm->software_only)
        return 0;
    rc = kvm_host_cpuid(kvm, &supported.head, err);
    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++) {
        cpuid_of(&state->vcpu[i], &saved);
        rc = cpuid_check_restorable(&saved.head, &supported.head, err);
    }
    return rc;
}

int clone_source_decode_vm(struct clone_source *source, struct err *err)
{
    const struct manifest *manifest = &source->snapshot.manifest;
    struct vm_state *state = &source->image.vm;
    int rc = vm_state_decode(&source->snapshot.state, state, err);

    if (rc == 0 && state->vcpu_count != manifest->vcpus)
        rc = err_set(err, EINVAL, "state: %u vCPUs, but manifest.json says %u", state->vcpu_count,
                     manifest->vcpus);
    if (rc == 0)
        rc = check_forged(state, source->pmu, err);
    if (rc == 0)
        rc = check_cpus(&source->kvm, state, err);
    if (rc == 0)
        vm_state_mend_tr(&source->kvm, state);
    return rc;
}

/* A machine of the snapshot's shape over its memory, which never runs. */
static int make_scratch(struct clone_source *source, struct machine *ret_scratch, struct err *err)
{
    const struct manifest *manifest = &source->snapshot.manifest;
    struct machine_config config = MACHINE_CONFIG_INIT;
    struct guest_mem mem;

    config.vm.vcpu_count = manifest->vcpus;
    config.has_balloon = source->extras.balloon;
    config.volumes = source->extras.volumes;
    disk_source_configure(&source->disk, NULL, &config);
    int rc = guest_mem_init(&mem, manifest->memory_bytes, err);
    if (rc == 0)
        rc = guest_mem_map_private(&mem, source->snapshot.memory.fd, err);
    if (rc == 0 && source->extras.net)
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
static int decode_with(struct clone_source *source, struct machine *scratch, struct err *err)
{
    struct vm_state *state = &source->image.vm;
    int rc = machine_image_decode(scratch, &source->snapshot.state, &source->image, err);

    if (rc == 0)
        rc = machine_set_cpuid(scratch, &source->image, err);
    if (rc == 0)
        rc = machine_load_devices(scratch, &source->image, err);
    return rc == 0 ? vm_state_prune_msrs(&scratch->vm, state, err) : rc;
}

int clone_source_decode(struct clone_source *source, struct err *err)
{
    static struct machine scratch; /* large */
    int rc = snapshot_check_begin(&source->snapshot, err);

    if (rc == 0)
        rc = clone_source_decode_vm(source, err);
    if (rc == 0)
        rc = make_scratch(source, &scratch, err);
    if (rc < 0)
        return rc;
    rc = decode_with(source, &scratch, err);
    vm_destroy(&scratch.vm);
    state_reader_fini(&source->snapshot.state);
    return rc == 0 ? snapshot_check(&source->snapshot, err) : rc;
}

void clone_source_init(struct clone_source *source, const struct options *options)
{
    source->disk = (struct disk_source)DISK_SOURCE_INIT;
    source->net = options->net;
    if (!source->net.given)
        source->net.offloads = true; /* whatever the guest uses: it leads nowhere */
    source->may_snapshot = options->api_socket != NULL;
    source->pmu = options->pmu;
    source->sandbox = options->sandbox;
    source->status.layers |= CONTROL_LAYER_CPUID; /* what the filter made at boot; check_forged */
}

unsigned clone_source_given(const struct options *options, int *ret_fds)
{
    unsigned count = 0;

    ret_fds[count++] = options->snapshot_fd;
    if (options->disk_map_fd < 0) {
        ret_fds[count++] = options->disk_fd;
        return count;
    }
    for (uint32_t i = 0; i <= MIN_OF(options->disk_files, DISK_MAP_FILES_MAX); i++)
        ret_fds[count++] = options->disk_map_fd + (int)i;
    return count;
}

int clone_source_open(struct clone_source *source, struct options *options, struct err *err)
{
    struct snapshot_opened *snapshot = &source->snapshot;
    int rc = vm_process_init(&source->process, err);

    if (rc == 0)
        rc = kvm_host_open(&source->kvm, err);
    if (rc == 0)
        rc = kvm_host_list_msrs(&source->kvm, err);
    if (rc == 0)
        rc = snapshot_open(options->snapshot_fd, snapshot, err);
    if (rc == 0)
        rc = disk_source_open(&source->disk, options, err);
    if (rc == 0)
        rc = disk_source_check(&source->disk, &snapshot->manifest, options->snapshot_fd, err);
    close_fd(&options->snapshot_fd);
    if (rc < 0)
        return rc;
    snapshot->memory.known = options->memory_known;
    machine_image_devices(&snapshot->state, &source->extras);
    if (source->net.given && !source->extras.net)
        return err_set(err, EINVAL,
                       "the snapshot was taken without a network card, but --net was given");
    /* A cold page cache starts to fill while the rest is set up; a failure costs only time. */
    working_set_readahead(&snapshot->working_set, snapshot->memory.fd);
    return 0;
}

unsigned clone_source_fds(const struct clone_source *source, int *ret_fds)
{
    unsigned count = disk_source_fds(&source->disk, ret_fds);

    ret_fds[count++] = source->kvm.fd;
    ret_fds[count++] = source->snapshot.memory.fd;
    return count;
}

void clone_source_take_working_set(struct clone_source *source, int fd)
{
    struct snapshot_opened *snapshot = &source->snapshot;
    struct working_set set;

    if (working_set_read(fd, &snapshot->manifest.id, snapshot->manifest.memory_bytes, &set, NULL) <
        0)
        return;
    working_set_fini(&snapshot->working_set);
    snapshot->working_set = set;
}
