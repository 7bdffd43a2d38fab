/* SPDX-License-Identifier: Apache-2.0 */
/* What a device is to its machine: an ops table, a bus window, and a table of saved fields.
 *
 * Threads: `read` and `write` run on a vCPU thread; a vm_poll calls back on the device thread.
 * A device that both touch has its own mutex. Devices stand in one explicit, ordered array per
 * machine (struct vm.device[]): that order is the order of quiesce, save and load.
 */
#ifndef VOLT_DEVICES_DEVICE_H
#define VOLT_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct device;
struct vm;

/* ---- Saved state: one table serves both directions. ---- */

enum state_kind {
    STATE_U8 = 1,
    STATE_U16 = 2,
    STATE_U32 = 4,
    STATE_U64 = 8,
    STATE_BYTES = 16, /* count is the length */
};

struct state_field {
    const char *name;
    uint32_t offset; /* in the device's state struct */
    uint8_t kind;    /* enum state_kind: the width in the file, little-endian */
    uint16_t count;  /* array elements; 1 for a scalar */
    uint16_t since;  /* first version of the table that has it; absent ones load as 0 */
};

struct state_desc {
    const char *name; /* section name in the snapshot: at most 15 characters, stable */
    uint16_t version;
    uint16_t field_count;
    const struct state_field *field;
    uint32_t struct_bytes; /* of the state struct that the offsets are in */
    /* Checks every index and length in a loaded struct before a device sees it; NULL: none needed.
     * 0 or -errno with a sentence. */
    int (*post_load)(const void *state, struct err *err);
};

#define STATE_FIELD(type, member, state_kind, n, version)                                          \
    {                                                                                              \
        .name = #member, .offset = offsetof(type, member), .kind = state_kind, .count = n,         \
        .since = version,                                                                          \
    }

/* ---- The device. ---- */

struct dev_ops {
    const char *name;
    /* One access of 1, 2, 4 or 8 bytes at `offset` from the window's start. `value` is
     * little-endian; a read fills `bytes` bytes, unknown registers read as all ones. */
    void (*read)(struct device *dev, uint64_t offset, void *value, uint32_t bytes);
    void (*write)(struct device *dev, uint64_t offset, const void *value, uint32_t bytes);
    /* Brings work in flight into memory and state, so that state can be saved; the vCPUs are
     * stopped. resume undoes it when the same VM goes on. NULL: nothing to do. */
    int (*quiesce)(struct device *dev, struct err *err);
    void (*resume)(struct device *dev);
    /* Saved state: `desc` describes the struct that save fills and load takes. load gets a struct
     * that post_load has accepted, on a device just created. */
    const struct state_desc *desc;
    void (*save)(struct device *dev, void *ret_state);
    int (*load)(struct device *dev, const void *state, struct err *err);
    /* Frees everything. Half-built devices too. */
    void (*destroy)(struct device *dev);
};

enum bus_kind { BUS_PIO, BUS_MMIO };

struct device {
    const struct dev_ops *ops;
    struct vm *vm; /* the machine it sits in */
    enum bus_kind bus;
    uint64_t base;  /* first port or gpa */
    uint64_t bytes; /* of its window */
    uint32_t gsi;   /* its interrupt line; 0: none */
    char name[16];  /* section name: desc name plus index where there are several */
};

/* ---- What a machine offers its devices (vm.c implements it; tests may bring their own). ---- */

struct guest_mem;

/* Guest memory of the machine. Any thread. */
struct guest_mem *vm_memory(struct vm *vm);

/* Raises an edge on a GSI: KVM_IRQ_LINE 1 then 0. Any thread. */
void vm_irq_pulse(struct vm *vm, uint32_t gsi);

/* Sets a level-triggered line. Any thread. */
void vm_irq_level(struct vm *vm, uint32_t gsi, bool level);

/* Ends the VM with EXIT_REASON_GUEST_MISBEHAVED and a sentence. Any thread; returns at once. */
void vm_guest_misbehaved(struct vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The guest asked for a reset: ends the VM with EXIT_REASON_GUEST_POWEROFF. Any thread; returns at
 * once. */
void vm_guest_reset(struct vm *vm);

/* The device thread's poller: calls back on the device thread when fd is ready (epoll events,
 * level-triggered). poll_mod changes the events (0: only errors and hang-ups are told), poll_del
 * must come before close. A callback may delete and free any poll, its own too: after poll_del,
 * `ready` is not called again, even if the event had been collected already. Device thread, or any
 * thread before vm_run. */
struct vm_poll {
    void (*ready)(struct vm_poll *poll, uint32_t events);
    int fd;
};
int vm_poll_add(struct vm *vm, struct vm_poll *poll, uint32_t events);
int vm_poll_mod(struct vm *vm, struct vm_poll *poll, uint32_t events);
void vm_poll_del(struct vm *vm, struct vm_poll *poll);

#endif
