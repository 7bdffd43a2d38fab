/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the image store share; nobody else includes this. */
#ifndef VOLT_SNAPSHOT_IMAGE_INTERNAL_H
#define VOLT_SNAPSHOT_IMAGE_INTERNAL_H

#include "snapshot/image/image_store.h"

#define IMAGE_FILE_BYTES (IMAGE_NAME_BYTES + 8) /* "NAME.json" */

/* "NAME.json"; -EINVAL for what can't name an image. */
int image_file_name(const char *name, char ret_file[IMAGE_FILE_BYTES], struct err *err);

/* image_list with the lock held. */
int image_list_locked(struct image_store *store, struct image_info **ret_infos, size_t *ret_count,
                      struct err *err);

/* Frees what no manifest names. Lock held, no import under way. -EINVAL when a manifest can't be
 * read: then nothing is freed. */
int image_collect_garbage(struct image_store *store, struct err *err);

/* Opens a pack that must have at least `slots` slots. */
int image_pack_open(struct image_store *store, const struct digest *pack, uint32_t slots,
                    int *ret_fd, struct err *err);

/* Slots that the manifest needs of its pack number `pack`. */
uint32_t image_pack_slots(const struct image_manifest *manifest, uint32_t pack);

#endif
