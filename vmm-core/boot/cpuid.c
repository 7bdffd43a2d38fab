/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the CPUID policy: which bits a guest sees, in one table, and the topology leaves.
 *
 * How it works: the table's rules clear or set bits of what KVM supports; whole leaves that tell of
 * features no guest gets are dropped (KVM answers zeros for them); then the topology of this vCPU
 * is written; last the template, if there is one, narrows what is left. */
#include "boot/cpuid.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

#define ANY_SUBLEAF UINT32_MAX
#define BIT(n) (1u << (n))

enum rule_when { ALWAYS, AT_BOOT, NO_PMU, SOFTWARE_ONLY };
enum rule_action { CLEAR, SET, KEEP_ONLY, DROP_LEAF };

struct cpuid_rule {
    uint32_t leaf;
    uint32_t subleaf;
    enum cpuid_reg reg;
    enum rule_action action;
    uint32_t bits;
    enum rule_when when;
};

/* Feature names are Intel's (AMD's for 0x8000xxxx). */
static const struct cpuid_rule rules[] = {
    /* Nested virtualisation and trusted execution: no guest hypervisors, no SMX, no SGX, no SEV. */
    { 0x1, 0, CPUID_ECX, CLEAR, BIT(5) /* VMX */ | BIT(6) /* SMX */, ALWAYS },
    { 0x7, 0, CPUID_EBX, CLEAR, BIT(2) /* SGX */, ALWAYS },
    { 0x7, 0, CPUID_ECX, CLEAR, BIT(30) /* SGX_LC */, ALWAYS },
    { 0x12, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS }, /* SGX enumeration */
    { 0x80000001, 0, CPUID_ECX, CLEAR, BIT(2) /* SVM */ | BIT(12) /* SKINIT */, ALWAYS },
    { 0x8000000a, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS }, /* SVM features */
    { 0x8000001f, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS }, /* SEV */

    /* Transactional memory: side channels, and gone from newer CPUs. */
    { 0x7, 0, CPUID_EBX, CLEAR, BIT(4) /* HLE */ | BIT(11) /* RTM */, ALWAYS },
    { 0x7, 0, CPUID_EDX, CLEAR, BIT(11) /* RTM_ALWAYS_ABORT */ | BIT(13) /* TSX_FORCE_ABORT */,
      ALWAYS },

    /* MPX and its state components: gone from newer CPUs. */
    { 0x7, 0, CPUID_EBX, CLEAR, BIT(14) /* MPX */, ALWAYS },
    { 0xd, 0, CPUID_EAX, CLEAR, BIT(3) /* BNDREGS */ | BIT(4) /* BNDCSR */, ALWAYS },
    { 0xd, 3, CPUID_EAX, DROP_LEAF, 0, ALWAYS },
    { 0xd, 4, CPUID_EAX, DROP_LEAF, 0, ALWAYS },

    /* AMX: its tiles make the saved state larger than KVM_GET_XSAVE's 4 KiB. */
    { 0x7, 0, CPUID_EDX, CLEAR,
      BIT(22) /* AMX_BF16 */ | BIT(24) /* AMX_TILE */ | BIT(25) /* AMX_INT8 */, ALWAYS },
    { 0x7, 1, CPUID_EAX, CLEAR, BIT(21) /* AMX_FP16 */, ALWAYS },
    { 0x7, 1, CPUID_EDX, CLEAR, BIT(8) /* AMX_COMPLEX */, ALWAYS },
    { 0xd, 0, CPUID_EAX, CLEAR, BIT(17) /* XTILECFG */ | BIT(18) /* XTILEDATA */, ALWAYS },
    { 0xd, 17, CPUID_EAX, DROP_LEAF, 0, ALWAYS },
    { 0xd, 18, CPUID_EAX, DROP_LEAF, 0, ALWAYS },
    { 0x1d, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS },
    { 0x1e, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS },

    /* Host power management, thermals, tracing, resource control: not the guest's business. */
    { 0x1, 0, CPUID_ECX, CLEAR,
      BIT(2) /* DTES64 */ | BIT(3) /* MONITOR */ | BIT(4) /* DS_CPL */ | BIT(7) /* EIST */ |
          BIT(8) /* TM2 */ | BIT(11) /* SDBG */ | BIT(14) /* xTPR */ | BIT(18) /* DCA */,
      ALWAYS },
    { 0x1, 0, CPUID_EDX, CLEAR,
      BIT(21) /* DS */ | BIT(22) /* ACPI */ | BIT(29) /* TM */ | BIT(31) /* PBE */, ALWAYS },
    { 0x5, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS }, /* MONITOR/MWAIT */
    { 0x6, 0, CPUID_EAX, KEEP_ONLY, BIT(2) /* ARAT */, ALWAYS },
    { 0x6, 0, CPUID_EBX, KEEP_ONLY, 0, ALWAYS },
    { 0x6, 0, CPUID_ECX, KEEP_ONLY, 0, ALWAYS }, /* APERF/MPERF */
    { 0x7, 0, CPUID_EBX, CLEAR, BIT(12) /* PQM */ | BIT(15) /* PQE */ | BIT(25) /* PT */, ALWAYS },
    { 0x7, 0, CPUID_EDX, CLEAR, BIT(15) /* HYBRID */ | BIT(18) /* PCONFIG */, ALWAYS },
    { 0xf, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS },
    { 0x10, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS },
    { 0x14, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS }, /* processor trace */
    { 0x1a, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS }, /* hybrid core types */
    { 0x80000001, 0, CPUID_ECX, CLEAR,
      BIT(10) /* IBS */ | BIT(15) /* LWP */ | BIT(19) /* NODEID_MSR */ | BIT(29) /* MONITORX */,
      ALWAYS },
    { 0x8000001b, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS }, /* IBS */

    /* Performance counters, unless asked for. */
    { 0x1, 0, CPUID_ECX, CLEAR, BIT(15) /* PDCM */, NO_PMU },
    { 0x7, 0, CPUID_EDX, CLEAR, BIT(19) /* ARCH_LBR */, NO_PMU },
    { 0xa, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, NO_PMU },
    { 0x1c, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, NO_PMU },
    { 0x23, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, NO_PMU },
    { 0x80000001, 0, CPUID_ECX, CLEAR,
      BIT(23) /* PERFCTR_CORE */ | BIT(24) /* PERFCTR_NB */ | BIT(28) /* PERFCTR_LLC */, NO_PMU },
    { 0x80000022, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, NO_PMU },

    /* What KVM's in-kernel APIC gives although no CPU says so. */
    { 0x1, 0, CPUID_ECX, SET,
      BIT(21) /* X2APIC */ | BIT(24) /* TSC_DEADLINE */ | BIT(31) /* HYPERVISOR */, ALWAYS },
    /* OSXSAVE and OSPKE mirror CR4: KVM keeps them. */
    { 0x1, 0, CPUID_ECX, CLEAR, BIT(27) /* OSXSAVE */, AT_BOOT },
    { 0x7, 0, CPUID_ECX, CLEAR, BIT(4) /* OSPKE */, AT_BOOT },

    /* Asynchronous page faults hold tokens that no snapshot has: a clone would wait for ever. */
    { 0x40000001, 0, CPUID_EAX, CLEAR,
      BIT(4) /* ASYNC_PF */ | BIT(10) /* ASYNC_PF_VMEXIT */ | BIT(14) /* ASYNC_PF_INT */, ALWAYS },
    /* This vCPU's place is told by leaf 0xb; 0x1f would repeat the host's. */
    { 0x1f, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS },
    { 0x80000026, ANY_SUBLEAF, CPUID_EAX, DROP_LEAF, 0, ALWAYS },

    /* Instructions that a software-only KVM's ring-0 emulator lacks (docs/host-kvm.md). */
    { 0x1, 0, CPUID_ECX, CLEAR,
      BIT(13) /* CMPXCHG16B */ | BIT(17) /* PCID */ | BIT(23) /* POPCNT */ | BIT(30) /* RDRAND */,
      SOFTWARE_ONLY },
    { 0x7, 0, CPUID_EBX, CLEAR,
      BIT(0) /* FSGSBASE */ | BIT(7) /* SMEP */ | BIT(9) /* ERMS */ | BIT(10) /* INVPCID */ |
          BIT(18) /* RDSEED */ | BIT(20) /* SMAP */,
      SOFTWARE_ONLY },
    { 0x7, 0, CPUID_ECX, CLEAR, BIT(2) /* UMIP */ | BIT(3) /* PKU */, SOFTWARE_ONLY },
    { 0x7, 0, CPUID_EDX, CLEAR, BIT(4) /* FSRM */, SOFTWARE_ONLY },
};

