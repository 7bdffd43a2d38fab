/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a state file that somebody has made, checksums and all, gives no guest a CPU that volt-vmm
 * would not have booted it with: no hypervisor within the guest, no counters that nobody asked for.
 * Method: states that are whole but for one thing, read as those of a snapshot are. KVM itself is not
 * asked: it would take most of them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/vm_codec.h"
#include "tap_main.h"
#include "volt-vmm/clone_source.h"

#define BIT(n) (1u << (n))
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u

static struct clone_source source; /* large */
static struct vm_state state;
static struct err err;

static struct kvm_cpuid_entry2 *add_leaf(struct vcpu_state *vcpu, uint32_t leaf, uint32_t index)
{
    struct kvm_cpuid_entry2 *entry = &vcpu->cpuid[vcpu->cpuid_count++];
    bool indexed = leaf == 0x7 || leaf == 0xd;

    *entry = (struct kvm_cpuid_entry2){ .function = leaf, .index = index };
    entry->flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    return entry;
}

/* What a guest of two vCPUs is saved with, as far as it matters here. */
static void set_up(void)
{
    memset(&source, 0, sizeof source);
    source.kvm = (struct kvm_host){ .fd = -1, .software_only = true };
    source.snapshot.manifest.vcpus = 2;
    state = (struct vm_state){ .vcpu_count = 2, .vcpu = calloc(2, sizeof *state.vcpu) };
    err = (struct err){ 0 };
    for (unsigned i = 0; i < 2; i++) {
        struct vcpu_state *vcpu = &state.vcpu[i];

        vcpu->xsave_bytes = sizeof(struct kvm_xsave);
        vcpu->sregs.efer = 0xd01;  /* NXE, LMA, LME, SCE */
        vcpu->sregs.cr4 = 0x406f0; /* with OSXSAVE */
        vcpu->msr[vcpu->msr_count++].index = MSR_STAR;
        add_leaf(vcpu, 0x1, 0)->ecx = BIT(27) | BIT(31); /* OSXSAVE, which KVM keeps; HYPERVISOR */
        add_leaf(vcpu, 0x6, 0)->eax = BIT(2);            /* ARAT */
        add_leaf(vcpu, 0x7, 0)->ecx = BIT(4);            /* OSPKE */
        add_leaf(vcpu, 0x7, 1)->ebx = BIT(2);            /* what is SGX in subleaf 0 */
        add_leaf(vcpu, 0x80000001, 0)->edx = BIT(20);    /* NX */
    }
}

static void tear_down(void)
{
    state_reader_fini(&source.snapshot.state);
    vm_state_fini(&source.image.vm);
    vm_state_fini(&state);
}

static int decode(void)
{
    struct state_builder builder;
    uint8_t *bytes;
    size_t len;

    state_builder_init(&builder);
    vm_state_encode(&builder, &state);
    ck_assert_int_eq(state_builder_finish(&builder, &bytes, &len, &err), 0);
    state_builder_fini(&builder);
    ck_assert_int_eq(state_reader_open(&source.snapshot.state, bytes, len, &err), 0);
    return clone_source_decode_vm(&source, &err);
}

START_TEST(what_was_booted_is_restored)
{
    ck_assert_msg(decode() == 0, "%s", err.msg);
}
END_TEST

START_TEST(counters_are_restored_for_whoever_asks_for_them)
{
    add_leaf(&state.vcpu[0], 0xa, 0)->eax = 0x07300402;
    source.pmu = true;
    ck_assert_msg(decode() == 0, "%s", err.msg);
}
END_TEST

/* Of the last vCPU. */
static const struct {
    uint32_t leaf, index, flags;
    uint32_t reg[4];
    const char *says;
} forged_leaves[] = {
    { 0x1, 0, 0, { [2] = BIT(5) }, "0x1.0 ecx bits 0x20" },              /* VMX */
    { 0x1, 9, 0, { [2] = BIT(5) }, "0x1.9 ecx bits 0x20" },              /* KVM looks at no index */
    { 0x1, 9, 1, { [2] = BIT(5) }, "0x1.9 ecx bits 0x20" },              /* whatever it claims */
    { 0x80000001, 0, 0, { [2] = BIT(2) }, "0x80000001.0 ecx bits 0x4" }, /* SVM */
    { 0x8000000a, 0, 0, { [0] = 1 }, "0x8000000a.0" },                   /* SVM's features */
    { 0x7, 0, 1, { [1] = BIT(11) }, "0x7.0 ebx bits 0x800" },            /* RTM */
    { 0x7, 5, 0, { [1] = BIT(11) }, "0x7.5 ebx bits 0x800" },            /* of any index */
    { 0x6, 0, 0, { [2] = BIT(0) }, "0x6.0 ecx bits 0x1" },               /* APERF */
    { 0x12, 1, 1, { [3] = 1 }, "0x12.1" },                               /* SGX */
    { 0xa, 0, 0, { 0x07300402 }, "0xa.0" },                              /* counters */
};

START_TEST(a_cpu_that_no_guest_gets_is_refused)
{
    struct vcpu_state *vcpu = &state.vcpu[1];

    /* In front of the true one: the first is what KVM finds. */
    memmove(vcpu->cpuid + 1, vcpu->cpuid, vcpu->cpuid_count++ * sizeof vcpu->cpuid[0]);
    vcpu->cpuid[0] = (struct kvm_cpuid_entry2){ .function = forged_leaves[_i].leaf,
                                                .index = forged_leaves[_i].index,
                                                .flags = forged_leaves[_i].flags,
                                                .eax = forged_leaves[_i].reg[0],
                                                .ebx = forged_leaves[_i].reg[1],
                                                .ecx = forged_leaves[_i].reg[2],
                                                .edx = forged_leaves[_i].reg[3] };
    ck_assert_int_eq(decode(), -EINVAL);
    ck_assert_msg(strstr(err.msg, forged_leaves[_i].says) != NULL, "%s", err.msg);
}
END_TEST

/* KVM lets a state have what the guest could not have set. */
START_TEST(registers_of_a_hypervisor_are_refused)
{
    struct vcpu_state *vcpu = &state.vcpu[1];

    if (_i == 0)
        vcpu->sregs.efer |= 1u << 12; /* SVME */
    else if (_i == 1)
        vcpu->sregs.cr4 |= 1u << 13; /* VMXE */
    else
        vcpu->msr[vcpu->msr_count++] = (struct kvm_msr_entry){ .index = MSR_EFER, .data = 0x1d01 };
    ck_assert_int_eq(decode(), -EINVAL);
    ck_assert_msg(strstr(err.msg, "vCPU 1") != NULL, "%s", err.msg);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmm_forged");
    TCase *tests = tap_case(suite, "forged");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, what_was_booted_is_restored);
    tcase_add_test(tests, counters_are_restored_for_whoever_asks_for_them);
    tcase_add_loop_test(tests, a_cpu_that_no_guest_gets_is_refused, 0, ARRAY_LEN(forged_leaves));
    tcase_add_loop_test(tests, registers_of_a_hypervisor_are_refused, 0, 3);
    return tap_main(suite);
}
