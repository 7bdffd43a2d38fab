/* SPDX-License-Identifier: Apache-2.0 */
/* A control group for each VM, so that one that eats memory, CPU time or processes harms only
 * itself. For poold; cgroup v2 and v1 hierarchies alike, whichever hold memory, pids and cpu and
 * are writable.
 *
 * How it works
 *   cgroup_host_open makes one parent group "volt-NAME" under poold's own group in each hierarchy
 *   in use; a VM's group is a child of it in every one of them. Groups are made ahead of need
 *   (about 50 us each) and VMs join them ahead of need: on a quiet machine a join waits for the
 *   kernel to synchronise all CPUs (7 ms seen; 25 us when another join came just before), so it
 *   belongs on no path that someone waits for. cgroup_group_join is for a worker thread.
 *
 * Threads: host functions on one thread; group functions on any, for different groups at once.
 * The functions block for as long as said above.
 */
#ifndef VOLT_SANDBOX_CGROUP_H
#define VOLT_SANDBOX_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define CGROUP_HIERARCHIES_MAX 3u
#define CGROUP_ID_BYTES 64u /* of a group's id, with the final 0 */

enum cgroup_controller {
    CGROUP_MEMORY,
    CGROUP_PIDS,
    CGROUP_CPU,
    CGROUP_CONTROLLER_COUNT,
};

const char *cgroup_controller_name(enum cgroup_controller controller);

struct cgroup_hierarchy {
    int parent_fd;        /* the directory of our parent group, owned */
    uint32_t controllers; /* bits 1 << enum cgroup_controller */
    bool v2;
};

struct cgroup_host {
    struct cgroup_hierarchy hierarchy[CGROUP_HIERARCHIES_MAX];
    unsigned hierarchy_count; /* 0: no cgroups can be used here */
    uint32_t controllers;     /* all bits that some hierarchy has */
    char lacking[256];        /* sentences on what can't be used and why; "" nothing */
};

/* 0 in a field: no limit of this kind. */
struct cgroup_limits {
    uint64_t memory_bytes; /* guest memory, page tables and the VMM itself */
    uint32_t pids;         /* processes and threads, those of the kernel's KVM too */
    uint32_t cpu_weight;   /* 1 to 10000, 100 is everyone's default */
    uint32_t cpu_percent;  /* of one CPU: 150 is one and a half */
};

struct cgroup_owner {
    const char *name; /* 1 to 40 of a-z 0-9 and '-' */
    /* A process that is in poold's own group, too, and goes where poold does; 0: none. */
    pid_t keeper;
    /* Its groups get what others in poold's own group leave of the CPUs (Linux 5.15): where that is the
     * root group, the host's other processes. */
    bool idle;
};

/* Finds the hierarchies, makes the parent groups (or takes over those that an earlier poold of the
 * same name left) and removes empty children of them, and what poolds that have ended left empty. In v2 a group that has processes can't hand
 * controllers on: poold and its keeper move into a child of it, volt-daemon. Without any usable
 * hierarchy it is 0 too, with hierarchy_count 0. 0 or -errno for a bad name. */
int cgroup_host_open(struct cgroup_host *host, const struct cgroup_owner *owner, struct err *err);

/* Removes empty children and, if none is left, the parents; closes. Fine on a zeroed host. */
void cgroup_host_close(struct cgroup_host *host, const char *name);

/* Makes a group with these limits; id like a name. Limits whose controller is not there are left
 * out. On failure nothing is left behind. 0 or -errno. */
int cgroup_group_create(const struct cgroup_host *host, const char *id,
                        const struct cgroup_limits *limits, struct err *err);

/* Opens the group's cgroup.procs files for writing, one a hierarchy: a process that writes "0"
 * joins. ret_fds are the caller's, close-on-exec. 0 or -errno. */
int cgroup_group_open(const struct cgroup_host *host, const char *id,
                      int ret_fds[CGROUP_HIERARCHIES_MAX], unsigned *ret_count, struct err *err);

/* Moves a process with all its threads into the group. -ESRCH when it is gone. 0 or -errno. */
int cgroup_group_join(const struct cgroup_host *host, const char *id, pid_t pid, struct err *err);

enum cgroup_oom {
    CGROUP_OOM_NONE, /* nothing was killed for memory */
    CGROUP_OOM_OWN,  /* the kernel killed something in the group, which had reached its limit */
    CGROUP_OOM_HOST, /* the same, for the memory of the host or of a group that this one is in */
};
enum cgroup_oom cgroup_group_oom(const struct cgroup_host *host, const char *id);

/* Removes the group. -EBUSY while a process (a zombie too, on v1) is in it: call again later; 0
 * also when it is not there. */
int cgroup_group_remove(const struct cgroup_host *host, const char *id);

/* Takes the controllers away from the children of a v2 parent group (borrowed) and from the group that
 * it is in, which can have processes of its own again. */
void cgroup_v2_let_in(int parent_fd);
/* Writes the limits of a group that is there. 0 or -errno. */
int cgroup_group_limit(const struct cgroup_host *host, const char *id,
                       const struct cgroup_limits *limits, struct err *err);

/* A group of cgroup v2 that limits nothing, for programs that the kernel runs for its processes:
 * makes "volt-NAME" under the caller's own group, or takes it over. Its directory, and its
 * cgroup.procs for writing, are the caller's. 0 or -errno. */
int cgroup_v2_open(const char *name, int *ret_fd, int *ret_procs_fd, struct err *err);
/* Removes it if nobody is in it, and closes *fd. */
void cgroup_v2_close(int *fd, const char *name);

#endif
