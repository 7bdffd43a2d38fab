/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes CPU templates and the CPUID filter. Input: a byte of flags, a byte of entries, that many
 * CPUID entries of 7 words, then a template's JSON. */
#include <stdlib.h>

#include "base/util.h"
#include "boot/cpuid.h"
#include "fuzz.h"

#define ENTRIES_MAX 40u

struct table {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entry[ENTRIES_MAX + CPUID_FILTER_ADDS];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    uint8_t flags = fuzz_u8(&input), count = fuzz_u8(&input) % (ENTRIES_MAX + 1);
    struct cpuid_template template;
    struct table host = { .head = { .nent = count } }, guest;
    struct cpuid_request request = { .vcpu_count = 1 + (flags & 7),
                                     .software_only = flags & 8,
                                     .pmu = flags & 16 };
    struct err err = { 0 };

    for (unsigned i = 0; i < count; i++)
        fuzz_take(&input, &host.entry[i], 28);
    if (cpuid_template_parse((const char *)input.data, input.bytes, &template, &err) == 0) {
        if (template.count > CPUID_TEMPLATE_ENTRIES_MAX)
            abort();
        request.template = &template;
    } else if (err.msg[0] == '\0') {
        abort();
    }
    for (uint32_t i = 0; i < request.vcpu_count; i++) {
        guest = host;
        request.vcpu_index = i;
        if (cpuid_filter(&guest.head, ARRAY_LEN(guest.entry), &request, &err) < 0)
            return 0;
        if (guest.head.nent > ARRAY_LEN(guest.entry))
            abort();
    }
    (void)cpuid_check_restorable(&guest.head, &host.head, &err);
    (void)cpuid_check_filtered(&host.head, flags & 32, &err);
    return 0;
}
