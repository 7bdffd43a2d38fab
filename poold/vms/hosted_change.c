/* SPDX-License-Identifier: Apache-2.0 */
/* Owns changes of hosted pools: one holds once it is in the pool's file, not before; see hosted.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/work.h"
#include "vms/hosted.h"
#include "vms/hosted_file.h"
#include "vms/hosted_replace.h"

struct change {
    struct list node; /* in hosted->changes, the first of which may be out */
    struct hosted_pool *hosted;
    struct pool_wish wish;
    hosted_changed_fn changed;
    void *data;
    char *text; /* of the file, while it is out */
    struct err err;
};

/* Whom a change is for: the pool that comes, once it is about to be there. */
static struct hosted_pool *heir_of(const struct hosted_pool *hosted)
{
    struct hosted_pool *coming = hosted->coming;

    return coming && !list_empty(&coming->changes) ? coming
                                                   : (struct hosted_pool *)(uintptr_t)hosted;
}

struct pool_wish hosted_wish(const struct hosted_pool *wished)
{
    const struct hosted_pool *hosted = heir_of(wished);
    const struct pool *pool = &hosted->pool;

    if (!list_empty(&hosted->changes))
        return list_entry(hosted->changes.prev, struct change, node)->wish;
    return (struct pool_wish){ pool->min, pool->max, pool->shells, pool->state == POOL_DRAINING };
}

/* Tells and frees it; the pool may be gone afterwards. */
static void change_end(struct change *change)
{
    list_remove(&change->node);
    change->changed(change->data, change->err.code ? &change->err : NULL);
    free(change->text);
    free(change);
}

static void refuse_deleting(struct change *change)
{
    err_set(&change->err, EBUSY, "pool '%s' is being deleted", change->hosted->pool.name);
}

static void change_apply(struct change *change)
{
    struct hosted_pool *hosted = change->hosted;
    const struct pool_wish *wish = &change->wish;

    pool_set_limits(&hosted->pool, wish->min, wish->max, wish->shells);
    if (hosted->coming)
        pool_set_limits(&hosted->coming->pool, wish->min, wish->max, wish->shells);
    if (wish->draining)
        hosted_come_end(hosted, "the pool was drained");
    if (wish->draining && hosted->pool.state != POOL_DRAINING)
        hosted_set_state(hosted, POOL_DRAINING, NULL);
    else if (!wish->draining && hosted->pool.state == POOL_DRAINING)
        hosted_undrained(hosted);
}

static char *text_of(const struct hosted_pool *hosted, const struct pool_wish *wish)
{
    _cleanup_free_ struct pool_record *record = calloc(1, sizeof *record);

    if (!record)
        return NULL;
    hosted_body(hosted, &record->body);
    record->body.min = wish->min;
    record->body.max = wish->max;
    record->body.shells = wish->shells;
    memcpy(record->created, hosted->created, sizeof record->created);
    record->cold_boot_ms = hosted->cold_boot_ms;
    record->snapshot_ms = hosted->snapshot_ms;
    record->draining = wish->draining;
    record->booting = !hosted->booted;
    return hosted_file_format(record, hosted->maker);
}

static void change_run(void *data)
{
    struct change *change = data;

    hosted_file_write(change->hosted->vms->pools_fd, change->hosted->id, change->text,
                      &change->err);
}

static void change_done(void *data)
{
    struct change *change = data;
    struct hosted_pool *hosted = change->hosted;
    struct vms *vms = hosted->vms;

    hosted->saving = false;
    if (hosted->deleting)
        refuse_deleting(change);
    else if (!change->err.code)
        change_apply(change);
    change_end(change);
    /* The work counts until here: the pool can't go before. */
    hosted_changes_start(hosted);
    hosted->works--;
    turn_schedule(vms->turn);
}

static int change_start(struct change *change)
{
    struct hosted_pool *hosted = change->hosted;

    change->text = text_of(hosted, &change->wish);
    if (!change->text || work_start(hosted->vms->loop, change_run, change_done, change) < 0)
        return err_set(&change->err, ENOMEM, "out of memory");
    hosted->saving = true;
    hosted->works++;
    return 0;
}

void hosted_changes_start(struct hosted_pool *hosted)
{
    while (!hosted->saving && !list_empty(&hosted->changes)) {
        struct change *change = list_entry(hosted->changes.next, struct change, node);

        if (hosted->deleting)
            refuse_deleting(change);
        else if (change_start(change) == 0)
            return;
        change_end(change);
    }
}

void hosted_change(struct hosted_pool *wished, const struct pool_wish *wish,
                   hosted_changed_fn changed, void *data)
{
    struct hosted_pool *hosted = heir_of(wished);
    struct change *change = calloc(1, sizeof *change);

    if (!change) {
        changed(data, &(struct err){ .code = ENOMEM, .msg = "out of memory" });
        return;
    }
    *change = (struct change){ .hosted = hosted, .wish = *wish, .changed = changed, .data = data };
    list_append(&hosted->changes, &change->node);
    hosted_changes_start(hosted);
}
