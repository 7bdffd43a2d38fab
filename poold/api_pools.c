/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls under /v1/pools. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "base/json_text.h"
#include "boot.h"
#include "json_keys.h"
#include "machine/vm_state.h"
#include "memory/guest_mem.h"
#include "pool_disk.h"
#include "work.h"

#define VMS_MAX 100000
#define MEMORY_STEP MIB(2)

struct pool_body {
    char name[POOL_NAME_BYTES];
    struct pool_spec spec;
    uint32_t min, max, shells;
};

#define BODY_TEXT(member, name, kind, required, least)                                             \
    JSON_TEXT_KEY(struct pool_body, member, name, kind, required, least)
#define BODY_NUMBER(member, name, kind, least, most)                                               \
    JSON_NUMBER_KEY(struct pool_body, member, name, kind, false, least, most)

static const struct json_key create_keys[] = {
    BODY_TEXT(name, "name", JSON_KEY_NAME, true, 1),
    BODY_NUMBER(spec.memory_bytes, "memory", JSON_KEY_SIZE, GUEST_RAM_BYTES_MIN,
                GUEST_RAM_BYTES_MAX),
    BODY_NUMBER(spec.memory_bytes, "memory_bytes", JSON_KEY_LONG, GUEST_RAM_BYTES_MIN,
                GUEST_RAM_BYTES_MAX),
    BODY_NUMBER(spec.vcpus, "vcpus", JSON_KEY_COUNT, 1, VM_VCPUS_MAX),
    BODY_NUMBER(spec.cpu_weight, "cpu_weight", JSON_KEY_COUNT, 1, 10000),
    BODY_NUMBER(spec.cpu_percent, "cpu_percent", JSON_KEY_COUNT, 1, 100 * VM_VCPUS_MAX),
    BODY_TEXT(spec.kernel, "kernel", JSON_KEY_AUTO_PATH, false, 1),
    BODY_TEXT(spec.initrd, "initrd", JSON_KEY_AUTO_PATH, false, 1),
    BODY_TEXT(spec.cmdline, "cmdline", JSON_KEY_TEXT, false, 0),
    BODY_TEXT(spec.warmup, "warmup", JSON_KEY_TEXT, false, 0),
    BODY_TEXT(spec.image, "image", JSON_KEY_NAME, false, 1),
    BODY_TEXT(spec.disk, "disk", JSON_KEY_PATH, false, 1),
    BODY_NUMBER(spec.disk_read_only, "disk_read_only", JSON_KEY_BOOL, 0, 0),
    BODY_NUMBER(spec.disk_bandwidth, "disk_bandwidth", JSON_KEY_SIZE, 512, INT64_MAX),
    BODY_TEXT(spec.net.kind, "net", JSON_KEY_TEXT, false, 1),
    BODY_TEXT(spec.net.address, "net_address", JSON_KEY_TEXT, false, 1),
    BODY_NUMBER(spec.net.bandwidth, "net_bandwidth", JSON_KEY_SIZE, 1024, INT64_MAX),
    BODY_NUMBER(spec.net.pps, "net_pps", JSON_KEY_COUNT, 1, UINT32_MAX),
    BODY_TEXT(spec.net.vhost, "net_vhost", JSON_KEY_TEXT, false, 1),
    BODY_NUMBER(spec.balloon, "balloon", JSON_KEY_BOOL, 0, 0),
    BODY_NUMBER(spec.disk_iops, "disk_iops", JSON_KEY_COUNT, 1, UINT32_MAX),
    BODY_NUMBER(min, "min", JSON_KEY_COUNT, 0, VMS_MAX),
    BODY_NUMBER(max, "max", JSON_KEY_COUNT, 1, VMS_MAX),
    BODY_NUMBER(shells, "shells", JSON_KEY_COUNT, 0, VMS_MAX),
};

static const struct json_key patch_keys[] = {
    BODY_NUMBER(min, "min", JSON_KEY_COUNT, 0, VMS_MAX),
    BODY_NUMBER(max, "max", JSON_KEY_COUNT, 1, VMS_MAX),
    BODY_NUMBER(shells, "shells", JSON_KEY_COUNT, 0, VMS_MAX),
};

