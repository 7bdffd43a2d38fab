/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a command runs as: "USER", "USER:GROUP" or ":GROUP" (of root), names or numbers, as `docker
 * exec --user` takes them. Looked up in etc/passwd and etc/group of the working directory, which is
 * the root. Pure but for reading these files: compiles for host tests and fuzzers.
 */
#ifndef GUEST_USER_H
#define GUEST_USER_H

#include <stdint.h>

#include "text.h"

#define USER_GROUPS_MAX 64u
#define USER_NAME_BYTES 64u /* with the NUL, as is the next */
#define USER_HOME_BYTES 256u

struct user {
    uint32_t uid, gid;
    uint32_t group_count;             /* of groups: */
    uint32_t groups[USER_GROUPS_MAX]; /* those that list the user, if no GROUP is given */
    char home[USER_HOME_BYTES];       /* "/" for a number that no line has */
};

/* 0; -ENOENT for a name that the files don't have, -EINVAL for what is no name or number, with fail
 * set. A number needs no line; its group is then 0. */
int user_find(const char *text, struct user *ret_user, struct fail *fail);

#endif
