/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way of a long body to the thread pool, chunk by chunk; see upload.h. */
#include "api/upload.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "base/work.h"

static void run(void *data)
{
    struct upload *upload = data;

    upload->ops->run(upload);
    upload->used = 0;
}

static void abandon_run(void *data)
{
    struct upload *upload = data;

    upload->ops->abandon(upload);
}

static void abandon_done(void *data)
{
    struct upload *upload = data;

    upload->api->upload_works--;
    turn_schedule(upload->api->vms->turn);
    json_decref(upload->result);
    upload->ops->free(upload);
}

static void upload_abandon(struct upload *upload)
{
    upload->api->upload_works++;
    if (work_start(upload->api->vms->loop, abandon_run, abandon_done, upload) < 0) {
        abandon_run(upload);
        abandon_done(upload);
    }
}

static void reply(struct upload *upload)
{
    struct http_request *request = upload->request;

    request->call = NULL;
    if (upload->ops->done)
        upload->ops->done(upload);
    if (upload->err.code)
        upload->ops->refuse(request, &upload->err);
    else
        http_reply_json(request, MHD_HTTP_CREATED, take_pointer(&upload->result));
    upload_abandon(upload);
}

static void run_done(void *data)
{
    struct upload *upload = data;
    struct api *api = upload->api;

    upload->out = false;
    api->upload_works--;
    if (!upload->request)
        upload_abandon(upload);
    else if (upload->last)
        reply(upload);
    else
        http_body_resume(upload->request);
    turn_schedule(api->vms->turn);
}

/* False: no memory; the error is noted. */
static bool start(struct upload *upload)
{
    if (work_start(upload->api->vms->loop, run, run_done, upload) < 0) {
        err_set(&upload->err, ENOMEM, "out of memory");
        return false;
    }
    upload->out = true;
    upload->api->upload_works++;
    return true;
}

bool upload_allowed(struct http_request *request)
{
    if (http_request_charge(request, UPLOAD_CHUNK_BYTES))
        return true;
    http_reply_error(request, API_TOO_MANY, "you have too many uploads under way already");
    return false;
}

void upload_begin(struct upload *upload, const struct upload_ops *ops, struct http_request *request)
{
    upload->ops = ops;
    upload->request = request;
    upload->api = api_of(request);
    request->call = upload;
}

size_t upload_take(struct http_request *request, const char *data, size_t bytes)
{
    struct upload *upload = request->call;
    size_t take;

    if (upload->api->vms->env.stopping && !upload->err.code)
        err_set(&upload->err, ECANCELED, "poold is shutting down");
    if (upload->err.code)
        return bytes;
    take = upload->ops->head ? upload->ops->head(upload, data, bytes) : 0;
    if (take)
        return take;
    take = MIN_OF(bytes, UPLOAD_CHUNK_BYTES - upload->used);
    memcpy(upload->chunk + upload->used, data, take);
    upload->used += take;
    if (upload->used == UPLOAD_CHUNK_BYTES && start(upload))
        http_body_pause(request);
    return take;
}

void upload_end(struct http_request *request)
{
    struct upload *upload = request->call;

    upload->last = true;
    if (upload->err.code || !start(upload))
        reply(upload);
}

void upload_gone(struct http_request *request)
{
    struct upload *upload = request->call;

    upload->request = NULL;
    if (!upload->out)
        upload_abandon(upload);
}
