/* SPDX-License-Identifier: Apache-2.0 */
/* Pools and functions that the configuration declares, a section [pool NAME] or [function NAME] each:
 * what its files say, checked; and what of it poold has done. A function has a pool of its name, and
 * what is said of pools here is of that one, too. */
#ifndef VOLT_POOLD_DECLARE_H
#define VOLT_POOLD_DECLARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/ini.h"

#define DECLARATIONS_MAX 256u

struct config;
struct daemon;

struct declaration {
    char name[64];
    bool is_function;
    char where[128]; /* "FILE:LINE" of its first section, its end if that is long */
    json_t *body;    /* its keys, with "name" */
};

/* A zeroed one has none. Its owner may be handed on by assignment. */
struct declarations {
    struct declaration *items;
    size_t count;
};

void declarations_fini(struct declarations *declarations);

/* Takes a section's head (item->key NULL) or key of [pool NAME] or [function NAME]. A later file's key replaces an
 * earlier one's. 0 or -EINVAL. */
int declarations_take(struct declarations *declarations, const char *file,
                      const struct ini_item *item, struct err *err);

/* Whether all of them can be what they say. With config->check_only, also whether their kernels can
 * be read. 0, or -EBADMSG with a sentence that begins with where. */
int declarations_check(const struct declarations *declarations, const struct config *config,
                       struct err *err);

struct function_body;
/* All of one, with defaults for what it does not say; of a pool the `pool` of it alone. The caller's
 * (free); NULL with a sentence. */
struct function_body *declaration_body(const struct declaration *declaration, struct err *err);

/* ---- Of a running poold; loop thread (declared.c) ---- */

/* Makes the pools that are not there yet, gives those that are their limits, and tells what does not
 * change while a pool lives and which pools are not declared any more. Takes the declarations. */
void declared_apply(struct daemon *daemon, struct declarations *declarations);

/* Every declared pool is made: ready, or failed for good, or not to be made at all. */
bool declared_settled(const struct daemon *daemon);

#endif
