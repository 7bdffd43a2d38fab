/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what becomes of a pool that is to take another's place, and of the one whose place it has taken;
 * see hosted_replace.h. */
#include "vms/hosted_replace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "vms/hosted.h"
#include "vms/template.h"

int hosted_replaceable(const struct hosted_pool *hosted, struct err *err)
{
    const char *name = hosted->pool.name;

    if (hosted->deleting)
        return err_set(err, EBUSY, "pool '%s' is being deleted", name);
    if (hosted->coming)
        return err_set(err, EBUSY, "pool '%s' is being replaced already", name);
    if (hosted->broken)
        return err_set(err, EBUSY, "pool '%s' can only be deleted: %s", name, hosted->pool.error);
    if (hosted->pool.state == POOL_DRAINING)
        return err_set(err, EBUSY, "pool '%s' is drained: undrain it first", name);
    if (strlen(name) > HOSTED_REPLACEABLE_MAX)
        return err_set(err, EINVAL,
                       "pool '%s' can't be replaced, as its name is longer than %u characters",
                       name, HOSTED_REPLACEABLE_MAX);
    return 0;
}

int hosted_come(struct hosted_pool *current, const struct pool_body *body, struct client_ids *maker,
                const struct pool_files *files)
{
    struct hosted_pool *coming = hosted_create(current->vms, body, maker, files, current);

    if (!coming)
        return -ENOMEM;
    current->coming = coming;
    current->replace_error[0] = '\0';
    hosted_boot(coming);
    return 0;
}

void hosted_come_end(struct hosted_pool *current, const char *why)
{
    struct hosted_pool *coming = current->coming;

    if (!coming || coming->deleting || coming->pool.state == POOL_DRAINING)
        return;
    snprintf(current->replace_error, sizeof current->replace_error, "%s", why);
    log_pool(LOG_LEVEL_WARN, current->pool.name, "pool '%s' stays as it is: %s", current->pool.name,
             why);
    hosted_delete(coming, NULL, NULL);
}

/* The switch: from here on the name is the new one's. */
static void take_place(struct hosted_pool *coming, struct hosted_pool *current)
{
    struct pool *pool = &coming->pool, *before = &current->pool;

    coming->role = HOSTED_CURRENT;
    current->role = HOSTED_GOING;
    current->coming = NULL;
    coming->template_restarts += current->template_restarts;
    for (unsigned i = 0; i < NET_VERDICT_COUNT; i++) {
        coming->net.dropped[i] += current->net.dropped[i];
        current->net.dropped[i] = 0;
    }
    pool_succeed(pool, before);
    log_pool(LOG_LEVEL_INFO, pool->name, "pool '%s' is replaced; %u VMs of the old one are leased",
             pool->name, before->counts[SLOT_LEASED] + before->counts[SLOT_WAKING]);
    pool_set_state(before, POOL_DRAINING, NULL);
    coming->vms->pool_changed(coming->vms->told_data, pool, false);
}

static void on_committed(void *data, const struct err *err)
{
    struct hosted_pool *coming = data;
    struct hosted_pool *current = hosted_find(coming->vms, coming->pool.name);
    char detail[ERR_MSG_BYTES + 64];

    if (coming->deleting || coming->vms->env.stopping)
        return;
    if (err) {
        snprintf(detail, sizeof detail, "the new one is ready, but can't be saved: %s", err->msg);
        hosted_come_end(current, detail);
        return;
    }
    coming->saved = true;
    take_place(coming, current);
}

static void coming_pump(struct hosted_pool *coming)
{
    struct hosted_pool *current = hosted_find(coming->vms, coming->pool.name);
    const struct pool *pool = &coming->pool;

    if (pool->state == POOL_FAILED) {
        hosted_come_end(current, pool->error);
    } else if (pool->state == POOL_READY && list_empty(&coming->changes) &&
               list_empty(&current->changes)) {
        const struct pool_wish wish = hosted_wish(coming);

        hosted_change(coming, &wish, on_committed, coming);
    }
}

void hosted_replaced(struct hosted_pool *current, struct hosted_pool *going)
{
    struct pool *oldest = &current->pool;

    going->role = HOSTED_GOING;
    while (oldest->before)
        oldest = oldest->before;
    pool_succeed(oldest, &going->pool);
}

void hosted_relatives_leave(struct hosted_pool *hosted)
{
    struct hosted_pool *current = hosted_find(hosted->vms, hosted->pool.name);
    struct hosted_pool *newest = pool_newest(&hosted->pool)->owner;

    if (current && current->coming == hosted)
        current->coming = NULL;
    for (unsigned i = 0; newest != hosted && i < NET_VERDICT_COUNT; i++)
        newest->net.dropped[i] += hosted->net.dropped[i];
    pool_part(&hosted->pool);
}

void hosted_relatives_delete(struct hosted_pool *hosted)
{
    if (hosted->role != HOSTED_CURRENT)
        return;
    hosted_come_end(hosted, "the pool is being deleted");
    for (struct pool *pool = hosted->pool.before; pool; pool = pool->before) {
        struct hosted_pool *going = pool->owner;

        if (!going->deleting)
            hosted_delete(going, NULL, NULL);
    }
}

/* Whether it is not known what has taken its place: then it stays, on disk. */
static bool is_needed(struct pool *pool)
{
    const struct hosted_pool *newest = pool_newest(pool)->owner;

    return newest->broken;
}

void hosted_replace_pump(struct hosted_pool *hosted)
{
    struct pool *pool = &hosted->pool;

    if (hosted->role == HOSTED_CURRENT || hosted->deleting || hosted->vms->env.stopping)
        return;
    if (pool->state != POOL_DRAINING)
        coming_pump(hosted);
    else if (backoff_active(&hosted->template_backoff, now_ns()))
        turn_arm(hosted->vms->turn, hosted->template_backoff.until_ns);
    else if (pool_vm_count(pool) == 0 && !is_needed(pool))
        hosted_delete(hosted, NULL, NULL);
}
