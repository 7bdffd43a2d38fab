/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/images. An image arrives as the body of its POST (upload.h); all else is
 * one work each. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/upload.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/work.h"

/* ---- Replies ---- */

static void reply_err(struct http_request *request, const struct err *err)
{
    static const struct {
        int code;
        enum api_error error;
    } codes[] = {
        { ENOENT, API_NO_SUCH_IMAGE }, { EEXIST, API_IMAGE_EXISTS },
        { EBUSY, API_IMAGE_BUSY },     { EINVAL, API_BAD_REQUEST },
        { EFBIG, API_TOO_LARGE },      { ECANCELED, API_SHUTTING_DOWN },
    };
    enum api_error error = API_INTERNAL;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i].code == err->code)
            error = codes[i].error;
    }
    http_reply_error(request, error, "%s", err->msg);
}

static json_t *shared_json(const struct image_info *infos, size_t count, size_t at)
{
    json_t *object = json_object();

    for (size_t i = 0; i < count; i++) {
        uint32_t shared = i == at ? 0 : image_shared_chunks(infos, at, i);

        if (shared)
            json_object_set_new(object, infos[i].name,
                                json_integer((json_int_t)shared * IMAGE_CHUNK_BYTES));
    }
    return object;
}

static json_t *image_json(const struct image_info *info)
{
    const struct image_manifest *m = &info->manifest;
    uint64_t chunks = (m->bytes + IMAGE_CHUNK_BYTES - 1) / IMAGE_CHUNK_BYTES;
    char id[DIGEST_HEX_BYTES];

    if (info->error.code)
        return json_pack("{s:o, s:{s:o}}", "name", json_text(info->name), "error", "message",
                         json_text(info->error.msg));
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:i, s:o}", "name", json_text(info->name),
        "id", json_text(digest_to_hex(&m->id, id)), "created", json_text(m->created), "filesystem",
        json_text(m->filesystem), "bytes", (json_int_t)m->bytes, "stored_bytes",
        (json_int_t)m->chunk_count * IMAGE_CHUNK_BYTES, "unique_bytes",
        (json_int_t)info->unique_chunks * IMAGE_CHUNK_BYTES, "chunks", (json_int_t)m->chunk_count,
        "zero_chunks", (json_int_t)(chunks - m->chunk_count), "packs", (int)m->pack_count, "config",
        m->config ? json_loads(m->config, 0, NULL) : json_null());
}

/* Of one image, with what it shares; or of all, for name "". */
static json_t *images_json(struct image_store *store, const char *name, struct err *err)
{
    struct image_info *infos = NULL;
    json_t *result = NULL, *array;
    size_t count = 0;

    if (image_list(store, &infos, &count, err) < 0)
        return NULL;
    array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (!*name) {
            json_array_append_new(array, image_json(&infos[i]));
        } else if (strcmp(infos[i].name, name) == 0) {
            result = image_json(&infos[i]);
            if (!infos[i].error.code)
                json_object_set_new(result, "shared_bytes", shared_json(infos, count, i));
        }
    }
    image_infos_free(infos, count);
    if (!*name)
        return json_pack("{s:o}", "images", array);
    json_decref(array);
    if (!result)
        err_set(err, ENOENT, "there is no image '%s'", name);
    return result;
}

/* ---- Calls that are one work ---- */

struct image_call {
    struct http_request *request;
    struct image_store *store;
    json_t *(*run)(struct image_call *call);
    char name[HTTP_PARAM_BYTES];
    json_t *result; /* NULL without an error: 204 */
    struct err err, notice;
};

static void call_run(void *data)
{
    struct image_call *call = data;

    call->result = call->run(call);
}

static void call_done(void *data)
{
    struct image_call *call = data;

    if (call->notice.code)
        log_warn("image store: %s", call->notice.msg);
    if (call->result)
        http_reply_json(call->request, MHD_HTTP_OK, call->result);
    else if (call->err.code)
        reply_err(call->request, &call->err);
    else
        http_reply_empty(call->request, MHD_HTTP_NO_CONTENT);
    free(call);
}

static bool name_check(struct http_request *request)
{
    if (!request->param[0] || image_name_valid(request->param))
        return true;
    http_reply_error(request, API_BAD_NAME, "'%s' is not an image's name", request->param);
    return false;
}

static void call_start(struct http_request *request, json_t *(*run)(struct image_call *call))
{
    struct image_call *call;

    if (!name_check(request))
        return;
    call = calloc(1, sizeof *call);
    if (call) {
        call->request = request;
        call->store = &api_of(request)->vms->images;
        call->run = run;
        snprintf(call->name, sizeof call->name, "%s", request->param);
    }
    if (!call || work_start(api_of(request)->vms->loop, call_run, call_done, call) < 0) {
        free(call);
        http_reply_error(request, API_INTERNAL, "out of memory");
    }
}

static json_t *run_show(struct image_call *call)
{
    return images_json(call->store, call->name, &call->err);
}

