/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's end of its two sockets to poold: the bell on vCPU 0's thread, control on the device
 * thread (control.h). */
#ifndef VOLT_VMM_SERVER_H
#define VOLT_VMM_SERVER_H

#include "volt-vmm/machine.h"

struct server {
    struct machine *machine;
    struct vm_poll control; /* fd owned */
};

/* Over vm.doorbell.fd, a blocking SOCK_SEQPACKET socket. */
extern const struct vm_bell_ops server_bell_ops;

/* Takes over control_fd (transferred) and polls it. Before vm_loop_run. 0 or -errno. */
int server_init(struct server *server, struct machine *machine, int control_fd, struct err *err);

/* Says HELLO: the machine is set up. Any thread. layers, landlock_abi: what is in force around it.
 */
int server_hello(struct server *server, uint32_t layers, uint32_t landlock_abi);

/* Tells poold on its control socket, if it is still there, why a VM ended, or that there is none. */
void server_say_exited(int control_fd, enum control_exit_reason reason, const char *detail);

/* The same of a machine that has ended. */
void server_exited(struct server *server, enum control_exit_reason reason);

#endif
