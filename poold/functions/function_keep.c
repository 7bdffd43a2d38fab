/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the keys of a function, its file, and the way from a wish to it and to its end; see
 * function_keep.h. */
#include "functions/function_keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "base/state_file.h"
#include "base/work.h"
#include "vms/hosted.h"
#include "vms/pool_body.h"
#include "vms/pool_keys.h"
#include "vms/pool_make.h"

#define CALLS_MAX 100000
#define TIMEOUT_MS_MAX (24 * 3600 * 1000ull)

/* ---- Keys ---- */

/* `must`: all are in a file. */
#define SPEC_KEYS(type, member, must)                                                              \
    JSON_TEXT_KEY(type, member.runtime, "runtime", JSON_KEY_TEXT, must, 1),                        \
        JSON_NUMBER_KEY(type, member.concurrency, "concurrency", JSON_KEY_COUNT, must,             \
                        (must) ? 0 : 1, CALLS_MAX),                                                \
        JSON_NUMBER_KEY(type, member.queue, "queue", JSON_KEY_COUNT, must, 0, CALLS_MAX),          \
        JSON_NUMBER_KEY(type, member.reuse, "reuse", JSON_KEY_COUNT, must, 1, UINT32_MAX),         \
        JSON_NUMBER_KEY(type, member.queue_ms, "queue_ms", JSON_KEY_LONG, must, 1,                 \
                        TIMEOUT_MS_MAX),                                                           \
        JSON_NUMBER_KEY(type, member.timeout_ms, "timeout_ms", JSON_KEY_LONG, must, 1,             \
                        TIMEOUT_MS_MAX)

static const struct json_key body_keys[] = {
    JSON_TEXT_KEY(struct function_body, pool.spec.service, "handler", JSON_KEY_TEXT, true, 1),
    JSON_NUMBER_KEY(struct function_body, pool.spec.service_port, "port", JSON_KEY_COUNT, false, 1,
                    65535),
    SPEC_KEYS(struct function_body, spec, false),
};

const struct json_table function_own_table = JSON_TABLE(body_keys);

/* A pool's word, and what it is called of a function. */
static const char *const words[][2] = { { "service", "handler" },
                                        { "service_port", "port" },
                                        { "service_gate", "runtime" },
                                        { "service_bell", "runtime" } };

bool function_key_is_own(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i][0], name) == 0)
            return true;
    }
    return false;
}

bool function_key_same(const struct json_key *key, const struct function_spec *a,
                       const struct function_spec *b)
{
    struct function_body bodies[2] = { { .spec = *a }, { .spec = *b } };

    return json_key_same(key, &bodies[0], &bodies[1]);
}

struct function_kept {
    struct function_spec spec;
    char created[32];
};

static const struct json_key kept_keys[] = {
    JSON_TEXT_KEY(struct function_kept, created, "created", JSON_KEY_TEXT, true, 0),
    SPEC_KEYS(struct function_kept, spec, true),
};
static const struct json_table kept_table = JSON_TABLE(kept_keys);

/* As many calls may wait as a pool has VMs by default, and as long as a person would. */
static const struct function_spec spec_default = {
    .runtime = "http", .queue = 64, .reuse = 1, .queue_ms = 30000, .timeout_ms = 30000
};

/* A pool's keys stay in object; the function's own are moved out of it. */
static json_t *own_keys_take(json_t *object)
{
    json_t *own = json_object();

    for (size_t i = 0; i < ARRAY_LEN(body_keys); i++) {
        json_t *value = json_object_get(object, body_keys[i].name);

        if (value)
            json_object_set(own, body_keys[i].name, value);
        json_object_del(object, body_keys[i].name);
    }
    return own;
}

static int keys_read(json_t *object, json_t *own, struct function_body *ret, struct err *err)
{
    int rc = json_keys_read(own, body_keys, ARRAY_LEN(body_keys), ret, err);

    /* The pool's own word for the handler. */
    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(words); i++) {
        if (json_object_get(object, words[i][0]))
            rc = err_set(err, EINVAL, "a function's '%s' is its '%s'", words[i][0], words[i][1]);
    }
    return rc < 0 ? rc
                  : json_keys_read(object, pool_body_table.keys, pool_body_table.key_count,
                                   &ret->pool, err);
}

