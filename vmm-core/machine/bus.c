/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way from an I/O exit to the device whose window it hits. */
#include <string.h>

#include "machine/machine_internal.h"

static struct device *find(struct vm *vm, enum bus_kind bus, uint64_t address, uint32_t bytes)
{
    for (uint32_t i = 0; i < vm->device_count; i++) {
        struct device *dev = vm->device[i];

        if (dev->bus == bus && address >= dev->base && address - dev->base < dev->bytes &&
            bytes <= dev->bytes - (address - dev->base))
            return dev;
    }
    return NULL;
}

void bus_access(struct vm *vm, enum bus_kind bus, uint64_t address, void *value, uint32_t bytes,
                bool is_write)
{
    struct device *dev = find(vm, bus, address, bytes);

    if (!dev) {
        atomic_fetch_add_explicit(bus == BUS_PIO ? &vm->unknown_pio : &vm->unknown_mmio, 1,
                                  memory_order_relaxed);
        if (!is_write)
            memset(value, 0xff, bytes);
        return;
    }
    if (is_write)
        dev->ops->write(dev, address - dev->base, value, bytes);
    else
        dev->ops->read(dev, address - dev->base, value, bytes);
}
