/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the files NAME.json of a store, in which the manifests are; see image_internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/image/image_internal.h"
#include "snapshot/store_internal.h"

#define SUFFIX ".json"

bool image_name_valid(const char *name)
{
    return snapshot_name_valid(name) && !strchr(name, '~');
}

int image_file_name(const char *name, char ret_file[IMAGE_FILE_BYTES], struct err *err)
{
    if (!image_name_valid(name))
        return err_set(err, EINVAL,
                       "'%s' can't name an image: use 1 to 63 of a-z 0-9 - _ ., beginning with a "
                       "letter or digit",
                       name);
    snprintf(ret_file, IMAGE_FILE_BYTES, "%s" SUFFIX, name);
    return 0;
}

bool image_file_is_manifest(const char *file, char ret_name[IMAGE_NAME_BYTES])
{
    size_t len = strlen(file), stem = len - MIN_OF(len, sizeof SUFFIX - 1);

    if (strcmp(file + stem, SUFFIX) != 0 || stem >= IMAGE_NAME_BYTES)
        return false;
    memcpy(ret_name, file, stem);
    ret_name[stem] = '\0';
    return image_name_valid(ret_name);
}

int image_manifest_read(const struct image_store *store, const char *name,
                        char ret_file[IMAGE_FILE_BYTES], uint8_t **ret_text, size_t *ret_len,
                        struct err *err)
{
    struct err inner = { 0 };
    int rc = image_file_name(name, ret_file, err);

    if (rc < 0)
        return rc;
    rc = snapshot_file_read(store->dir_fd, ret_file, IMAGE_MANIFEST_BYTES_MAX, ret_text, ret_len,
                            &inner);
    if (rc == -ENOENT)
        return err_set(err, ENOENT, "there is no image '%s'", name);
    return rc < 0 ? err_set(err, inner.code, "image '%s': %s", name, inner.msg) : 0;
}

int image_manifest_load(struct image_store *store, const char *name,
                        struct image_manifest *ret_manifest, struct err *err)
{
    _cleanup_free_ uint8_t *text = NULL;
    char file[IMAGE_FILE_BYTES];
    size_t len = 0;
    int rc = image_manifest_read(store, name, file, &text, &len, err);

    if (rc < 0)
        return rc;
    rc = image_manifest_parse(file, (char *)text, len, ret_manifest, err);
    return rc < 0 ? err_wrap(err, "image '%s'", name) : 0;
}

int image_manifest_store(const struct image_store *store, const char *name,
                         const struct image_manifest *manifest, unsigned flags, struct err *err)
{
    char temp[SNAPSHOT_TEMP_NAME_BYTES], file[IMAGE_FILE_BYTES];
    _cleanup_free_ char *text = NULL;
    size_t len;
    int rc = image_manifest_format(manifest, &text, &len, err);

    store_temp_name(name, temp);
    if (rc == 0)
        rc = image_file_name(name, file, err);
    if (rc == 0)
        rc = snapshot_file_create(store->dir_fd, temp, text, len, err);
    if (rc == 0 && (renameat2(store->dir_fd, temp, store->dir_fd, file, flags) < 0 ||
                    fsync(store->dir_fd) < 0))
        rc = err_set_errno(err, errno, "image '%s': putting its manifest in place", name);
    return rc;
}
