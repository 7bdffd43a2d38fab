/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the image store share; nobody else includes this. */
#ifndef VOLT_SNAPSHOT_IMAGE_INTERNAL_H
#define VOLT_SNAPSHOT_IMAGE_INTERNAL_H

#include "snapshot/image/image_store.h"

#define IMAGE_FILE_BYTES (IMAGE_NAME_BYTES + 8) /* "NAME.json" */

/* "NAME.json"; -EINVAL for what can't name an image. */
int image_file_name(const char *name, char ret_file[IMAGE_FILE_BYTES], struct err *err);

/* Writes NAME.json, whole or not at all: on disk under a temporary name, then renamed with these
 * flags (of renameat2: RENAME_NOREPLACE, or 0 to replace it). */
int image_manifest_store(const struct image_store *store, const char *name,
                         const struct image_manifest *manifest, unsigned flags, struct err *err);

/* Reads NAME.json; the sentence of -ENOENT is about the image. *ret_text is malloc'ed. */
int image_manifest_read(const struct image_store *store, const char *name,
                        char ret_file[IMAGE_FILE_BYTES], uint8_t **ret_text, size_t *ret_len,
                        struct err *err);

/* The name of the image whose manifest `file` is; false: it is none. */
bool image_file_is_manifest(const char *file, char ret_name[IMAGE_NAME_BYTES]);

/* Gives every image of format version 1 a manifest of this one; see image_store_open. Lock held, or
 * nobody else there. */
void image_upgrade_all(struct image_store *store, const struct upgrade_log *log);

/* image_list with the lock held. */
int image_list_locked(struct image_store *store, struct image_info **ret_infos, size_t *ret_count,
                      struct err *err);

/* Frees what no manifest names. Lock held, no import under way. -EINVAL when a manifest can't be
 * read: then nothing is freed. */
int image_collect_garbage(struct image_store *store, struct err *err);

/* Opens a pack that must have at least `slots` slots. */
int image_pack_open(struct image_store *store, const struct unique_id *pack, uint32_t slots,
                    int *ret_fd, struct err *err);

/* Slots that the manifest needs of its pack number `pack`. */
uint32_t image_pack_slots(const struct image_manifest *manifest, uint32_t pack);

#endif
