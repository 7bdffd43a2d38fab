/* SPDX-License-Identifier: Apache-2.0 */
/* Owns process.Process/...: what E2B's clients ask of processes; see process.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "e2b/calls.h"
#include "e2b/process.h"
#include "e2b/rpc.h"
#include "e2b/sandbox.h"
#include "e2b/stream.h"

/* ---- What is streamed of a process ---- */

enum phase {
    PHASE_START,
    PHASE_OUTPUT,
    PHASE_END,
    PHASE_OVER,
};

struct process_view {
    struct process_reader reader;
    enum phase phase;
    enum process_end end;
};

static char *event_make(const char *name, json_t *value, size_t *ret_bytes)
{
    return rpc_envelope_make(0, json_pack("{s:{s:o}}", "event", name, value), ret_bytes);
}

static json_t *view_keepalive(void *data)
{
    (void)data;
    return json_pack("{s:{s:{}}}", "event", "keepalive");
}

static char *output_next(struct process_view *view, size_t *ret_bytes, int *ret_fd)
{
    static const char *const names[] = {
        [PROCESS_STDOUT] = "stdout", [PROCESS_STDERR] = "stderr", [PROCESS_PTY] = "pty"
    };
    _cleanup_free_ struct process_chunk *chunk = process_reader_next(&view->reader, &view->end);

    if (chunk)
        return event_make(
            "data",
            json_pack("{s:o}", names[chunk->stream], rpc_bytes_encode(chunk->data, chunk->bytes)),
            ret_bytes);
    if (view->end == PROCESS_RUNS)
        *ret_fd = view->reader.event_fd;
    else
        view->phase = PHASE_END;
    return NULL;
}

/* Of one that was started and has ended by itself or by a signal; else NULL. */
static json_t *end_event(const struct process_view *view)
{
    const struct process *process = view->reader.process;
    const bool exited = view->end == PROCESS_EXITED;
    char status[64];

    if (!exited && view->end != PROCESS_SIGNALED)
        return NULL;
    if (exited)
        snprintf(status, sizeof status, "exit status %u", process->value);
    else
        snprintf(status, sizeof status, "signal: %s", strsignal((int)process->value));
    json_t *end = json_pack("{s:i, s:b, s:s}", "exitCode", exited ? (int)process->value : -1,
                            "exited", exited, "status", status);
    if (!exited || process->value != 0)
        json_object_set_new(end, "error", json_string(status));
    return end;
}

static char *last_make(const struct process_view *view, size_t *ret_bytes)
{
    const struct process *process = view->reader.process;
    const char *cmd = json_string_value(json_object_get(process->config, "cmd"));
    char text[512];

    switch (view->end) {
    case PROCESS_TIMED_OUT:
        return rpc_envelope_end(RPC_DEADLINE_EXCEEDED,
                                "the process' time was over, and it was killed", ret_bytes);
    case PROCESS_NOT_FOUND:
        snprintf(text, sizeof text, "can't start '%.300s': %s", cmd, process->why);
        return rpc_envelope_end(RPC_INVALID_ARGUMENT, text, ret_bytes);
    case PROCESS_REFUSED:
        return rpc_envelope_end(RPC_INVALID_ARGUMENT, process->why, ret_bytes);
    case PROCESS_LOST:
        return rpc_envelope_end(RPC_UNAVAILABLE, "The sandbox was not found", ret_bytes);
    default:
        return rpc_envelope_end(RPC_ERROR_COUNT, NULL, ret_bytes);
    }
}

static char *view_next(void *data, size_t *ret_bytes, int *ret_fd)
{
    struct process_view *view = data;
    json_t *event;

    *ret_fd = -1;
    if (view->phase == PHASE_START) {
        view->phase = PHASE_OUTPUT;
        return event_make("start", json_pack("{s:I}", "pid", (json_int_t)view->reader.process->pid),
                          ret_bytes);
    }
    if (view->phase == PHASE_OUTPUT) {
        char *envelope = output_next(view, ret_bytes, ret_fd);

        if (envelope || view->phase == PHASE_OUTPUT)
            return envelope;
        event = end_event(view);
        if (event)
            return event_make("end", event, ret_bytes);
    }
    if (view->phase == PHASE_OVER)
        return NULL;
    view->phase = PHASE_OVER;
    return last_make(view, ret_bytes);
}

