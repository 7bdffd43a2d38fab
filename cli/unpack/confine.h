/* SPDX-License-Identifier: Apache-2.0 */
/* The process that unpacks what others packed: the second wall, behind the names that are checked.
 *
 * How it works
 *   The child is a fork of voltctl that keeps three descriptors and one folder. Whatever a fault of
 *   the code in it makes it do, it can write beneath that folder and tell its parent something.
 *
 *   wall       what it holds                                         where it is missing
 *   chroot     every name begins and ends in the folder; as root     without the right, and without
 *              through a view of it in which device nodes can be     user namespaces
 *              made but not opened
 *   Landlock   opening, making, removing and linking of files,       before Linux 5.19
 *              beneath the folder only; no reading; no TCP
 *   filter     a list of system calls (seccomp): no sockets, no      never
 *              processes, no exec, no ioctl; what Landlock does
 *              not hold (chmod, chown, times by name) only where
 *              chroot holds it; but times by name also for a user,
 *              whose rights hold them
 *
 *   Capabilities are dropped but for those that the work needs, no_new_privs is set, and the child
 *   dies with its parent.
 *
 * Invariants
 *   1. A wall that can't be had is left out and told in what the child finds in `walls`; the filter
 *      and the dropping of capabilities are never left out.
 *   2. Device nodes are made only through the view that can't open them.
 */
#ifndef VOLT_CLI_UNPACK_CONFINE_H
#define VOLT_CLI_UNPACK_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define CONFINE_CHROOT 1u
#define CONFINE_LANDLOCK 2u
#define CONFINE_FILTER 4u
#define CONFINE_ALL 7u
#define CONFINE_NODEV 8u /* of what is in force: nothing can be opened as a device */

/* The child's descriptors, beside 1 and 2, which are /dev/null. */
#define CONFINE_INPUT_FD 0
#define CONFINE_REPORT_FD 3
#define CONFINE_TARGET_FD 4

struct confine {
    int target_fd; /* the folder; O_PATH will do. All three are borrowed */
    int input_fd;
    int report_fd;
    bool owner;     /* as root: keep what gives files to their owners */
    bool nodes;     /* with that: what makes device nodes, sets set-id bits and capabilities */
    unsigned walls; /* CONFINE_ALL; tests leave some out, to see what each holds alone */
};

/* The child's work: `walls` are in force. Its value is the child's exit status. */
typedef int (*confine_work)(void *context, unsigned walls);

/* Starts the child, which sets up the walls and then works. The caller waits for it. When a wall
 * that must hold can't be set up, the child ends with CONFINE_FAILED before it has read anything, its
 * sentence (NUL-terminated, ERR_MSG_BYTES) in the report. */
int confine_start(const struct confine *confine, confine_work work, void *context, pid_t *ret_pid,
                  struct err *err);
#define CONFINE_FAILED 70

#endif
