/* SPDX-License-Identifier: Apache-2.0 */
/* The holes of a file that is being packed (GNU.sparse, format 1.0). */
#ifndef GUEST_TAR_WRITE_HOLES_H
#define GUEST_TAR_WRITE_HOLES_H

#include <sys/stat.h>
#include <sys/types.h>

#include "tar.h"

struct tar_holes {
    struct tar_extent *list; /* owned, as is the next */
    char *map;               /* the list as the stream has it, in whole blocks; NULL: no holes */
    uint32_t count;
    size_t map_bytes, map_sent;
    uint32_t at;   /* the extent whose data is being sent */
    uint64_t done; /* bytes of it that are */
};

/* Looks for the holes of an open file. Bytes that the stream has of it, with the map. A file of which
 * the file system can't tell, or with more holes than can be told, is one without. */
uint64_t tar_holes_find(struct tar_holes *holes, int fd, const struct stat *st);

/* The next bytes, at most `room`. 0: there is less of the file than there was; -errno. */
ssize_t tar_holes_read(struct tar_holes *holes, int fd, uint8_t *buffer, size_t room);

void tar_holes_fini(struct tar_holes *holes);

#endif
