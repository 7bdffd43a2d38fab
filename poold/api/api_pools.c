/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/pools. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/pools_json.h"
#include "vms/hosted.h"
#include "vms/pool_body.h"
#include "vms/pool_keys.h"
#include "vms/pool_make.h"

/* The names of those that the client may know of, with commas between. */
static void names_list(const struct http_request *request, char *ret_names, size_t bytes)
{
    ret_names[0] = '\0';
    LIST_FOR_EACH(at, &api_of(request)->vms->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);
        const char *name = pool->name;
        size_t used = strlen(ret_names);

        if (hosted_is_current(pool) && access_pool_seen(&request->connection->peer, name))
            snprintf(ret_names + used, bytes - used, "%s%s", used ? ", " : "", name);
    }
}

struct hosted_pool *api_pool_find(struct http_request *request, const char *name)
{
    struct hosted_pool *hosted = hosted_find(api_of(request)->vms, name);
    char names[512];

    /* Whether there is one or not is not to be told. */
    if (!access_pool_seen(&request->connection->peer, name)) {
        http_reply_error(request, API_FORBIDDEN, "poold's policy does not give you the pool '%s'",
                         name);
        return NULL;
    }
    if (hosted)
        return hosted;
    names_list(request, names, sizeof names);
    http_reply_error(request, API_NO_SUCH_POOL, "there is no pool '%s'; pools: %s", name,
                     names[0] ? names : "none");
    return NULL;
}

void api_pools_list(struct http_request *request)
{
    json_t *array = json_array();

    LIST_FOR_EACH(at, &api_of(request)->vms->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (hosted_is_current(pool) && access_pool_seen(&request->connection->peer, pool->name))
            json_array_append_new(array, pools_json_of(request, pool->owner));
    }
    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "pools", array));
}

void api_pool_show(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (hosted)
        http_reply_json(request, MHD_HTTP_OK, pools_json_of(request, hosted));
}

/* ---- Creation ---- */

/* Of an errno value that says why a pool was not made or changed. */
enum api_error api_failure_code(int code, enum api_error otherwise)
{
    static const struct {
        int code;
        enum api_error error;
    } codes[] = {
        { EEXIST, API_POOL_EXISTS }, { EBUSY, API_POOL_BUSY }, { ESHUTDOWN, API_SHUTTING_DOWN },
        { ENOSPC, API_NO_SPACE },    { EDQUOT, API_NO_SPACE }, { EMFILE, API_NO_ROOM },
        { ENOMEM, API_INTERNAL },    { EIO, API_INTERNAL },    { EROFS, API_INTERNAL },
    };

    for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i].code == code)
            return codes[i].error;
    }
    return otherwise;
}

static void made_reply(struct http_request *request, unsigned status, struct hosted_pool *hosted,
                       const struct err *err)
{
    if (hosted)
        http_reply_json(request, status, pools_json_of(request, hosted));
    else
        http_reply_error(request, api_failure_code(err->code, API_BAD_REQUEST), "%s", err->msg);
}

static void on_made(void *data, struct hosted_pool *hosted, const struct err *err)
{
    made_reply(data, MHD_HTTP_CREATED, hosted, err);
}

static void on_replaced(void *data, struct hosted_pool *hosted, const struct err *err)
{
    made_reply(data, MHD_HTTP_ACCEPTED, hosted, err);
}

bool api_links_allowed(struct http_request *request, const struct pool_net_spec *net)
{
    const char *equals = strchr(net->kind, '='); /* bridge=LINK, macvtap=LINK */

    if (!equals || access_link_allowed(&request->connection->peer, equals + 1))
        return true;
    http_reply_error(request, API_FORBIDDEN,
                     "you may not connect VMs to the host's link '%s': poold's policy says which "
                     "('links')",
                     equals + 1);
    return false;
}

/* Who makes a pool: the caller's, NULL for poold itself. False: it has replied. */
static bool maker_of(struct http_request *request, struct client_ids **ret_maker)
{
    int rc = 0;

    *ret_maker = NULL;
    if (!request->connection->peer.trusted)
        rc = client_ids_of_peer(request->connection->fd, ret_maker);
    if (rc < 0)
        http_reply_error(request, API_INTERNAL, "can't tell who you are: %s", strerror(-rc));
    return rc == 0;
}

void api_pools_create(struct http_request *request)
{
    struct client_ids *maker;
    struct pool_body body;

    pool_body_default(&body);
    if (http_read_body(request, &body) && api_links_allowed(request, &body.spec.net) &&
        maker_of(request, &maker))
        pool_make(api_of(request)->vms, &body, maker, on_made, request);
}

/* A function's pool is as the function says. False: it is one, and the reply is sent. */
static bool is_no_functions(struct http_request *request, const char *what)
{
    if (!function_find(api_of(request)->functions, request->param))
        return true;
    http_reply_error(request, API_POOL_BUSY, "'%s' is the pool of a function; %s", request->param,
                     what);
    return false;
}

