/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the store's directory: opening, listing, deleting and collecting garbage; see image_store.h.
 */
#include "snapshot/image/image_store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/image/image_internal.h"
#include "snapshot/store_internal.h"

/* ---- Opening ---- */

int image_store_open(struct image_store *store, int dir_fd, const struct upgrade_log *log,
                     struct err *ret_notice, struct err *err)
{
    *store = (struct image_store){ .dir_fd = dir_fd, .packs_fd = -1 };
    pthread_mutex_init(&store->lock, NULL);
    if (mkdirat(dir_fd, "packs", 0700) < 0 && errno != EEXIST) {
        err_set_errno(err, errno, "image store: making its folder of packs");
        image_store_close(store);
        return -err->code;
    }
    store->packs_fd = openat(dir_fd, "packs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (store->packs_fd < 0) {
        err_set_errno(err, errno, "image store: opening its folder of packs");
        image_store_close(store);
        return -err->code;
    }
    image_upgrade_all(store, log);
    *ret_notice = (struct err){ 0 };
    image_collect_garbage(store, ret_notice);
    return 0;
}

void image_store_close(struct image_store *store)
{
    close_fd(&store->packs_fd);
    close_fd(&store->dir_fd);
}

/* ---- Listing ---- */

struct listing {
    struct image_store *store;
    struct image_info *infos;
    size_t count;
};

static int list_one(void *data, const char *file, struct err *err)
{
    struct listing *listing = data;
    struct image_info *info, *grown;
    char name[IMAGE_NAME_BYTES];

    if (!image_file_is_manifest(file, name))
        return 0;
    grown = reallocarray(listing->infos, listing->count + 1, sizeof *grown);
    if (!grown)
        return err_set_errno(err, ENOMEM, "listing images");
    listing->infos = grown;
    info = &grown[listing->count];
    *info = (struct image_info){ 0 };
    memcpy(info->name, name, sizeof name);
    image_manifest_load(listing->store, info->name, &info->manifest, &info->error);
    listing->count++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct image_info *)a)->name, ((const struct image_info *)b)->name);
}

/* A chunk of some image, for sorting all of them by digest. */
struct owned_chunk {
    struct digest digest;
    uint32_t owner;
};

static int by_digest(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

static int count_unique(struct image_info *infos, size_t count, struct err *err)
{
    size_t total = 0, at = 0;

    for (size_t i = 0; i < count; i++)
        total += infos[i].manifest.chunk_count;
    _cleanup_free_ struct owned_chunk *all = calloc(total + 1, sizeof *all);
    if (!all)
        return err_set_errno(err, ENOMEM, "listing images");
    for (size_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < infos[i].manifest.chunk_count; k++)
            all[at++] = (struct owned_chunk){ infos[i].manifest.chunk[k].digest, (uint32_t)i };
    }
    qsort(all, total, sizeof *all, by_digest);
    for (size_t first = 0, end; first < total; first = end) {
        bool one_owner = true;

        for (end = first + 1; end < total && by_digest(&all[first], &all[end]) == 0; end++)
            one_owner = one_owner && all[end].owner == all[first].owner;
        infos[all[first].owner].unique_chunks += one_owner; /* once, however often it is in there */
    }
    return 0;
}

int image_list_locked(struct image_store *store, struct image_info **ret_infos, size_t *ret_count,
                      struct err *err)
{
    struct listing listing = { .store = store };
    int rc = store_for_each(store->dir_fd, list_one, &listing, err);

    if (rc == 0)
        rc = count_unique(listing.infos, listing.count, err);
    if (rc < 0) {
        image_infos_free(listing.infos, listing.count);
        return rc;
    }
    if (listing.count)
        qsort(listing.infos, listing.count, sizeof *listing.infos, by_name);
    *ret_infos = listing.infos;
    *ret_count = listing.count;
    return 0;
}

int image_list(struct image_store *store, struct image_info **ret_infos, size_t *ret_count,
               struct err *err)
{
    pthread_mutex_lock(&store->lock);
    int rc = image_list_locked(store, ret_infos, ret_count, err);
    pthread_mutex_unlock(&store->lock);
    return rc;
}

void image_infos_free(struct image_info *infos, size_t count)
{
    for (size_t i = 0; i < count; i++)
        image_manifest_fini(&infos[i].manifest);
    free(infos);
}

