/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of poold's options. A row is an option of the command line (--state-dir), a key of
 * the section [poold] of a configuration file (state-dir), for some a variable of the environment,
 * and a paragraph of --help, the manual pages, the sample configuration and docs/operations.md. Any
 * thread; the table is constant. */
#ifndef VOLT_POOLD_SETTINGS_H
#define VOLT_POOLD_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct config;

enum setting_kind {
    SETTING_TEXT,   /* char[bytes] */
    SETTING_NUMBER, /* uint64_t, min..max */
    SETTING_COUNT,  /* uint32_t, min..max */
    SETTING_LEVEL,  /* enum log_level */
    SETTING_FLAG,   /* bool; on the command line without a value */
};

/* Where a setting may come from, and when a new value holds. */
enum setting_use {
    SETTING_LIVE,     /* a reload changes it */
    SETTING_AT_START, /* a reload says that it takes a restart */
    SETTING_ARGUMENT, /* of the command line alone */
};

struct setting {
    const char *name;
    enum setting_kind kind;
    size_t offset, bytes; /* in struct config */
    uint64_t min, max;
    enum setting_use use;
    const char *environment; /* a variable; NULL: none */
    const char *argument;    /* what help calls the value; NULL for a flag */
    const char *fallback; /* what it is when nothing is given; NULL: the number in the defaults */
    const char *help;     /* no full stop */
};

extern const struct setting settings[];
extern const size_t setting_count;

/* name_bytes of name; NULL: there is none. */
const struct setting *setting_find(const char *name, size_t name_bytes);

/* Of file_only, those that a file may have; NULL: none is near. */
const char *setting_nearest(const char *name, bool file_only);

/* Checks text and stores it. 0, or -EINVAL with a sentence that begins with `called`. A flag takes
 * NULL (true), yes or no, true or false, on or off. */
int setting_store(struct config *config, const struct setting *setting, const char *called,
                  const char *text, struct err *err);

/* Fills in what every setting is when nothing is given. Paths are found later. */
void settings_default(struct config *config);
bool setting_equal(const struct setting *setting, const struct config *a, const struct config *b);
void setting_copy(const struct setting *setting, struct config *to, const struct config *from);
/* Its value in config for people, cut to bytes. */
void setting_format(const struct setting *setting, const struct config *config, char *ret_text,
                    size_t bytes);

#endif
