/* SPDX-License-Identifier: Apache-2.0 */
/* Owns GET /v1/functions/NAME/logs.
 *
 * How it works
 *   What a function wrote may be 2 MiB of whatever takes longest to be written as JSON. So a request copies
 *   what it may see, which is charged to its client, and a thread of the pool makes the text. One at a
 *   time: VMs are made with that pool, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/api.h"
#include "base/text.h"
#include "base/util.h"
#include "base/work.h"

#define LINE_BYTES 16384u

struct logs_call {
    struct list node; /* in api->logs; the first is on the thread pool */
    struct http_request *request;
    char *text;
    size_t bytes; /* of it */
    unsigned count;
    struct function_record records[FUNCTION_RECORDS]; /* copies, whose logs are here: */
    char logs[];
};

/* ---- The text ---- */

static void line_print(FILE *out, const char *line, size_t bytes)
{
    char clean[LINE_BYTES];
    const size_t count = text_clean(clean, sizeof clean, line, bytes);

    putc_unlocked('"', out);
    for (size_t i = 0; i < count; i++) {
        if (clean[i] == '"' || clean[i] == '\\')
            putc_unlocked('\\', out);
        putc_unlocked(clean[i], out);
    }
    putc_unlocked('"', out);
}

static void lines_print(FILE *out, const struct function_log *log)
{
    const char *at = log->bytes, *end = log->bytes + log->count;

    putc_unlocked('[', out);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;

        line_print(out, at, (size_t)(stop - at));
        at = stop + 1;
        if (at < end)
            putc_unlocked(',', out);
    }
    putc_unlocked(']', out);
}

/* Its id and the names of results need no escapes. */
static void record_print(FILE *out, const struct function_record *record)
{
    const time_t second = (time_t)(record->began_wall_ns / NS_PER_S);
    char stamp[24];
    struct tm tm;

    gmtime_r(&second, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    fprintf(out,
            "{\"invocation\":\"%s\",\"began\":\"%s.%03uZ\",\"result\":\"%s\",\"status\":%u,"
            "\"wait_us\":%llu,\"run_us\":%llu,\"log\":",
            record->id, stamp, (unsigned)(record->began_wall_ns % NS_PER_S / NS_PER_MS),
            invocation_result_name(record->result), record->status,
            (unsigned long long)(record->wait_ns / 1000),
            (unsigned long long)(record->run_ns / 1000));
    lines_print(out, &record->log);
    fprintf(out, ",\"log_dropped_bytes\":%llu}", (unsigned long long)record->log.dropped);
}

static void call_run(void *data)
{
    struct logs_call *call = data;
    FILE *out = open_memstream(&call->text, &call->bytes);

    if (!out)
        return;
    fputs("{\"invocations\":[", out);
    for (unsigned i = 0; i < call->count; i++) {
        fputs(i ? "," : "", out);
        record_print(out, &call->records[i]);
    }
    fputs("]}\n", out);
    if (fclose(out) != 0)
        free(take_pointer(&call->text));
}

/* ---- One after the other ---- */

static void next_start(struct api *api);

static void call_reply(struct logs_call *call)
{
    static const struct http_header type = { "Content-Type", "application/json" };

    if (call->text)
        http_reply_with(call->request, MHD_HTTP_OK, &type, 1, call->text, call->bytes);
    else
        http_reply_error(call->request, API_INTERNAL, "out of memory");
    list_remove(&call->node);
    free(call);
}

static void call_done(void *data)
{
    struct logs_call *call = data;
    struct api *api = api_of(call->request);

    call_reply(call);
    next_start(api);
}

static void next_start(struct api *api)
{
    while (!list_empty(&api->logs)) {
        struct logs_call *call = list_entry(api->logs.next, struct logs_call, node);

        if (work_start(api->vms->loop, call_run, call_done, call) == 0)
            return;
        call_reply(call);
    }
}

/* ---- The call ---- */

/* Of one's own calls; an administrator sees all. */
static bool wanted(const struct http_request *request, const struct function_record *record)
{
    const struct peer *peer = &request->connection->peer;
    const char *id = http_query(request, "invocation");

    return (!id || strcmp(id, record->id) == 0) &&
           (peer->rights & RIGHT_ADMIN || record->uid == peer->uid);
}

static struct logs_call *call_make(struct http_request *request, const struct function *function)
{
    size_t bytes = sizeof(struct logs_call), at = 0;
    struct logs_call *call = NULL;

    LIST_FOR_EACH(node, &function->records.list)
    {
        const struct function_record *record = list_entry(node, struct function_record, node);

        bytes += wanted(request, record) ? record->log.count : 0;
    }
    if (http_request_charge(request, bytes))
        call = malloc(bytes);
    if (!call)
        return NULL;
    memset(call, 0, offsetof(struct logs_call, records));
    call->request = request;
    LIST_FOR_EACH(node, &function->records.list)
    {
        const struct function_record *record = list_entry(node, struct function_record, node);

        if (!wanted(request, record))
            continue;
        call->records[call->count] = *record;
        call->records[call->count++].log.bytes = call->logs + at;
        if (record->log.count)
            memcpy(call->logs + at, record->log.bytes, record->log.count);
        at += record->log.count;
    }
    return call;
}

/* The youngest come last. */
void api_function_logs(struct http_request *request)
{
    const struct function *function = api_function_find(request, request->param);
    struct api *api = api_of(request);
    struct logs_call *call;
    bool first;

    if (!function)
        return;
    call = call_make(request, function);
    if (!call) {
        http_reply_error(request, API_TOO_MANY,
                         "your requests and unread replies take too much memory; read them first");
        return;
    }
    first = list_empty(&api->logs);
    list_append(&api->logs, &call->node);
    if (first)
        next_start(api);
}
