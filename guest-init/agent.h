/* SPDX-License-Identifier: Apache-2.0 */
/* The agent: sessions over a stream socket that run commands and move files (guest_abi.h has the
 * protocol). All of it runs in the loop's thread.
 */
#ifndef GUEST_AGENT_H
#define GUEST_AGENT_H

#include <stdbool.h>
#include <sys/types.h>

/* Serves the connections of a listening, non-blocking socket, which becomes the agent's. 0, -errno.
 */
int agent_init(int listen_fd);

/* Makes the listening vsock socket of AGENT_VSOCK_PORT. The fd, or -errno. */
int agent_listen_vsock(void);

/* The reaper found that `pid` ended. True if it was a session's command. */
bool agent_child_ended(pid_t pid, int wait_status);

/* Goes on with sessions that had more to do than is fair in one turn. True if some still have. */
bool agent_run_pending(void);

/* Whether AGENT_PARK is taken from now on. Forgets an earlier one. */
void agent_park_allow(bool allowed);

/* True when parking was asked for and no session is open any more. */
bool agent_park_due(void);

/* This VM is of a function whose service waits at the bell, and it is unique now: has it ring, or rings
 * in its place. */
void agent_service_rings(void);

/* Touches what the first sessions will need, so that they meet no page fault. */
void agent_prefault(void);

#endif