int function_body_read(json_t *object, struct function_body *ret, struct err *err)
{
    enum function_runtime runtime;
    json_t *own;
    bool port;
    int rc;

    if (!json_is_object(object))
        return err_set(err, EINVAL, "the body must be a JSON object");
    ret->spec = spec_default;
    pool_body_default(&ret->pool);
    own = own_keys_take(object);
    port = json_object_get(own, "port");
    rc = keys_read(object, own, ret, err);
    json_decref(own);
    if (rc == 0 && function_runtime_parse(ret->spec.runtime, &runtime) < 0)
        rc = err_set(err, EINVAL, "'runtime' must be http, lambda or doorbell, not '%s'",
                     ret->spec.runtime);
    if (rc < 0)
        return rc;
    if (runtime == FUNCTION_HTTP) {
        if (!port)
            ret->pool.spec.service_port = FUNCTION_PORT_DEFAULT;
        return 0;
    }
    ret->pool.spec.service_gate = runtime == FUNCTION_LAMBDA;
    ret->pool.spec.service_bell = runtime == FUNCTION_DOORBELL;
    return port ? err_set(err, EINVAL, "'port' is of the runtime http") : 0;
}

json_t *function_spec_json(const struct function_spec *spec)
{
    const struct function_kept kept = { .spec = *spec };
    json_t *object = json_object();

    for (size_t i = 1; i < ARRAY_LEN(kept_keys); i++)
        json_object_set_new(object, kept_keys[i].name, json_key_value(&kept_keys[i], &kept));
    if (!spec->concurrency)
        json_object_set_new(object, "concurrency", json_null());
    return object;
}

/* ---- Creation ---- */

struct making {
    struct functions *functions;
    struct function_body body;
    struct function *function;
    char *text; /* of the file */
    function_made_fn made;
    void *data;
    struct err err;
};

static void making_end(struct making *making)
{
    making->made(making->data, making->err.code ? NULL : making->function, &making->err);
    free(making->text);
    free(making);
}

static void keep_run(void *data)
{
    struct making *making = data;

    if (state_file_write(making->functions->dir_fd, making->body.pool.name, making->text,
                         &making->err) < 0)
        err_wrap(&making->err, "functions");
}

/* What could not be kept is not there. */
static void making_undo(struct making *making)
{
    struct hosted_pool *hosted = hosted_find(making->functions->vms, making->body.pool.name);

    if (making->function)
        function_free(making->function);
    if (hosted)
        hosted_delete(hosted, NULL, NULL);
}

static void keep_done(void *data)
{
    struct making *making = data;

    making->functions->works--;
    turn_schedule(making->functions->vms->turn);
    if (making->err.code)
        making_undo(making);
    else
        making->function->deleting = false;
    making_end(making);
}

static char *file_text(const struct function *function)
{
    struct function_kept kept = { .spec = function->spec };
    json_t *object;
    char *text;

    memcpy(kept.created, function->created, sizeof kept.created);
    object = json_keys_write(&kept_table, &kept);
    text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    return text;
}

/* Its pool boots. Until the function is kept it takes no calls. */
static void on_pool_made(void *data, struct hosted_pool *hosted, const struct err *err)
{
    struct making *making = data;
    struct functions *functions = making->functions;

    if (!hosted) {
        making->err = *err;
        making_end(making);
        return;
    }
    making->function =
        function_add(functions, making->body.pool.name, &making->body.spec, hosted->created);
    if (making->function) {
        making->function->deleting = true;
        making->text = file_text(making->function);
    }
    if (!making->text || work_start(functions->vms->loop, keep_run, keep_done, making) < 0) {
        making_undo(making);
        err_set(&making->err, ENOMEM, "out of memory");
        making_end(making);
        return;
    }
    functions->works++;
}

