/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading and checking of declared pools and functions; see declare.h. */
#include "declare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/nearest.h"
#include "base/util.h"
#include "config.h"
#include "functions/function_keep.h"
#include "vms/pool_body.h"
#include "vms/pool_keys.h"

void declarations_fini(struct declarations *declarations)
{
    for (size_t i = 0; i < declarations->count; i++)
        json_decref(declarations->items[i].body);
    free(declarations->items);
    *declarations = (struct declarations){ 0 };
}

static struct declaration *find(struct declarations *declarations, const char *name)
{
    for (size_t i = 0; i < declarations->count; i++) {
        if (strcmp(declarations->items[i].name, name) == 0)
            return &declarations->items[i];
    }
    return NULL;
}

static int add(struct declarations *declarations, const char *file, const struct ini_item *item,
               struct err *err)
{
    size_t count = declarations->count, file_bytes = strlen(file);
    struct declaration declaration = { .body = NULL };
    struct declaration *items;

    if (count == DECLARATIONS_MAX)
        return err_set(err, EINVAL, "at most %u pools and functions can be declared",
                       DECLARATIONS_MAX);
    items = reallocarray(declarations->items, count + 1, sizeof *items);
    if (!items)
        return err_set(err, ENOMEM, "out of memory");
    declarations->items = items;
    declaration.is_function = strcmp(item->section, "function") == 0;
    snprintf(declaration.name, sizeof declaration.name, "%s", item->name);
    snprintf(declaration.where, sizeof declaration.where, "%s:%u",
             file + (file_bytes > 100 ? file_bytes - 100 : 0), item->line);
    declaration.body = json_pack("{s:o}", "name", json_text(item->name));
    if (!declaration.body)
        return err_set(err, ENOMEM, "out of memory");
    items[count] = declaration;
    declarations->count++;
    return 0;
}

/* The key at that place of all that such a section may have; NULL: behind the last. */
static const struct json_key *key_at(bool of_function, size_t at)
{
    const size_t own = of_function ? function_own_table.key_count : 0;

    if (at < own)
        return &function_own_table.keys[at];
    return at - own < pool_key_count ? &pool_keys[at - own].key : NULL;
}

/* Of a function the words that it has itself come first, and a pool's for the same are none. */
static const struct json_key *key_find(bool of_function, const char *name)
{
    const struct json_key *key;

    if (of_function && function_key_is_own(name))
        return NULL;
    for (size_t i = 0; (key = key_at(of_function, i)); i++) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

static int unknown_key(bool of_function, const char *name, struct err *err)
{
    const char *what = of_function ? "function" : "pool";
    struct nearest nearest = { .given = name };
    const struct json_key *key;

    for (size_t i = 0; (key = key_at(of_function, i)); i++) {
        if (!of_function || !function_key_is_own(key->name))
            nearest_try(&nearest, key->name);
    }
    return nearest.best
               ? err_set(err, EINVAL, "a %s has no key '%s'; did you mean '%s'?", what, name,
                         nearest.best)
               : err_set(err, EINVAL, "a %s has no key '%s'; see poold.conf(5)", what, name);
}

int declarations_take(struct declarations *declarations, const char *file,
                      const struct ini_item *item, struct err *err)
{
    struct declaration *declaration = find(declarations, item->name);
    const bool of_function = strcmp(item->section, "function") == 0;
    const struct json_key *key;
    json_t *value;

    if (!pool_name_valid(item->name))
        return err_set(err, EINVAL,
                       "a %s's name is 1 to 63 of a-z 0-9 - _ . and begins with a letter or "
                       "digit, as in [pool default], not '%s'",
                       item->section, item->name);
    if (declaration && declaration->is_function != of_function)
        return err_set(err, EINVAL,
                       "[%s %s] is there already, in %s: a function has a pool of its name",
                       of_function ? "pool" : "function", item->name, declaration->where);
    if (!item->key)
        return declaration ? 0 : add(declarations, file, item, err);
    key = key_find(of_function, item->key);
    if (!key)
        return unknown_key(of_function, item->key, err);
    value = pool_body_value(key, item->value, err);
    if (!value)
        return -EINVAL;
    if (json_object_set_new(declaration->body, key->name, value) < 0)
        return err_set(err, ENOMEM, "out of memory");
    return 0;
}

/* What it says, with defaults for the rest. */
static int body_read(const struct declaration *declaration, struct function_body *ret_body,
                     struct err *err)
{
    json_t *keys;
    int rc;

    if (!declaration->is_function) {
        pool_body_default(&ret_body->pool);
        return json_keys_read(declaration->body, pool_body_table.keys, pool_body_table.key_count,
                              &ret_body->pool, err);
    }
    keys = json_deep_copy(declaration->body);
    if (!keys)
        return err_set(err, ENOMEM, "out of memory");
    rc = function_body_read(keys, ret_body, err);
    json_decref(keys);
    return rc;
}

struct function_body *declaration_body(const struct declaration *declaration, struct err *err)
{
    struct function_body *body = malloc(sizeof *body);

    if (!body)
        err_set(err, ENOMEM, "out of memory");
    else if (body_read(declaration, body, err) < 0)
        free_pointer(&body);
    return body;
}

static int check_one(const struct declaration *declaration, const struct config *config,
                     struct err *err)
{
    struct function_body *body = declaration_body(declaration, err);
    struct err unimportant;
    int rc;

    if (!body)
        return -err->code;
    rc = pool_body_choose(&body->pool, &config->vms, config->check_only ? err : &unimportant);
    /* A pool that can't be made for want of a kernel is no reason not to start. */
    rc = config->check_only ? rc : 0;
    if (rc == 0)
        rc = pool_body_check(&body->pool, err);
    if (rc == 0 && config->check_only)
        rc = pool_body_look(&body->pool, err);
    free(body);
    return rc;
}

int declarations_check(const struct declarations *declarations, const struct config *config,
                       struct err *err)
{
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *declaration = &declarations->items[i];

        if (check_one(declaration, config, err) < 0) {
            err_wrap(err, "%s: [%s %s]", declaration->where,
                     declaration->is_function ? "function" : "pool", declaration->name);
            err->code = EBADMSG;
            return -EBADMSG;
        }
    }
    return 0;
}