/* Registers that only hold feature bits, and those of their bits that do not come from the host:
 * set by the table above or by the guest's own CR4. */
static const struct {
    uint32_t leaf, subleaf;
    enum cpuid_reg reg;
    uint32_t not_host_bits;
} feature_registers[] = {
    { 0x1, 0, CPUID_ECX, BIT(21) | BIT(24) | BIT(27) | BIT(31) },
    { 0x1, 0, CPUID_EDX, BIT(28) /* HTT, by vCPU count */ },
    { 0x7, 0, CPUID_EBX, 0 },
    { 0x7, 0, CPUID_ECX, BIT(4) },
    { 0x7, 0, CPUID_EDX, 0 },
    { 0x7, 1, CPUID_EAX, 0 },
    { 0x7, 1, CPUID_EDX, 0 },
    { 0xd, 0, CPUID_EAX, 0 },
    { 0xd, 1, CPUID_EAX, 0 },
    { 0x40000001, 0, CPUID_EAX, 0 },
    { 0x80000001, 0, CPUID_ECX, 0 },
    { 0x80000001, 0, CPUID_EDX, 0 },
    { 0x80000007, 0, CPUID_EDX, 0 },
    { 0x80000008, 0, CPUID_EBX, 0 },
};

static const char *const reg_names[] = { "eax", "ebx", "ecx", "edx" };
_Static_assert(ARRAY_LEN(reg_names) == CPUID_REG_COUNT, "a name for each register");

