/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking of root filesystems: a tar file, or the layers of an OCI image, into one folder.
 *
 * What is unpacked is not trusted (unpack.h). As root all is kept that a file system can: owners,
 * modes with set-id bits, device nodes, capabilities; without root, what a user may set. What had to
 * be left out is told on stderr, and progress, too.
 */
#ifndef VOLT_CLI_IMAGE_UNPACK_H
#define VOLT_CLI_IMAGE_UNPACK_H

#include <jansson.h>

#include "base/err.h"

/* Unpacks a tar file, plain or compressed by gzip, zstd, xz or bzip2; "-": standard input. 0 or
 * -errno; what is in the folder then is of no use. */
int image_unpack_tar(const char *path, int target_fd, struct err *err);

/* Unpacks an OCI layout, "DIR" or "DIR:TAG" (oci/layout.h); every blob's digest is checked.
 * *ret_config: as oci_config_take has it. */
int image_unpack_oci(const char *layout, int target_fd, json_t **ret_config, struct err *err);

#endif
