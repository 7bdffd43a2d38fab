/* SPDX-License-Identifier: Apache-2.0 */
/* The function's bell (guest_abi.h), on volt-init's side: what a service that waits there is born with,
 * when it may ring, and the ringing in its place once it has ended. */
#ifndef GUEST_BELL_H
#define GUEST_BELL_H

#include <stdbool.h>

/* Fds of such a service: FUNCTION_GATE_FD and FUNCTION_MEMORY_FD, above both of these numbers. */
struct bell_fds {
    int gate, memory;
};

/* Makes the gate. ret->gate is the service's own end, memory is borrowed. 0 or -errno. Once. */
int bell_open(struct bell_fds *ret);

/* In the service's process, before its exec and as root: the port. 0 or -errno. */
int bell_port_open(void);

/* Whether the service has come to the gate. */
bool bell_ready(void);

/* Lets it ring: it is in a VM of its own now. */
void bell_let_ring(void);

/* Rings in its place, and answers every call with this sentence. Returns only where no bell counts. */
void bell_stand_in(const char *sentence);

#endif
