/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading and checking of declared pools; see declare.h. */
#include "declare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/nearest.h"
#include "base/util.h"
#include "config.h"
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
        return err_set(err, EINVAL, "at most %u pools can be declared", DECLARATIONS_MAX);
    items = reallocarray(declarations->items, count + 1, sizeof *items);
    if (!items)
        return err_set(err, ENOMEM, "out of memory");
    declarations->items = items;
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

static const struct json_key *key_find(const char *name)
{
    for (size_t i = 0; i < pool_key_count; i++) {
        if (strcmp(pool_keys[i].key.name, name) == 0)
            return &pool_keys[i].key;
    }
    return NULL;
}

static int unknown_key(const char *name, struct err *err)
{
    struct nearest nearest = { .given = name };

    for (size_t i = 0; i < pool_key_count; i++)
        nearest_try(&nearest, pool_keys[i].key.name);
    return nearest.best ? err_set(err, EINVAL, "a pool has no key '%s'; did you mean '%s'?", name,
                                  nearest.best)
                        : err_set(err, EINVAL, "a pool has no key '%s'; see poold.conf(5)", name);
}

int declarations_take(struct declarations *declarations, const char *file,
                      const struct ini_item *item, struct err *err)
{
    struct declaration *declaration = find(declarations, item->name);
    const struct json_key *key;
    json_t *value;

    if (!pool_name_valid(item->name))
        return err_set(err, EINVAL,
                       "a pool's name is 1 to 63 of a-z 0-9 - _ . and begins with a letter or "
                       "digit, as in [pool default], not '%s'",
                       item->name);
    if (!item->key)
        return declaration ? 0 : add(declarations, file, item, err);
    key = key_find(item->key);
    if (!key)
        return unknown_key(item->key, err);
    value = pool_body_value(key, item->value, err);
    if (!value)
        return -EINVAL;
    if (json_object_set_new(declaration->body, key->name, value) < 0)
        return err_set(err, ENOMEM, "out of memory");
    return 0;
}

static int check_one(const struct declaration *declaration, const struct config *config,
                     struct err *err)
{
    struct pool_body *body = malloc(sizeof *body);
    struct err unimportant;
    int rc;

    if (!body)
        return err_set(err, ENOMEM, "out of memory");
    pool_body_default(body);
    rc = json_keys_read(declaration->body, pool_body_table.keys, pool_body_table.key_count, body,
                        err);
    if (rc == 0) {
        rc = pool_body_choose(body, &config->vms, config->check_only ? err : &unimportant);
        /* A pool that can't be made for want of a kernel is no reason not to start. */
        rc = config->check_only ? rc : 0;
    }
    if (rc == 0)
        rc = pool_body_check(body, err);
    if (rc == 0 && config->check_only)
        rc = pool_body_look(body, err);
    free(body);
    return rc;
}

int declarations_check(const struct declarations *declarations, const struct config *config,
                       struct err *err)
{
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *declaration = &declarations->items[i];

        if (check_one(declaration, config, err) < 0) {
            err_wrap(err, "%s: [pool %s]", declaration->where, declaration->name);
            err->code = EBADMSG;
            return -EBADMSG;
        }
    }
    return 0;
}
