/* SPDX-License-Identifier: Apache-2.0 */
/* The image store: read-only root filesystems in content-addressed chunks, each stored once.
 *
 * How it works
 *   A store is a directory: NAME.json, the manifest of an image (image_manifest.h), and packs/HEX,
 *   files of slots of 2 MiB. An import cuts its image into chunks, looks each digest up among all
 *   manifests, and writes what nobody has into one new pack. There is no table of references to
 *   get out of step: a chunk is in use if a manifest says so. Collecting the garbage removes packs
 *   that no manifest names and punches holes where slots are free.
 * Invariants
 *   1. NAME.json is absent or whole, and then every pack that it names is on disk with all its
 *      slots: packs are synced first, the manifest takes its name in one rename.
 *   2. Slots of a finished pack are never written again, so open images never change.
 *   3. Nothing is freed while an import is under way, or while a manifest can't be read.
 *   4. Image names are those of snapshots; ".NAME.tmp.XXXXXX" is what a crash left.
 *
 * Threads: everything blocks on the disk: thread pool only. Calls may overlap. One process has a
 * store open (poold holds its lock). */
#ifndef VOLT_SNAPSHOT_IMAGE_STORE_H
#define VOLT_SNAPSHOT_IMAGE_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "snapshot/image/image_manifest.h"
#include "snapshot/store.h"
#include "snapshot/upgrade_log.h"

#define IMAGE_NAME_BYTES SNAPSHOT_NAME_BYTES

/* 1 to 63 of a-z 0-9 - _ ., beginning with a letter or digit. */
bool image_name_valid(const char *name);

struct image_store {
    int dir_fd, packs_fd; /* owned */
    pthread_mutex_t lock; /* over names, packs and the next */
    bool importing;
};

/* Opens the store in dir_fd (transferred, also on failure), makes packs/ if it is missing, upgrades
 * images of format version 1 (every chunk is read and gets the name that its contents make: that
 * may take long, and what was not done when it is interrupted is done the next time), and removes
 * what crashes left. `log` (may be NULL) hears of the upgrades, also of those that fail: such an
 * image stays as it is, and nobody can use it. *ret_notice says what could not be freed and why, ""
 * when all is well. 0 or -errno. */
int image_store_open(struct image_store *store, int dir_fd, const struct upgrade_log *log,
                     struct err *ret_notice, struct err *err);
void image_store_close(struct image_store *store);

/* ---- Making images ---- */

struct image_import;

/* Starts an import. -EINVAL bad name, -EEXIST there is such an image, -EBUSY another import is
 * under way. */
int image_import_begin(struct image_store *store, const char *name, struct image_import **ret,
                       struct err *err);

/* Says how its programs are started: text[0..len) as image_config.h has it, once, before the commit.
 * -EINVAL with a sentence. */
int image_import_configure(struct image_import *import, const char *text, size_t len,
                           struct err *err);

/* Adds the next `count` bytes of the image, at most IMAGE_CHUNK_BYTES; only the last call brings
 * fewer. `bytes` has room for IMAGE_CHUNK_BYTES and is filled up with zeroes. -EFBIG, -ENOSPC... */
int image_import_add(struct image_import *import, uint8_t *bytes, size_t count, struct err *err);

/* Checks that it is an erofs or ext4 file system as large as its superblock says, and gives it its
 * name. -EINVAL what it is not. The import is over either way. */
int image_import_commit(struct image_import *import, struct err *err);
/* Drops an import and what it stored. NULL is fine. */
void image_import_abort(struct image_import *import);

/* ---- Looking at them ---- */

struct image_info {
    char name[IMAGE_NAME_BYTES];
    struct image_manifest manifest; /* owned; valid if error.code is 0 */
    uint32_t unique_chunks;         /* that no other image has */
    struct err error;               /* why the manifest can't be read */
};

/* Every image in order of name; damaged ones come with their error. Free with image_infos_free. */
int image_list(struct image_store *store, struct image_info **ret_infos, size_t *ret_count,
               struct err *err);
void image_infos_free(struct image_info *infos, size_t count);

/* Chunks of infos[at] that infos[other] has, too. */
uint32_t image_shared_chunks(const struct image_info *infos, size_t at, size_t other);

/* -ENOENT no such image, -EINVAL a damaged manifest, -ENOTSUP one of another format version. */
int image_manifest_load(struct image_store *store, const char *name,
                        struct image_manifest *ret_manifest, struct err *err);

/* Reads every chunk and compares its digest. 0, or -errno with a sentence that names chunk and
 * pack; *ret_checked: bytes found right. */
int image_verify(struct image_store *store, const char *name, uint64_t *ret_checked,
                 struct err *err);

/* *id is what a snapshot of format version 1 says of the image that it was made with; when that is
 * what is called so now, *id becomes its id of today. Reads every chunk. -ENOENT no such image;
 * -EINVAL another one, or damaged. `store` may be NULL: there is no image. */
int image_id_upgrade(struct image_store *store, const char *name, struct digest *id,
                     struct err *err);

/* Takes the name away and frees what no other image needs. -ENOENT. A failure to free is told in
 * *ret_notice; the image is gone then all the same. */
int image_delete(struct image_store *store, const char *name, struct err *ret_notice,
                 struct err *err);

/* ---- Opening one for VMs ---- */

/* Files that a VM reads the image from: a map (virtio/disk_map.h) in memory and the packs. */
struct image_files {
    int map_fd; /* owned, as are the packs */
    int pack_fd[IMAGE_PACKS_MAX];
    uint32_t pack_count;
    uint64_t bytes;
    struct digest id;
    char filesystem[8];
    char *config; /* owned; image_config.h; NULL: none */
};

#define IMAGE_FILES_INIT                                                                           \
    (struct image_files)                                                                           \
    {                                                                                              \
        .map_fd = -1                                                                               \
    }

/* -ENOENT no such image; -EINVAL a damaged manifest, or a pack that is missing or too short. */
int image_open(struct image_store *store, const char *name, struct image_files *ret_files,
               struct err *err);
void image_files_close(struct image_files *files);

#endif
