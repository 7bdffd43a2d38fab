/* SPDX-License-Identifier: Apache-2.0 */
/* poold's log: lines on stderr, "<time> <level> <text>", at most LOG_LINES_PER_SECOND of them; what
 * was dropped is counted and said. Text is cleaned (base/text.h), so that whatever is quoted in it
 * stays within its line. Loop thread only. */
#ifndef VOLT_POOLD_LOG_H
#define VOLT_POOLD_LOG_H

#define LOG_LINES_PER_SECOND 200

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT,
};

void log_set_level(enum log_level level);
/* 0, or -EINVAL for a name that is no level. */
int log_level_parse(const char *name, enum log_level *ret_level);
const char *log_level_name(enum log_level level);
void log_print(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_print(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_print(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_print(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
