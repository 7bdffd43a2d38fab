/* SPDX-License-Identifier: Apache-2.0 */
/* What is told while images and snapshots of format version 1 are upgraded, for a log. */
#ifndef VOLT_SNAPSHOT_UPGRADE_LOG_H
#define VOLT_SNAPSHOT_UPGRADE_LOG_H

#include <stdint.h>

#include "base/err.h"

struct upgrade_step {
    const char *what; /* "image" or "snapshot" */
    const char *name;
    uint64_t done_bytes, total_bytes; /* read so far; it is done when both are equal */
    const struct err *err;            /* NULL, or why it stays as it is: then it is over, too */
};

/* Called at the start, for every few MiB, and at the end, from the thread that upgrades. */
struct upgrade_log {
    void (*step)(void *data, const struct upgrade_step *step);
    void *data;
};

static inline void upgrade_tell(const struct upgrade_log *log, const struct upgrade_step *step)
{
    if (log)
        log->step(log->data, step);
}

#endif
