/* SPDX-License-Identifier: Apache-2.0 */
/* Images in other forms than an OCI layout: archives of `docker save` and of layouts, and folders as
 * skopeo's "dir". skopeo makes a layout of them. */
#ifndef VOLT_CLI_IMAGE_ARCHIVE_H
#define VOLT_CLI_IMAGE_ARCHIVE_H

#include <limits.h>

#include "base/err.h"

/* `source` is "docker-archive:FILE[:REF]", "oci-archive:FILE[:TAG]", "dir:DIR", or a FILE that is one
 * of the first two. Has it copied into a layout in the folder `work` and names that. 1: so it is; 0:
 * the source is none of these; -errno with a sentence. */
int image_archive_open(const char *source, const char *work, char ret_layout[PATH_MAX],
                       struct err *err);

/* Of a folder into which a tar file was unpacked: that was an image's archive, no root file system.
 * -EINVAL with a sentence that says how it is built. */
int image_archive_refuse(int root_fd, const char *path, struct err *err);

#endif
