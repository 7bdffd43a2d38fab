/* SPDX-License-Identifier: Apache-2.0 */
/* A clone: a VM made of a clone_source. msg: a CLONE, whose fds are sorted and transferred. start_ns:
 * when its process began. Both functions are a clone's whole life; they return the exit status, with
 * *err set, only when the machine could not be begun; else the process ends as the VM does. */
#ifndef VOLT_VMM_CLONE_VM_H
#define VOLT_VMM_CLONE_VM_H

#include "control/control.h"
#include "volt-vmm/clone_source.h"

/* In the fork of a template, whose source is decoded, and which is confined. */
int clone_vm_main(struct clone_source *source, const struct control_msg *msg,
                  struct control_clone_fds *fds, uint64_t start_ns, struct err *err);

/* In a process that is there for one VM: it opens its source, which has been set up, decodes and
 * makes the machine while it confines itself. Nothing is tried before, as a failure is one of this VM alone. */
int clone_vm_restore(struct clone_source *source, struct options *options,
                     const struct control_msg *msg, struct control_clone_fds *fds,
                     uint64_t start_ns, struct err *err);

#endif
