/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of volt-vmm. Each returns the process's exit status, with *err set if it is not
 * 0 and the failure has not been told over the control socket. */
#ifndef VOLT_VMM_PROGRAM_H
#define VOLT_VMM_PROGRAM_H

#include "base/err.h"
#include "volt-vmm/options.h"

/* Exit statuses, as in sysexits(3). */
#define EXIT_BAD_USAGE 64
#define EXIT_SOFTWARE 70
#define EXIT_VM_FAILED 75 /* the VM ended for another reason than being stopped or powered off */

/* Boots a kernel; poold drives it over --control-fd and --bell-fd. boot_vm.c */
int program_run(struct options *options, struct err *err);

/* Serves --snapshot-fd to clones over --control-fd. template_process.c */
int program_template(struct options *options, struct err *err);

/* One VM without a daemon: `volt-vmm --kernel F ...` or `volt-vmm --restore DIR`. Forks the VM's
 * process, which confines itself as under poold, drives it over its two sockets, joins the terminal
 * to its console (--console), and takes a snapshot at its first PARK (--snapshot-to DIR).
 * direct.c */
int program_direct(struct options *options, struct err *err);

/* Its VM's process: restores one VM from the snapshot in options->restore, template and clone in
 * one, driven over --control-fd and --bell-fd. direct_restore.c */
int program_restore(struct options *options, struct err *err);

/* ---- program.c ---- */

/* The control socket of what this process is: of its template until it is a clone. -1: none. */
void program_speaks_on(int control_fd);

/* Tells a failure as EXITED on the control socket, if there is one. So does an assertion that fails:
 * stderr leads nowhere once the process is confined. Any thread, and under every filter. */
void program_report_failure(const struct err *err);

#endif