static uint32_t *entry_reg(struct kvm_cpuid_entry2 *entry, enum cpuid_reg reg)
{
    switch (reg) {
    case CPUID_EAX:
        return &entry->eax;
    case CPUID_EBX:
        return &entry->ebx;
    case CPUID_ECX:
        return &entry->ecx;
    default:
        return &entry->edx;
    }
}

static bool entry_is(const struct kvm_cpuid_entry2 *entry, uint32_t leaf, uint32_t subleaf)
{
    if (entry->function != leaf)
        return false;
    return subleaf == ANY_SUBLEAF || !(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
           entry->index == subleaf;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < cpuid->nent; i++)
        if (entry_is(&cpuid->entries[i], leaf, subleaf))
            return &cpuid->entries[i];
    return NULL;
}

static uint32_t read_reg(const struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t subleaf,
                         enum cpuid_reg reg)
{
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 entry = cpuid->entries[i];

        if (entry_is(&entry, leaf, subleaf))
            return *entry_reg(&entry, reg);
    }
    return 0;
}

static void drop(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t subleaf)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < cpuid->nent; i++)
        if (!entry_is(&cpuid->entries[i], leaf, subleaf))
            cpuid->entries[kept++] = cpuid->entries[i];
    cpuid->nent = kept;
}

static void apply_rule(struct kvm_cpuid2 *cpuid, const struct cpuid_rule *rule)
{
    if (rule->action == DROP_LEAF) {
        drop(cpuid, rule->leaf, rule->subleaf);
        return;
    }
    struct kvm_cpuid_entry2 *entry = find(cpuid, rule->leaf, rule->subleaf);
    if (!entry)
        return;
    uint32_t *reg = entry_reg(entry, rule->reg);
    if (rule->action == SET)
        *reg |= rule->bits;
    else
        *reg &= rule->action == CLEAR ? ~rule->bits : rule->bits;
}

static bool rule_applies(const struct cpuid_rule *rule, const struct cpuid_request *request)
{
    switch (rule->when) {
    case NO_PMU:
        return !request->pmu;
    case SOFTWARE_ONLY:
        return request->software_only;
    default:
        return true;
    }
}

