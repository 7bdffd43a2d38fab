/* SPDX-License-Identifier: Apache-2.0 */
/* Which files of a tree have been packed under another name: those of several hard links. */
#ifndef GUEST_TAR_LINKS_H
#define GUEST_TAR_LINKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct tar_link {
    uint64_t device, inode; /* inode 0: free */
    size_t name_at;
};

/* Zeroed at first. */
struct tar_links {
    struct tar_link *slots; /* a power of two of them */
    size_t used, room;
    char *names; /* one behind the other */
    size_t names_bytes, names_room;
};

/* The name under which the file was packed before; NULL: it was not, and is now noted under this
 * one. When there is no memory for that, each of its names becomes a file of its own. */
const char *tar_links_note(struct tar_links *links, const struct stat *st, const char *name);

void tar_links_fini(struct tar_links *links);

#endif
