/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a guest's CPUID hides what it must, tells its own topology, obeys templates, and a restore
 * on a lesser CPU is refused. Method: made-up hosts, Intel-like and AMD-like, with every bit set.
 */
#include "boot/cpuid.h"

#include "boot_test.h"

#define CAPACITY 64u

union table {
    struct kvm_cpuid2 cpuid;
    uint8_t bytes[sizeof(struct kvm_cpuid2) + CAPACITY * sizeof(struct kvm_cpuid_entry2)];
};

static void add(union table *table, uint32_t leaf, uint32_t subleaf, bool indexed, uint32_t value)
{
    table->cpuid.entries[table->cpuid.nent++] =
        (struct kvm_cpuid_entry2){ .function = leaf,
                                   .index = subleaf,
                                   .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                                   .eax = value,
                                   .ebx = value,
                                   .ecx = value,
                                   .edx = value };
}

/* A host that claims everything. */
static void host_init(union table *table)
{
    static const uint32_t plain[] = { 0x1,        0x5,        0x6,        0xa,
                                      0x40000001, 0x80000001, 0x80000007, 0x80000008,
                                      0x8000000a, 0x8000001e, 0x8000001f, 0x80000022 };
    static const uint32_t indexed[][2] = { { 0x7, 0 },  { 0x7, 1 },  { 0xb, 0 },  { 0xb, 1 },
                                           { 0xd, 0 },  { 0xd, 1 },  { 0xd, 2 },  { 0xd, 3 },
                                           { 0xd, 17 }, { 0x12, 0 }, { 0x14, 0 }, { 0x1d, 0 },
                                           { 0x1f, 0 } };

    memset(table, 0, sizeof *table);
    add(table, 0x0, 0, false, 0);
    table->cpuid.entries[0].eax = 0x1f;
    memcpy(&table->cpuid.entries[0].ebx, "Genu", 4);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        add(table, plain[i], 0, false, UINT32_MAX);
    for (size_t i = 0; i < ARRAY_LEN(indexed); i++)
        add(table, indexed[i][0], indexed[i][1], true, UINT32_MAX);
    for (uint32_t i = 0; i < 4; i++) { /* L1d, L1i, L2, L3 */
        static const uint32_t levels[] = { 1, 1, 2, 3 };

        add(table, 0x4, i, true, levels[i] << 5 | 1 | 0xffffc000);
    }
}

static const struct kvm_cpuid_entry2 *find(const union table *table, uint32_t leaf,
                                           uint32_t subleaf)
{
    for (uint32_t i = 0; i < table->cpuid.nent; i++)
        if (table->cpuid.entries[i].function == leaf && table->cpuid.entries[i].index == subleaf)
            return &table->cpuid.entries[i];
    return NULL;
}

static void filter(union table *table, struct cpuid_request request)
{
    struct err err;

    host_init(table);
    ck_assert_msg(cpuid_filter(&table->cpuid, CAPACITY, &request, &err) == 0, "%s", err.msg);
}

START_TEST(dangerous_features_are_hidden)
{
    union table t;

    filter(&t, (struct cpuid_request){ .vcpu_count = 1 });
    ck_assert_uint_eq(find(&t, 0x1, 0)->ecx & (1u << 5), 0);            /* VMX */
    ck_assert_uint_eq(find(&t, 0x80000001, 0)->ecx & (1u << 2), 0);     /* SVM */
    ck_assert_uint_eq(find(&t, 0x7, 0)->ebx & (1u << 4 | 1u << 11), 0); /* HLE, RTM */
    ck_assert_uint_eq(find(&t, 0x7, 0)->ebx & (1u << 14), 0);           /* MPX */
    ck_assert_uint_eq(find(&t, 0x7, 0)->edx & (1u << 24), 0);           /* AMX_TILE */
    ck_assert_uint_eq(find(&t, 0xd, 0)->eax & (3u << 3 | 3u << 17), 0); /* their XSAVE state */
    ck_assert_uint_eq(find(&t, 0x40000001, 0)->eax & (1u << 4), 0);     /* ASYNC_PF */
    ck_assert_ptr_null(find(&t, 0xd, 3));
    ck_assert_ptr_null(find(&t, 0xd, 17));
    ck_assert_ptr_nonnull(find(&t, 0xd, 2));
    ck_assert_ptr_null(find(&t, 0x12, 0));
    ck_assert_ptr_null(find(&t, 0x14, 0));
    ck_assert_ptr_null(find(&t, 0x1f, 0));
    ck_assert_ptr_null(find(&t, 0x8000000a, 0));
    ck_assert_uint_eq(find(&t, 0x6, 0)->eax, 1u << 2);
    ck_assert_uint_eq(find(&t, 0x7, 0)->ebx & (1u << 5), 1u << 5); /* AVX2 stays */
}
END_TEST

