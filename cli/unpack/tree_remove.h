/* SPDX-License-Identifier: Apache-2.0 */
/* Removal of trees of any depth and any modes, following no link. */
#ifndef VOLT_CLI_UNPACK_TREE_REMOVE_H
#define VOLT_CLI_UNPACK_TREE_REMOVE_H

#include "inode_set.h"

/* Removes `name` of the folder parent_fd (O_PATH will do) and all beneath it, but for what is in
 * `keep` (NULL: nothing) and the folders above that. Nobody else may be moving folders about in it
 * meanwhile. 0, also when there is nothing of that name, or -errno of the first thing that could not
 * be removed. */
int tree_remove(int parent_fd, const char *name, const struct inode_set *keep);

/* The same for all that is in the folder, which stays. */
int tree_empty(int folder_fd, const struct inode_set *keep);

#endif