/* ---- POOL as JSON ---- */

static json_t *count_or_null(uint32_t count)
{
    return count ? json_integer(count) : json_null();
}

static json_t *progress_json(const struct hosted_pool *hosted)
{
    static const char *const phases[POOL_STATE_COUNT] = {
        [POOL_BOOTING] = "boot",
        [POOL_SNAPSHOTTING] = "snapshot",
        [POOL_LOADING] = "load",
    };
    const char *phase = phases[hosted->pool.state];

    if (!phase)
        return json_null();
    return json_pack("{s:o, s:i, s:I, s:b}", "phase", json_text(phase), "percent",
                     hosted->boot ? (int)boot_percent(hosted->boot) : 99, "elapsed_ms",
                     (json_int_t)((now_ns() - hosted->phase_began_ns) / NS_PER_MS), "overdue",
                     hosted->boot && boot_overdue(hosted->boot));
}

static json_t *failures_json(const struct pool *pool)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < FAILURE_COUNT; i++)
        json_object_set_new(object, failure_name((enum failure)i),
                            json_integer((json_int_t)pool->counters.failures[i]));
    return object;
}

static json_t *slots_json(const struct pool *pool)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < SLOT_DEAD; i++)
        json_object_set_new(object, slot_state_name((enum slot_state)i),
                            json_integer(pool->counts[i]));
    return object;
}

static json_t *pool_json(const struct hosted_pool *hosted)
{
    const struct pool *pool = &hosted->pool;
    const struct pool_spec *spec = &hosted->spec;
    uint64_t now = now_ns();
    uint64_t backoff_ms =
        backoff_active(&pool->backoff, now) ? (pool->backoff.until_ns - now) / NS_PER_MS + 1 : 0;
    bool has_snapshot = hosted->snapshot_ms || hosted->cold_boot_ms;
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:o, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:o}", "name",
        json_text(pool->name), "state", json_text(pool_state_name(pool->state)), "error",
        json_text_or_null(pool->error), "progress", progress_json(hosted), "memory_bytes",
        (json_int_t)spec->memory_bytes, "vcpus", (int)spec->vcpus, "cpu_weight",
        count_or_null(spec->cpu_weight), "cpu_percent", count_or_null(spec->cpu_percent), "kernel",
        json_text(spec->kernel), "initrd", json_text_or_null(spec->initrd), "cmdline",
        json_text(spec->cmdline), "min", (int)pool->min, "max", (int)pool->max, "shells",
        (int)pool->shells, "warmup", json_text_or_null(spec->warmup));
    json_t *figures = json_pack(
        "{s:o, s:i, s:I, s:I, s:I, s:o, s:I, s:o, s:I, s:I, s:o, s:o}", "slots", slots_json(pool),
        "waiting", (int)pool->waiting, "acquires", (json_int_t)pool->counters.acquires, "missed",
        (json_int_t)pool->counters.missed, "restores", (json_int_t)pool->counters.restores,
        "failures", failures_json(pool), "backoff_ms", (json_int_t)backoff_ms, "last_failure",
        json_text_or_null(pool->last_failure), "cold_boot_ms", (json_int_t)hosted->cold_boot_ms,
        "snapshot_ms", (json_int_t)hosted->snapshot_ms, "snapshot",
        has_snapshot ? json_text(pool->name) : json_null(), "created", json_text(hosted->created));

    json_object_set_new(object, "image", json_text_or_null(spec->image));
    json_object_set_new(object, "net", json_text_or_null(spec->net.kind));
    if (spec->net.kind[0]) {
        json_object_set_new(object, "net_address", json_text(spec->net.address));
        json_object_set_new(object, "net_bandwidth", json_integer((json_int_t)spec->net.bandwidth));
        json_object_set_new(object, "net_pps", json_integer(spec->net.pps));
        json_object_set_new(object, "net_vhost",
                            json_text(spec->net.vhost[0] ? spec->net.vhost : "auto"));
    }
    json_object_set_new(object, "balloon", json_boolean(spec->balloon));
    json_object_set_new(object, "disk", json_text_or_null(spec->disk));
    if (pool_disk_wanted(spec)) {
        json_object_set_new(object, "disk_read_only", json_boolean(spec->disk_read_only));
        json_object_set_new(object, "disk_bandwidth",
                            json_integer((json_int_t)spec->disk_bandwidth));
        json_object_set_new(object, "disk_iops", json_integer(spec->disk_iops));
    }
    json_object_update(object, figures);
    json_decref(figures);
    return object;
}

