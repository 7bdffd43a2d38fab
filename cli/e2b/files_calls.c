/* SPDX-License-Identifier: Apache-2.0 */
/* Owns filesystem.Filesystem/...: what E2B's clients ask of a sandbox's files. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/json_text.h"
#include "base/util.h"
#include "e2b/calls.h"
#include "e2b/files_error.h"
#include "e2b/rpc.h"
#include "e2b/sandbox.h"
#include "e2b/stream.h"

/* ---- Errors ---- */

enum rpc_error files_error(const struct guest_files *files, int rc, unsigned *ret_status)
{
    static const struct {
        int error;
        unsigned status;
        enum rpc_error code;
    } known[] = {
        { ENOENT, 404, RPC_NOT_FOUND },          { EEXIST, 409, RPC_ALREADY_EXISTS },
        { EACCES, 403, RPC_PERMISSION_DENIED },  { EPERM, 403, RPC_PERMISSION_DENIED },
        { EROFS, 403, RPC_PERMISSION_DENIED },   { ENOSPC, 507, RPC_RESOURCE_EXHAUSTED },
        { EDQUOT, 507, RPC_RESOURCE_EXHAUSTED }, { ENOSYS, 501, RPC_UNIMPLEMENTED },
    };

    for (size_t i = 0; files->refused && i < ARRAY_LEN(known); i++) {
        if (known[i].error == -rc) {
            *ret_status = known[i].status;
            return known[i].code;
        }
    }
    if (files->refused || rc == -EINVAL || rc == -E2BIG) {
        *ret_status = 400;
        return RPC_INVALID_ARGUMENT;
    }
    *ret_status = rc == -ETIMEDOUT ? 504 : 502;
    return rc == -ETIMEDOUT ? RPC_DEADLINE_EXCEEDED : RPC_UNAVAILABLE;
}

void reply_files_error(struct call *call, const struct guest_files *files, int rc,
                       const struct err *err)
{
    unsigned status;
    enum rpc_error code = files_error(files, rc, &status);

    reply_error(call, status, code, "%s", err->msg);
}

/* ---- Unary calls ---- */

/* Runs an operation with the request's texts of these keys (`more_key` NULL: only one). False: it has
 * replied. files is to be closed either way. */
static bool operation_run(struct call *call, struct guest_files *files, const char *operation,
                          const json_t *json, const char *key, const char *more)
{
    const char *path = json_string_value(json_object_get(json, key));
    char user[SERVER_USER_BYTES];
    const char *name;
    struct err err;

    *files = (struct guest_files){ 0 };
    if (!path) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "%s must be a text", key);
        return false;
    }
    if (!call_user(call, user, &name))
        return false;
    int rc = guest_files_run(files, call->sandbox, name, operation, path, more, &err);
    if (rc < 0)
        reply_files_error(call, files, rc, &err);
    return rc == 0;
}

/* Replies with what was printed: one entry. */
static void entry_reply(struct call *call, const char *operation, const char *key,
                        const char *more_key)
{
    _cleanup_json_ json_t *json = call_json(call);
    const char *more = more_key ? json_string_value(json_object_get(json, more_key)) : NULL;
    struct guest_files files = { 0 };
    size_t bytes;

    if (!json)
        return;
    if (more_key && !more) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "%s must be a text", more_key);
        return;
    }
    if (operation_run(call, &files, operation, json, key, more)) {
        json_t *entry = guest_entry_parse(files.output, files.bytes, &bytes);

        if (entry)
            reply_json(call, 200, json_pack("{s:o}", "entry", entry));
        else
            reply_error(call, 502, RPC_UNAVAILABLE, "the guest's answer is not whole");
    }
    guest_files_close(&files);
}

void call_files_stat(struct call *call)
{
    entry_reply(call, "stat", "path", NULL);
}

void call_files_make(struct call *call)
{
    entry_reply(call, "mkdir", "path", NULL);
}

void call_files_move(struct call *call)
{
    entry_reply(call, "move", "source", "destination");
}

void call_files_remove(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct guest_files files = { 0 };

    if (json && operation_run(call, &files, "remove", json, "path", NULL))
        reply_json(call, 200, json_object());
    guest_files_close(&files);
}

