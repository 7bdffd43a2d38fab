/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what boot adds to a kernel's command line: virtio-mmio windows for kernels without ACPI
 * (Linux drivers/virtio/virtio_mmio.c: [virtio_mmio.]device=<size>@<baseaddr>:<irq>). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/boot.h"

int boot_cmdline_add_virtio(char *cmdline, size_t capacity, const struct boot_virtio_dev *dev,
                            unsigned count, struct err *err)
{
    size_t before = strnlen(cmdline, capacity);
    size_t used = before;

    if (before == capacity)
        return err_set(err, E2BIG, "the command line does not end within %zu bytes", capacity);
    for (unsigned i = 0; i < count; i++) {
        int n = snprintf(cmdline + used, capacity - used, "%svirtio_mmio.device=%u@0x%llx:%u",
                         used ? " " : "", dev[i].bytes, (unsigned long long)dev[i].gpa, dev[i].gsi);
        if (n < 0 || (size_t)n >= capacity - used) {
            cmdline[before] = '\0';
            return err_set(err, E2BIG,
                           "the command line of %zu bytes leaves no room for %u virtio devices "
                           "(at most %zu bytes in all)",
                           before, count, capacity - 1);
        }
        used += (size_t)n;
    }
    return 0;
}
