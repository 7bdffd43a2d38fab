/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading and checking of blobs; see blob.h. */
#include "blob.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPENSSL_SUPPRESS_DEPRECATED /* the EVP interface would link all of libcrypto */
#include <openssl/sha.h>

#include "base/text.h"
#include "base/util.h"

#define READ_BYTES KIB(64)

int oci_blob_parse(struct oci_blob *blob, const json_t *descriptor, const char *what,
                   struct err *err)
{
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));
    const char *type = json_string_value(json_object_get(descriptor, "mediaType"));
    json_t *size = json_object_get(descriptor, "size");

    if (!digest || !json_is_integer(size) || json_integer_value(size) < 0)
        return err_set(err, EINVAL, "%s has no digest or no size", what);
    if (strncmp(digest, "sha256:", 7) != 0 || strlen(digest + 7) != OCI_DIGEST_HEX ||
        strspn(digest + 7, "0123456789abcdef") != OCI_DIGEST_HEX)
        return err_set(err, EINVAL, "%s has a digest that is no sha256: %.80s", what, digest);
    memcpy(blob->hex, digest + 7, sizeof blob->hex);
    blob->bytes = (uint64_t)json_integer_value(size);
    text_clean(blob->media_type, sizeof blob->media_type, type ? type : "", SIZE_MAX);
    return 0;
}

/* Nothing that a layout has leads out of it. */
static int file_open(int layout_fd, const char *path, struct stat *ret_st, struct err *err)
{
    const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                  .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    _cleanup_close_ int fd = (int)syscall(SYS_openat2, layout_fd, path, &how, sizeof how);

    if (fd < 0 || fstat(fd, ret_st) < 0)
        return err_set_errno(err, errno, "the layout's %s", path);
    if (!S_ISREG(ret_st->st_mode))
        return err_set(err, EINVAL, "the layout's %s is no regular file", path);
    return take_fd(&fd);
}

int oci_blob_open(int layout_fd, const struct oci_blob *blob, int *ret_fd, struct err *err)
{
    char path[96];
    struct stat st;

    snprintf(path, sizeof path, "blobs/sha256/%s", blob->hex);
    _cleanup_close_ int fd = file_open(layout_fd, path, &st, err);
    if (fd < 0)
        return fd;
    if ((uint64_t)st.st_size != blob->bytes)
        return err_set(err, EBADMSG, "the layout's %s has %llu bytes, not %llu", path,
                       (unsigned long long)st.st_size, (unsigned long long)blob->bytes);
    *ret_fd = take_fd(&fd);
    return 0;
}

static bool digest_is(SHA256_CTX *sha, const char *hex)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char text[OCI_DIGEST_HEX + 1];

    SHA256_Final(digest, sha);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return strcmp(text, hex) == 0;
}

int oci_blob_read(int layout_fd, const struct oci_blob *blob, oci_blob_sink sink, void *context,
                  struct err *err)
{
    _cleanup_free_ uint8_t *data = malloc(READ_BYTES);
    _cleanup_close_ int fd = -1;
    SHA256_CTX sha;

    if (!data)
        return err_set(err, ENOMEM, "out of memory");
    int rc = oci_blob_open(layout_fd, blob, &fd, err);
    SHA256_Init(&sha);
    for (uint64_t at = 0; rc == 0 && at < blob->bytes;) {
        size_t bytes = MIN_OF(blob->bytes - at, READ_BYTES);

        rc = pread_all(fd, data, bytes, at);
        if (rc < 0)
            return err_set_errno(err, -rc, "reading the blob %.12s", blob->hex);
        SHA256_Update(&sha, data, bytes);
        rc = sink(context, data, bytes, err);
        at += bytes;
    }
    if (rc == 0 && !digest_is(&sha, blob->hex))
        return err_set(err, EBADMSG, "the blob sha256:%.12s... has another digest: it is damaged",
                       blob->hex);
    return rc;
}

/* ---- JSON ---- */

struct text {
    char *data;
    size_t bytes;
};

static int text_append(void *context, const void *data, size_t bytes, struct err *err)
{
    struct text *text = context;

    (void)err;
    memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
    return 0;
}

static int json_parse(const char *data, size_t bytes, const char *what, json_t **ret_json,
                      struct err *err)
{
    json_error_t error;
    char shown[160];
    json_t *json = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, &error);

    if (!json) {
        text_clean(shown, sizeof shown, error.text, SIZE_MAX);
        return err_set(err, EINVAL, "%s is no JSON: %s", what, shown);
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return err_set(err, EINVAL, "%s is no JSON object", what);
    }
    *ret_json = json;
    return 0;
}

int oci_blob_json(int layout_fd, const struct oci_blob *blob, json_t **ret_json, struct err *err)
{
    char what[64];

    snprintf(what, sizeof what, "the blob sha256:%.12s...", blob->hex);
    if (blob->bytes > OCI_JSON_BYTES_MAX)
        return err_set(err, EFBIG, "%s has %llu bytes, too many for JSON", what,
                       (unsigned long long)blob->bytes);
    struct text text = { .data = malloc(blob->bytes + 1) };
    if (!text.data)
        return err_set(err, ENOMEM, "out of memory");
    int rc = oci_blob_read(layout_fd, blob, text_append, &text, err);
    if (rc == 0)
        rc = json_parse(text.data, text.bytes, what, ret_json, err);
    free(text.data);
    return rc;
}

int oci_file_json(int layout_fd, const char *name, json_t **ret_json, struct err *err)
{
    struct stat st;
    char what[64];
    _cleanup_close_ int fd = file_open(layout_fd, name, &st, err);

    if (fd < 0)
        return fd;
    if ((uint64_t)st.st_size > OCI_JSON_BYTES_MAX)
        return err_set(err, EFBIG, "the layout's %s is too long", name);
    _cleanup_free_ char *data = malloc((size_t)st.st_size + 1);
    if (!data)
        return err_set(err, ENOMEM, "out of memory");
    int rc = pread_all(fd, data, (size_t)st.st_size, 0);
    if (rc < 0)
        return err_set_errno(err, -rc, "reading the layout's %s", name);
    snprintf(what, sizeof what, "the layout's %s", name);
    return json_parse(data, (size_t)st.st_size, what, ret_json, err);
}