void function_make(struct functions *functions, const struct function_body *body,
                   struct client_ids *maker, function_made_fn made, void *data)
{
    struct making *making = calloc(1, sizeof *making);
    struct err err = { 0 };

    if (!making)
        err_set(&err, ENOMEM, "out of memory");
    else if (function_find(functions, body->pool.name))
        err_set(&err, EEXIST, "there is a function '%s' already", body->pool.name);
    if (err.code) {
        free(maker);
        free(making);
        made(data, NULL, &err);
        return;
    }
    making->functions = functions;
    making->body = *body;
    making->made = made;
    making->data = data;
    pool_make(functions->vms, &making->body.pool, maker, on_pool_made, making);
}

/* ---- Deletion ---- */

struct deletion {
    struct function *function;
    void (*deleted)(void *data, const struct err *err);
    void *data;
    struct err err;
};

static void deletion_run(void *data)
{
    struct deletion *deletion = data;

    state_file_delete(deletion->function->functions->dir_fd, deletion->function->name,
                      &deletion->err);
}

/* What is left can be deleted again. */
static void deletion_end(struct deletion *deletion)
{
    if (deletion->err.code)
        deletion->function->deleting = false;
    else
        function_free(deletion->function);
    deletion->deleted(deletion->data, deletion->err.code ? &deletion->err : NULL);
    free(deletion);
}

static void deletion_done(void *data)
{
    struct deletion *deletion = data;
    struct functions *functions = deletion->function->functions;

    functions->works--;
    turn_schedule(functions->vms->turn);
    deletion_end(deletion);
}

static void on_pool_deleted(void *data, const struct err *err)
{
    struct deletion *deletion = data;
    struct functions *functions = deletion->function->functions;

    if (err)
        deletion->err = *err;
    else if (work_start(functions->vms->loop, deletion_run, deletion_done, deletion) < 0)
        err_set(&deletion->err, ENOMEM, "out of memory");
    else
        functions->works++;
    if (deletion->err.code)
        deletion_end(deletion);
}

void function_delete(struct function *function, void (*deleted)(void *data, const struct err *err),
                     void *data)
{
    struct functions *functions = function->functions;
    struct hosted_pool *hosted = hosted_find(functions->vms, function->name);
    struct deletion *deletion = calloc(1, sizeof *deletion);

    if (!deletion) {
        const struct err err = { ENOMEM, "out of memory" };

        deleted(data, &err);
        return;
    }
    *deletion = (struct deletion){ .function = function, .deleted = deleted, .data = data };
    function->deleting = true;
    function_stop(function, "the function is being deleted");
    functions_pump(functions);
    if (hosted)
        hosted_delete(hosted, on_pool_deleted, deletion);
    else
        on_pool_deleted(deletion, NULL);
}

/* ---- Start ---- */

static int function_load(struct functions *functions, const char *name, struct err *err)
{
    struct function_kept kept = { .created = "" };
    json_t *object = state_file_read(functions->dir_fd, name, err);
    enum function_runtime runtime;
    int rc;

    if (!object)
        return -err->code;
    rc = json_keys_read(object, kept_keys, ARRAY_LEN(kept_keys), &kept, err);
    json_decref(object);
    if (rc == 0 && function_runtime_parse(kept.spec.runtime, &runtime) < 0)
        rc = err_set(err, EINVAL, "there is no runtime '%s'", kept.spec.runtime);
    if (rc == 0 && !function_add(functions, name, &kept.spec, kept.created))
        rc = err_set(err, ENOMEM, "out of memory");
    return rc;
}

void functions_load(struct functions *functions)
{
    state_files_tidy(functions->dir_fd);
    int fd = openat(functions->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char name[STATE_NAME_BYTES];
        struct err err = { 0 };

        if (state_file_name(entry->d_name, name) && pool_name_valid(name) &&
            function_load(functions, name, &err) < 0)
            log_error("function '%s' was not loaded: functions/%s: %s", name, entry->d_name,
                      err.msg);
    }
    if (dir)
        closedir(dir);
    else
        close_fd(&fd);
}
