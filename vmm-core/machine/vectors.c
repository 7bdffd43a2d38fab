/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the saving and loading of a vCPU's vector registers for a guest's kernel that can't itself; see
 * machine_internal.h.
 *
 * How it works
 *   A software-only KVM runs ring 3 natively, with the host's CPUID and XCR0 whatever the guest was told,
 *   so programs use AVX and AVX-512. It emulates ring 0, without XSAVE. So the guest's kernel
 *   (guest-init/kernel/patches/0006) asks for it by a port, at each switch of processes and each signal:
 *   KVM has the registers, and takes 10 us each way.
 *   A load of what is no XSAVE area must not leave a process the registers of another one: what is
 *   left then is FXSAVE's part, or registers as after a reset. */
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "machine/machine_internal.h"

#define AREA_BYTES 4096u
#define HEADER_AT 512u
#define HEADER_BYTES 64u
#define FEATURES_FXSAVE 3u /* x87, SSE */

/* KVM reads and writes as much as it says that it has. */
struct area {
    _Alignas(64) uint8_t bytes[VM_XSAVE_BYTES_MAX];
};

bool vectors_claims(const struct vcpu *vcpu, uint16_t port)
{
    return vcpu->vm->kvm->software_only && (port == VECTORS_PORT_SAVE || port == VECTORS_PORT_LOAD);
}

static void save(const struct vcpu *vcpu, void *at)
{
    struct area area;

    memset(area.bytes, 0, AREA_BYTES);
    if (vm_state_xsave_get(vcpu->fd, vcpu->vm->kvm, area.bytes) < 0)
        vm_end(vcpu->vm, EXIT_REASON_HOST_ERROR, "KVM_GET_XSAVE for the guest's kernel failed");
    memcpy(at, area.bytes, AREA_BYTES);
}

static void load(const struct vcpu *vcpu, const void *at)
{
    static const uint64_t fxsave = FEATURES_FXSAVE;
    struct area area;

    memcpy(area.bytes, at, AREA_BYTES); /* once: the guest could change it under KVM's eyes */
    memset(area.bytes + AREA_BYTES, 0, vcpu->vm->kvm->xsave_bytes - AREA_BYTES);
    if (ioctl(vcpu->fd, KVM_SET_XSAVE, area.bytes) == 0)
        return;
    memset(area.bytes + HEADER_AT, 0, HEADER_BYTES);
    memcpy(area.bytes + HEADER_AT, &fxsave, sizeof fxsave);
    if (ioctl(vcpu->fd, KVM_SET_XSAVE, area.bytes) == 0)
        return;
    memset(area.bytes, 0, AREA_BYTES);
    if (ioctl(vcpu->fd, KVM_SET_XSAVE, area.bytes) < 0)
        vm_end(vcpu->vm, EXIT_REASON_HOST_ERROR, "KVM_SET_XSAVE for the guest's kernel failed");
}

void vectors_access(struct vcpu *vcpu, uint16_t port, void *value, uint32_t bytes, bool is_write)
{
    uint32_t page;
    void *at;

    if (!is_write || bytes != sizeof page) {
        if (!is_write)
            memset(value, 0xff, bytes);
        return;
    }
    memcpy(&page, value, sizeof page);
    at = guest_mem_at(&vcpu->vm->mem, (gpa_t)page << VECTORS_PORT_SHIFT, AREA_BYTES);
    if (!at)
        vm_guest_misbehaved(vcpu->vm, "vector registers at 0x%x << %u, which is no memory", page,
                            VECTORS_PORT_SHIFT);
    else if (port == VECTORS_PORT_SAVE)
        save(vcpu, at);
    else
        load(vcpu, at);
}