struct hosted_pool *api_pool_find(struct http_request *request, const char *name)
{
    struct hosted_pool *hosted = daemon_pool_find(request->daemon, name);
    char names[512] = "";

    if (hosted)
        return hosted;
    LIST_FOR_EACH(at, &request->daemon->pools)
    {
        size_t used = strlen(names);

        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                 list_entry(at, struct pool, node)->name);
    }
    http_reply_error(request, API_NO_SUCH_POOL, "there is no pool '%s'; pools: %s", name,
                     names[0] ? names : "none");
    return NULL;
}

void api_pools_list(struct http_request *request)
{
    json_t *array = json_array();

    LIST_FOR_EACH(at, &request->daemon->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        json_array_append_new(array, pool_json(pool->owner));
    }
    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "pools", array));
}

void api_pool_show(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (hosted)
        http_reply_json(request, MHD_HTTP_OK, pool_json(hosted));
}

/* ---- Creation: the images are looked at on the thread pool ---- */

struct create_call {
    struct http_request *request;
    struct pool_body body;
    struct err err;
};

static int image_check(const char *path, const char *what, struct err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_set_errno(err, errno, "the %s %s", what, path);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return err_set(err, EINVAL, "the %s %s is not a regular file with something in it", what,
                       path);
    if (access(path, R_OK) < 0)
        return err_set_errno(err, errno, "the %s %s", what, path);
    return 0;
}

static void create_run(void *data)
{
    struct create_call *call = data;

    if (image_check(call->body.spec.kernel, "kernel", &call->err) == 0 && call->body.spec.initrd[0])
        image_check(call->body.spec.initrd, "initrd", &call->err);
    if (!call->err.code) {
        struct pool_disk disk;

        if (pool_disk_open(call->request->daemon, &call->body.spec, &disk, &call->err) == 0)
            pool_disk_close(&disk);
    }
}

static void reply_pool_exists(struct http_request *request, const char *name)
{
    http_reply_error(request, API_POOL_EXISTS, "there is a pool '%s' already", name);
}

static void create_done(void *data)
{
    struct create_call *call = data;
    struct http_request *request = call->request;
    const struct pool_body *body = &call->body;
    struct hosted_pool *hosted = NULL;

    if (call->err.code)
        http_reply_error(request, API_BAD_REQUEST, "%s", call->err.msg);
    else if (request->daemon->stopping)
        http_reply_error(request, API_SHUTTING_DOWN, "poold is shutting down");
    else if (daemon_pool_find(request->daemon, body->name))
        reply_pool_exists(request, body->name);
    else
        hosted = hosted_create(request->daemon, body->name, &body->spec, body->min, body->max,
                               body->shells);
    if (hosted)
        http_reply_json(request, MHD_HTTP_CREATED, pool_json(hosted));
    else if (!request->answered)
        http_reply_error(request, API_INTERNAL, "out of memory");
    free(call);
}

/* What the key table can't say. False: it has replied. */
static bool body_check(struct http_request *request, const struct pool_body *body)
{
    if (body->min + (uint64_t)body->shells > body->max) {
        http_reply_error(request, API_BAD_REQUEST,
                         "'min' and 'shells' together (%llu) must not be more than 'max' (%u)",
                         body->min + (unsigned long long)body->shells, body->max);
        return false;
    }
    if (body->spec.memory_bytes % MEMORY_STEP) {
        http_reply_error(request, API_BAD_REQUEST, "'memory' must be a multiple of 2M");
        return false;
    }
    return true;
}

