/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of volt-vmm. Each returns the process's exit status, with *err set if it is not
 * 0 and the failure has not been told over the control socket. */
#ifndef VOLT_VMM_PROGRAM_H
#define VOLT_VMM_PROGRAM_H

#include "base/err.h"
#include "snapshot/workingset.h"
#include "volt-vmm/disk_source.h"
#include "volt-vmm/machine.h"
#include "volt-vmm/net_source.h"
#include "volt-vmm/options.h"

/* Exit statuses, as in sysexits(3). */
#define EXIT_BAD_USAGE 64
#define EXIT_SOFTWARE 70
#define EXIT_VM_FAILED 75 /* the VM ended for another reason than being stopped or powered off */

/* Boots a kernel; poold drives it over --control-fd and --bell-fd. */
int program_run(struct options *options, struct err *err);

/* Serves --snapshot-fd to clones over --control-fd. */
int program_template(struct options *options, struct err *err);

/* Restores one VM from the snapshot in options->restore, in this process: template and clone in
 * one, driven over --control-fd and --bell-fd. */
int program_restore(struct options *options, struct err *err);

/* The control socket of what this process is: of its template until it is a clone. -1: none. */
void program_speaks_on(int control_fd);

/* Tells a failure as EXITED on the control socket, if there is one. So does an assertion that fails:
 * stderr leads nowhere once the process is confined. Any thread, and under every filter. */
void program_report_failure(const struct err *err);

/* What a clone is made of; everything belongs to the template and is inherited over fork. */
struct clone_source {
    const struct kvm_host *kvm;
    const struct options *options;
    struct machine_image *image;
    const struct sandbox_status *status;
    int memory_fd;
    const struct disk_source *disk;
    const struct working_set *working_set; /* what a clone touches until READY; may be empty */
    uint64_t memory_bytes;
    struct net_source net; /* fd: of the one clone of program_restore */
    bool has_pit, has_net, has_balloon;
};

/* A clone's life, in the process forked for it. fds are transferred: control, bell, and extra_fds
 * (CONTROL_CLONE_FD_*) in bit order. start_ns: when the fork began. Returns the exit status. */
int clone_main(const struct clone_source *source, const struct control_msg *msg, int *fds,
               unsigned fd_count, uint64_t start_ns);

/* Once a process, before vm_serve and before clones are forked. 0 or -errno. */
int vm_serve_prepare(struct err *err);

/* Work on a machine's devices, on the thread that will serve them. 0 or -errno. */
typedef int (*vm_furnish)(struct machine *machine, void *context, struct err *err);

/* Starts the device thread of a machine that vm_init has set up: it furnishes the machine (NULL:
 * that is done), confines itself and waits for vm_serve_run. The caller goes on with KVM's part
 * meanwhile. -errno only when it could not begin. */
int vm_serve_start(struct machine *machine, int control_fd, int bell_fd,
                   const struct options *options, struct sandbox_status *status, vm_furnish furnish,
                   void *context, struct err *err);

/* The rest of a VM's life: the device thread serves poold, vCPU 0 runs on the calling thread. rc,
 * err: how the caller's part of the making went; a failure of either part is told to poold. Ends
 * the process. */
void vm_serve_run(struct machine *machine, int rc, const struct err *err) __attribute__((noreturn));

#endif
