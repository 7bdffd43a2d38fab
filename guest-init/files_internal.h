/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of volt-files share. */
#ifndef GUEST_FILES_INTERNAL_H
#define GUEST_FILES_INTERNAL_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "text.h"

/* Writes all of it to stdout; false: nobody reads it any more. */
bool files_put(const void *data, size_t bytes);
/* A text and its NUL. */
bool files_put_text(const char *string);

/* Prints the entry of what is at an absolute path. 0 or -errno. */
int files_put_entry(const char *path);

/* Makes a path absolute, without dots, from the working directory; "~" is $HOME. 0 or -ENAMETOOLONG. */
int files_absolute(const char *path, char ret_path[PATH_MAX]);

/* Prints events of a folder until it is killed, or nobody reads; or -errno with fail set. */
int files_watch(const char *path, bool recursive, struct fail *fail);

#endif
