/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of poold's configuration files, that of systemd's units without what is not needed.
 *
 *     # a comment, as behind a ;
 *     [poold]
 *     log-level = debug
 *
 *     [pool default]
 *     warmup = python3 -c 'import json' # this is no comment
 *
 * A value is the rest of its line without the blanks around it; nothing in it is quoted, joined or
 * replaced. Pure: bytes in, items out. Any thread. */
#ifndef VOLT_POOLD_INI_H
#define VOLT_POOLD_INI_H

#include <stddef.h>

#include <stdbool.h>

#include "base/err.h"

#define INI_BYTES_MAX (1u << 20)
#define INI_LINE_BYTES_MAX 8192u

/* A section's head (key NULL), or a key in it. Valid during the call. */
struct ini_item {
    const char *section; /* "poold", the first word between the brackets */
    const char *name;    /* "default", what follows it; "": nothing */
    const char *key, *value;
    unsigned line; /* from 1 */
};

/* 0, or -errno with a sentence; the file and line are put before it. */
typedef int (*ini_item_fn)(void *data, const struct ini_item *item, struct err *err);

/* Calls fn for each item in order, up to the first that it refuses. Changes text, which has a NUL at
 * text[bytes]. 0, or -errno with "FILE:LINE: sentence". */
int ini_parse(char *text, size_t bytes, const char *file, ini_item_fn fn, void *data,
              struct err *err);

/* A value "yes", "true", "on" or one of their opposites. False: neither. */
bool ini_parse_flag(const char *text, bool *ret_flag);

#endif
