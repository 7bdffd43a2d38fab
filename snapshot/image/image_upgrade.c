/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the upgrade of images of format version 1, whose chunks are named by checksums.
 *
 * How it works: every chunk of such an image is read, compared with its checksum, which finds
 * damage, and named by its digest. Then the manifest is replaced in one rename: whenever this is
 * interrupted, the image is of one version or of the other, whole. Packs are not touched.
 *
 * What this can't undo: under version 1 an import took a chunk that had the right checksum for the
 * one it was given. An image that was imported then has, from now on, the name of what it holds,
 * which may not be what was once sent. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/image/image_internal.h"
#include "snapshot/manifest_table.h"
#include "snapshot/store_internal.h"

struct upgrading {
    struct image_store *store;
    const struct upgrade_log *log;
    struct upgrade_step step;
    int pack_fd[IMAGE_PACKS_MAX];
    uint8_t *buffer; /* IMAGE_CHUNK_BYTES */
};

static int rename_chunk(struct upgrading *u, struct image_chunk *chunk, struct err *err)
{
    int rc = pread_all(u->pack_fd[chunk->pack], u->buffer, IMAGE_CHUNK_BYTES,
                       (uint64_t)chunk->slot * IMAGE_CHUNK_BYTES);

    if (rc < 0)
        return err_set_errno(err, -rc, "chunk %u: reading it", chunk->index);
    struct checksum sum = checksum_of(u->buffer, IMAGE_CHUNK_BYTES);
    if (memcmp(&sum, &chunk->digest, sizeof sum) != 0)
        return err_set(err, EINVAL,
                       "chunk %u (slot %u of pack %u) is damaged; delete the image and import it "
                       "again",
                       chunk->index, chunk->slot, chunk->pack);
    chunk->digest = digest_of(u->buffer, IMAGE_CHUNK_BYTES);
    return 0;
}

static int rename_chunks(struct upgrading *u, struct image_manifest *m, struct err *err)
{
    int rc = 0;

    for (uint32_t i = 0; i < IMAGE_PACKS_MAX; i++)
        u->pack_fd[i] = -1;
    for (uint32_t i = 0; i < m->pack_count && rc == 0; i++)
        rc = image_pack_open(u->store, &m->pack[i], image_pack_slots(m, i), &u->pack_fd[i], err);
    for (uint32_t i = 0; i < m->chunk_count && rc == 0; i++) {
        u->step.done_bytes = (uint64_t)i * IMAGE_CHUNK_BYTES;
        upgrade_tell(u->log, &u->step);
        rc = rename_chunk(u, &m->chunk[i], err);
    }
    for (uint32_t i = 0; i < m->pack_count; i++)
        close_fd(&u->pack_fd[i]);
    return rc;
}

/* A manifest of version 1, and only such a one. */
static int load_v1(const struct upgrading *u, struct image_manifest *ret_manifest, struct err *err)
{
    _cleanup_free_ uint8_t *text = NULL;
    char file[IMAGE_FILE_BYTES];
    size_t len = 0;
    int rc = image_manifest_read(u->store, u->step.name, file, &text, &len, err);

    return rc < 0 ? rc : image_manifest_parse_v1(file, (char *)text, len, ret_manifest, err);
}

static int upgrade(struct upgrading *u, struct err *err)
{
    struct image_manifest m;
    int rc = load_v1(u, &m, err);

    if (rc < 0)
        return rc;
    u->step.total_bytes = (m.chunk_count + 1ull) * IMAGE_CHUNK_BYTES; /* and a last step */
    rc = rename_chunks(u, &m, err);
    if (rc == 0) {
        m.id = image_manifest_id(&m);
        rc = image_manifest_store(u->store, u->step.name, &m, 0, err);
    }
    image_manifest_fini(&m);
    return rc;
}

static int upgrade_one(void *data, const char *file, struct err *err)
{
    struct upgrading *u = data;
    struct image_manifest m;
    struct err why = { 0 };
    char name[IMAGE_NAME_BYTES];

    (void)err;
    if (!image_file_is_manifest(file, name))
        return 0;
    int rc = image_manifest_load(u->store, name, &m, &why);
    if (rc == 0)
        image_manifest_fini(&m);
    if (rc != -ENOTSUP) /* fine, or damaged: then the list of images says so */
        return 0;
    u->step = (struct upgrade_step){ .what = "image", .name = name };
    rc = upgrade(u, &why);
    if (rc == -ENOTSUP) /* a newer version */
        return 0;
    u->step.done_bytes = u->step.total_bytes;
    u->step.err = rc < 0 ? &why : NULL;
    upgrade_tell(u->log, &u->step);
    return 0;
}

void image_upgrade_all(struct image_store *store, const struct upgrade_log *log)
{
    struct upgrading u = { .store = store, .log = log };

    u.buffer = malloc(IMAGE_CHUNK_BYTES);
    if (u.buffer)
        store_for_each(store->dir_fd, upgrade_one, &u, NULL);
    free(u.buffer);
}

/* ---- Of snapshots that name an image ---- */

/* The id that the image would have had. */
static int id_v1_of(struct image_manifest *m, const struct image_files *files,
                    struct digest *ret_id, struct err *err)
{
    _cleanup_free_ uint8_t *buffer = malloc(IMAGE_CHUNK_BYTES);

    if (!buffer)
        return err_set_errno(err, ENOMEM, "the image's id");
    for (uint32_t i = 0; i < m->chunk_count; i++) {
        int rc = pread_all(files->pack_fd[m->chunk[i].pack], buffer, IMAGE_CHUNK_BYTES,
                           (uint64_t)m->chunk[i].slot * IMAGE_CHUNK_BYTES);

        if (rc < 0)
            return err_set_errno(err, -rc, "chunk %u: reading it", m->chunk[i].index);
        struct checksum sum = checksum_of(buffer, IMAGE_CHUNK_BYTES);
        m->chunk[i].digest = digest_from_checksum(&sum);
    }
    struct checksum id = image_manifest_id_v1(m);
    *ret_id = digest_from_checksum(&id);
    return 0;
}

int image_id_upgrade(struct image_store *store, const char *name, struct digest *id,
                     struct err *err)
{
    struct image_files files = IMAGE_FILES_INIT;
    struct image_manifest m = { 0 };
    struct digest was;
    int rc = store ? image_open(store, name, &files, err)
                   : err_set(err, ENOENT, "there is no image '%s'", name);

    if (rc == 0)
        rc = image_manifest_load(store, name, &m, err);
    if (rc == 0)
        rc = id_v1_of(&m, &files, &was, err);
    if (rc == 0 && !digest_equal(&was, id))
        rc = err_set(err, EINVAL,
                     "the image '%s' is not the one that the snapshot was taken with: delete the "
                     "pool and create it again",
                     name);
    if (rc == 0)
        *id = files.id;
    image_manifest_fini(&m);
    image_files_close(&files);
    return rc;
}