/* Bits that number `count` things. */
static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 0;

    while ((1u << bits) < count)
        bits++;
    return bits;
}

/* One level of leaf 0xb; replaces all of it, so that none of the host's stays. */
static int add_topology_level(struct kvm_cpuid2 *cpuid, uint32_t capacity, uint32_t level,
                              uint32_t shift, uint32_t cpus, uint32_t kind, uint32_t apic_id,
                              struct err *err)
{
    if (cpuid->nent >= capacity)
        return err_set(err, ENOSPC, "no room for a CPUID entry more than %u", capacity);
    cpuid->entries[cpuid->nent++] =
        (struct kvm_cpuid_entry2){ .function = 0xb,
                                   .index = level,
                                   .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                                   .eax = shift,
                                   .ebx = cpus,
                                   .ecx = kind << 8 | level,
                                   .edx = apic_id };
    return 0;
}

/* One package of vcpu_count cores with one thread each; caches below level 3 are private. */
static void set_cache_sharing(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t vcpu_count)
{
    uint32_t ids = 1u << bits_for(vcpu_count);

    for (uint32_t i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        uint32_t level = (entry->eax >> 5) & 7;

        if (entry->function != leaf || (entry->eax & 0x1f) == 0)
            continue;
        entry->eax &= 0x3fff;
        entry->eax |= (level >= 3 ? ids - 1 : 0) << 14;
        if (leaf == 0x4)
            entry->eax |= (ids - 1) << 26;
    }
}

static int set_topology(struct kvm_cpuid2 *cpuid, uint32_t capacity,
                        const struct cpuid_request *request, struct err *err)
{
    uint32_t id = request->vcpu_index, count = request->vcpu_count;
    uint32_t shift = bits_for(count);
    bool has_leaf_b = read_reg(cpuid, 0x0, 0, CPUID_EAX) >= 0xb;
    struct kvm_cpuid_entry2 *entry = find(cpuid, 0x1, 0);
    int rc = 0;

    if (entry) {
        entry->ebx = (entry->ebx & 0xffff) | (1u << shift) << 16 | id << 24;
        entry->edx = count > 1 ? entry->edx | BIT(28) : entry->edx & ~BIT(28);
    }
    set_cache_sharing(cpuid, 0x4, count);
    set_cache_sharing(cpuid, 0x8000001d, count);
    drop(cpuid, 0xb, ANY_SUBLEAF);
    if (has_leaf_b) {
        rc = add_topology_level(cpuid, capacity, 0, 0, 1, 1 /* thread */, id, err);
        if (rc == 0)
            rc = add_topology_level(cpuid, capacity, 1, shift, count, 2 /* core */, id, err);
        if (rc == 0)
            rc = add_topology_level(cpuid, capacity, 2, 0, 0, 0 /* end */, id, err);
    }
    entry = find(cpuid, 0x80000008, 0);
    if (entry && entry->ecx) /* AMD; Intel has zero here */
        entry->ecx = (entry->ecx & ~0xf0ffu) | shift << 12 | (count - 1);
    entry = find(cpuid, 0x8000001e, 0);
    if (entry) {
        entry->eax = id;
        entry->ebx = id & 0xff; /* core id; one thread a core */
        entry->ecx = 0;         /* one node */
    }
    return rc;
}

static int apply_template(struct kvm_cpuid2 *cpuid, const struct cpuid_template *template,
                          struct err *err)
{
    for (unsigned i = 0; i < template->count; i++) {
        uint32_t leaf = template->entry[i].leaf, subleaf = template->entry[i].subleaf;
        enum cpuid_reg reg = template->entry[i].reg;
        uint32_t keep = template->entry[i].keep;
        struct kvm_cpuid_entry2 *entry = find(cpuid, leaf, subleaf);
        uint32_t missing = keep & ~(entry ? *entry_reg(entry, reg) : 0);

        if (missing)
            return err_set(err, EINVAL,
                           "CPU template '%s' names bits 0x%x of leaf 0x%x.%u %s that this host "
                           "lacks or that no guest gets",
                           template->name, missing, leaf, subleaf, reg_names[reg]);
        if (entry)
            *entry_reg(entry, reg) = keep;
    }
    return 0;
}

