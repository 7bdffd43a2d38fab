/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of the doorbell (guest_abi.h): ports and mailbox, all from user mode. */
#ifndef GUEST_DOORBELL_H
#define GUEST_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>

#include "guest_abi.h"

/* Gets port access and maps the mailbox; false if there is no doorbell here. Once, at boot. */
bool doorbell_open(void);

/* What guest memory is mapped with, above 10; -1: there is no doorbell. Borrowed. */
int doorbell_memory_fd(void);

/* Tells the host that the banner is printed, and what failed until then ("": nothing). */
void doorbell_banner(const char *trouble);

/* What a waking VM is asked to do, copied out of the mailbox. */
struct doorbell_wake {
    struct doorbell_mailbox mailbox;
    uint64_t woken_ns; /* CLOCK_MONOTONIC when it woke, which is when wall_clock_ns was right */
};

/* Stops here until the host wakes this VM, and answers. No system call, no page fault. */
void doorbell_park(struct doorbell_wake *ret_wake);

/* Ends a RESTORE with DOORBELL_READY_FAILED_* bits and a sentence about them, and wipes the entropy
 * from the mailbox. */
void doorbell_ready(uint32_t status, const char *trouble);

#endif
