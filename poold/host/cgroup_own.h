/* SPDX-License-Identifier: Apache-2.0 */
/* Where in the cgroup hierarchies this process is, for cgroup.c. */
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

/* The controllers in a list separated by any of `separators`, as bits. */
uint32_t cgroup_controllers_in(const char *list, const char *separators);

/* Small files of the kernel's: 0 or -errno; its length (with a 0 behind it) or -errno. */
int cgroup_file_write(int dir_fd, const char *name, const char *value);
ssize_t cgroup_file_read(int dir_fd, const char *name, char *text, size_t text_bytes);

#endif
