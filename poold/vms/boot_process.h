/* SPDX-License-Identifier: Apache-2.0 */
/* The process of a boot VM: its arguments, sockets, ids and control group. Loop thread only. */
#ifndef VOLT_POOLD_BOOT_PROCESS_H
#define VOLT_POOLD_BOOT_PROCESS_H

#include <sys/types.h>

#include "snapshot/store.h"
#include "vms/pool_disk.h"
#include "vms/vms.h"

struct boot_process {
    pid_t pid;
    int pidfd, text_fd, console_fd, control_fd, bell_fd; /* the caller's */
};

/* Starts `volt-vmm run` for the pool's kernel, with dir's uid as its own and in a control group by
 * dir's id, which goes when dir is given back (vm_dirs.h). disk as for pool_disk_args; what the VM
 * writes to its disk goes to the file of delta_fd, if that is not -1. All stay the caller's, and
 * share no description with the process. 0 or -errno with a sentence; then nothing runs. */
int boot_process_start(struct hosted_pool *hosted, const struct pool_disk *disk, int delta_fd,
                       const struct vm_dir *dir, struct boot_process *ret_process, struct err *err);

/* Sends SNAPSHOT with the transaction's files, by descriptions of the VM's own. 0 or -errno. */
int boot_process_snapshot(int control_fd, const struct snapshot_txn *txn);

#endif
