/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the sections of KVM-held state; see vm_codec.h. One table per part serves both directions.
 */
#include "snapshot/vm_codec.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define VM_SECTION_VERSION 1u

/* The format keeps these as the kernel defines them: they can't change size behind its back. */
_Static_assert(sizeof(struct kvm_mp_state) == 4, "KVM UAPI");
_Static_assert(sizeof(struct kvm_regs) == 144, "KVM UAPI");
_Static_assert(sizeof(struct kvm_sregs) == 312, "KVM UAPI");
_Static_assert(sizeof(struct kvm_xcrs) == 392, "KVM UAPI");
_Static_assert(sizeof(struct kvm_debugregs) == 128, "KVM UAPI");
_Static_assert(sizeof(struct kvm_lapic_state) == 1024, "KVM UAPI");
_Static_assert(sizeof(struct kvm_vcpu_events) == 64, "KVM UAPI");
_Static_assert(sizeof(struct kvm_msr_entry) == 16, "KVM UAPI");
_Static_assert(sizeof(struct kvm_cpuid_entry2) == 40, "KVM UAPI");
_Static_assert(sizeof(struct kvm_clock_data) == 48, "KVM UAPI");
_Static_assert(sizeof(struct kvm_irqchip) == 520, "KVM UAPI");
_Static_assert(sizeof(struct kvm_pit_state2) == 112, "KVM UAPI");

/* A part: `bytes` at `offset` of the struct; with `count_offset`, an array of up to
 * bytes / element_bytes elements of which a uint32_t there says how many are in use. */
struct part {
    const char *name;
    uint32_t offset, bytes;
    uint32_t element_bytes; /* 0: fixed size */
    uint32_t count_offset;
};

#define FIXED(type, member, section_name)                                                          \
    {                                                                                              \
        .name = section_name, .offset = offsetof(type, member),                                    \
        .bytes = sizeof(((type *)NULL)->member),                                                   \
    }
#define COUNTED(member, count_member, section_name)                                                \
    {                                                                                              \
        .name = section_name, .offset = offsetof(struct vcpu_state, member),                       \
        .bytes = sizeof(((struct vcpu_state *)NULL)->member),                                      \
        .element_bytes = sizeof(((struct vcpu_state *)NULL)->member[0]),                           \
        .count_offset = offsetof(struct vcpu_state, count_member),                                 \
    }

static const struct part vm_parts[] = {
    FIXED(struct vm_state, clock, "clock"),    FIXED(struct vm_state, pic_master, "pic0"),
    FIXED(struct vm_state, pic_slave, "pic1"), FIXED(struct vm_state, ioapic, "ioapic"),
    FIXED(struct vm_state, pit, "pit"),
};

static const struct part vcpu_parts[] = {
    FIXED(struct vcpu_state, mp_state, "mp"),
    FIXED(struct vcpu_state, regs, "regs"),
    FIXED(struct vcpu_state, sregs, "sregs"),
    FIXED(struct vcpu_state, xcrs, "xcrs"),
    FIXED(struct vcpu_state, debugregs, "debug"),
    FIXED(struct vcpu_state, lapic, "lapic"),
    FIXED(struct vcpu_state, events, "events"),
    FIXED(struct vcpu_state, tsc_khz, "tsc"),
    COUNTED(msr, msr_count, "msrs"),
    COUNTED(cpuid, cpuid_count, "cpuid"),
    COUNTED(xsave, xsave_bytes, "xsave"),
};

/* Section `vm`. */
struct vm_section {
    uint32_t vcpu_count;
    uint32_t has_pit;
};

static void part_encode(struct state_builder *b, const char *name, const struct part *part,
                        const void *object)
{
    const uint8_t *base = object;
    size_t len = part->bytes;

    if (part->element_bytes) {
        uint32_t count;

        memcpy(&count, base + part->count_offset, sizeof count);
        len = MIN_OF(len, (size_t)count * part->element_bytes);
    }
    state_builder_add(b, name, VM_SECTION_VERSION, 0, base + part->offset, len);
}

static int section_find(struct state_reader *r, const char *name, struct state_section *ret_section,
                        struct err *err)
{
    int rc = state_reader_find(r, name, ret_section, err);

    if (rc == 0 && ret_section->version != VM_SECTION_VERSION)
        return err_set(err, ret_section->version > VM_SECTION_VERSION ? ENOTSUP : EINVAL,
                       "state: section '%s': version %u, expected %u", name, ret_section->version,
                       VM_SECTION_VERSION);
    return rc;
}

static int part_decode(struct state_reader *r, const char *name, const struct part *part,
                       void *object, struct err *err)
{
    struct state_section section;
    uint8_t *base = object;
    int rc = section_find(r, name, &section, err);

    if (rc < 0)
        return rc;
    if (part->element_bytes) {
        uint32_t count = (uint32_t)(section.len / part->element_bytes);

        if (section.len > part->bytes || section.len % part->element_bytes != 0)
            return err_set(err, EINVAL,
                           "state: section '%s': %zu bytes, expected a multiple of %u, at most %u",
                           name, section.len, part->element_bytes, part->bytes);
        memcpy(base + part->count_offset, &count, sizeof count);
    } else if (section.len != part->bytes) {
        return err_set(err, EINVAL, "state: section '%s': %zu bytes, expected %u", name,
                       section.len, part->bytes);
    }
    if (section.len)
        memcpy(base + part->offset, section.bytes, section.len);
    return 0;
}

