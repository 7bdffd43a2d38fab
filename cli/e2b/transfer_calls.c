/* SPDX-License-Identifier: Apache-2.0 */
/* Owns /files: downloads, uploads, and the signatures by which addresses of them can be given away.
 *
 * How it works
 *   Nothing of a file is kept here: what MHD gives of an upload goes to volt-files in the guest before
 *   the next is read, and a download is read from there as its client takes it. */
#include "e2b/transfer.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "e2b/calls.h"
#include "e2b/files_error.h"
#include "e2b/sandbox.h"

#define BLOCK_BYTES 65536u
#define PARTS_MAX 1024u
#define READ_TIMEOUT_NS (60 * NS_PER_S)

/* ---- Signatures ---- */

/* "v1_" and the digest of what is signed: what is done to which path by whom, until when. */
static bool signature_is(const struct sandbox *sandbox, void *data)
{
    const struct call *call = data;
    const char *path = call_query(call, "path"), *user = call_query(call, "username"),
               *signature = call_query(call, "signature"),
               *expires = call_query(call, "signature_expiration");
    const bool reads = call->route->handle == call_download;
    unsigned char digest[EVP_MAX_MD_SIZE], text[3 + 2 * EVP_MAX_MD_SIZE] = "v1_";
    _cleanup_free_ char *signed_text = NULL;
    unsigned bytes;

    if (!signature ||
        asprintf(&signed_text, "%s:%s:%s:%s%s%s", path ? path : "", reads ? "read" : "write",
                 user ? user : "", sandbox->token, expires ? ":" : "", expires ? expires : "") < 0)
        return false;
    if (EVP_Digest(signed_text, strlen(signed_text), digest, &bytes, EVP_sha256(), NULL) != 1)
        return false;
    EVP_EncodeBlock(text + 3, digest, (int)bytes);
    size_t length = strcspn((const char *)text, "=");
    return strlen(signature) == length && CRYPTO_memcmp(signature, text, length) == 0;
}

static bool is_expired(const struct call *call)
{
    const char *expires = call_query(call, "signature_expiration");

    return expires && strtoll(expires, NULL, 10) < (long long)time(NULL);
}

bool transfer_is_signed(const struct call *call)
{
    return !is_expired(call) && signature_is(call->sandbox, (void *)(uintptr_t)call);
}

struct sandbox *transfer_signed(const struct call *call)
{
    if (!call_query(call, "signature") || is_expired(call))
        return NULL;
    return sandbox_search(call->server->sandboxes, signature_is, (void *)(uintptr_t)call);
}

/* ---- Downloads ---- */

struct download {
    struct guest_files files; /* its output: what has come behind the entry */
    size_t sent;              /* of that */
};

static ssize_t on_read(void *data, uint64_t at, char *buffer, size_t room)
{
    struct download *download = data;
    struct guest_files *files = &download->files;
    const uint8_t *printed;
    struct err err;

    (void)at;
    while (download->sent == files->bytes && !files->over) {
        ssize_t count = guest_files_next(files, now_ns() + READ_TIMEOUT_NS, &printed, &err);

        if (count < 0)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        files->bytes = download->sent = 0;
        guest_files_keep(files, printed, (size_t)count);
    }
    size_t count = MIN_OF(room, files->bytes - download->sent);
    if (count == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    memcpy(buffer, files->output + download->sent, count);
    download->sent += count;
    return (ssize_t)count;
}

static void on_read_over(void *data)
{
    struct download *download = data;

    guest_files_close(&download->files);
    free(download);
}

/* Reads until the file's entry is there. 0 or -errno. */
static int entry_await(struct download *download, uint64_t *ret_size, struct err *err)
{
    struct guest_files *files = &download->files;
    const uint8_t *printed;
    json_t *entry;

    while ((entry = guest_entry_parse(files->output, files->bytes, &download->sent)) == NULL) {
        ssize_t count = guest_files_next(files, now_ns() + READ_TIMEOUT_NS, &printed, err);

        if (count < 0)
            return (int)count;
        if (files->over || files->bytes > BLOCK_BYTES)
            return err_set(err, EPROTO, "the guest's answer is not whole");
        guest_files_keep(files, printed, (size_t)count);
    }
    *ret_size = strtoull(json_string_value(json_object_get(entry, "size")), NULL, 10);
    json_decref(entry);
    return 0;
}

void call_download(struct call *call)
{
    const char *path = call_query(call, "path");
    char user[SERVER_USER_BYTES];
    uint64_t size = 0;
    const char *name;
    struct err err;

    if (!call_user(call, user, &name))
        return;
    struct download *download = calloc(1, sizeof *download);
    if (!download)
        abort(); /* of SERVER_CONNECTIONS */
    int rc = guest_files_open(&download->files, call->sandbox, name, "read", path ? path : "", NULL,
                              &err);
    if (rc == 0)
        rc = entry_await(download, &size, &err);
    if (rc < 0) {
        reply_files_error(call, &download->files, rc, &err);
        on_read_over(download);
        return;
    }
    /* Files of /proc are as long as they turn out to be. */
    struct MHD_Response *response = MHD_create_response_from_callback(
        size ? size : MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, download, on_read_over);
    if (!response)
        abort(); /* as above */
    MHD_add_response_header(response, "Content-Type", "application/octet-stream");
    reply_response(call, 200, response);
}

/* ---- Uploads ---- */

struct transfer {
    struct call *call;
    struct MHD_PostProcessor *parts; /* NULL: the body is the file */
    struct guest_files files;        /* of the one that is being written */
    bool writing;
    char *path; /* its; and how much of it has come */
    uint64_t bytes;
    unsigned part_count;
    json_t *written; /* what the reply says */
    const char *user;
    char user_name[SERVER_USER_BYTES];
    int rc; /* of what failed; the rest of the body is dropped */
    struct err err;
};

void transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return;
    if (transfer->parts)
        MHD_destroy_post_processor(transfer->parts);
    guest_files_close(&transfer->files);
    json_decref(transfer->written);
    free(transfer->path);
    free(transfer);
}

