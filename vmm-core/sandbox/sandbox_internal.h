/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of sandbox.h one by one: for sandbox.c, the tests and the benchmark that measures
 * each. Same rules: one thread, 0 or -errno with a sentence. */
#ifndef VOLT_SANDBOX_SANDBOX_INTERNAL_H
#define VOLT_SANDBOX_SANDBOX_INTERNAL_H

#include "sandbox/sandbox.h"

/* Appends a sentence to status->lacking; cut when it is full. */
void sandbox_lacks(struct sandbox_status *status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Has 0, 1 and 2 lead to /dev/null, and closes every other fd that is not in keep_fds (at most 64 of
 * them). */
int sandbox_close_fds(const int *keep_fds, unsigned keep_count, struct err *err);

/* Forks into a new pid namespace, and into a new user namespace where only that allows it; see
 * sandbox_enter for the fork; config and uid: which layers the parent that stays outside gets. 1: the caller
 * is pid 1 of it; 0: without the right to make it nothing has changed, and status->lacking tells; or
 * -errno. */
int sandbox_pid_namespace_enter(const struct sandbox_config *config, uint32_t uid,
                                struct sandbox_status *status, struct err *err);

/* The other namespaces, of the calling thread and those that it starts; after the pid namespace was
 * entered. Not allowed to: 0 without CONTROL_LAYER_NAMESPACES, and status->lacking tells. */
int sandbox_namespaces_enter(struct sandbox_status *status, struct err *err);

/* Makes an empty, read-only tmpfs the root and current directory, and lets go of every other mount.
 * Needs a mount namespace of the process's own. */
int sandbox_root_empty(struct err *err);

/* rlimits, no_new_privs, umask, and a death signal. */
int sandbox_limits_set(struct err *err);

/* Empties the bounding and ambient sets, and the others but for what sandbox_enter_vm needs
 * (SETUID, SETGID, SYS_CHROOT, DAC_READ_SEARCH) where they are there. */
int sandbox_capabilities_reduce(struct err *err);

/* Empties all that is left. */
int sandbox_capabilities_drop(struct err *err);

/* The compiled filter of a kind, as installed but for the process id. */
struct sock_filter;
const struct sock_filter *sandbox_filter_get(enum sandbox_thread_kind kind,
                                             unsigned *ret_insn_count);

#endif