int cpuid_filter(struct kvm_cpuid2 *cpuid, uint32_t capacity, const struct cpuid_request *request,
                 struct err *err)
{
    if (request->vcpu_count == 0 || request->vcpu_index >= request->vcpu_count ||
        request->vcpu_count > 255)
        return err_set(err, EINVAL, "CPUID of vCPU %u of %u: there is no such vCPU",
                       request->vcpu_index, request->vcpu_count);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rule_applies(&rules[i], request))
            apply_rule(cpuid, &rules[i]);
    int rc = set_topology(cpuid, capacity, request, err);
    if (rc == 0 && request->template)
        rc = apply_template(cpuid, request->template, err);
    return rc;
}

uint64_t cpuid_boot_xcr0(const struct kvm_cpuid2 *cpuid)
{
    if (!(read_reg(cpuid, 0x1, 0, CPUID_ECX) & BIT(26) /* XSAVE */))
        return 0;
    return BIT(0) | (read_reg(cpuid, 0xd, 0, CPUID_EAX) & (BIT(1) | BIT(2)));
}

int cpuid_check_restorable(const struct kvm_cpuid2 *saved, const struct kvm_cpuid2 *supported,
                           struct err *err)
{
    for (enum cpuid_reg reg = CPUID_EBX; reg < CPUID_REG_COUNT; reg++)
        if (read_reg(saved, 0x0, 0, reg) != read_reg(supported, 0x0, 0, reg))
            return err_set(err, EINVAL, "the snapshot is from a CPU of another vendor");
    for (size_t i = 0; i < ARRAY_LEN(feature_registers); i++) {
        uint32_t leaf = feature_registers[i].leaf, subleaf = feature_registers[i].subleaf;
        enum cpuid_reg reg = feature_registers[i].reg;
        uint32_t missing = read_reg(saved, leaf, subleaf, reg) &
                           ~read_reg(supported, leaf, subleaf, reg) &
                           ~feature_registers[i].not_host_bits;

        if (missing)
            return err_set(err, EINVAL,
                           "the snapshot's CPU has features that this host lacks: CPUID leaf "
                           "0x%x.%u %s bits 0x%x",
                           leaf, subleaf, reg_names[reg], missing);
    }
    return 0;
}

/* KVM looks at an entry's index only where the leaf has several, and finds the first that fits: what is
 * behind it counts as well here. */
static bool rule_concerns(const struct cpuid_rule *rule, const struct kvm_cpuid_entry2 *entry)
{
    bool indexed = rule->leaf == 0x7 || rule->leaf == 0xd;

    return indexed ? entry_is(entry, rule->leaf, rule->subleaf) : entry->function == rule->leaf;
}

/* The bits of a register that the rule would not have left there. */
static uint32_t bits_against(const struct cpuid_rule *rule, enum cpuid_reg reg, uint32_t value)
{
    if (rule->action == DROP_LEAF)
        return value;
    if (rule->action == SET || rule->reg != reg)
        return 0;
    return value & (rule->action == CLEAR ? rule->bits : ~rule->bits);
}

static int check_entry(const struct cpuid_rule *rule, struct kvm_cpuid_entry2 entry,
                       struct err *err)
{
    for (enum cpuid_reg reg = CPUID_EAX; reg < CPUID_REG_COUNT; reg++) {
        uint32_t bits = bits_against(rule, reg, *entry_reg(&entry, reg));

        if (bits)
            return err_set(err, EINVAL, "what no guest gets%s: CPUID leaf 0x%x.%u %s bits 0x%x",
                           rule->when == NO_PMU ? " without --pmu" : "", entry.function,
                           entry.index, reg_names[reg], bits);
    }
    return 0;
}

int cpuid_check_filtered(const struct kvm_cpuid2 *saved, bool pmu, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct cpuid_rule *rule = &rules[i];

        if (rule->when != ALWAYS && (rule->when != NO_PMU || pmu))
            continue;
        for (uint32_t k = 0; rc == 0 && k < saved->nent; k++)
            if (rule_concerns(rule, &saved->entries[k]))
                rc = check_entry(rule, saved->entries[k], err);
    }
    return rc;
}
