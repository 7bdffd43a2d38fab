/* SPDX-License-Identifier: Apache-2.0 */
/* What a clone is made of: a snapshot, opened and checked, and what its host gives it.
 *
 * A template decodes it too, once, before it confines itself: its clones inherit everything over
 * fork, and parse, hash and open nothing. A process that is to be one clone itself (clone_vm.h)
 * decodes on its way.
 */
#ifndef VOLT_VMM_CLONE_SOURCE_H
#define VOLT_VMM_CLONE_SOURCE_H

#include "sandbox/sandbox.h"
#include "snapshot/opened.h"
#include "volt-vmm/disk_source.h"
#include "volt-vmm/machine.h"
#include "volt-vmm/net_source.h"
#include "volt-vmm/options.h"
#include "volt-vmm/vm_process.h"

#define CLONE_SOURCE_FDS_MAX (DISK_SOURCE_FDS_MAX + 2u)

/* Large, and lives as long as the process: static storage. Everything in it is its own. */
struct clone_source {
    struct kvm_host kvm;
    struct snapshot_opened snapshot;
    struct machine_image image; /* decoded from it */
    struct disk_source disk;
    struct net_source net;
    struct machine_extras extras; /* of the machine that was saved */
    bool may_snapshot;            /* clones may be asked for snapshots */
    bool pmu; /* clones may have performance counters, if it was booted with them */
    struct sandbox_config sandbox;
    struct sandbox_status status;
    struct vm_process process; /* of the clone that this process, or a fork of it, becomes */
};

/* What needs no file: first of all. */
void clone_source_init(struct clone_source *source, const struct options *options);

/* Fds that clone_source_open takes over, at most CLONE_SOURCE_FDS_MAX. */
unsigned clone_source_given(const struct options *options, int *ret_fds);

/* Opens the snapshot in options->snapshot_fd (closed) and checks all but its memory, takes over the
 * disk's fds, opens /dev/kvm: all that needs the right to open files. 0 or -errno with a sentence. */
int clone_source_open(struct clone_source *source, struct options *options, struct err *err);

/* Checks the snapshot's memory, and beside that decodes the whole image, tries to load it, drops what
 * a new machine has anyway, and gives the memory that the encoded one took back. 0 or -errno with a
 * sentence. */
int clone_source_decode(struct clone_source *source, struct err *err);

/* KVM's part alone, and whether this host can run it. Opens nothing, and does not check the memory:
 * that is up to the caller. */
int clone_source_decode_vm(struct clone_source *source, struct err *err);

/* Fds to keep over sandbox_enter; at most CLONE_SOURCE_FDS_MAX. */
unsigned clone_source_fds(const struct clone_source *source, int *ret_fds);

/* A working set that was recorded after the snapshot had been opened. It is a hint, which clones
 * can do without: a damaged or foreign one changes nothing. */
void clone_source_take_working_set(struct clone_source *source, int fd);

#endif
