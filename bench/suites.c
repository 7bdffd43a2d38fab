/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of suites, in the order in which they run. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/util.h"
#include "bench.h"

const struct suite suites[] = {
    { "size", "stripped sizes of the programs and the initramfs", suite_size },
    { "floor", "the least that this machine's KVM needs", suite_floor },
    { "restore", "tiers x page cache x memory sizes, driving volt-vmm directly", suite_restore },
    { "direct", "volt-vmm --restore: one and 20 at once, without a daemon", suite_direct },
    { "steps", "where the time of a restore goes, step by step", suite_steps },
    { "security", "start-up with all layers against none", suite_security },
    { "memory", "the VMM's own private memory", suite_memory },
    { "snapshot", "creating a snapshot of a booted guest", suite_snapshot },
    { "verify", "comparing a snapshot's memory with its digests", suite_verify },
    { "acquire", "leases over the API, 1 to 64 clients, and at a fixed rate", suite_acquire },
    { "first-exec", "the first command after an acquire, against the 20th", suite_first_exec },
    { "functions", "calls of a function at the doorbell, beside acquires", suite_functions },
    { "burst", "100 acquires at once from an empty pool", suite_burst },
    { "churn", "acquire and release without pause, 4 clients", suite_churn },
    { "busy", "acquires while leased VMs keep all CPUs busy", suite_busy },
    { "sporadic", "one acquire now and then, while the pool refills", suite_sporadic },
    { "exec", "a command over a stream, against vfork and exec in the guest", suite_exec },
    { "work", "files, output, disk and programs, against QEMU's microvm", suite_work },
    { "density", "hundreds of parked VMs: memory and latency", suite_density },
    { "boot", "cold boot, with QEMU's microvm machine in alternation", suite_boot },
    { "peers", "other monitors, with --firecracker, --cloud-hypervisor, --qemu PATH", suite_peers },
};
const unsigned suite_count = ARRAY_LEN(suites);

int bench_skip(struct err *err, const char *fmt, ...)
{
    va_list args;

    err->code = 0;
    va_start(args, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    return BENCH_SKIPPED;
}
