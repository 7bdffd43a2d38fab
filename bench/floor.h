/* SPDX-License-Identifier: Apache-2.0 */
/* The floor: the least time in which this machine's KVM brings a VM from a memory file to a guest's
 * user-mode instruction. It knows nothing of Volt: one process, no sandbox, a guest of four bytes.
 *
 *   cold    open /dev/kvm, VM, memslot over a MAP_PRIVATE file, irqchip + PIT, vCPU, CPUID, all
 *           vCPU state, KVM_RUN until the guest's first port write
 *   shell   all of that exists: vCPU state loaded, KVM_RUN until the port write
 *   parked  the guest has stopped at a port write: one KVM_RUN until the next
 */
#ifndef VOLT_BENCH_FLOOR_H
#define VOLT_BENCH_FLOOR_H

#include <linux/kvm.h>
#include <stdint.h>

#include "base/err.h"
#include "samples.h"

#define FLOOR_CPUID_MAX 256

enum floor_kind { FLOOR_COLD, FLOOR_SHELL, FLOOR_PARKED, FLOOR_COUNT };
const char *floor_kind_name(enum floor_kind kind);

struct floor {
    int mem_fd; /* owned: the guest's memory file, half of it not zero, page cache warm */
    uint64_t ram_bytes;
    struct samples samples[FLOOR_COUNT]; /* ns */
};

/* Makes the memory file, unlinked, in dir. ram_bytes: at least 16 MiB. */
int floor_init(struct floor *floor, const char *dir, uint64_t ram_bytes, struct err *err);
void floor_fini(struct floor *floor);

/* Takes one sample of each kind; the VM is gone when it returns. */
int floor_measure(struct floor *floor, struct err *err);

/* A VM that stays, stopped at a port write: for the parked floor after a pause. The caller's. */
struct floor_vm;
int floor_vm_create(const struct floor *floor, struct floor_vm **ret_vm, struct err *err);
void floor_vm_destroy(struct floor_vm *vm);

/* Runs it to its next port write: one sample of the parked floor. */
int floor_vm_measure(struct floor *floor, const struct floor_vm *vm, struct err *err);

#endif
