/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a lease is given of volumes and folders; see volume.h. */
#include "volume.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "interrupt.h"

#define VOLUMES "/v1/volumes/"
#define BUSY_US 200000u

/* ---- What is asked for ---- */

struct wanted {
    char name[PATH_MAX]; /* a volume's, or a folder's path */
    char path[PATH_MAX]; /* in the guest */
    const char *mode;
};

/* NULL: there is none of that name. */
static const char *mode_named(const char *name)
{
    static const char *const modes[] = { "copy", "ro", "rw" };

    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (strcmp(name, modes[i]) == 0)
            return modes[i];
    return NULL;
}

/* NAME:PATH[:MODE]. */
static int volume_parse(const char *text, struct wanted *ret, struct err *err)
{
    const char *colon = strchr(text, ':'), *mode = colon ? strchr(colon + 1, ':') : NULL;

    ret->mode = mode_named(mode ? mode + 1 : "copy");
    if (!colon || colon == text || colon[1] != '/' || !ret->mode ||
        strlen(text) >= sizeof ret->path)
        return err_set(err, EINVAL,
                       "--volume is NAME:PATH, maybe with :ro, :rw or :copy behind, not '%s'",
                       text);
    snprintf(ret->name, sizeof ret->name, "%.*s", (int)(colon - text), text);
    snprintf(ret->path, sizeof ret->path, "%.*s", mode ? (int)(mode - colon - 1) : INT_MAX,
             colon + 1);
    return 0;
}

/* DIR:PATH; a folder's path may have a colon in it. */
static int share_parse(const char *text, struct wanted *ret, struct err *err)
{
    const char *colon = strrchr(text, ':');
    char dir[PATH_MAX];
    struct stat st;

    ret->mode = "ro";
    if (!colon || colon == text || colon[1] != '/' || strlen(text) >= sizeof dir)
        return err_set(err, EINVAL,
                       "--share is DIR:PATH, a folder of ours and one of the VM's, "
                       "not '%s'",
                       text);
    snprintf(dir, sizeof dir, "%.*s", (int)(colon - text), text);
    snprintf(ret->path, sizeof ret->path, "%s", colon + 1);
    if (!realpath(dir, ret->name) || stat(ret->name, &st) < 0)
        return err_set_errno(err, errno, "--share %s", dir);
    return S_ISDIR(st.st_mode) ? 0 : err_set(err, ENOTDIR, "--share %s: not a folder", dir);
}

bool volumes_write(const struct volume_options *given)
{
    for (size_t i = 0; i < given->volumes.count; i++) {
        struct wanted wanted;
        struct err err;

        if (volume_parse(given->volumes.items[i], &wanted, &err) == 0 &&
            strcmp(wanted.mode, "rw") == 0)
            return true;
    }
    return false;
}

/* ---- Storing ---- */

/* Where the data ends; the rest are zeroes. */
static uint64_t data_end(int fd, uint64_t bytes)
{
    off_t at = 0, data;

    while ((data = lseek(fd, at, SEEK_DATA)) >= 0 && (uint64_t)data < bytes)
        at = lseek(fd, data, SEEK_HOLE);
    return MIN_OF((uint64_t)at, bytes);
}

int volume_store(struct api *api, const char *name, bool folder, const struct image_built *built,
                 json_t **ret_json, struct err *err)
{
    const uint64_t bytes = built->bytes - built->bytes % 512;
    char path[API_PATH_BYTES], query[64];

    snprintf(query, sizeof query, "?bytes=%" PRIu64 "%s", bytes, folder ? "&folder=1" : "");
    int rc = api_path(path, err, VOLUMES, name, query);
    return rc < 0 ? rc
                  : api_upload(api, path, NULL, built->fd, data_end(built->fd, bytes),
                               VOLUME_TIMEOUT_MS, ret_json, err);
}

/* ---- Folders ---- */

static int folder_name(const char *dir, char ret_name[VOLUME_FOLDER_BYTES], struct err *err)
{
    char key[VOLUME_KEY_BYTES];
    int rc = volume_key(dir, key, err);

    snprintf(ret_name, VOLUME_FOLDER_BYTES, "share.%s", rc < 0 ? "" : key);
    return rc;
}

