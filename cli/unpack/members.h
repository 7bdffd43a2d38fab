/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an archive's members (libarchive: tar in all its dialects, plain or compressed) and having
 * them put in their place. The code that meets hostile bytes first: it runs in the process that
 * confine.h describes.
 */
#ifndef VOLT_CLI_UNPACK_MEMBERS_H
#define VOLT_CLI_UNPACK_MEMBERS_H

#include "place.h"

struct members_rules {
    struct name_rules names;
    bool compressed;    /* gzip, zstd, xz or bzip2 may be around it, found by its first bytes */
    bool layer;         /* ".wh." names take away what earlier layers put there */
    bool capabilities;  /* attributes that are taken over: user.*, and security.capability */
    uint64_t bytes_max; /* of all files, as they are read */
};

/* Where the bytes come from: at most `bytes` of a descriptor, to its end if that comes first. */
struct members_source {
    int fd;
    uint64_t bytes;
};

/* Unpacks one archive, and reads its source to the end. place_finish is the caller's, after the
 * last one. 0 or -errno with a sentence; what was made until then stays. */
int members_unpack(const struct members_source *source, const struct members_rules *rules,
                   struct place *place, struct err *err);

#endif