START_TEST(what_kvm_emulates_is_shown)
{
    union table t;
    uint32_t bits = 1u << 21 | 1u << 24 | 1u << 31;
    struct cpuid_request request = { .vcpu_count = 1 };
    struct err err;

    host_init(&t);
    for (uint32_t i = 0; i < t.cpuid.nent; i++)
        if (t.cpuid.entries[i].function == 0x1)
            t.cpuid.entries[i].ecx = 0;
    ck_assert_int_eq(cpuid_filter(&t.cpuid, CAPACITY, &request, &err), 0);
    ck_assert_uint_eq(find(&t, 0x1, 0)->ecx, bits); /* X2APIC, TSC_DEADLINE, HYPERVISOR */
}
END_TEST

START_TEST(pmu_is_shown_when_asked_for)
{
    union table t;

    filter(&t, (struct cpuid_request){ .vcpu_count = 1 });
    ck_assert_ptr_null(find(&t, 0xa, 0));
    ck_assert_uint_eq(find(&t, 0x1, 0)->ecx & (1u << 15), 0);
    filter(&t, (struct cpuid_request){ .vcpu_count = 1, .pmu = true });
    ck_assert_ptr_nonnull(find(&t, 0xa, 0));
    ck_assert_uint_ne(find(&t, 0x1, 0)->ecx & (1u << 15), 0);
}
END_TEST

START_TEST(software_only_kvm_masks_what_it_cannot_emulate)
{
    union table t;
    uint32_t emulated = 1u << 13 | 1u << 23; /* CX16, POPCNT */

    filter(&t, (struct cpuid_request){ .vcpu_count = 1 });
    ck_assert_uint_eq(find(&t, 0x1, 0)->ecx & emulated, emulated);
    filter(&t, (struct cpuid_request){ .vcpu_count = 1, .software_only = true });
    ck_assert_uint_eq(find(&t, 0x1, 0)->ecx & emulated, 0);
    ck_assert_uint_eq(find(&t, 0x7, 0)->ebx & (1u << 20), 0); /* SMAP */
    ck_assert_uint_ne(find(&t, 0x1, 0)->ecx & (1u << 26), 0); /* XSAVE stays */
}
END_TEST

START_TEST(topology_is_the_guests_own)
{
    union table t;

    for (uint32_t count = 1; count <= 8; count++) {
        uint32_t shift = count > 4 ? 3 : count > 2 ? 2 : count > 1 ? 1 : 0;

        for (uint32_t i = 0; i < count; i++) {
            filter(&t, (struct cpuid_request){ .vcpu_index = i, .vcpu_count = count });
            ck_assert_uint_eq(find(&t, 0x1, 0)->ebx >> 24, i);
            ck_assert_uint_eq((find(&t, 0x1, 0)->ebx >> 16) & 0xff, 1u << shift);
            ck_assert_uint_eq((find(&t, 0x1, 0)->edx >> 28) & 1, count > 1);
            ck_assert_uint_eq(find(&t, 0xb, 0)->ebx, 1);
            ck_assert_uint_eq(find(&t, 0xb, 0)->eax, 0);
            ck_assert_uint_eq(find(&t, 0xb, 1)->eax, shift);
            ck_assert_uint_eq(find(&t, 0xb, 1)->ebx, count);
            ck_assert_uint_eq(find(&t, 0xb, 1)->edx, i);
            ck_assert_uint_eq(find(&t, 0xb, 2)->ecx >> 8, 0);
            ck_assert_uint_eq(find(&t, 0x4, 2)->eax >> 14 & 0xfff, 0); /* L2: private */
            ck_assert_uint_eq(find(&t, 0x4, 3)->eax >> 14 & 0xfff, (1u << shift) - 1);
            ck_assert_uint_eq(find(&t, 0x4, 0)->eax >> 26, (1u << shift) - 1);
            ck_assert_uint_eq(find(&t, 0x8000001e, 0)->eax, i);
            ck_assert_uint_eq(find(&t, 0x80000008, 0)->ecx & 0xff, count - 1);
        }
    }
}
END_TEST

