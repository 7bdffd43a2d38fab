/* SPDX-License-Identifier: Apache-2.0 */
/* How promptly a VM without a daemon is run: ahead of all else on a busy host from the start of
 * volt-vmm to the guest's answer, for PROMPT_NS at most; behind all else from there until the guest
 * is ready, for PROMPT_BEHIND_NS at most; and as everybody from there on.
 *
 * Real-time scheduling does the first, where this process has the right to it (CAP_SYS_NICE, or a
 * limit for it), and runs as processes usually do: who has put it behind others, by nice(1) or
 * chrt(1), is obeyed. The VM's threads run ahead of others, and this process ahead of them, so that
 * it ends that whatever the guest does. The second, by SCHED_IDLE, is for VMs that start at the same
 * time: whoever is still starting them, and what each does before it gets ahead, else shares the CPUs
 * with all guests that have answered. It is left out where only a limit for real-time scheduling gave
 * the first: the VM could not come back. One thread. */
#ifndef VOLT_VMM_PROMPT_H
#define VOLT_VMM_PROMPT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROMPT_NS 50000000ull
#define PROMPT_BEHIND_NS 50000000ull

/* Zeroed: it runs as everybody. */
struct prompt {
    uint64_t end_ns; /* of its present state, CLOCK_MONOTONIC; 0: it runs as everybody */
};

/* Before the VM's process is forked. */
void prompt_begin(struct prompt *prompt);

/* In that process, before it starts threads. */
void prompt_follow(const struct prompt *prompt);

/* What poll(2) may wait for, in ms; -1: as long as it likes. */
int prompt_timeout_ms(const struct prompt *prompt);

/* The guest has answered: all threads of the VM run behind others, if they were ahead and may come
 * back, and this process runs as everybody. */
void prompt_answered(struct prompt *prompt, pid_t vm);

/* The guest is ready, or prompt_timeout_ms has passed: this process and all threads of the VM's run
 * as everybody. vm: 0 for none. */
void prompt_end(struct prompt *prompt, pid_t vm);

#endif