void call_files_list(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    const json_t *depth = json_object_get(json, "depth");
    struct guest_files files = { 0 };
    char number[24] = "1";

    if (!json)
        return;
    if (json_is_integer(depth) && json_integer_value(depth) != 0)
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(depth));
    if (operation_run(call, &files, "list", json, "path", number)) {
        json_t *list = json_array(), *entry;
        size_t at = 0, bytes;

        while ((entry = guest_entry_parse(files.output + at, files.bytes - at, &bytes)) != NULL) {
            json_array_append_new(list, entry);
            at += bytes;
        }
        reply_json(call, 200, json_pack("{s:o}", "entries", list));
    }
    guest_files_close(&files);
}

/* ---- Watching ---- */

#define EVENT_BYTES_MAX 8192u /* of one event's two texts */

struct watch {
    struct guest_files files; /* what it has printed and was not told yet is in its output */
    bool over;                /* the last envelope was made */
};

static json_t *watch_keepalive(void *data)
{
    (void)data;
    return json_pack("{s:{}}", "keepalive");
}

/* Takes an event out of what was printed; NULL: there is none. */
static json_t *event_take(struct guest_files *files)
{
    static const struct {
        const char *name, *type;
    } types[] = { { "create", "EVENT_TYPE_CREATE" },
                  { "write", "EVENT_TYPE_WRITE" },
                  { "remove", "EVENT_TYPE_REMOVE" },
                  { "rename", "EVENT_TYPE_RENAME" },
                  { "chmod", "EVENT_TYPE_CHMOD" } };
    const char *name = (const char *)files->output;
    const char *end = files->bytes ? memchr(name, '\0', files->bytes) : NULL;
    const char *path = end ? end + 1 : NULL;
    const char *path_end = path ? memchr(path, '\0', files->bytes - (size_t)(path - name)) : NULL;
    const char *type = "EVENT_TYPE_UNSPECIFIED";
    json_t *event;

    if (!path_end)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(name, types[i].name) == 0)
            type = types[i].type;
    if (strcmp(name, "start") == 0)
        event = json_pack("{s:{}}", "start");
    else
        event = json_pack("{s:{s:o, s:s}}", "filesystem", "name", json_text(path), "type", type);
    files->bytes -= (size_t)(path_end + 1 - name);
    memmove(files->output, path_end + 1, files->bytes);
    return event;
}

static char *watch_last(struct watch *watch, int rc, const char *text, size_t *ret_bytes)
{
    unsigned status;
    enum rpc_error code = files_error(&watch->files, rc, &status);

    watch->over = true;
    return rpc_envelope_end(rc == 0 ? RPC_ERROR_COUNT : code, text, ret_bytes);
}

static char *watch_next(void *data, size_t *ret_bytes, int *ret_fd)
{
    struct watch *watch = data;
    struct guest_files *files = &watch->files;
    const uint8_t *printed;
    struct err err = { 0 };

    *ret_fd = -1;
    while (!watch->over) {
        json_t *event = event_take(files);

        if (event)
            return rpc_envelope_make(0, event, ret_bytes);
        if (files->bytes > EVENT_BYTES_MAX)
            return watch_last(watch, -EPROTO, "the guest's events are too long", ret_bytes);
        ssize_t count = guest_files_next(files, 0, &printed, &err);
        if (count == -ETIMEDOUT) { /* what was read is taken: is there more? */
            count = agent_fill(files->agent);
            if (count == 0)
                continue;
            *ret_fd = files->agent->fd;
            if (count == -EAGAIN)
                return NULL;
        }
        if (count < 0 || files->over)
            return watch_last(watch, (int)MIN_OF(count, 0), err.msg, ret_bytes);
        guest_files_keep(files, printed, (size_t)count);
    }
    return NULL;
}

static void watch_closed(void *data)
{
    struct watch *watch = data;

    guest_files_close(&watch->files);
    free(watch);
}

static const struct stream_ops watch_ops = {
    .next = watch_next,
    .keepalive = watch_keepalive,
    .closed = watch_closed,
};

void call_files_watch(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    const char *path = json_string_value(json_object_get(json, "path"));
    bool recursive = json_is_true(json_object_get(json, "recursive"));
    char user[SERVER_USER_BYTES];
    const char *name;
    struct err err;

    if (!json)
        return;
    if (!path) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "path must be a text");
        return;
    }
    if (!call_user(call, user, &name))
        return;
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        abort(); /* of SERVER_CONNECTIONS */
    int rc = guest_files_open(&watch->files, call->sandbox, name, "watch", path,
                              recursive ? "recursive" : "flat", &err);
    if (rc == 0) {
        reply_stream(call, &watch_ops, watch);
        return;
    }
    reply_files_error(call, &watch->files, rc, &err);
    watch_closed(watch);
}