START_TEST(boot_xcr0_is_what_the_cpu_offers)
{
    union table t;

    filter(&t, (struct cpuid_request){ .vcpu_count = 1 });
    ck_assert_uint_eq(cpuid_boot_xcr0(&t.cpuid), 7);
    memset(&t, 0, sizeof t);
    ck_assert_uint_eq(cpuid_boot_xcr0(&t.cpuid), 0);
    add(&t, 0x1, 0, false, 1u << 26);
    add(&t, 0xd, 0, true, 3);
    ck_assert_uint_eq(cpuid_boot_xcr0(&t.cpuid), 3);
}
END_TEST

START_TEST(impossible_requests_are_refused)
{
    static const struct cpuid_request bad[] = { { .vcpu_count = 0 },
                                                { .vcpu_index = 1, .vcpu_count = 1 },
                                                { .vcpu_count = 256 } };
    struct cpuid_request good = { .vcpu_count = 1 };
    union table t;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        host_init(&t);
        ck_assert_int_eq(cpuid_filter(&t.cpuid, CAPACITY, &bad[i], &err), -EINVAL);
    }
    memset(&t, 0, sizeof t);
    add(&t, 0x0, 0, false, 0xb);
    ck_assert_int_eq(cpuid_filter(&t.cpuid, 2, &good, &err), -ENOSPC);
}
END_TEST

static int parse(const char *text, struct cpuid_template *ret_template, struct err *err)
{
    return cpuid_template_parse(text, strlen(text), ret_template, err);
}

START_TEST(template_keeps_exactly_its_bits)
{
    struct cpuid_template template;
    struct cpuid_request request = { .vcpu_count = 1, .template = &template };
    union table t;
    struct err err;

    ck_assert_msg(parse("{\"name\": \"t\", \"registers\": [{\"leaf\": \"0x7\", \"subleaf\": 0,"
                        " \"register\": \"ebx\", \"keep\": \"0x20\"}]}",
                        &template, &err) == 0,
                  "%s", err.msg);
    filter(&t, request);
    ck_assert_uint_eq(find(&t, 0x7, 0)->ebx, 0x20);

    /* MPX, which no guest gets, and a leaf that is not there. */
    template.entry[0].keep = 1u << 14;
    host_init(&t);
    ck_assert_int_eq(cpuid_filter(&t.cpuid, CAPACITY, &request, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "bits 0x4000 of leaf 0x7.0 ebx"));
    template.entry[0].leaf = 0x99;
    host_init(&t);
    ck_assert_int_eq(cpuid_filter(&t.cpuid, CAPACITY, &request, &err), -EINVAL);
}
END_TEST

static const struct {
    const char *text, *part;
} bad_templates[] = {
    { "", "line" },
    { "{\"name\": \"t\", \"registers\": [", "line" },
    { "[]", "must be a JSON object" },
    { "{}", "\"name\"" },
    { "{\"name\": 5, \"registers\": []}", "\"name\"" },
    { "{\"name\": \"\", \"registers\": []}", "\"name\"" },
    { "{\"name\": \"t\"}", "\"registers\"" },
    { "{\"name\": \"t\", \"registers\": {}}", "\"registers\"" },
    { "{\"name\": \"t\", \"registers\": [], \"x\": 1}", "unknown key \"x\"" },
    { "{\"name\": \"t\", \"name\": \"t\", \"registers\": []}", "duplicate" },
    { "{\"name\": \"t\", \"registers\": [5]}", "registers[0]" },
    { "{\"name\": \"t\", \"registers\": [{\"leaf\": 1}]}", "\"register\"" },
    { "{\"name\": \"t\", \"registers\": [{\"leaf\": 1, \"register\": \"rax\", \"keep\": 0}]}",
      "\"register\" must be" },
    { "{\"name\": \"t\", \"registers\": [{\"leaf\": -1, \"register\": \"eax\", \"keep\": 0}]}",
      "\"leaf\" must be" },
    { "{\"name\": \"t\", \"registers\": [{\"leaf\": \"1z\", \"register\": \"eax\", \"keep\": 0}]}",
      "\"leaf\" must be" },
    { "{\"name\": \"t\", \"registers\": [{\"leaf\": 1, \"register\": \"eax\","
      " \"keep\": 4294967296}]}",
      "\"keep\" must be" },
    { "{\"name\": \"t\", \"registers\": [{\"leaf\": 1, \"register\": \"eax\", \"kep\": 0}]}",
      "unknown key \"kep\"" },
};