/* "auto", or nothing, is what poold found for this host's kind of KVM (config.h). */
static void choose_images(struct pool_spec *spec, const struct config *config)
{
    bool own = !spec->kernel[0] || strcmp(spec->kernel, "auto") == 0;

    if (own)
        memcpy(spec->kernel, config->kernel, sizeof config->kernel);
    if (!spec->initrd[0] || strcmp(spec->initrd, "auto") == 0)
        memcpy(spec->initrd, own ? config->initrd : config->plain_initrd, sizeof config->initrd);
}

static bool create_check(struct http_request *request, const struct pool_body *body)
{
    struct err err;

    if (!body_check(request, body))
        return false;
    if (pool_net_check(&body->spec.net, body->max, &err) < 0) {
        http_reply_error(request, API_BAD_REQUEST, "%s", err.msg);
        return false;
    }
    if (body->spec.image[0] && body->spec.disk[0]) {
        http_reply_error(request, API_BAD_REQUEST, "give 'image' or 'disk', not both");
        return false;
    }
    if (!body->spec.kernel[0]) {
        http_reply_error(
            request, API_BAD_REQUEST,
            "no guest kernel was found: give 'kernel', or make the default one (on hardware "
            "KVM with guest-init/stock-kernel, else with guest-init/kernel/build-kernel) "
            "and start poold again");
        return false;
    }
    if (daemon_pool_find(request->daemon, body->name)) {
        reply_pool_exists(request, body->name);
        return false;
    }
    return true;
}

void api_pools_create(struct http_request *request)
{
    struct create_call *call = calloc(1, sizeof *call);

    if (!call) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    call->request = request;
    call->body.spec.memory_bytes = MIB(128);
    call->body.spec.vcpus = 1;
    call->body.min = 2;
    call->body.max = 64;
    memcpy(call->body.spec.net.address, POOL_NET_ADDRESS_DEFAULT, sizeof POOL_NET_ADDRESS_DEFAULT);
    if (!http_read_body(request, create_keys, ARRAY_LEN(create_keys), &call->body)) {
        free(call);
        return;
    }
    if (strcmp(call->body.spec.net.kind, "none") == 0)
        call->body.spec.net.kind[0] = '\0';
    choose_images(&call->body.spec, &request->daemon->config);
    if (!create_check(request, &call->body)) {
        free(call);
        return;
    }
    if (work_start(&request->daemon->loop, create_run, create_done, call) < 0) {
        free(call);
        http_reply_error(request, API_INTERNAL, "out of memory");
    }
}

/* ---- Changes ---- */

void api_pool_patch(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);
    struct pool_body body = { 0 };

    if (!hosted)
        return;
    body.min = hosted->pool.min;
    body.max = hosted->pool.max;
    body.shells = hosted->pool.shells;
    if (!http_read_body(request, patch_keys, ARRAY_LEN(patch_keys), &body) ||
        !body_check(request, &body))
        return;
    pool_set_limits(&hosted->pool, body.min, body.max, body.shells);
    hosted_save(hosted);
    http_reply_json(request, MHD_HTTP_OK, pool_json(hosted));
}

void api_pool_drain(struct http_request *request)
{
    struct hosted_pool *hosted = api_pool_find(request, request->param);

    if (!hosted)
        return;
    hosted_set_state(hosted, POOL_DRAINING, NULL);
    hosted_save(hosted);
    http_reply_json(request, MHD_HTTP_OK, pool_json(hosted));
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
    const char *force = http_query(request, "force");
    uint32_t in_use;

    if (!hosted)
        return;
    in_use = hosted->pool.counts[SLOT_LEASED] + hosted->pool.counts[SLOT_WAKING];
    if (hosted->deleting) {
        http_reply_error(request, API_POOL_BUSY, "pool '%s' is being deleted already",
                         hosted->pool.name);
        return;
    }
    if (in_use && !(force && strcmp(force, "1") == 0)) {
        http_reply_error(request, API_POOL_BUSY,
                         "%u VMs of pool '%s' are leased; release them, or delete with ?force=1",
                         in_use, hosted->pool.name);
        return;
    }
    hosted_delete(hosted, on_deleted, request);
}
