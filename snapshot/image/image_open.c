/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading side of the image store: the files for VMs, and verification; see image_store.h.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/image/image_internal.h"
#include "virtio/disk_map.h"

static_assert(IMAGE_CHUNK_BYTES == DISK_MAP_CHUNK_BYTES, "an image's chunks are a disk map's");
static_assert(IMAGE_PACKS_MAX == DISK_MAP_FILES_MAX, "an image's packs are a disk map's files");

uint32_t image_pack_slots(const struct image_manifest *manifest, uint32_t pack)
{
    uint32_t slots = 0;

    for (uint32_t i = 0; i < manifest->chunk_count; i++) {
        if (manifest->chunk[i].pack == pack)
            slots = MAX_OF(slots, manifest->chunk[i].slot + 1);
    }
    return slots;
}

int image_pack_open(struct image_store *store, const struct unique_id *pack, uint32_t slots,
                    int *ret_fd, struct err *err)
{
    char hex[UNIQUE_ID_HEX_BYTES];
    uint64_t bytes;
    int rc =
        snapshot_file_open(store->packs_fd, unique_id_to_hex(pack, hex),
                           (uint64_t)slots * IMAGE_CHUNK_BYTES, INT64_MAX, ret_fd, &bytes, err);

    return rc < 0 ? err_wrap(err, "its pack") : 0;
}

static int map_write(int fd, const struct image_manifest *m, struct err *err)
{
    uint32_t chunk_count = (uint32_t)((m->bytes + IMAGE_CHUNK_BYTES - 1) / IMAGE_CHUNK_BYTES);
    struct disk_map_header header = { .magic = DISK_MAP_MAGIC,
                                      .version = DISK_MAP_VERSION,
                                      .file_count = m->pack_count,
                                      .disk_bytes = m->bytes };
    _cleanup_free_ struct disk_map_entry *entries = calloc(chunk_count, sizeof *entries);

    if (!entries)
        return err_set_errno(err, ENOMEM, "the image's map");
    memcpy(header.id, &m->id, sizeof header.id);
    for (uint32_t i = 0; i < chunk_count; i++)
        entries[i].file = DISK_MAP_ZEROES;
    for (uint32_t i = 0; i < m->chunk_count; i++)
        entries[m->chunk[i].index] = (struct disk_map_entry){ m->chunk[i].pack, m->chunk[i].slot };
    int rc = pwrite_all(fd, &header, sizeof header, 0);
    if (rc == 0)
        rc = pwrite_all(fd, entries, chunk_count * sizeof *entries, sizeof header);
    return rc < 0 ? err_set_errno(err, -rc, "the image's map") : 0;
}

static int open_files(struct image_store *store, const struct image_manifest *m,
                      struct image_files *files, struct err *err)
{
    int rc = 0;

    files->bytes = m->bytes;
    files->id = m->id;
    memcpy(files->filesystem, m->filesystem, sizeof files->filesystem);
    if (m->config && !(files->config = strdup(m->config)))
        return err_set_errno(err, ENOMEM, "the image's configuration");
    for (uint32_t i = 0; i < m->pack_count && rc == 0; i++) {
        rc = image_pack_open(store, &m->pack[i], image_pack_slots(m, i), &files->pack_fd[i], err);
        files->pack_count += rc == 0;
    }
    if (rc < 0)
        return rc;
    files->map_fd = memfd_create("disk-map", MFD_CLOEXEC);
    if (files->map_fd < 0)
        return err_set_errno(err, errno, "the image's map");
    return map_write(files->map_fd, m, err);
}

int image_open(struct image_store *store, const char *name, struct image_files *ret_files,
               struct err *err)
{
    struct image_files files = IMAGE_FILES_INIT;
    struct image_manifest m;

    pthread_mutex_lock(&store->lock);
    int rc = image_manifest_load(store, name, &m, err);
    if (rc == 0) {
        rc = open_files(store, &m, &files, err);
        if (rc < 0)
            err_wrap(err, "image '%s'", name);
        image_manifest_fini(&m);
    }
    pthread_mutex_unlock(&store->lock);
    if (rc < 0)
        image_files_close(&files);
    else
        *ret_files = files;
    return rc;
}

void image_files_close(struct image_files *files)
{
    close_fd(&files->map_fd);
    for (uint32_t i = 0; i < files->pack_count; i++)
        close_fd(&files->pack_fd[i]);
    files->pack_count = 0;
    free_pointer(&files->config);
}

/* ---- Verification ---- */

static int verify_chunk(const struct image_files *files, const struct image_chunk *chunk,
                        uint8_t *buffer, struct err *err)
{
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];
    int rc = pread_all(files->pack_fd[chunk->pack], buffer, IMAGE_CHUNK_BYTES,
                       (uint64_t)chunk->slot * IMAGE_CHUNK_BYTES);

    if (rc < 0)
        return err_set_errno(err, -rc, "chunk %u: reading it", chunk->index);
    struct digest digest = digest_of(buffer, IMAGE_CHUNK_BYTES);
    if (digest_equal(&digest, &chunk->digest))
        return 0;
    return err_set(err, EINVAL,
                   "chunk %u (slot %u of pack %u): digest is %s, expected %s: altered or damaged",
                   chunk->index, chunk->slot, chunk->pack, digest_to_hex(&digest, found),
                   digest_to_hex(&chunk->digest, expected));
}

int image_verify(struct image_store *store, const char *name, uint64_t *ret_checked,
                 struct err *err)
{
    struct image_files files = IMAGE_FILES_INIT;
    struct image_manifest m = { 0 };
    _cleanup_free_ uint8_t *buffer = malloc(IMAGE_CHUNK_BYTES);

    *ret_checked = 0;
    if (!buffer)
        return err_set_errno(err, ENOMEM, "image '%s'", name);
    pthread_mutex_lock(&store->lock);
    int rc = image_manifest_load(store, name, &m, err);
    if (rc == 0)
        rc = open_files(store, &m, &files, err);
    pthread_mutex_unlock(&store->lock);
    /* Unlocked, as it takes long: an image that is deleted meanwhile counts as damaged. */
    for (uint32_t i = 0; i < m.chunk_count && rc == 0; i++) {
        rc = verify_chunk(&files, &m.chunk[i], buffer, err);
        *ret_checked += rc == 0 ? IMAGE_CHUNK_BYTES : 0;
    }
    if (rc < 0 && rc != -ENOENT)
        err_wrap(err, "image '%s'", name);
    image_files_close(&files);
    image_manifest_fini(&m);
    return rc;
}
