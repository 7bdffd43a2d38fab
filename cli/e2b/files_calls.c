/* SPDX-License-Identifier: Apache-2.0 */
/* Owns filesystem.Filesystem/...: what E2B's clients ask of a sandbox's files; watching them is
 * watch_calls.c's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "e2b/calls.h"
#include "e2b/files_error.h"
#include "e2b/sandbox.h"

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