/* What is not asked for stays as the pool has it. */
void api_pool_replace(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);
    struct vms *vms = api_of(request)->vms;
    _cleanup_free_ struct pool_body *bodies = calloc(2, sizeof *bodies);
    struct client_ids *maker;
    struct pool_wish wish;

    if (!hosted || !is_no_functions(request, "delete that and create it again"))
        return;
    if (!bodies) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    wish = hosted_wish(hosted);
    hosted_body(hosted, &bodies[0]);
    bodies[0].min = wish.min;
    bodies[0].max = wish.max;
    bodies[0].shells = wish.shells;
    pool_body_again(&bodies[0], vms->settings);
    bodies[1] = bodies[0];
    if (!http_read_body(request, &bodies[0]))
        return;
    pool_body_over(&bodies[0], &bodies[1]);
    if (api_links_allowed(request, &bodies[0].spec.net) && maker_of(request, &maker))
        pool_remake(vms, &bodies[0], maker, on_replaced, request);
}

/* ---- Changes ---- */

/* With a success, the pool is there. */
static void on_changed(void *data, const struct err *err)
{
    struct http_request *request = data;

    if (err)
        http_reply_error(request, api_failure_code(err->code, API_INTERNAL),
                         "nothing was changed: %s", err->msg);
    else
        http_reply_json(request, MHD_HTTP_OK,
                        pools_json_of(request, hosted_find(api_of(request)->vms, request->param)));
}

/* The request's pool, if it can be changed. NULL: it has replied. */
static struct hosted_pool *changeable_find(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (!hosted || !hosted->broken)
        return hosted;
    http_reply_error(request, API_POOL_NOT_READY, "pool '%s' can only be deleted: %s",
                     hosted->pool.name, hosted->pool.error);
    return NULL;
}

void api_pool_patch(struct http_request *request)
{
    struct hosted_pool *hosted = changeable_find(request);
    struct pool_body body;
    struct pool_wish wish;
    struct err err;

    if (!hosted)
        return;
    wish = hosted_wish(hosted);
    hosted_body(hosted, &body);
    body.min = wish.min;
    body.max = wish.max;
    body.shells = wish.shells;
    if (!http_read_body(request, &body))
        return;
    if (pool_body_check(&body, &err) < 0) {
        http_reply_error(request, API_BAD_REQUEST, "%s", err.msg);
        return;
    }
    wish.min = body.min;
    wish.max = body.max;
    wish.shells = body.shells;
    hosted_change(hosted, &wish, on_changed, request);
}

static void draining_set(struct http_request *request, bool draining)
{
    struct hosted_pool *hosted = changeable_find(request);
    struct pool_wish wish;

    if (!hosted)
        return;
    if (hosted->deleting) {
        http_reply_error(request, API_POOL_BUSY, "pool '%s' is being deleted", hosted->pool.name);
        return;
    }
    wish = hosted_wish(hosted);
    wish.draining = draining;
    hosted_change(hosted, &wish, on_changed, request);
}

void api_pool_drain(struct http_request *request)
{
    draining_set(request, true);
}

void api_pool_undrain(struct http_request *request)
{
    draining_set(request, false);
}

void api_pool_retry(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);
    struct err err = { 0 };

    if (!hosted)
        return;
    if (hosted_retry(hosted, &err) < 0)
        http_reply_error(request, api_failure_code(err.code, API_POOL_NOT_READY), "%s", err.msg);
    else
        http_reply_json(request, MHD_HTTP_OK, pools_json_of(request, hosted));
}

static void on_deleted(void *data, const struct err *err)
{
    if (err)
        http_reply_error(data, API_INTERNAL,
                         "the pool is stopped, but not all of it was removed; delete it again: %s",
                         err->msg);
    else
        http_reply_empty(data, MHD_HTTP_NO_CONTENT);
}

void api_pool_delete(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);
    uint32_t in_use;
    bool force;

    if (!hosted || !http_query_bool(request, "force", &force))
        return;
    if (!is_no_functions(request, "delete that (voltctl function delete)"))
        return;
    in_use = pool_state_count_all(&hosted->pool, SLOT_LEASED) +
             pool_state_count_all(&hosted->pool, SLOT_WAKING);
    if (hosted->deleting) {
        http_reply_error(request, API_POOL_BUSY, "pool '%s' is being deleted already",
                         hosted->pool.name);
        return;
    }
    if (in_use && !force) {
        http_reply_error(request, API_POOL_BUSY,
                         "%u VMs of pool '%s' are leased; release them, or delete with ?force=1",
                         in_use, hosted->pool.name);
        return;
    }
    hosted_delete(hosted, on_deleted, request);
}
