/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of `voltctl cp`, taken apart. */
#ifndef VOLT_CLI_COPY_PATH_H
#define VOLT_CLI_COPY_PATH_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

/* A path taken apart. "/a/b/" is dir "/a", name "b", slash; "/a/b/." is whole "/a/b", contents. */
struct split_path {
    char whole[PATH_MAX]; /* without what is said by the flags */
    char dir[PATH_MAX];
    char name[NAME_MAX + 1]; /* empty for "/" */
    bool slash;              /* it ended in '/' */
    bool contents;           /* it ended in "/.": what is in the folder is meant */
};

int copy_path_split(const char *path, struct split_path *ret, struct err *err);

#endif
