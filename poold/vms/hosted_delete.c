/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the deletion of hosted pools; see hosted.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/work.h"
#include "vms/hosted.h"
#include "vms/hosted_file.h"
#include "vms/hosted_replace.h"
#include "vms/snapstore.h"

void hosted_delete(struct hosted_pool *hosted, void (*deleted)(void *data, const struct err *err),
                   void *data)
{
    hosted->deleting = true;
    hosted->deleted = deleted;
    hosted->deleted_data = data;
    hosted_relatives_delete(hosted);
    pool_set_state(&hosted->pool, POOL_DRAINING, NULL);
    pool_stop_all(&hosted->pool, ACQUIRE_DRAINING);
    hosted_stop_processes(hosted);
    hosted_changes_start(hosted);
    turn_schedule(hosted->vms->turn);
}

bool hosted_idle(const struct hosted_pool *hosted)
{
    return pool_vm_count(&hosted->pool) == 0 && !hosted->boot && !hosted->template &&
           list_empty(&hosted->retired) && hosted->works == 0;
}

/* The console of one that did not get to replace another stays to be read, until that one goes. */
static void consoles_delete(const struct hosted_pool *hosted)
{
    const uint32_t last = hosted->generation + (hosted->role == HOSTED_CURRENT);
    char id[POOL_NAME_BYTES], console[HOSTED_CONSOLE_BYTES];

    for (uint32_t i = hosted->generation; hosted->role != HOSTED_COMING && i <= last; i++) {
        hosted_id(hosted->pool.name, i, id);
        unlinkat(hosted->vms->consoles_fd, hosted_console_name(id, console), 0);
    }
}

/* The pool's file goes last: while it is there, the pool comes back at the next start and can be
 * deleted again. */
static void delete_run(void *data)
{
    struct hosted_pool *hosted = data;
    struct vms *vms = hosted->vms;
    struct err *err = &hosted->delete_err;
    int rc = snapshot_delete(vms->snapshots_fd, hosted->id, err);

    if (rc == 0 || rc == -ENOENT)
        rc = hosted_file_delete(vms->pools_fd, hosted->id, err);
    if (rc < 0)
        return;
    err->code = 0;
    consoles_delete(hosted);
}

/* Of the others of its name: then it is told of the pool's own deletion, which waits for it, and tried
 * again. */
static void delete_failed(struct hosted_pool *hosted)
{
    struct hosted_pool *current = hosted_find(hosted->vms, hosted->pool.name);

    hosted->deleting = false;
    log_pool(LOG_LEVEL_ERROR, hosted->pool.name, "pool '%s' was not deleted whole: %s",
             hosted->pool.name, hosted->delete_err.msg);
    if (hosted->role == HOSTED_CURRENT)
        return;
    backoff_failure(&hosted->template_backoff, now_ns());
    if (!current || !current->deleting)
        return;
    current->deleting = false;
    if (current->deleted)
        current->deleted(current->deleted_data, &hosted->delete_err);
}

static void deletion_log(const struct hosted_pool *hosted)
{
    static const char *const what[] = {
        [HOSTED_CURRENT] = "",
        [HOSTED_COMING] = "the replacement of ",
        [HOSTED_GOING] = "what was replaced of ",
    };

    log_pool(LOG_LEVEL_INFO, hosted->pool.name, "%spool '%s' is deleted", what[hosted->role],
             hosted->pool.name);
}

static void delete_done(void *data)
{
    struct hosted_pool *hosted = data;
    struct vms *vms = hosted->vms;
    const struct err *err = hosted->delete_err.code ? &hosted->delete_err : NULL;

    if (hosted->deleted)
        hosted->deleted(hosted->deleted_data, err);
    hosted->works--;
    turn_schedule(vms->turn);
    if (err) {
        delete_failed(hosted);
        return;
    }
    deletion_log(hosted);
    hosted_tell(hosted, true);
    hosted_free(hosted);
}

void hosted_reap(struct hosted_pool *hosted)
{
    const bool alone = !hosted->coming && !hosted->pool.before;

    if (!hosted->deleting || !hosted_idle(hosted) || (hosted->role == HOSTED_CURRENT && !alone))
        return;
    /* The count keeps it from being reaped twice. */
    hosted->works++;
    if (work_start(hosted->vms->loop, delete_run, delete_done, hosted) < 0)
        hosted->works--;
}
