/* SPDX-License-Identifier: Apache-2.0 */
/* The jail of a volt-vmm process: what is taken from it before a guest's first instruction.
 *
 * How it works
 *   sandbox_enter() is the expensive part and runs once per process tree: in the template (its
 *   clones inherit everything over fork) and in a VM that boots. It closes fds, lets go of stdio,
 *   goes into new namespaces as pid 1 of its own, pivots into an empty read-only root, sets limits
 *   and no_new_privs, enforces Landlock and drops every capability that sandbox_enter_vm() does not
 *   need.
 *   sandbox_enter_vm() is the cheap rest and runs once per VM, in the clone (or in the booting VM,
 *   after sandbox_enter): cgroup, own root directory, own uid, last capabilities.
 *   sandbox_install_filter() runs once per thread, last: seccomp.
 *
 * Invariants
 *   1. Everything that is opened by name is opened before sandbox_enter and kept as an fd. After
 *      it no path leads anywhere, but for the VM's own socket directory after sandbox_enter_vm.
 *   2. Both enter functions are called while the process has one thread, and leave it so.
 *   3. A layer that the kernel or the caller's rights do not allow (namespaces, Landlock) is left
 *      out and named in status->lacking; status->layers says what is in force, never what was
 *      hoped for. Capabilities, no_new_privs, seccomp, an asked-for uid or cgroup that fail are
 *      errors: the VM must not start.
 *   4. The clones of one template can't signal or trace each other (Landlock scope, own uids,
 *      not dumpable), and all die with their template (pid namespace).
 */
#ifndef VOLT_SANDBOX_SANDBOX_H
#define VOLT_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define SANDBOX_CGROUPS_MAX 8u
#define SANDBOX_KEEP_ID ((uint32_t)-1) /* uid, gid: do not switch */

/* Which layers to set up. All are on by default; switching one off is for debugging and measuring,
 * and sandbox_config_warn says so on stderr, once for each. */
struct sandbox_config {
    bool namespaces;
    bool landlock;
    bool capabilities;
    bool seccomp;
    bool forked; /* set by sandbox_fork: the process is pid 1 of a namespace of its own */
    /* A socket among keep_fds that all of it lives as long as: it ends when nobody has the other end
     * any more, instead of with the parent, which may be another by then. 0: none. */
    int lifeline_fd;
};

#define SANDBOX_CONFIG_ALL                                                                         \
    (struct sandbox_config)                                                                        \
    {                                                                                              \
        .namespaces = true, .landlock = true, .capabilities = true, .seccomp = true                \
    }

/* fork() by a parent that stays and waits for the child by itself. Where it may make a pid namespace
 * (root), the child is pid 1 of a new one, and dies with the parent: its sandbox_enter then forks no
 * more, which is a process less for the VM. Elsewhere it is a fork and nothing else. As fork(2). */
pid_t sandbox_fork(struct sandbox_config *config);

/* What is in force. Zero it before sandbox_enter; clones get a copy by fork. */
struct sandbox_status {
    uint32_t layers;       /* CONTROL_LAYER_* (control.h) */
    uint32_t landlock_abi; /* 0: not in force */
    bool rooted;           /* the VM's socket directory is its root */
    char lacking[256];     /* sentences on what is not in force and why; "" when all is */
};

/* Takes "--no-namespaces", "--no-landlock", "--no-capabilities" or "--no-seccomp". False for any
 * other argument. */
/* The i-th switch, from 0, and what it risks, for --help. False: there is none. */
bool sandbox_config_text(size_t i, const char **ret_option, const char **ret_risk);
bool sandbox_config_option(struct sandbox_config *config, const char *argument);

/* Writes one warning line to stderr for each layer that is switched off. */
void sandbox_config_warn(const struct sandbox_config *config);

/* Work on another thread, whose root stays where it is. 0 or -errno. */
struct sandbox_meanwhile {
    int (*work)(void *context, struct err *err);
    void *context;
};

/* Once, at the start, with one thread: see above. uid: what sandbox_enter_vm will switch to in the
 * same process; SANDBOX_KEEP_ID: it won't. Keeps open keep_fds (borrowed, keep_count of them, any
 * order); 0, 1 and 2 lead to /dev/null from here on. With namespaces in force this forks, unless
 * sandbox_fork has: the call returns in the child, which is pid 1 of a new pid namespace and dies
 * when its parent does; the parent stays behind, waits and exits as the child did, without an fd, a
 * capability or a system call beyond what that takes, as uid, and dies with its own parent, or with
 * the lifeline, which it keeps then.
 * `meanwhile` (NULL: nothing) is done in the process that is returned to, beside the layers after
 * that fork, on a thread that none of them confines and that is gone on return: for what no guest
 * has a say in. 0 or -errno, of either. */
int sandbox_enter(const struct sandbox_config *config, uint32_t uid, const int *keep_fds,
                  unsigned keep_count, const struct sandbox_meanwhile *meanwhile,
                  struct sandbox_status *status, struct err *err);

/* What one VM gets of its own. */
struct sandbox_vm {
    uint32_t uid, gid; /* SANDBOX_KEEP_ID: keep. Needs a sandbox_enter as root */
    /* cgroup.procs files open for writing, one a hierarchy; borrowed. */
    int cgroup_fds[SANDBOX_CGROUPS_MAX];
    unsigned cgroup_count;
    int socket_dir_fd;   /* directory (O_PATH will do) that becomes the VM's root directory, in
                            which it may connect to sockets, and no more;
                            borrowed, and may be kept once status->rooted: nothing is above a
                            root. It is not where namespaces are missing and the user may not
                            change roots. -1: none */
    uint64_t file_bytes; /* RLIMIT_FSIZE: largest offset it may write in a file; 0: none at all */
};

/* Once per VM, with one thread, after sandbox_enter. 0 or -errno. */
int sandbox_enter_vm(const struct sandbox_config *config, const struct sandbox_vm *vm,
                     struct sandbox_status *status, struct err *err);

/* The kinds of thread, each with its own list of system calls (seccomp_table.h). */
enum sandbox_thread_kind {
    SANDBOX_THREAD_TEMPLATE, /* the template: clones inherit it below their own filters, so it
                                allows all they do until theirs are installed */
    SANDBOX_THREAD_DEVICE,   /* a VM's device thread: after its vCPU threads were created */
    SANDBOX_THREAD_ROOTLESS, /* a device thread without status->rooted: it connects to nothing */
    SANDBOX_THREAD_VCPU,     /* a vCPU thread: after its vCPU was made, before its first KVM_RUN
                                and before state is loaded */
    SANDBOX_THREAD_OUTSIDE,  /* what waits outside of the pid namespace */
    SANDBOX_THREAD_GATE,     /* volt-gate (poold/net/gate/gate.h): before its first frame */
    SANDBOX_THREAD_COUNT,
};

const char *sandbox_thread_kind_name(enum sandbox_thread_kind kind);

/* Installs the calling thread's filter; it can't be undone. A call that is not on the list kills
 * the whole process with SIGSYS, and the kernel logs the call's number where audit is on. Needs
 * no_new_privs, which sandbox_enter sets. Nothing happens with config->seccomp false. The device
 * thread's call sets CONTROL_LAYER_SECCOMP; status may be NULL for other threads. 0 or -errno. */
int sandbox_install_filter(const struct sandbox_config *config, enum sandbox_thread_kind kind,
                           struct sandbox_status *status, struct err *err);

#endif
