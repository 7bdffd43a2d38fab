/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/snapshots, all of them on the thread pool. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/work.h"
#include "vms/snapstore.h"

struct snapshot_call {
    struct http_request *request;
    json_t *(*run)(struct snapshot_call *call);
    int store_fd;
    char name[HTTP_PARAM_BYTES];
    json_t *result;
    struct err err;
};

static void call_run(void *data)
{
    struct snapshot_call *call = data;

    call->result = call->run(call);
}

static void call_done(void *data)
{
    struct snapshot_call *call = data;

    if (call->result)
        http_reply_json(call->request, MHD_HTTP_OK, call->result);
    else if (call->err.code == ENOENT)
        http_reply_error(call->request, API_NO_SUCH_SNAPSHOT, "there is no snapshot '%s'",
                         call->name);
    else
        http_reply_error(call->request, API_INTERNAL, "%s", call->err.msg);
    free(call);
}

static void call_start(struct http_request *request, json_t *(*run)(struct snapshot_call *call))
{
    struct snapshot_call *call;

    if (request->param[0] && !snapshot_name_valid(request->param)) {
        http_reply_error(request, API_BAD_NAME, "'%s' is not a snapshot's name", request->param);
        return;
    }
    call = calloc(1, sizeof *call);
    if (call) {
        call->request = request;
        call->run = run;
        call->store_fd = api_of(request)->vms->snapshots_fd;
        snprintf(call->name, sizeof call->name, "%s", request->param);
    }
    if (!call || work_start(api_of(request)->vms->loop, call_run, call_done, call) < 0) {
        free(call);
        http_reply_error(request, API_INTERNAL, "out of memory");
    }
}

static json_t *run_list(struct snapshot_call *call)
{
    return snapstore_list(call->store_fd, &call->err);
}

static json_t *run_inspect(struct snapshot_call *call)
{
    return snapstore_inspect(call->store_fd, call->name, &call->err);
}

static json_t *run_verify(struct snapshot_call *call)
{
    return snapstore_verify(call->store_fd, call->name, &call->err);
}

void api_snapshots_list(struct http_request *request)
{
    call_start(request, run_list);
}

void api_snapshot_show(struct http_request *request)
{
    call_start(request, run_inspect);
}

void api_snapshot_verify(struct http_request *request)
{
    call_start(request, run_verify);
}