static void vcpu_section_name(char ret_name[STATE_TAG_BYTES], uint32_t vcpu,
                              const struct part *part)
{
    snprintf(ret_name, STATE_TAG_BYTES, "cpu%u.%s", vcpu, part->name);
}

void vm_state_encode(struct state_builder *b, const struct vm_state *state)
{
    struct vm_section vm = { .vcpu_count = state->vcpu_count, .has_pit = state->has_pit };
    char name[STATE_TAG_BYTES];

    state_builder_add(b, "vm", VM_SECTION_VERSION, 0, &vm, sizeof vm);
    for (size_t i = 0; i < ARRAY_LEN(vm_parts); i++)
        part_encode(b, vm_parts[i].name, &vm_parts[i], state);
    for (uint32_t cpu = 0; cpu < state->vcpu_count; cpu++) {
        for (size_t i = 0; i < ARRAY_LEN(vcpu_parts); i++) {
            vcpu_section_name(name, cpu, &vcpu_parts[i]);
            part_encode(b, name, &vcpu_parts[i], &state->vcpu[cpu]);
        }
    }
}

static bool part_named(const struct part *parts, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(parts[i].name, name) == 0)
            return true;
    }
    return false;
}

bool vm_state_section(const char *name)
{
    const char *dot = strchr(name, '.');

    if (!dot)
        return strcmp(name, "vm") == 0 || part_named(vm_parts, ARRAY_LEN(vm_parts), name);
    size_t digits = strncmp(name, "cpu", 3) == 0 ? strspn(name + 3, "0123456789") : 0;
    return digits > 0 && name + 3 + digits == dot &&
           part_named(vcpu_parts, ARRAY_LEN(vcpu_parts), dot + 1);
}

static int vm_section_decode(struct state_reader *r, struct vm_state *state, struct err *err)
{
    struct state_section section;
    struct vm_section vm;
    int rc = section_find(r, "vm", &section, err);

    if (rc < 0)
        return rc;
    if (section.len != sizeof vm)
        return err_set(err, EINVAL, "state: section 'vm': %zu bytes, expected %zu", section.len,
                       sizeof vm);
    memcpy(&vm, section.bytes, sizeof vm);
    if (vm.vcpu_count < 1 || vm.vcpu_count > VM_VCPUS_MAX || vm.has_pit > 1)
        return err_set(
            err, EINVAL,
            "state: section 'vm': %u vCPUs and PIT %u, expected 1 to %u vCPUs and 0 or 1",
            vm.vcpu_count, vm.has_pit, VM_VCPUS_MAX);
    state->vcpu_count = vm.vcpu_count;
    state->has_pit = vm.has_pit;
    return 0;
}

static int vcpu_decode(struct state_reader *r, uint32_t cpu, struct vcpu_state *vcpu,
                       struct err *err)
{
    char name[STATE_TAG_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(vcpu_parts); i++) {
        vcpu_section_name(name, cpu, &vcpu_parts[i]);
        int rc = part_decode(r, name, &vcpu_parts[i], vcpu, err);
        if (rc < 0)
            return rc;
    }
    if (vcpu->xsave_bytes < sizeof(struct kvm_xsave))
        return err_set(err, EINVAL, "state: section 'cpu%u.xsave': %u bytes, expected at least %zu",
                       cpu, vcpu->xsave_bytes, sizeof(struct kvm_xsave));
    if (vcpu->xcrs.nr_xcrs > ARRAY_LEN(vcpu->xcrs.xcrs))
        return err_set(err, EINVAL,
                       "state: section 'cpu%u.xcrs': %u registers, expected at most %zu", cpu,
                       vcpu->xcrs.nr_xcrs, ARRAY_LEN(vcpu->xcrs.xcrs));
    return 0;
}

int vm_state_decode(struct state_reader *r, struct vm_state *ret_state, struct err *err)
{
    struct vm_state state = { 0 };
    int rc = vm_section_decode(r, &state, err);

    for (size_t i = 0; i < ARRAY_LEN(vm_parts) && rc == 0; i++)
        rc = part_decode(r, vm_parts[i].name, &vm_parts[i], &state, err);
    if (rc == 0) {
        state.vcpu = calloc(state.vcpu_count, sizeof *state.vcpu);
        if (!state.vcpu)
            rc = err_set_errno(err, ENOMEM, "reading the state of %u vCPUs", state.vcpu_count);
    }
    for (uint32_t cpu = 0; cpu < state.vcpu_count && rc == 0; cpu++)
        rc = vcpu_decode(r, cpu, &state.vcpu[cpu], err);
    if (rc < 0) {
        vm_state_fini(&state);
        return rc;
    }
    *ret_state = state;
    return 0;
}