static void view_closed(void *data)
{
    struct process_view *view = data;

    process_reader_close(&view->reader);
    free(view);
}

static const struct stream_ops view_ops = {
    .next = view_next,
    .keepalive = view_keepalive,
    .closed = view_closed,
};

/* Takes the reference. */
static void process_show(struct call *call, struct process *process)
{
    struct process_view *view = calloc(1, sizeof *view);

    if (!view)
        abort(); /* of SERVER_CONNECTIONS */
    int rc = process_reader_open(&view->reader, process);
    process_put(process);
    if (rc == 0) {
        reply_stream(call, &view_ops, view);
        return;
    }
    free(view);
    reply_error(call, 500, RPC_INTERNAL, "can't follow the process: %s", strerror(-rc));
}

/* ---- Requests ---- */

static bool texts_are_good(const json_t *array)
{
    size_t i;
    json_t *value;

    json_array_foreach((json_t *)(uintptr_t)array, i, value)
    {
        if (!json_is_string(value))
            return false;
    }
    return !array || json_is_array(array);
}

static bool number_take(const json_t *object, const char *key, uint16_t *ret_number)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);

    *ret_number = (uint16_t)number;
    return json_is_integer(value) && number > 0 && number <= UINT16_MAX;
}

static bool size_take(const json_t *pty, uint16_t *ret_rows, uint16_t *ret_cols)
{
    const json_t *size = json_object_get(pty, "size");

    return number_take(size, "rows", ret_rows) && number_take(size, "cols", ret_cols);
}

/* A member that is a text or is not there. False: it is something else. */
static bool text_take(const json_t *object, const char *key, const char **ret_text)
{
    const json_t *value = json_object_get(object, key);

    *ret_text = json_string_value(value);
    return !value || json_is_null(value) || *ret_text;
}

/* NULL, or what is wrong with it. */
static const char *wish_read(const json_t *json, struct process_wish *ret_wish)
{
    const json_t *process = json_object_get(json, "process"), *pty = json_object_get(json, "pty"),
                 *input = json_object_get(json, "stdin");
    const char *tag;

    *ret_wish = (struct process_wish){ .args = json_object_get(process, "args"),
                                       .envs = json_object_get(process, "envs"),
                                       .input = !json_is_false(input),
                                       .pty = json_is_object(pty) };
    if (!text_take(process, "cmd", &ret_wish->cmd) || !ret_wish->cmd || !*ret_wish->cmd)
        return "process.cmd must be the name of a program";
    if (!texts_are_good(ret_wish->args))
        return "process.args must be texts";
    if (ret_wish->envs && !sandbox_texts_are_good(ret_wish->envs))
        return "process.envs must be at most 256 variables, with texts for their values";
    if (!text_take(process, "cwd", &ret_wish->cwd) || !text_take(json, "tag", &tag))
        return "process.cwd and tag must be texts";
    ret_wish->tag = tag ? tag : "";
    if (strlen(ret_wish->tag) >= PROCESS_TAG_BYTES)
        return "a tag may have 127 bytes";
    if (ret_wish->pty && !size_take(pty, &ret_wish->rows, &ret_wish->cols))
        return "pty.size must have rows and cols, from 1 to 65535";
    return NULL;
}

void call_process_start(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    char user[SERVER_USER_BYTES];
    struct process_wish wish;
    struct process *process;
    struct err err;

    if (!json)
        return;
    const char *wrong = wish_read(json, &wish);
    if (wrong) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "%s", wrong);
        return;
    }
    if (!call_user(call, user, &wish.user) || !rpc_timeout(call, &wish.timeout_ms))
        return;
    int rc = process_start(call->server, call->sandbox, &wish, &process, &err);
    if (rc == 0)
        process_show(call, process);
    else if (rc == -ENOTCONN)
        reply_error(call, 502, RPC_UNAVAILABLE, "%s", err.msg);
    else if (rc == -EDQUOT)
        reply_error(call, 429, RPC_RESOURCE_EXHAUSTED, "%s", err.msg);
    else
        reply_error(call, 400, rc == -EINVAL || rc == -E2BIG ? RPC_INVALID_ARGUMENT : RPC_INTERNAL,
                    "%s", err.msg);
}

