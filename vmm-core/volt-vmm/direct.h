/* SPDX-License-Identifier: Apache-2.0 */
/* One VM without a daemon: this process does, for one VM, what poold does for many. */
#ifndef VOLT_VMM_DIRECT_H
#define VOLT_VMM_DIRECT_H

#include "volt-vmm/program.h"

/* `volt-vmm --kernel F ...` or `volt-vmm --restore DIR`: forks the VM's process, which confines
 * itself as under poold, drives it over its two sockets, joins the terminal to its console
 * (--console), and takes a snapshot at its first PARK (--snapshot-to DIR). Returns the exit
 * status, with *err set for a failure of its own. */
int program_direct(struct options *options, struct err *err);

#endif
