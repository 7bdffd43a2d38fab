/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the level and the rate limit of the log; see log.h. */
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static_assert(ARRAY_LEN(level_names) == LOG_LEVEL_COUNT, "every level has a name");

static enum log_level shown = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    shown = level;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
    for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* False when this second has had its lines. */
static bool rate_allows(time_t second)
{
    static time_t current;
    static unsigned lines, dropped;

    if (second != current) {
        if (dropped)
            fprintf(stderr, "(%u log lines dropped)\n", dropped);
        current = second;
        lines = dropped = 0;
    }
    if (lines < LOG_LINES_PER_SECOND) {
        lines++;
        return true;
    }
    dropped++;
    return false;
}

void log_print(enum log_level level, const char *fmt, ...)
{
    char line[1024], clean[2048], stamp[32];
    struct timespec now;
    struct tm tm;
    va_list args;

    if (level > shown)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!rate_allows(now.tv_sec))
        return;
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    text_clean(clean, sizeof clean, line, sizeof line);
    fprintf(stderr, "%s.%03ldZ %-5s %s\n", stamp, now.tv_nsec / 1000000, level_names[level], clean);
}