/* 1: there is one; 0: none. */
static int volume_there(struct api *api, const char *name, struct err *err)
{
    _cleanup_json_ json_t *json = NULL;
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, VOLUMES, name, "");

    if (rc == 0)
        rc = api_call(api, "GET", path, NULL, API_TIMEOUT_MS, &json, err);
    if (rc < 0)
        return rc == -API_ERROR_MISSING ? 0 : rc;
    return 1;
}

static int folder_build(const char *dir, struct image_built *built, struct err *err)
{
    const struct image_source source = { .dir = dir, .filesystem = "erofs", .whatever = true };
    int rc;

    interrupt_catch(); /* the temporary folder goes before we do */
    rc = image_build(&source, built, err);
    interrupt_release();
    return rc;
}

static int folder_make(struct api *api, const struct wanted *share,
                       char ret_name[VOLUME_FOLDER_BYTES], struct err *err)
{
    _cleanup_image_built_ struct image_built built = IMAGE_BUILT_INIT;
    char after[VOLUME_FOLDER_BYTES];
    struct err ignored;
    int rc = folder_name(share->name, ret_name, err);

    if (rc == 0)
        rc = volume_there(api, ret_name, err);
    if (rc != 0)
        return MIN_OF(rc, 0);
    rc = folder_build(share->name, &built, err);
    if (rc == 0)
        rc = folder_name(share->name, after, err);
    if (rc == 0 && strcmp(ret_name, after) != 0)
        rc = err_set(err, EBUSY, "it was changed while it was read: try again when it is quiet");
    if (rc < 0)
        return rc;
    rc = volume_store(api, ret_name, true, &built, NULL, err);
    /* Somebody else may have made the same meanwhile. */
    return rc < 0 && volume_there(api, ret_name, &ignored) > 0 ? 0 : rc;
}

int volumes_prepare(struct api *api, const struct volume_options *given,
                    struct volume_folders *folders, struct err *err)
{
    struct wanted wanted;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < given->volumes.count; i++)
        rc = volume_parse(given->volumes.items[i], &wanted, err);
    for (size_t i = 0; rc == 0 && i < given->shares.count; i++)
        rc = share_parse(given->shares.items[i], &wanted, err);
    if (rc < 0 || given->shares.count == 0)
        return rc;
    folders->names = calloc(given->shares.count, sizeof *folders->names);
    if (!folders->names)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < given->shares.count; i++) {
        rc = share_parse(given->shares.items[i], &wanted, err);
        if (rc == 0 && (rc = folder_make(api, &wanted, folders->names[i], err)) < 0)
            err_wrap(err, "--share %s", wanted.name);
    }
    return rc;
}

/* ---- Giving ---- */

static int give(struct api *api, const char *lease, const char *volume, const struct wanted *wanted,
                uint64_t until_ns, struct err *err)
{
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:s}", "name", volume, "path", wanted->path, "mode", wanted->mode);
    char path[API_PATH_BYTES];
    int rc = body ? api_path(path, err, "/v1/leases/", lease, "/volumes")
                  : err_set(err, EINVAL, "a name is not valid UTF-8");

    if (rc < 0)
        return rc;
    while ((rc = api_call(api, "POST", path, body, VOLUME_TIMEOUT_MS, NULL, err)) ==
               -API_ERROR_BUSY &&
           now_ns() < until_ns)
        usleep(BUSY_US);
    return rc < 0 ? err_wrap(err, "%s at %s", wanted->name, wanted->path) : 0;
}

int volumes_give(struct api *api, const char *lease, const struct volume_options *given,
                 const struct volume_folders *folders, uint64_t wait_ms, struct err *err)
{
    const uint64_t until_ns = now_ns() + wait_ms * NS_PER_MS;
    struct wanted wanted;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < given->volumes.count; i++) {
        rc = volume_parse(given->volumes.items[i], &wanted, err);
        if (rc == 0)
            rc = give(api, lease, wanted.name, &wanted, until_ns, err);
    }
    for (size_t i = 0; rc == 0 && i < given->shares.count; i++) {
        rc = share_parse(given->shares.items[i], &wanted, err);
        if (rc == 0)
            rc = give(api, lease, folders->names[i], &wanted, until_ns, err);
    }
    return rc;
}
