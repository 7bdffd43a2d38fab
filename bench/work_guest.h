/* SPDX-License-Identifier: Apache-2.0 */
/* The guests that do real work: a VM of the benchmark's poold, driven by voltctl as users do, and
 * QEMU's microvm with the same kernel, initramfs, memory and disk, driven by a shell on its console.
 * One thread. */
#ifndef VOLT_BENCH_WORK_GUEST_H
#define VOLT_BENCH_WORK_GUEST_H

#include "daemon.h"
#include "speaker.h"

#define WORK_MEMORY_MIB 512u
#define WORK_DISK_MIB 128u
#define WORK_SCRIPT_BYTES 768u

enum work_vmm { WORK_VOLT, WORK_QEMU, WORK_VMM_COUNT };
const char *work_vmm_name(enum work_vmm vmm);

struct work_guest {
    enum work_vmm vmm;
    struct bench *bench;
    bool has_disk;  /* --quick: no, as no pool is booted for it, and QEMU is skipped */
    char disk[512]; /* its disk on the host: /dev/vda in the guest */
    /* Volt */
    struct daemon *daemon;
    struct daemon_lease lease;
    pid_t pid; /* its process */
    /* QEMU */
    struct speaker console;
};

/* Makes its disk and starts it; work_guest_await has it ready. With Volt, a pool of its own is made
 * and deleted again by work_guest_fini. Zeroed ones and failed ones can be ended, too. */
int work_guest_start(struct work_guest *guest, enum work_vmm vmm, struct bench *bench,
                     struct err *err);
int work_guest_await(struct work_guest *guest, struct err *err);
void work_guest_fini(struct work_guest *guest);

/* Has its shell do `prepare`, then `script`, which may hold no single quote; NULL: nothing to prepare.
 * *ret_ns is what the script took, from when the guest says that it begins to when it says that it has
 * ended. A script that fails is a failure. */
int work_guest_run(struct work_guest *guest, const char *prepare, const char *script,
                   uint64_t *ret_ns, struct err *err);

/* Runs a program of the host to its end, its output to work.log; from its start to its end. Any other
 * status than 0 is a failure. */
int work_host_run(struct bench *bench, const char *const *argv, uint64_t *ret_ns, struct err *err);

#endif
