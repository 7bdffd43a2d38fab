/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the deletion of hosted pools; see hosted.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/work.h"
#include "vms/hosted.h"
#include "vms/hosted_file.h"
#include "vms/snapstore.h"

void hosted_delete(struct hosted_pool *hosted, void (*deleted)(void *data, const struct err *err),
                   void *data)
{
    hosted->deleting = true;
    hosted->deleted = deleted;
    hosted->deleted_data = data;
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

/* The pool's file goes last: while it is there, the pool comes back at the next start and can be
 * deleted again. */
static void delete_run(void *data)
{
    struct hosted_pool *hosted = data;
    struct vms *vms = hosted->vms;
    struct err *err = &hosted->delete_err;
    char console[HOSTED_CONSOLE_BYTES];
    int rc = snapshot_delete(vms->snapshots_fd, hosted->pool.name, err);

    if (rc == 0 || rc == -ENOENT)
        rc = hosted_file_delete(vms->pools_fd, hosted->pool.name, err);
    if (rc < 0)
        return;
    err->code = 0;
    unlinkat(vms->consoles_fd, hosted_console_name(hosted, console), 0);
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
        log_pool(LOG_LEVEL_ERROR, hosted->pool.name, "pool '%s' was not deleted whole: %s",
                 hosted->pool.name, err->msg);
        hosted->deleting = false;
        return;
    }
    log_pool(LOG_LEVEL_INFO, hosted->pool.name, "pool '%s' is deleted", hosted->pool.name);
    hosted->vms->pool_changed(hosted->vms->told_data, &hosted->pool, true);
    hosted_free(hosted);
}

void hosted_reap(struct hosted_pool *hosted)
{
    if (!hosted->deleting || !hosted_idle(hosted))
        return;
    /* The count keeps it from being reaped twice. */
    hosted->works++;
    if (work_start(hosted->vms->loop, delete_run, delete_done, hosted) < 0)
        hosted->works--;
}
