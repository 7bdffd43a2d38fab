/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of a function's calls: how each ended, and the last that its function wrote
 * meanwhile. Bounded; not kept over a restart. Loop thread only. */
#ifndef VOLT_POOLD_FUNCTION_RECORDS_H
#define VOLT_POOLD_FUNCTION_RECORDS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

#define FUNCTION_RECORDS 128u
#define FUNCTION_LOG_BYTES 16384u /* the last of it are kept */
#define INVOCATION_ID_BYTES 37    /* a version 4 UUID and NUL */

#define INVOCATION_RESULT_MAP(X)                                                                   \
    X(INVOCATION_ANSWERED, "answered")   /* whatever the status of its answer */                   \
    X(INVOCATION_FAILED, "failed")       /* no answer, none that is HTTP, or one too long */       \
    X(INVOCATION_TIMED_OUT, "timed_out") /* within timeout_ms */                                   \
    X(INVOCATION_NO_VM, "no_vm")         /* within queue_ms */                                     \
    X(INVOCATION_NOT_READY, "not_ready") /* its pool is not */                                     \
    X(INVOCATION_CANCELLED, "cancelled") /* its client hung up */                                  \
    X(INVOCATION_SHUTDOWN, "shutdown")   /* poold or the function ends */                          \
    X(INVOCATION_REFUSED,                                                                          \
      "refused") /* no place in the queue (no record is kept then), or no memory for its answer */

enum invocation_result {
#define X(name, text) name,
    INVOCATION_RESULT_MAP(X)
#undef X
        INVOCATION_RESULT_COUNT,
};
const char *invocation_result_name(enum invocation_result result);

/* The end of a text that comes in pieces. */
struct function_log {
    char *bytes; /* NULL: nothing was written */
    size_t count, room;
    uint64_t dropped; /* before that */
};
/* What there is no memory for is dropped. */
void function_log_add(struct function_log *log, const void *bytes, size_t count);
void function_log_fini(struct function_log *log);

struct function_record {
    struct list node;
    char id[INVOCATION_ID_BYTES];
    enum invocation_result result;
    unsigned status; /* of the answer; 0: none */
    uid_t uid;
    uint64_t began_wall_ns, wait_ns, run_ns; /* waited for a VM; from there to the end */
    struct function_log log;
};

struct function_records {
    struct list list; /* the oldest first */
    uint32_t count;
};
void function_records_init(struct function_records *records);
/* Takes its log. */
void function_records_add(struct function_records *records, const struct function_record *record);
void function_records_fini(struct function_records *records);

#endif
