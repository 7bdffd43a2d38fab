/* SPDX-License-Identifier: Apache-2.0 */
/* How functions come and go: what is asked for, what is kept in STATE_DIR/functions/NAME.json, and
 * deletion. Loop thread only. */
#ifndef VOLT_POOLD_FUNCTION_KEEP_H
#define VOLT_POOLD_FUNCTION_KEEP_H

#include <jansson.h>

#include "functions/function.h"
#include "host/client_file.h"
#include "vms/pool_spec.h"

/* A function as it is asked for: its pool's name is its own. */
struct function_body {
    struct pool_body pool;
    struct function_spec spec;
};

/* The keys of a function that are not its pool's, of a struct function_body. */
extern const struct json_table function_own_table;
/* One of those that are not of the pool: whether both are the same. */
bool function_key_same(const struct json_key *key, const struct function_spec *a,
                       const struct function_spec *b);
/* Whether a pool's key is one that a function has another word for. */
bool function_key_is_own(const char *name);

/* Reads what a client asks for into *ret, defaults for what it leaves out. 0, -EBADMSG it has no name
 * that a pool may have, or -EINVAL, with a sentence. */
int function_body_read(json_t *object, struct function_body *ret, struct err *err);

/* With function NULL, err says why there is none: as for pools (pool_make.h). */
typedef void (*function_made_fn)(void *data, struct function *function, const struct err *err);
/* Makes its pool, then the function, which is kept when made(data, ...) is called. maker: as for
 * pool_make; taken. */
void function_make(struct functions *functions, const struct function_body *body,
                   struct client_ids *maker, function_made_fn made, void *data);

/* Ends its calls and removes it with its pool: deleted(data, NULL), or what of it is still there. */
void function_delete(struct function *function, void (*deleted)(void *data, const struct err *err),
                     void *data);

/* Loads all that are kept: after functions_open, and after the pools. Blocks. */
void functions_load(struct functions *functions);

/* What is said of it, as an object: the caller's. */
json_t *function_spec_json(const struct function_spec *spec);

#endif
