/* SPDX-License-Identifier: Apache-2.0 */
/* What place.c and place_dirs.c share. */
#ifndef VOLT_CLI_UNPACK_PLACE_INTERNAL_H
#define VOLT_CLI_UNPACK_PLACE_INTERNAL_H

#include "place.h"

/* openat2 with this place's rule for links on the way. An fd or -errno. */
int place_open(const struct place *place, const char *path, int flags);

/* Opens the folder that `path` is in, made with what is missing above it; *ret_name is the rest.
 * The fd stays the place's. An fd or -errno. */
int place_parent(struct place *place, const char *path, const char **ret_name);

/* A folder's mode and time, to be set at the end. `made`: it is ours, and they must be. 0 or
 * -errno. */
int place_dir_remember(struct place *place, const struct member *member, bool made);

/* What this layer has made is safe from its whiteouts. 0 or -errno. */
int place_made_note(const struct place *place, int parent_fd, const char *name);

/* Extended attributes of an open file or folder; those that can't be set are counted. */
void place_xattrs_set(struct place *place, int fd, const struct member *member);

#endif
