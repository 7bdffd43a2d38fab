/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the objects of functions and calls; see functions_json.h. */
#include "api/functions_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json_text.h"
#include "base/util.h"
#include "functions/function_keep.h"

static json_t *results_json(const struct function *function)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < INVOCATION_RESULT_COUNT; i++)
        json_object_set_new(object, invocation_result_name((enum invocation_result)i),
                            json_integer((json_int_t)function->results[i]));
    return object;
}

json_t *function_json(const struct function *function, bool all)
{
    const struct hosted_pool *hosted = hosted_find(function->functions->vms, function->name);
    json_t *object = json_pack("{s:o, s:o, s:o, s:i, s:i, s:o}", "name", json_text(function->name),
                               "created", json_text(function->created), "state",
                               json_text(hosted ? pool_state_name(hosted->pool.state) : "no pool"),
                               "queued", (int)function->queued_count, "on", (int)function->on_count,
                               "results", results_json(function));

    json_object_update_new(object, function_spec_json(&function->spec));
    if (!all || !hosted)
        return object;
    json_object_set_new(object, "error", json_text_or_null(hosted->pool.error));
    json_object_set_new(object, "handler", json_text(hosted->spec.service));
    json_object_set_new(object, "port",
                        hosted->spec.service_port ? json_integer(hosted->spec.service_port)
                                                  : json_null());
    json_object_set_new(object, "image", json_text_or_null(hosted->spec.image));
    json_object_set_new(object, "memory_bytes",
                        json_integer((json_int_t)hosted->spec.memory_bytes));
    json_object_set_new(object, "min", json_integer(hosted->pool.min));
    json_object_set_new(object, "max", json_integer(hosted->pool.max));
    json_object_set_new(object, "parked", json_integer(hosted->pool.counts[SLOT_PARKED]));
    return object;
}

/* Lines stay lines: whoever shows them cleans them. Bytes that are no UTF-8 become escapes. */
static json_t *log_json(const struct function_log *log)
{
    json_t *lines = json_array();
    const char *at = log->bytes, *end = log->bytes + log->count;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        _cleanup_free_ char *line = strndup(at, (size_t)(stop - at));

        json_array_append_new(lines, json_text(line ? line : ""));
        at = stop + 1;
    }
    return lines;
}

json_t *function_record_json(const struct function_record *record)
{
    const time_t second = (time_t)(record->began_wall_ns / NS_PER_S);
    char whole[48], stamp[24];
    struct tm tm;

    gmtime_r(&second, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(whole, sizeof whole, "%s.%03uZ", stamp,
             (unsigned)(record->began_wall_ns % NS_PER_S / NS_PER_MS));
    return json_pack("{s:o, s:o, s:o, s:i, s:I, s:I, s:o, s:I}", "invocation",
                     json_text(record->id), "began", json_text(whole), "result",
                     json_text(invocation_result_name(record->result)), "status",
                     (int)record->status, "wait_us", (json_int_t)(record->wait_ns / 1000), "run_us",
                     (json_int_t)(record->run_ns / 1000), "log", log_json(&record->log),
                     "log_dropped_bytes", (json_int_t)record->log.dropped);
}