uint32_t image_shared_chunks(const struct image_info *infos, size_t at, size_t other)
{
    const struct image_manifest *a = &infos[at].manifest, *b = &infos[other].manifest;
    _cleanup_free_ struct digest *digests = calloc(b->chunk_count + 1u, sizeof *digests);
    uint32_t shared = 0;

    if (!digests)
        return 0;
    for (uint32_t i = 0; i < b->chunk_count; i++)
        digests[i] = b->chunk[i].digest;
    qsort(digests, b->chunk_count, sizeof *digests, by_digest);
    for (uint32_t i = 0; i < a->chunk_count; i++)
        shared += bsearch(&a->chunk[i].digest, digests, b->chunk_count, sizeof *digests,
                          by_digest) != NULL;
    return shared;
}

/* ---- Garbage ---- */

struct collecting {
    struct image_store *store;
    const struct image_info *infos;
    size_t count;
    uint8_t *used; /* one a slot of the pack that is looked at */
};

static bool mark_used(struct collecting *c, const struct unique_id *pack, uint32_t slots)
{
    bool any = false;

    memset(c->used, 0, slots);
    for (size_t i = 0; i < c->count; i++) {
        const struct image_manifest *m = &c->infos[i].manifest;

        for (uint32_t k = 0; k < m->chunk_count; k++) {
            const struct image_chunk *chunk = &m->chunk[k];

            if (chunk->slot < slots && unique_id_equal(&m->pack[chunk->pack], pack)) {
                c->used[chunk->slot] = true;
                any = true;
            }
        }
    }
    return any;
}

static int collect_pack(void *data, const char *name, struct err *err)
{
    struct collecting *c = data;
    _cleanup_close_ int fd = openat(c->store->packs_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct unique_id pack;
    struct stat st;

    if (!unique_id_from_hex(name, &pack) || fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0; /* none of ours */
    uint32_t slots = (uint32_t)MIN_OF((uint64_t)st.st_size / IMAGE_CHUNK_BYTES, IMAGE_CHUNKS_MAX);
    if (!mark_used(c, &pack, slots))
        return unlinkat(c->store->packs_fd, name, 0) < 0
                   ? err_set_errno(err, errno, "removing the pack %s", name)
                   : 0;
    for (uint32_t i = 0; i < slots; i++) {
        if (!c->used[i] &&
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)i * IMAGE_CHUNK_BYTES,
                      IMAGE_CHUNK_BYTES) < 0 &&
            errno != EOPNOTSUPP)
            return err_set_errno(err, errno, "freeing slot %u of the pack %s", i, name);
    }
    return 0;
}

static int remove_leftover(void *data, const char *name, struct err *err)
{
    const struct image_store *store = data;

    if (store_temp_name_valid(name) && unlinkat(store->dir_fd, name, 0) < 0)
        return err_set_errno(err, errno, "removing '%s'", name);
    return 0;
}

int image_collect_garbage(struct image_store *store, struct err *err)
{
    struct collecting c = { .store = store };
    struct image_info *infos = NULL;
    int rc = store_for_each(store->dir_fd, remove_leftover, store, err);

    if (rc == 0)
        rc = image_list_locked(store, &infos, &c.count, err);
    if (rc < 0)
        return rc;
    c.infos = infos;
    for (size_t i = 0; i < c.count && rc == 0; i++) {
        if (infos[i].error.code)
            rc = err_set(err, EINVAL,
                         "chunks are not freed while an image can't be read; delete it: %s",
                         infos[i].error.msg);
    }
    c.used = malloc(IMAGE_CHUNKS_MAX);
    if (rc == 0)
        rc = c.used ? store_for_each(store->packs_fd, collect_pack, &c, err)
                    : err_set_errno(err, ENOMEM, "freeing chunks");
    free(c.used);
    image_infos_free(infos, c.count);
    return rc;
}

int image_delete(struct image_store *store, const char *name, struct err *ret_notice,
                 struct err *err)
{
    char file[IMAGE_FILE_BYTES];
    int rc = image_file_name(name, file, err);

    *ret_notice = (struct err){ 0 };
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&store->lock);
    if (unlinkat(store->dir_fd, file, 0) < 0)
        rc = errno == ENOENT ? err_set(err, ENOENT, "there is no image '%s'", name)
                             : err_set_errno(err, errno, "deleting the image '%s'", name);
    else if (fsync(store->dir_fd) < 0)
        rc = err_set_errno(err, errno, "deleting the image '%s'", name);
    else if (!store->importing) /* its end collects */
        image_collect_garbage(store, ret_notice);
    pthread_mutex_unlock(&store->lock);
    return rc;
}