START_TEST(bad_templates_are_refused)
{
    struct cpuid_template template = { .name = "untouched" };
    struct err err;

    ck_assert_int_eq(parse(bad_templates[_i].text, &template, &err), -EINVAL);
    ck_assert_msg(strstr(err.msg, bad_templates[_i].part) != NULL, "'%s' lacks '%s'", err.msg,
                  bad_templates[_i].part);
    ck_assert_str_eq(template.name, "untouched");
    ck_assert_int_eq(parse(bad_templates[_i].text, &template, NULL), -EINVAL);
}
END_TEST

START_TEST(too_many_registers_are_refused)
{
    char text[8192] = "{\"name\": \"t\", \"registers\": [";
    struct cpuid_template template;
    struct err err;

    for (unsigned i = 0; i <= CPUID_TEMPLATE_ENTRIES_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "%s{\"leaf\": 1, \"register\": \"eax\", \"keep\": 0}", i ? "," : "");
    strcat(text, "]}");
    ck_assert_int_eq(parse(text, &template, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "at most 64"));
}
END_TEST

START_TEST(restore_needs_every_feature)
{
    union table saved, host;
    struct err err;

    filter(&saved, (struct cpuid_request){ .vcpu_count = 2, .vcpu_index = 1 });
    host_init(&host);
    ck_assert_msg(cpuid_check_restorable(&saved.cpuid, &host.cpuid, &err) == 0, "%s", err.msg);
    for (uint32_t i = 0; i < host.cpuid.nent; i++)
        if (host.cpuid.entries[i].function == 0x7 && host.cpuid.entries[i].index == 0)
            host.cpuid.entries[i].ebx &= ~(1u << 16); /* no AVX512F */
    ck_assert_int_eq(cpuid_check_restorable(&saved.cpuid, &host.cpuid, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "leaf 0x7.0 ebx bits 0x10000"));
    host_init(&host);
    host.cpuid.entries[0].ebx++;
    ck_assert_int_eq(cpuid_check_restorable(&saved.cpuid, &host.cpuid, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "vendor"));
}
END_TEST

/* Whatever the host, and for whom: a bit of the request each. */
START_TEST(what_was_filtered_is_taken_for_filtered)
{
    const bool pmu = _i & 1, software_only = _i & 2;
    union table saved;
    struct err err;

    filter(&saved,
           (struct cpuid_request){ .vcpu_count = 2, .pmu = pmu, .software_only = software_only });
    ck_assert_msg(cpuid_check_filtered(&saved.cpuid, pmu, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(cpuid_check_filtered(&saved.cpuid, false, &err), pmu ? -EINVAL : 0);
    host_init(&saved);
    ck_assert_int_eq(cpuid_check_filtered(&saved.cpuid, true, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "leaf 0x1.0 ecx bits 0x60"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("boot_cpuid");
    TCase *tests = tap_case(suite, "cpuid");

    tcase_add_test(tests, dangerous_features_are_hidden);
    tcase_add_test(tests, what_kvm_emulates_is_shown);
    tcase_add_test(tests, pmu_is_shown_when_asked_for);
    tcase_add_test(tests, software_only_kvm_masks_what_it_cannot_emulate);
    tcase_add_test(tests, topology_is_the_guests_own);
    tcase_add_test(tests, boot_xcr0_is_what_the_cpu_offers);
    tcase_add_test(tests, impossible_requests_are_refused);
    tcase_add_test(tests, template_keeps_exactly_its_bits);
    tcase_add_loop_test(tests, bad_templates_are_refused, 0, ARRAY_LEN(bad_templates));
    tcase_add_test(tests, too_many_registers_are_refused);
    tcase_add_test(tests, restore_needs_every_feature);
    tcase_add_loop_test(tests, what_was_filtered_is_taken_for_filtered, 0, 4);
    return tap_main(suite);
}
