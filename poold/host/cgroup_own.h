/* SPDX-License-Identifier: Apache-2.0 */
/* Where in the cgroup hierarchies this process is, and the groups right below, for cgroup.c. */
#ifndef VOLT_SANDBOX_CGROUP_OWN_H
#define VOLT_SANDBOX_CGROUP_OWN_H

#include <limits.h>
#include <stdio.h>

#include "host/cgroup.h"

/* A mounted hierarchy. */
struct cgroup_mount {
    char root[PATH_MAX], point[PATH_MAX];
    uint32_t controllers; /* bits of enum cgroup_controller; v2: all of them, there or not */
    bool v2;
};

/* The next one in /proc/self/mountinfo; false at the end. */
bool cgroup_mount_next(FILE *mountinfo, struct cgroup_mount *ret_mount);
/* Opens this process's own group there, of a v1 hierarchy that has one of `controllers`. An fd;
 * -ENOENT: it has none; -errno. */
int cgroup_own_open(const struct cgroup_mount *mount, uint32_t controllers);

/* A child of poold's own group in v2, for itself and its keeper. */
#define CGROUP_V2_DAEMON "volt-daemon"

/* Makes or takes over the parent group in own_fd, "volt-NAME", with a shared lock (flock) that lasts as
 * long as the fd: so others can tell whose poold lives. The group is for its user alone, as whoever can
 * open it can lock it. Removes empty children of it, and the groups of poolds (NAME is 16 hexadecimal
 * digits) that have ended without removing theirs, as far as no process is in them: some keep real-time
 * bandwidth that all others lack. An fd or -errno. */
int cgroup_parent_open(int own_fd, const char *group);
/* Removes the children that no process is in. */
void cgroup_children_sweep(int parent_fd);

/* The controllers in a list separated by any of `separators`, as bits. */
uint32_t cgroup_controllers_in(const char *list, const char *separators);

/* Small files of the kernel's: 0 or -errno; its length (with a 0 behind it) or -errno. */
int cgroup_file_write(int dir_fd, const char *name, const char *value);
ssize_t cgroup_file_read(int dir_fd, const char *name, char *text, size_t text_bytes);

#endif
