/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is tried again of a pool when somebody asks for it; see hosted.h. */
#include <errno.h>
#include <stdlib.h>

#include "base/work.h"
#include "vms/hosted.h"
#include "vms/template.h"

struct reopen {
    struct hosted_pool *hosted;
    struct pool_files files;
    struct err err;
};

static void reopen_run(void *data)
{
    struct reopen *reopen = data;

    pool_files_open(&reopen->hosted->spec, reopen->hosted->maker, &reopen->files, &reopen->err);
}

static void reopen_done(void *data)
{
    struct reopen *reopen = data;
    struct hosted_pool *hosted = reopen->hosted;
    struct vms *vms = hosted->vms;

    hosted->works--;
    if (hosted->deleting || vms->env.stopping || hosted->pool.state == POOL_DRAINING) {
        pool_files_close(&reopen->files);
    } else if (reopen->err.code) {
        hosted_set_state(hosted, POOL_FAILED, reopen->err.msg);
    } else {
        hosted->files = reopen->files;
        hosted_boot(hosted);
    }
    free(reopen);
    turn_schedule(vms->turn);
}

/* Its files are closed since it booted last. */
int hosted_boot_again(struct hosted_pool *hosted, struct err *err)
{
    struct reopen *reopen = calloc(1, sizeof *reopen);

    if (!reopen)
        return err_set(err, ENOMEM, "out of memory");
    pool_files_close(&hosted->files);
    *reopen = (struct reopen){ .hosted = hosted, .files = POOL_FILES_INIT };
    if (work_start(hosted->vms->loop, reopen_run, reopen_done, reopen) < 0) {
        free(reopen);
        return err_set(err, ENOMEM, "out of memory");
    }
    hosted->works++;
    hosted_set_state(hosted, POOL_BOOTING, NULL);
    return 0;
}

int hosted_retry(struct hosted_pool *hosted, struct err *err)
{
    const struct pool *pool = &hosted->pool;

    if (hosted->broken || hosted->deleting || pool->state == POOL_DRAINING)
        return err_set(err, EINVAL, "pool '%s' is %s, which no retry ends%s%s", pool->name,
                       hosted->deleting ? "being deleted" : pool_state_name(pool->state),
                       pool->error[0] ? ": " : "", pool->error);
    backoff_success(&hosted->template_backoff);
    hosted->pool.proof_failures = 0;
    if (pool->state == POOL_LOADING && !hosted->template)
        template_start(hosted);
    if (pool->state != POOL_FAILED)
        return 0;
    if (!hosted->booted)
        return hosted_boot_again(hosted, err);
    if (hosted->saved)
        hosted_load(hosted);
    else
        hosted_save_booted(hosted);
    return 0;
}

/* As what it is depends on how far it had got, which a pool that failed has the ways for. */
void hosted_undrained(struct hosted_pool *hosted)
{
    struct err err;

    pool_undrain(&hosted->pool);
    if (hosted->template && template_is_ready(hosted->template))
        hosted->vms->hosted_ops->template_ready(hosted, template_has_working_set(hosted->template));
    else if (hosted->template || hosted->boot)
        hosted_set_state(hosted, hosted->boot ? POOL_BOOTING : POOL_LOADING, NULL);
    else if (hosted_retry(hosted, &err) < 0)
        hosted_set_state(hosted, POOL_FAILED, err.msg);
}