static json_t *run_verify(struct image_call *call)
{
    uint64_t began_ns = now_ns(), checked = 0;
    struct err err = { 0 };
    int rc = image_verify(call->store, call->name, &checked, &err);
    json_t *result;

    if (rc == -ENOENT && checked == 0) {
        struct image_manifest manifest;

        /* The image itself, not one of its packs? */
        if (image_manifest_load(call->store, call->name, &manifest, &call->err) < 0)
            return NULL;
        image_manifest_fini(&manifest);
    }
    result = json_pack("{s:b, s:I, s:I}", "ok", rc == 0, "checked_bytes", (json_int_t)checked,
                       "elapsed_ms", (json_int_t)((now_ns() - began_ns) / NS_PER_MS));
    if (rc < 0)
        json_object_set_new(result, "error", json_pack("{s:o}", "message", json_text(err.msg)));
    return result;
}

static json_t *run_delete(struct image_call *call)
{
    image_delete(call->store, call->name, &call->notice, &call->err);
    return NULL;
}

void api_images_list(struct http_request *request)
{
    call_start(request, run_show);
}

void api_image_show(struct http_request *request)
{
    call_start(request, run_show);
}

void api_image_verify(struct http_request *request)
{
    call_start(request, run_verify);
}

void api_image_delete(struct http_request *request)
{
    LIST_FOR_EACH(at, &api_of(request)->vms->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);
        const struct hosted_pool *hosted = pool->owner;

        if (strcmp(hosted->spec.image, request->param) == 0) {
            http_reply_error(request, API_IMAGE_BUSY, "pool '%s' uses the image '%s'", pool->name,
                             request->param);
            return;
        }
    }
    call_start(request, run_delete);
}

/* ---- Import ---- */

struct import_call {
    struct upload upload; /* first */
    struct image_import *import;
    char name[HTTP_PARAM_BYTES];
    char *config; /* the body's first bytes; NULL: it has none */
    size_t config_bytes, config_used;
};

static_assert(UPLOAD_CHUNK_BYTES == IMAGE_CHUNK_BYTES, "a chunk each");

static int import_open(struct import_call *call)
{
    struct err *err = &call->upload.err;
    int rc = image_import_begin(&call->upload.api->vms->images, call->name, &call->import, err);

    if (rc < 0 || !call->config)
        return rc;
    if (call->config_used < call->config_bytes)
        return err_set(err, EINVAL, "the body ends in the image's configuration");
    return image_import_configure(call->import, call->config, call->config_bytes, err);
}

static void import_run(struct upload *upload)
{
    struct import_call *call = (struct import_call *)upload;
    struct image_store *store = &upload->api->vms->images;
    int rc = 0;

    if (!call->import)
        rc = import_open(call);
    if (rc == 0 && upload->used)
        rc = image_import_add(call->import, upload->chunk, upload->used, &upload->err);
    if (rc == 0 && upload->last) {
        rc = image_import_commit(call->import, &upload->err);
        call->import = NULL;
        if (rc == 0)
            upload->result = images_json(store, call->name, &upload->err);
    }
    if (rc < 0) {
        image_import_abort(call->import);
        call->import = NULL;
    }
}

static void import_abandon(struct upload *upload)
{
    image_import_abort(((struct import_call *)upload)->import);
}

static void import_free(struct upload *upload)
{
    struct import_call *call = (struct import_call *)upload;

    free(call->config);
    free(call);
}

static size_t import_head(struct upload *upload, const char *data, size_t bytes)
{
    struct import_call *call = (struct import_call *)upload;
    const size_t take = MIN_OF(bytes, call->config_bytes - call->config_used);

    if (take)
        memcpy(call->config + call->config_used, data, take);
    call->config_used += take;
    return take;
}

static const struct upload_ops import_ops = {
    .head = import_head,
    .run = import_run,
    .refuse = reply_err,
    .abandon = import_abandon,
    .free = import_free,
};

/* The query's config_bytes. False: it has replied. */
static bool config_bytes_read(struct http_request *request, size_t *ret_bytes)
{
    const char *text = http_query(request, "config_bytes");
    char *end = NULL;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;

    *ret_bytes = value;
    if (!text || (*text >= '0' && *text <= '9' && *end == '\0' && value > 0 &&
                  value <= IMAGE_CONFIG_BYTES_MAX))
        return true;
    http_reply_error(request, API_BAD_REQUEST, "config_bytes: expected a number from 1 to %u",
                     IMAGE_CONFIG_BYTES_MAX);
    return false;
}

static bool import_begin(struct http_request *request)
{
    struct import_call *call;
    size_t config_bytes;

    if (!name_check(request) || !config_bytes_read(request, &config_bytes))
        return false;
    call = calloc(1, sizeof *call); /* its chunk's pages come when they are used */
    char *config = config_bytes ? malloc(config_bytes) : NULL;
    if (!call || (config_bytes && !config)) {
        free(call);
        free(config);
        http_reply_error(request, API_INTERNAL, "out of memory");
        return false;
    }
    call->config = config;
    call->config_bytes = config_bytes;
    snprintf(call->name, sizeof call->name, "%s", request->param);
    upload_begin(&call->upload, &import_ops, request);
    return true;
}

void api_image_import(struct http_request *request)
{
    upload_end(request);
}

const struct http_body_ops api_image_body = {
    .begin = import_begin,
    .take = upload_take,
    .gone = upload_gone,
};
