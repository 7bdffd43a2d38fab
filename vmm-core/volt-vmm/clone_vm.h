/* SPDX-License-Identifier: Apache-2.0 */
/* A clone: a VM made of a clone_source, in a process that was forked for it or is its own. */
#ifndef VOLT_VMM_CLONE_VM_H
#define VOLT_VMM_CLONE_VM_H

#include "control/control.h"
#include "volt-vmm/clone_source.h"

/* A clone's whole life. msg: a CLONE, whose fds (transferred) are sorted. start_ns: when its fork
 * or its process began. Returns the exit status, having told why on fds->control, only when the
 * machine could not be begun; else the process ends as the VM does. */
int clone_vm_main(struct clone_source *source, const struct control_msg *msg,
                  struct control_clone_fds *fds, uint64_t start_ns);

#endif
