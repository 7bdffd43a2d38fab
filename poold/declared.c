/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a running poold does with declared pools and functions; see declare.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "daemon.h"
#include "declare.h"
#include "functions/function_keep.h"
#include "vms/hosted.h"
#include "vms/pool_body.h"
#include "vms/pool_keys.h"
#include "vms/pool_make.h"

static const struct declaration *find(const struct declarations *declarations, const char *name)
{
    for (size_t i = 0; i < declarations->count; i++) {
        if (strcmp(declarations->items[i].name, name) == 0)
            return &declarations->items[i];
    }
    return NULL;
}

static void on_made(void *data, struct hosted_pool *hosted, const struct err *err)
{
    (void)data;
    if (!hosted)
        log_error("a declared pool can't be made: %s", err->msg);
}

static bool is_limit(const struct json_key *key)
{
    for (size_t i = 0; i < pool_limit_table.key_count; i++) {
        if (strcmp(pool_limit_table.keys[i].name, key->name) == 0)
            return true;
    }
    return false;
}

/* Of the keys that are declared, those that the pool was made without. */
static void differences_tell(const struct hosted_pool *hosted, const json_t *declared,
                             const struct pool_body *wanted, const struct pool_body *is)
{
    char keys[256] = "";

    for (size_t i = 0; i < pool_body_table.key_count; i++) {
        const struct json_key *key = &pool_body_table.keys[i];
        size_t used = strlen(keys);

        if (!is_limit(key) && json_object_get(declared, key->name) &&
            !json_key_same(key, wanted, is))
            snprintf(keys + used, sizeof keys - used, "%s%s", used ? ", " : "", key->name);
    }
    if (keys[0])
        log_pool(LOG_LEVEL_WARN, hosted->pool.name,
                 "pool '%s' was made with another %s than its declaration says, and stays so until "
                 "it is replaced (voltctl pool replace), or deleted and made again",
                 hosted->pool.name, keys);
}

static void on_limits(void *data, const struct err *err)
{
    struct daemon *daemon = data;

    daemon->limit_changes--;
    if (err)
        log_error("a pool's declared limits do not hold: %s", err->msg);
    turn_schedule(&daemon->turn); /* a reload waits for the last of them */
}

/* A pool that is there: of what it declares, its limits can be set. */
static void limits_apply(struct daemon *daemon, struct hosted_pool *hosted, const json_t *declared,
                         const struct pool_body *wanted)
{
    struct pool *pool = &hosted->pool;
    struct pool_wish wish = hosted_wish(hosted);

    /* What is not declared stays as it was set by hand. */
    uint32_t min = json_object_get(declared, "min") ? wanted->min : pool->min;
    uint32_t max = json_object_get(declared, "max") ? wanted->max : pool->max;
    uint32_t shells = json_object_get(declared, "shells") ? wanted->shells : pool->shells;

    if (min == pool->min && max == pool->max && shells == pool->shells)
        return;
    if (min + (uint64_t)shells > max) {
        log_pool(LOG_LEVEL_WARN, pool->name,
                 "pool '%s': its declared limits don't go with those set by hand (min %u, max %u, "
                 "shells %u): declare all three",
                 pool->name, pool->min, pool->max, pool->shells);
        return;
    }
    log_pool(LOG_LEVEL_INFO, pool->name, "pool '%s': min %u, max %u, shells %u", pool->name, min,
             max, shells);
    wish.min = min;
    wish.max = max;
    wish.shells = shells;
    daemon->limit_changes++;
    hosted_change(hosted, &wish, on_limits, daemon);
}

/* A pool that is there. */
static void pool_apply(struct daemon *daemon, struct hosted_pool *hosted,
                       const struct declaration *declaration, struct pool_body *wanted)
{
    struct pool_body *is = malloc(sizeof *is);
    struct err unimportant;

    if (!is)
        return;
    pool_body_choose(wanted, &daemon->config.vms, &unimportant);
    hosted_body(hosted, is);
    differences_tell(hosted, declaration->body, wanted, is);
    limits_apply(daemon, hosted, declaration->body, wanted);
    free(is);
}

static void on_function_made(void *data, struct function *function, const struct err *err)
{
    (void)data;
    if (!function)
        log_error("a declared function can't be made: %s", err->msg);
}

/* Of a function that is there, the keys of its own that are declared and that it was made without. */
static void own_differences_tell(const struct function *function,
                                 const struct declaration *declaration,
                                 const struct function_spec *wanted)
{
    char keys[256] = "";

    for (size_t i = 0; i < function_own_table.key_count; i++) {
        const struct json_key *key = &function_own_table.keys[i];
        const size_t used = strlen(keys);

        if (json_object_get(declaration->body, key->name) &&
            !function_key_same(key, wanted, &function->spec))
            snprintf(keys + used, sizeof keys - used, "%s%s", used ? ", " : "", key->name);
    }
    if (keys[0])
        log_pool(LOG_LEVEL_WARN, function->name,
                 "function '%s' was made with another %s than its declaration says, and stays so "
                 "until it is deleted and made again",
                 function->name, keys);
}

static void apply_one(struct daemon *daemon, const struct declaration *declaration)
{
    struct hosted_pool *hosted = hosted_find(&daemon->vms, declaration->name);
    const struct function *function = function_find(&daemon->functions, declaration->name);
    struct err err;
    /* It was checked when it was read. */
    struct function_body *body = declaration_body(declaration, &err);

    if (!body)
        log_pool(LOG_LEVEL_ERROR, declaration->name, "pool '%s' is not as declared: %s",
                 declaration->name, err.msg);
    else if (hosted && declaration->is_function != (function != NULL))
        log_pool(LOG_LEVEL_ERROR, declaration->name,
                 "'%s' is declared as a %s, and there is a %s of that name; delete that first",
                 declaration->name, declaration->is_function ? "function" : "pool",
                 function ? "function" : "pool");
    else if (!hosted && declaration->is_function)
        function_make(&daemon->functions, body, NULL, on_function_made, daemon);
    else if (!hosted)
        pool_make(&daemon->vms, &body->pool, NULL, on_made, daemon);
    else if (!hosted->deleting && !hosted->broken) {
        if (function)
            own_differences_tell(function, declaration, &body->spec);
        pool_apply(daemon, hosted, declaration, &body->pool);
    }
    free(body);
}

void declared_apply(struct daemon *daemon, struct declarations *declarations)
{
    struct declarations before = daemon->declared;

    daemon->declared = *declarations;
    *declarations = (struct declarations){ 0 };
    for (size_t i = 0; i < before.count; i++) {
        if (!find(&daemon->declared, before.items[i].name) &&
            hosted_find(&daemon->vms, before.items[i].name))
            log_pool(LOG_LEVEL_INFO, before.items[i].name,
                     "pool '%s' is not declared any more; it stays until it is deleted",
                     before.items[i].name);
    }
    declarations_fini(&before);
    for (size_t i = 0; i < daemon->declared.count; i++)
        apply_one(daemon, &daemon->declared.items[i]);
}

bool declared_settled(const struct daemon *daemon)
{
    if (daemon->vms.pool_makes > 0)
        return false;
    LIST_FOR_EACH(at, &daemon->vms.pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        if (hosted_is_current(pool) && pool->state != POOL_READY && pool->state != POOL_FAILED &&
            pool->state != POOL_DRAINING && find(&daemon->declared, pool->name))
            return false;
    }
    return true;
}
