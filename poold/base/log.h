/* SPDX-License-Identifier: Apache-2.0 */
/* poold's log: lines on stderr, "<time> <level> <text>", at most LOG_LINES_PER_SECOND of them; what
 * was dropped is counted and said. Text is cleaned (base/text.h), so that whatever is quoted in it
 * stays within its line.
 *
 * Under systemd, when stderr is the journal's stream, lines go to the journal itself, without time
 * and level in the text: those are fields, and so is what the line is about. Loop thread only. */
#ifndef VOLT_POOLD_LOG_H
#define VOLT_POOLD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINES_PER_SECOND 200
#define LOG_FIELDS_MAX 8

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT,
};

/* Where lines go: "journal" or "stderr". */
const char *log_target(void);
void log_set_level(enum log_level level);
/* 0, or -EINVAL for a name that is no level. */
int log_level_parse(const char *name, enum log_level *ret_level);
const char *log_level_name(enum log_level level);
void log_print(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What a line is about, for whoever searches the journal: journalctl VOLT_POOL=default. The text says
 * it, too, for those who read. */
struct log_field {
    const char *name;  /* A-Z and _, beginning with VOLT_ */
    const char *value; /* cleaned as the text is */
};

/* At most LOG_FIELDS_MAX fields. */
void log_print_about(enum log_level level, const struct log_field *fields, size_t count,
                     const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* A line about a pool. */
#define log_pool(level, pool_name, ...)                                                            \
    log_print_about(level, &(struct log_field){ "VOLT_POOL", pool_name }, 1, __VA_ARGS__)

/* A share of the lines, for those of a kind that clients can cause: however many there are, other lines find
 * room. */
struct log_share {
    const char *what; /* they are about */
    uint32_t most;    /* in a second */
    uint64_t second;
    uint32_t lines, left_out;
};
/* Whether there is room for one more in this second; those left out are counted, and said. */
bool log_share_allows(struct log_share *share);

#define log_error(...) log_print(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_print(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_print(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
