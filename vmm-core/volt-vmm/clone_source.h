/* SPDX-License-Identifier: Apache-2.0 */
/* What clones are made of: a snapshot opened, checked and decoded once, in a process that has
 * confined itself since. Clones inherit it over fork: they parse, hash and open nothing. */
#ifndef VOLT_VMM_CLONE_SOURCE_H
#define VOLT_VMM_CLONE_SOURCE_H

#include "sandbox/sandbox.h"
#include "snapshot/workingset.h"
#include "volt-vmm/disk_source.h"
#include "volt-vmm/machine.h"
#include "volt-vmm/net_source.h"
#include "volt-vmm/options.h"
#include "volt-vmm/vm_process.h"

/* Large, and lives as long as the process: static storage. Everything in it is its own. */
struct clone_source {
    struct kvm_host kvm;
    struct machine_image image;     /* less what a new machine has anyway */
    struct working_set working_set; /* what a clone touches until READY; may be empty */
    struct disk_source disk;
    struct net_source net;
    struct digest snapshot_id;
    int memory_fd;
    uint64_t memory_bytes;
    bool has_net, has_balloon;
    bool may_snapshot; /* clones may be asked for snapshots */
    struct sandbox_config sandbox;
    struct sandbox_status status;
    struct vm_process process; /* of the clone that a fork becomes */
};

/* Opens and decodes the snapshot in options->snapshot_fd (closed), takes over the disk's fds, and
 * confines the process, which keeps keep_fds too. 0 or -errno with a sentence. */
int clone_source_prepare(struct clone_source *source, struct options *options, const int *keep_fds,
                         unsigned keep_count, struct err *err);

/* A working set that was recorded after the snapshot had been opened. It is a hint, which clones
 * can do without: a damaged or foreign one changes nothing. */
void clone_source_take_working_set(struct clone_source *source, int fd);

#endif
