/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without KVM, for the tests and fuzzers of devices: guest memory, a poller that runs on
 * the caller's thread, and counters where a real machine has interrupts. It implements what
 * devices/device.h asks of a machine. */
#ifndef VOLT_TESTS_FAKE_VM_H
#define VOLT_TESTS_FAKE_VM_H

#include <stdatomic.h>

#include "devices/device.h"
#include "memory/guest_mem.h"

#define FAKE_VM_GSIS 32u

struct vm {
    struct guest_mem mem;
    int epoll_fd;
    atomic_uint pulses[FAKE_VM_GSIS];
    bool level[FAKE_VM_GSIS];
    unsigned resets;
    unsigned misbehaved;
    unsigned polls; /* watched now */
};

/* With 32 MiB of zeroed RAM at 0. Aborts when the host lacks the means. */
struct vm *fake_vm_create(void);
void fake_vm_destroy(struct vm *vm);

/* Runs the device thread's work until there is none, at most max_turns callbacks. Returns how many
 * there were. */
unsigned fake_vm_run(struct vm *vm, unsigned max_turns);

/* Saves `from`, checks the state as a snapshot's reader does, and loads it into `to`, a device just
 * made. What load returns. */
int fake_vm_move(struct device *from, struct device *to, struct err *err);

/* Device accesses as a vCPU makes them. */
uint32_t fake_read(struct device *dev, uint64_t offset, uint32_t bytes);
void fake_write(struct device *dev, uint64_t offset, uint32_t value, uint32_t bytes);

#endif
