/* SPDX-License-Identifier: Apache-2.0 */
/* What snapshots of format version 1 had in other ways, for upgrading them (store_upgrade.c): a
 * footer with checksums behind the RAM in memory.img, and a checksum of the delta. Their manifests
 * are read by manifest_parse_v1; `state` and `working-set` have not changed. */
#ifndef VOLT_SNAPSHOT_FORMAT_V1_H
#define VOLT_SNAPSHOT_FORMAT_V1_H

#include <stdint.h>

#include "base/err.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest.h"
#include "snapshot/unique_id.h"
#include "snapshot/upgrade_log.h"

#define V1_CHUNK_BYTES (2u << 20)
#define V1_FOOTER_MAGIC "VOLTMEM1"

/* At memory_bytes; followed by chunk_count checksums, then zeroes up to a multiple of 4096. */
struct v1_footer {
    char magic[8];
    uint32_t chunk_bytes; /* V1_CHUNK_BYTES */
    uint32_t chunk_count; /* memory_bytes / chunk_bytes */
    uint64_t memory_bytes;
    struct unique_id snapshot_id;
    struct checksum table;  /* of the checksums behind it */
    struct checksum footer; /* of the fields above */
};

_Static_assert(sizeof(struct v1_footer) == 72, "on-disk layout");

/* Size of memory.img. */
uint64_t v1_memory_file_bytes(uint64_t memory_bytes);

/* Compares every chunk of memory.img, which has that size, with its checksum; `step` counts on
 * meanwhile. -EINVAL with a sentence that starts with the file's name. */
int v1_memory_check(int fd, const struct manifest *m, const struct upgrade_log *log,
                    struct upgrade_step *step, struct err *err);

/* Compares a delta's contents with their checksum. */
int v1_disk_check(int fd, const struct manifest *m, struct err *err);

/* Whether the manifest has this checksum in place of a digest. */
bool v1_matches(const struct digest *in_manifest, const struct checksum *sum);

#endif
