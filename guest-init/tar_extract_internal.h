/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of tar_extract.h: members (tar_extract.c), and the way to them (tar_extract_path.c). */
#ifndef GUEST_TAR_EXTRACT_INTERNAL_H
#define GUEST_TAR_EXTRACT_INTERNAL_H

#include "tar_extract.h"

/* Neither absolute nor empty, and without "..". */
bool extract_name_is_safe(const char *path);

/* Opens a directory of the target as O_PATH. The fd, or -1 with errno. */
int extract_open_directory(const struct extract *extract, const char *path);

/* Opens the directory that `path` is in, making it if need be; *ret_name is the rest. The fd stays
 * the extract's. -1 with errno. */
int extract_parent(struct extract *extract, const char *path, const char **ret_name);

/* Whether what is made in the directory of the last member has the mode that it is made with. */
bool extract_parent_keeps_modes(struct extract *extract);
void extract_parent_forget(struct extract *extract);

#endif
