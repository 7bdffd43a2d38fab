/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs of an OCI layout: files named by their SHA-256, believed when they have it. */
#ifndef VOLT_CLI_OCI_BLOB_H
#define VOLT_CLI_OCI_BLOB_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define OCI_DIGEST_HEX 64u
#define OCI_JSON_BYTES_MAX (4u << 20) /* of an index, a manifest or a configuration */

/* What a manifest says of a blob. */
struct oci_blob {
    char hex[OCI_DIGEST_HEX + 1];
    uint64_t bytes;
    char media_type[128];
};

/* Reads a descriptor: {"mediaType", "digest": "sha256:HEX", "size"}. -EINVAL with a sentence about
 * `what`. */
int oci_blob_parse(struct oci_blob *blob, const json_t *descriptor, const char *what,
                   struct err *err);

/* Opens a blob of the layout: a regular file beneath it, as long as it should be. 0 or -errno. */
int oci_blob_open(int layout_fd, const struct oci_blob *blob, int *ret_fd, struct err *err);

/* Takes a blob's bytes as they come; -errno ends it. */
typedef int (*oci_blob_sink)(void *context, const void *data, size_t bytes, struct err *err);

/* Reads all of it and gives it away while its digest is still unknown. -EBADMSG, after the last
 * byte, if it was another blob. 0 or -errno. */
int oci_blob_read(int layout_fd, const struct oci_blob *blob, oci_blob_sink sink, void *context,
                  struct err *err);

/* A blob or file of JSON, at most OCI_JSON_BYTES_MAX; its digest is checked first. The object is the
 * caller's. */
int oci_blob_json(int layout_fd, const struct oci_blob *blob, json_t **ret_json, struct err *err);
int oci_file_json(int layout_fd, const char *name, json_t **ret_json, struct err *err);

#endif
