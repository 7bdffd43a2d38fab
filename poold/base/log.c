/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the level, the rate limit and the way of a line to stderr or the journal; see log.h. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/text.h"
#include "base/util.h"

#define LINE_BYTES 1024u
#define TEXT_BYTES 2048u
#define FIELD_BYTES 320u

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

/* ---- The journal ---- */

/* Whether stderr is the stream to the journal that the manager gave us; another process's journal
 * stream, or a file, is none. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static bool to_journal(void)
{
    static int known = -1;

    if (known < 0)
        known = stderr_is_journal();
    return known;
}

const char *log_target(void)
{
    return to_journal() ? "journal" : "stderr";
}

static void journal_send(enum log_level level, const struct log_field *fields, size_t count,
                         const char *text)
{
    static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
    char rows[LOG_FIELDS_MAX + 2][FIELD_BYTES], message[TEXT_BYTES + sizeof "MESSAGE="];
    struct iovec parts[LOG_FIELDS_MAX + 2];
    size_t used = 0;

    static_assert(ARRAY_LEN(priorities) == LOG_LEVEL_COUNT, "every level has a priority");
    snprintf(message, sizeof message, "MESSAGE=%s", text);
    parts[used++] = (struct iovec){ message, strlen(message) };
    snprintf(rows[used], FIELD_BYTES, "PRIORITY=%d", priorities[level]);
    parts[used] = (struct iovec){ rows[used], strlen(rows[used]) };
    used++;
    for (size_t i = 0; i < MIN_OF(count, LOG_FIELDS_MAX); i++, used++) {
        int name_bytes = snprintf(rows[used], FIELD_BYTES, "%s=", fields[i].name);

        text_clean(rows[used] + name_bytes, FIELD_BYTES - (size_t)name_bytes, fields[i].value,
                   SIZE_MAX);
        parts[used] = (struct iovec){ rows[used], strlen(rows[used]) };
    }
    sd_journal_sendv(parts, (int)used);
}

/* ---- Lines ---- */

static void text_print(const char *level_name, const struct timespec *now, const char *text)
{
    char stamp[32];
    struct tm tm;

    gmtime_r(&now->tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    fprintf(stderr, "%s.%03ldZ %-5s %s\n", stamp, now->tv_nsec / 1000000, level_name, text);
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

static void print(enum log_level level, const struct log_field *fields, size_t count,
                  const char *fmt, va_list args)
{
    char line[LINE_BYTES], clean[TEXT_BYTES];
    struct timespec now;

    if (level > shown)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!rate_allows(now.tv_sec))
        return;
    vsnprintf(line, sizeof line, fmt, args);
    text_clean(clean, sizeof clean, line, sizeof line);
    if (to_journal())
        journal_send(level, fields, count, clean);
    else
        text_print(level_names[level], &now, clean);
}

bool log_share_allows(struct log_share *share)
{
    const uint64_t second = clock_ns(CLOCK_MONOTONIC_COARSE) / NS_PER_S;

    if (share->second != second) {
        if (share->left_out)
            log_info("%u lines about %s were left out, beyond %u in a second", share->left_out,
                     share->what, share->most);
        share->second = second;
        share->lines = share->left_out = 0;
    }
    if (share->lines < share->most) {
        share->lines++;
        return true;
    }
    share->left_out++;
    return false;
}

void log_print(enum log_level level, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print(level, NULL, 0, fmt, args);
    va_end(args);
}

void log_print_about(enum log_level level, const struct log_field *fields, size_t count,
                     const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print(level, fields, count, fmt, args);
    va_end(args);
}