/* The process that a request selects. NULL: it has replied. */
static struct process *process_select(struct call *call, const json_t *json, bool ended)
{
    const json_t *selector = json_object_get(json, "process");
    const json_t *pid = json_object_get(selector, "pid");
    const char *tag = json_string_value(json_object_get(selector, "tag"));
    struct process *process = NULL;

    if ((!json_is_integer(pid) || json_integer_value(pid) < 1 ||
         json_integer_value(pid) > UINT32_MAX) &&
        !tag) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "process must have a pid or a tag");
        return NULL;
    }
    process = process_find(call->sandbox, (uint32_t)json_integer_value(pid), tag ? tag : "", ended);
    if (!process)
        reply_error(call, 404, RPC_NOT_FOUND, "there is no such process");
    return process;
}

void call_process_connect(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct process *process = json ? process_select(call, json, true) : NULL;

    if (process)
        process_show(call, process);
}

void call_process_list(struct call *call)
{
    reply_json(call, 200, json_pack("{s:o}", "processes", processes_json(call->sandbox)));
}

/* Replies with what came of it, `wrong` being what -EINVAL means; takes the reference. */
static void process_done(struct call *call, struct process *process, int rc, const char *wrong)
{
    process_put(process);
    if (rc == 0)
        reply_json(call, 200, json_object());
    else if (rc == -EPIPE)
        reply_error(call, 400, RPC_FAILED_PRECONDITION, "the process takes no input, or has ended");
    else if (rc == -ETIMEDOUT)
        reply_error(call, 504, RPC_DEADLINE_EXCEEDED, "the process does not read its input");
    else
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "%s", wrong);
}

void call_process_input(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct process *process = json ? process_select(call, json, false) : NULL;
    const json_t *input = json_object_get(json, "input");
    const json_t *text = json_object_get(input, "pty");
    size_t bytes = 0;

    if (!process)
        return;
    if (!text)
        text = json_object_get(input, "stdin");
    _cleanup_free_ uint8_t *data = rpc_bytes_decode(text, &bytes);
    if (data) {
        process_done(call, process, process_write(process, data, bytes), NULL);
        return;
    }
    process_put(process);
    reply_error(call, 400, RPC_INVALID_ARGUMENT, "input must have stdin or pty, in base64");
}

void call_process_close(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct process *process = json ? process_select(call, json, false) : NULL;

    if (process)
        process_done(call, process, process_close_input(process), NULL);
}

void call_process_signal(struct call *call)
{
    static const struct {
        const char *name;
        uint32_t number;
    } signals[] = { { "SIGNAL_SIGTERM", 15 }, { "SIGNAL_SIGKILL", 9 } };
    _cleanup_json_ json_t *json = call_json(call);
    const json_t *signal = json_object_get(json, "signal");
    struct process *process = json ? process_select(call, json, false) : NULL;
    int rc = -EINVAL;

    for (size_t i = 0; process && i < ARRAY_LEN(signals); i++)
        if ((json_is_string(signal) && strcmp(json_string_value(signal), signals[i].name) == 0) ||
            (json_is_integer(signal) && json_integer_value(signal) == signals[i].number))
            rc = process_signal(process, signals[i].number);
    if (process)
        process_done(call, process, rc, "signal must be SIGNAL_SIGTERM or SIGNAL_SIGKILL");
}

void call_process_update(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct process *process = json ? process_select(call, json, false) : NULL;
    uint16_t rows, cols;
    int rc = 0;

    if (!process)
        return;
    const json_t *pty = json_object_get(json, "pty");
    if (pty)
        rc = process->pty && size_take(pty, &rows, &cols) ? process_resize(process, rows, cols)
                                                          : -EINVAL;
    process_done(call, process, rc,
                 "pty.size must have rows and cols, from 1 to 65535, of a process with a terminal");
}
