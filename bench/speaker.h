/* SPDX-License-Identifier: Apache-2.0 */
/* A child process that is listened to: a VMM whose output is its guest's serial console, or that
 * says itself how far it is. */
#ifndef VOLT_BENCH_SPEAKER_H
#define VOLT_BENCH_SPEAKER_H

#include "bench.h"
#include "process.h"

#define SPEAKER_HEARD_BYTES 4096u

struct speaker {
    struct process process;
    int output; /* what it says, owned */
    /* What was read behind what was last waited for, or the tail of what was not it. */
    char heard[SPEAKER_HEARD_BYTES];
    size_t heard_bytes;
};

enum speaker_stream {
    SPEAKER_STDOUT,
    SPEAKER_STDERR,
    SPEAKER_BOTH_WAYS, /* its stdout; and what is written to `output` it reads as its stdin */
};

/* stream: which to listen to; the other goes to log_name in the work directory. */
int speaker_start(struct speaker *speaker, const struct bench *bench, const char *const *argv,
                  enum speaker_stream stream, const char *log_name, struct err *err);

/* Waits until it has said `text` (again: later than the last that was waited for). *ret_at_ns: when
 * that was read. -ETIMEDOUT; -ECHILD: it ended before. */
int speaker_wait(struct speaker *speaker, const char *text, uint64_t timeout_ns,
                 uint64_t *ret_at_ns, struct err *err);

/* What follows up to the end of the line, cut to `bytes` with its NUL. */
int speaker_rest_of_line(struct speaker *speaker, uint64_t timeout_ns, char *ret, size_t bytes,
                         struct err *err);

void speaker_end(struct speaker *speaker);

#endif