static void file_finish(struct transfer *transfer)
{
    size_t bytes;

    if (!transfer->writing || transfer->rc < 0)
        return;
    transfer->rc = guest_files_finish(&transfer->files, &transfer->err);
    if (transfer->rc < 0)
        return;
    json_t *entry = guest_entry_parse(transfer->files.output, transfer->files.bytes, &bytes);
    if (!entry) {
        transfer->rc = err_set(&transfer->err, EPROTO, "the guest's answer is not whole");
        return;
    }
    json_array_append_new(transfer->written,
                          json_pack("{s:O, s:s, s:O}", "name", json_object_get(entry, "name"),
                                    "type", "file", "path", json_object_get(entry, "path")));
    json_decref(entry);
    guest_files_close(&transfer->files);
    transfer->writing = false;
}

static void file_begin(struct transfer *transfer, const char *path)
{
    file_finish(transfer);
    if (transfer->rc < 0)
        return;
    if (!path || !*path) {
        transfer->rc = err_set(&transfer->err, EINVAL, "the path is missing");
        return;
    }
    transfer->rc = guest_files_open(&transfer->files, transfer->call->sandbox, transfer->user,
                                    "write", path, NULL, &transfer->err);
    transfer->writing = true;
    transfer->bytes = 0;
    free(transfer->path);
    transfer->path = strdup(path);
}

static void file_write(struct transfer *transfer, const char *data, size_t bytes)
{
    transfer->bytes += bytes;
    if (transfer->rc == 0 && transfer->writing && bytes > 0)
        transfer->rc = guest_files_write(&transfer->files, data, bytes, &transfer->err);
}

/* MHD may tell of a part more than once before there is any of it. */
static bool part_is_new(const struct transfer *transfer, const char *path, uint64_t offset)
{
    if (offset > 0)
        return false;
    return !transfer->writing || transfer->bytes > 0 || !path || !transfer->path ||
           strcmp(path, transfer->path) != 0;
}

static enum MHD_Result on_part(void *data, enum MHD_ValueKind kind, const char *key,
                               const char *filename, const char *type, const char *encoding,
                               const char *bytes, uint64_t offset, size_t count)
{
    struct transfer *transfer = data;
    const char *path = call_query(transfer->call, "path");

    (void)kind;
    (void)type;
    (void)encoding;
    if (transfer->rc < 0 || strcmp(key, "file") != 0)
        return MHD_YES;
    if (!path || !*path)
        path = filename;
    if (part_is_new(transfer, path, offset)) {
        if (++transfer->part_count > PARTS_MAX)
            transfer->rc = err_set(&transfer->err, E2BIG, "an upload may have %u files", PARTS_MAX);
        else
            file_begin(transfer, path);
    }
    file_write(transfer, bytes, count);
    return MHD_YES;
}

static struct transfer *transfer_begin(struct call *call)
{
    const char *type = call_header(call, "Content-Type");
    struct transfer *transfer = calloc(1, sizeof *transfer);

    if (!transfer)
        abort(); /* of SERVER_CONNECTIONS */
    call->transfer = transfer;
    transfer->call = call;
    transfer->written = json_array();
    if (!call_user_read(call, transfer->user_name, &transfer->user)) {
        transfer->rc = err_set(&transfer->err, EINVAL, CALL_USER_WRONG);
    } else if (call_header(call, "Content-Encoding")) {
        transfer->rc = err_set(&transfer->err, EINVAL, "compressed uploads are not read");
    } else if (type && strncasecmp(type, "multipart/form-data", 19) == 0) {
        transfer->parts = MHD_create_post_processor(call->mhd, BLOCK_BYTES, on_part, transfer);
        if (!transfer->parts)
            transfer->rc = err_set(&transfer->err, EINVAL, "the multipart body has no boundary");
    } else if (type && strncasecmp(type, "application/octet-stream", 24) == 0) {
        file_begin(transfer, call_query(call, "path"));
    } else {
        transfer->rc = err_set(&transfer->err, EINVAL,
                               "an upload is multipart/form-data or application/octet-stream");
    }
    return transfer;
}

void call_upload_take(struct call *call, const char *data, size_t bytes)
{
    struct transfer *transfer = call->transfer ? call->transfer : transfer_begin(call);

    if (transfer->rc < 0)
        return;
    if (!transfer->parts)
        file_write(transfer, data, bytes);
    else if (MHD_post_process(transfer->parts, data, bytes) != MHD_YES && transfer->rc == 0)
        transfer->rc = err_set(&transfer->err, EINVAL, "the multipart body is malformed");
}

void call_upload(struct call *call)
{
    struct transfer *transfer = call->transfer ? call->transfer : transfer_begin(call);

    if (transfer->parts && MHD_destroy_post_processor(take_pointer(&transfer->parts)) != MHD_YES &&
        transfer->rc == 0)
        transfer->rc = err_set(&transfer->err, EINVAL, "the multipart body is not whole");
    file_finish(transfer);
    if (transfer->rc < 0)
        reply_files_error(call, &transfer->files, transfer->rc, &transfer->err);
    else
        reply_json(call, 200, json_incref(transfer->written));
}
