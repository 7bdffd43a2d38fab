/* SPDX-License-Identifier: Apache-2.0 */
/* Making a root filesystem as one file, with the rights of the user: poold only stores it. */
#ifndef VOLT_CLI_IMAGE_BUILD_H
#define VOLT_CLI_IMAGE_BUILD_H

#include <stdint.h>

#include "base/err.h"

struct image_source {
    const char *dir, *tar, *oci; /* exactly one of them; oci: "DIR" or "DIR:TAG" */
    const char *filesystem;      /* "erofs" or "ext4" */
    uint64_t bytes;              /* ext4: size of the file system; 0: as needed, and some room */
};

/* Builds it with mkfs.erofs or mke2fs, of a folder, or of what is unpacked
 * into one (image_unpack.h). The fd is of a file that has no name any
 * more; nothing else is left behind either. -ENOENT with a sentence that names the package when a
 * program is missing. Blocks as long as it takes; what the programs have to say goes to stderr. */
int image_build(const struct image_source *source, int *ret_fd, uint64_t *ret_bytes,
                struct err *err);

#endif
