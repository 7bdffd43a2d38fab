/* SPDX-License-Identifier: Apache-2.0 */
/* Making a root filesystem as one file, with the rights of the user: poold only stores it. */
#ifndef VOLT_CLI_IMAGE_BUILD_H
#define VOLT_CLI_IMAGE_BUILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct image_source {
    const char *dir, *tar,
        *oci; /* exactly one of them, or `empty`; oci: a layout, "DIR" or "DIR:TAG", or what
                                    image_archive.h takes */
    const char *filesystem; /* "erofs" or "ext4" */
    uint64_t bytes;         /* ext4: size of the file system; 0: as needed, and some room */
    bool empty;             /* nothing is in it, and everybody may write in it */
    bool whatever;          /* no root filesystem: a dir may be an archive or layout, too */
    bool compact;           /* ext4: what it needs of its own is at its beginning, once */
};

/* What was built. */
struct image_built {
    int fd; /* of a file that has no name any more */
    uint64_t bytes;
    json_t *config; /* how its programs are started, as poold takes it; NULL: nothing is said */
};

#define IMAGE_BUILT_INIT                                                                           \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Builds it with mkfs.erofs or mke2fs, of a folder, or of what is unpacked into one
 * (image_unpack.h). Nothing is left behind but *ret_built, which is untouched on failure. -ENOENT
 * with a sentence that names the package when a program is missing. Blocks as long as it takes; what
 * the programs have to say goes to stderr. */
int image_build(const struct image_source *source, struct image_built *ret_built, struct err *err);
void image_built_fini(struct image_built *built);
#define _cleanup_image_built_ __attribute__((cleanup(image_built_fini)))

#endif
