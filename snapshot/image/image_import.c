/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of images: chunks in, a pack and a manifest out; see image_store.h. */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "base/version.h"
#include "snapshot/image/filesystem.h"
#include "snapshot/image/image_config.h"
#include "snapshot/image/image_internal.h"
#include "snapshot/manifest_table.h"

/* Where the store has a chunk already. */
struct known_chunk {
    struct digest digest;
    struct unique_id pack;
    uint32_t slot;
};

struct image_import {
    struct image_store *store;
    char name[IMAGE_NAME_BYTES];
    struct image_manifest manifest;
    uint32_t chunk_room;
    struct known_chunk *known; /* of other images, by digest */
    size_t known_count;
    struct unique_id compared; /* a pack of other images, opened to compare with; */
    int compared_fd;           /* -1: none */
    uint8_t *comparison;       /* IMAGE_CHUNK_BYTES of it */
    struct unique_id pack;     /* the new one */
    int pack_fd;
    int own; /* its place in manifest.pack; -1: nothing is in it yet */
    uint32_t own_slots;
    bool ended_short; /* a short chunk came: it was the last */
    uint8_t head[FILESYSTEM_HEAD_BYTES];
};

static int by_digest(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

static int load_known(struct image_import *import, struct err *err)
{
    struct image_info *infos = NULL;
    size_t count = 0, total = 0;
    int rc = image_list_locked(import->store, &infos, &count, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        total += infos[i].manifest.chunk_count;
    import->known = calloc(total + 1, sizeof *import->known);
    for (size_t i = 0; i < count && import->known; i++) {
        const struct image_manifest *m = &infos[i].manifest;

        for (uint32_t k = 0; k < m->chunk_count; k++)
            import->known[import->known_count++] =
                (struct known_chunk){ m->chunk[k].digest, m->pack[m->chunk[k].pack],
                                      m->chunk[k].slot };
    }
    image_infos_free(infos, count);
    if (!import->known)
        return err_set_errno(err, ENOMEM, "image '%s'", import->name);
    qsort(import->known, total, sizeof *import->known, by_digest);
    return 0;
}

static void import_free(struct image_import *import)
{
    close_fd(&import->pack_fd);
    close_fd(&import->compared_fd);
    image_manifest_fini(&import->manifest);
    free(import->comparison);
    free(import->known);
    free(import);
}

static int begin_locked(struct image_import *import, struct err *err)
{
    char file[IMAGE_FILE_BYTES], hex[UNIQUE_ID_HEX_BYTES];
    struct image_store *store = import->store;
    int rc = image_file_name(import->name, file, err);

    if (rc < 0)
        return rc;
    if (faccessat(store->dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return err_set(err, EEXIST, "there is an image '%s' already", import->name);
    if (store->importing)
        return err_set(err, EBUSY, "another image is being imported; try again when it is done");
    import->comparison = malloc(IMAGE_CHUNK_BYTES);
    rc = import->comparison ? load_known(import, err)
                            : err_set_errno(err, ENOMEM, "image '%s'", import->name);
    if (rc < 0)
        return rc;
    import->pack = unique_id_make();
    import->pack_fd = openat(store->packs_fd, unique_id_to_hex(&import->pack, hex),
                             O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (import->pack_fd < 0)
        return err_set_errno(err, errno, "image '%s': making its pack", import->name);
    store->importing = true;
    return 0;
}

int image_import_begin(struct image_store *store, const char *name, struct image_import **ret,
                       struct err *err)
{
    struct image_import *import = calloc(1, sizeof *import);

    if (!import)
        return err_set_errno(err, ENOMEM, "image '%s'", name);
    import->store = store;
    import->pack_fd = import->own = import->compared_fd = -1;
    snprintf(import->name, sizeof import->name, "%s", image_name_valid(name) ? name : "");
    pthread_mutex_lock(&store->lock);
    int rc = begin_locked(import, err);
    pthread_mutex_unlock(&store->lock);
    if (rc < 0) {
        import_free(import);
        return rc;
    }
    *ret = import;
    return 0;
}

int image_import_configure(struct image_import *import, const char *text, size_t len,
                           struct err *err)
{
    assert(!import->manifest.config);
    int rc = image_config_parse(text, len, &import->manifest.config, err);
    return rc < 0 ? err_wrap(err, "image '%s'", import->name) : 0;
}

/* ---- Chunks ---- */

static bool all_zero(const uint8_t *bytes, size_t count)
{
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* The pack's place in the manifest, which it gets if there is room. -1: no room. One place is kept
 * for the import's own pack. */
static int pack_place(struct image_import *import, const struct unique_id *pack)
{
    struct image_manifest *m = &import->manifest;

    for (uint32_t i = 0; i < m->pack_count; i++) {
        if (unique_id_equal(&m->pack[i], pack))
            return (int)i;
    }
    if (m->pack_count + (import->own < 0 && pack != &import->pack) >= IMAGE_PACKS_MAX)
        return -1;
    m->pack[m->pack_count] = *pack;
    return (int)m->pack_count++;
}

/* Whether the other image's slot still holds what its digest says: a damaged one must not be handed
 * on while the right bytes are at hand. */
static bool slot_holds(struct image_import *import, const struct known_chunk *known,
                       const uint8_t *bytes)
{
    struct err ignored;

    if (import->compared_fd < 0 || !unique_id_equal(&import->compared, &known->pack)) {
        close_fd(&import->compared_fd);
        import->compared = known->pack;
        if (image_pack_open(import->store, &known->pack, 0, &import->compared_fd, &ignored) < 0)
            return false;
    }
    return pread_all(import->compared_fd, import->comparison, IMAGE_CHUNK_BYTES,
                     (uint64_t)known->slot * IMAGE_CHUNK_BYTES) == 0 &&
           memcmp(import->comparison, bytes, IMAGE_CHUNK_BYTES) == 0;
}

/* Finds the chunk in this image or, undamaged, in another one. False: nobody has it, or only packs
 * that this image has no place for. */
static bool find_chunk(struct image_import *import, const uint8_t *bytes, struct image_chunk *chunk)
{
    const struct image_manifest *m = &import->manifest;

    for (uint32_t i = 0; i < m->chunk_count; i++) {
        if (digest_equal(&m->chunk[i].digest, &chunk->digest)) {
            chunk->pack = m->chunk[i].pack;
            chunk->slot = m->chunk[i].slot;
            return true;
        }
    }
    const struct known_chunk *known = bsearch(&chunk->digest, import->known, import->known_count,
                                              sizeof *import->known, by_digest);
    int place = known && slot_holds(import, known, bytes) ? pack_place(import, &known->pack) : -1;
    if (place < 0)
        return false;
    chunk->pack = (uint32_t)place;
    chunk->slot = known->slot;
    return true;
}

/* Pages of zeroes stay holes of the pack. */
static int write_slot(int fd, const uint8_t *bytes, uint64_t offset)
{
    int rc = 0;

    for (size_t at = 0, end; at < IMAGE_CHUNK_BYTES && rc == 0; at = end) {
        bool zero = all_zero(bytes + at, HOST_PAGE_BYTES);

        for (end = at + HOST_PAGE_BYTES; end < IMAGE_CHUNK_BYTES; end += HOST_PAGE_BYTES) {
            if (all_zero(bytes + end, HOST_PAGE_BYTES) != zero)
                break;
        }
        if (!zero)
            rc = pwrite_all(fd, bytes + at, end - at, offset + at);
    }
    return rc;
}

static int store_chunk(struct image_import *import, const uint8_t *bytes, struct image_chunk *chunk,
                       struct err *err)
{
    uint64_t offset = (uint64_t)import->own_slots * IMAGE_CHUNK_BYTES;
    int rc = 0;

    if (import->own < 0)
        import->own = pack_place(import, &import->pack);
    assert(import->own >= 0); /* its place was kept */
    if (ftruncate(import->pack_fd, (off_t)(offset + IMAGE_CHUNK_BYTES)) < 0)
        rc = -errno;
    if (rc == 0)
        rc = write_slot(import->pack_fd, bytes, offset);
    if (rc < 0)
        return err_set_errno(err, -rc, "image '%s': writing a chunk", import->name);
    chunk->pack = (uint32_t)import->own;
    chunk->slot = import->own_slots++;
    return 0;
}

static int list_chunk(struct image_import *import, const struct image_chunk *chunk, struct err *err)
{
    struct image_manifest *m = &import->manifest;

    if (m->chunk_count == import->chunk_room) {
        uint32_t room = import->chunk_room ? 2 * import->chunk_room : 64;
        struct image_chunk *grown = reallocarray(m->chunk, room, sizeof *grown);

        if (!grown)
            return err_set_errno(err, ENOMEM, "image '%s'", import->name);
        m->chunk = grown;
        import->chunk_room = room;
    }
    m->chunk[m->chunk_count++] = *chunk;
    return 0;
}

int image_import_add(struct image_import *import, uint8_t *bytes, size_t count, struct err *err)
{
    struct image_manifest *m = &import->manifest;
    struct image_chunk chunk = { .index = (uint32_t)(m->bytes / IMAGE_CHUNK_BYTES) };

    assert(count <= IMAGE_CHUNK_BYTES && !import->ended_short);
    if (m->bytes + count > IMAGE_BYTES_MAX)
        return err_set(err, EFBIG, "image '%s': larger than %llu GiB", import->name,
                       IMAGE_BYTES_MAX >> 30);
    if (m->bytes == 0)
        memcpy(import->head, bytes, MIN_OF(count, FILESYSTEM_HEAD_BYTES));
    m->bytes += count;
    import->ended_short = count < IMAGE_CHUNK_BYTES;
    memset(bytes + count, 0, IMAGE_CHUNK_BYTES - count);
    if (all_zero(bytes, IMAGE_CHUNK_BYTES))
        return 0;
    chunk.digest = digest_of(bytes, IMAGE_CHUNK_BYTES);
    int rc = find_chunk(import, bytes, &chunk) ? 0 : store_chunk(import, bytes, &chunk, err);
    return rc < 0 ? rc : list_chunk(import, &chunk, err);
}

/* ---- The end ---- */

static int check_whole(struct image_import *import, struct err *err)
{
    struct image_manifest *m = &import->manifest;
    uint64_t says = 0;
    const char *kind = filesystem_kind(import->head, &says);

    if (m->bytes < 2048)
        return err_set(err, EINVAL, "image '%s': too small: %llu bytes are no file system",
                       import->name, (unsigned long long)m->bytes);
    if (!kind)
        return err_set(err, EINVAL,
                       "image '%s': neither an erofs nor an ext4 file system: no such magic number "
                       "at byte 1024",
                       import->name);
    if (m->bytes % 512 || says > m->bytes || says == 0)
        return err_set(err, EINVAL,
                       "image '%s': cut off: its %s superblock says %llu bytes, but there are %llu",
                       import->name, kind, (unsigned long long)says, (unsigned long long)m->bytes);
    snprintf(m->filesystem, sizeof m->filesystem, "%s", kind);
    return 0;
}

static int publish(struct image_import *import, struct err *err)
{
    const struct image_store *store = import->store;
    struct image_manifest *m = &import->manifest;

    m->id = image_manifest_id(m);
    manifest_time_now(m->created);
    snprintf(m->volt_version, sizeof m->volt_version, "%s", VOLT_VERSION);
    if (fsync(import->pack_fd) < 0 || fsync(store->packs_fd) < 0)
        return err_set_errno(err, errno, "image '%s': writing its chunks to disk", import->name);
    return image_manifest_store(store, import->name, m, RENAME_NOREPLACE, err);
}

/* What has no manifest is garbage now. */
static void import_end(struct image_import *import)
{
    struct image_store *store = import->store;

    store->importing = false;
    image_collect_garbage(store, NULL);
    import_free(import);
}

int image_import_commit(struct image_import *import, struct err *err)
{
    struct image_store *store = import->store;
    int rc = check_whole(import, err);

    pthread_mutex_lock(&store->lock);
    if (rc == 0)
        rc = publish(import, err);
    import_end(import);
    pthread_mutex_unlock(&store->lock);
    return rc;
}

void image_import_abort(struct image_import *import)
{
    if (!import)
        return;
    struct image_store *store = import->store;
    pthread_mutex_lock(&store->lock);
    import_end(import);
    pthread_mutex_unlock(&store->lock);
}
