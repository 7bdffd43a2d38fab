/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes volt-vmm's command line. Input: arguments, each ended by a NUL. */
#include <stdlib.h>

#include "base/util.h"
#include "fuzz.h"
#include "machine/vm_state.h"
#include "volt-vmm/options.h"

#define ARGS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1), *argv[ARGS_MAX + 1] = { NULL };
    struct options options;
    struct err err = { 0 };
    int argc = 0;

    if (!text)
        return 0;
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    for (size_t at = 0; at <= bytes && argc < ARGS_MAX; at += strlen(text + at) + 1)
        argv[argc++] = text + at;
    if (options_parse(&options, argc, argv, &err) == 0) {
        if (options.vcpu_count < 1 || options.vcpu_count > VM_VCPUS_MAX)
            abort();
    } else if (err.msg[0] == '\0') {
        abort();
    }
    free(text);
    return 0;
}
