/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is remembered of calls; see function_records.h. */
#include "functions/function_records.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static const char *const result_names[] = {
#define X(name, text) [name] = text,
    INVOCATION_RESULT_MAP(X)
#undef X
};
static_assert(ARRAY_LEN(result_names) == INVOCATION_RESULT_COUNT, "every result has a name");

const char *invocation_result_name(enum invocation_result result)
{
    return result_names[result];
}

static bool log_grow(struct function_log *log, size_t bytes)
{
    size_t room = MAX_OF(log->room, (size_t)512);
    char *grown;

    while (room < bytes)
        room *= 2;
    grown = room == log->room ? log->bytes : realloc(log->bytes, room);
    if (!grown)
        return false;
    log->bytes = grown;
    log->room = room;
    return true;
}

void function_log_add(struct function_log *log, const void *bytes, size_t count)
{
    const size_t take = MIN_OF(count, (size_t)FUNCTION_LOG_BYTES);
    const size_t keep = MIN_OF(log->count, FUNCTION_LOG_BYTES - take);

    if (count == 0 || !log_grow(log, keep + take)) {
        log->dropped += count;
        return;
    }
    log->dropped += log->count - keep + count - take;
    memmove(log->bytes, log->bytes + log->count - keep, keep);
    memcpy(log->bytes + keep, (const char *)bytes + count - take, take);
    log->count = keep + take;
}

void function_log_fini(struct function_log *log)
{
    free(log->bytes);
    *log = (struct function_log){ 0 };
}

void function_records_init(struct function_records *records)
{
    list_init(&records->list);
    records->count = 0;
}

static void oldest_drop(struct function_records *records)
{
    struct function_record *record = list_entry(records->list.next, struct function_record, node);

    list_remove(&record->node);
    function_log_fini(&record->log);
    free(record);
    records->count--;
}

void function_records_add(struct function_records *records, const struct function_record *record)
{
    struct function_record *kept = malloc(sizeof *kept);

    if (!kept) {
        struct function_log log = record->log;

        function_log_fini(&log);
        return;
    }
    *kept = *record;
    list_append(&records->list, &kept->node);
    if (++records->count > FUNCTION_RECORDS)
        oldest_drop(records);
}

void function_records_fini(struct function_records *records)
{
    while (records->count > 0)
        oldest_drop(records);
}
