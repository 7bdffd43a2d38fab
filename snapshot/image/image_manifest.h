/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is: its file system, its size, and where each of its chunks lies.
 *
 * An image is a raw file system of `bytes` bytes, cut into chunks of 2 MiB. Chunks of zeroes are
 * not listed. The others lie in packs, files of slots of 2 MiB, and are named by their digest: that
 * of the whole 2 MiB, zeroes behind the end of the image. The id is a digest of the size and of
 * those, so images with equal ids are equal, wherever they are. docs/images.md has the file format.
 */
#ifndef VOLT_SNAPSHOT_IMAGE_MANIFEST_H
#define VOLT_SNAPSHOT_IMAGE_MANIFEST_H

#include <stdint.h>

#include "base/err.h"
#include "snapshot/checksum.h"
#include "snapshot/digest.h"
#include "snapshot/unique_id.h"

#define IMAGE_FORMAT "volt-image"
#define IMAGE_FORMAT_VERSION 2u
#define IMAGE_CHUNK_BYTES (2u << 20)
#define IMAGE_BYTES_MAX (64ull << 30)
#define IMAGE_CHUNKS_MAX (uint32_t)(IMAGE_BYTES_MAX / IMAGE_CHUNK_BYTES)
#define IMAGE_PACKS_MAX 16u /* each is an fd of every VM of the image */
#define IMAGE_MANIFEST_BYTES_MAX (4u << 20)
#define IMAGE_CONFIG_BYTES_MAX (64u << 10)

struct image_chunk {
    uint32_t index; /* at index * IMAGE_CHUNK_BYTES of the image */
    uint32_t pack;  /* of image_manifest.pack */
    uint32_t slot;  /* at slot * IMAGE_CHUNK_BYTES of the pack */
    struct digest digest;
};

struct image_manifest {
    struct digest id;
    char created[32]; /* RFC 3339, UTC, whole seconds */
    char volt_version[32];
    char filesystem[8]; /* "erofs" or "ext4" */
    uint64_t bytes;
    uint32_t pack_count;
    struct unique_id pack[IMAGE_PACKS_MAX]; /* their names */
    uint32_t chunk_count;
    struct image_chunk *chunk; /* owned; ascending by index */
    char *config;              /* owned; image_config.h; NULL: none */
};

void image_manifest_fini(struct image_manifest *manifest);

/* The id that size and chunks make. */
struct digest image_manifest_id(const struct image_manifest *manifest);

/* The one that they made in format version 1, of chunks that were named by checksums: of such a
 * manifest, or of checksums that were taken anew. */
struct checksum image_manifest_id_v1(const struct image_manifest *manifest);

/* *ret_text is malloc'ed, the caller's. 0, -EINVAL when it could not be read back, -ENOMEM. */
int image_manifest_format(const struct image_manifest *manifest, char **ret_text, size_t *ret_len,
                          struct err *err);

/* Parses text[0..len), untrusted: digest, every key and range, the order of the chunks, the id.
 * -EINVAL with a sentence that begins with `file`, -ENOTSUP for another format version.
 * *ret_manifest is untouched on failure. Any thread. */
int image_manifest_parse(const char *file, const char *text, size_t len,
                         struct image_manifest *ret_manifest, struct err *err);

/* The same for format version 1, whose checksums come in place of digests (manifest_table.h): for
 * upgrading. */
int image_manifest_parse_v1(const char *file, const char *text, size_t len,
                            struct image_manifest *ret_manifest, struct err *err);

#endif
