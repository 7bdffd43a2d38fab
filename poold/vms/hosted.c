/* SPDX-License-Identifier: Apache-2.0 */
/* Owns hosted pools: which process comes after which, and their end; see hosted.h. */
#include "vms/hosted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/work.h"
#include "vms/adopt.h"
#include "vms/boot.h"
#include "vms/hosted_file.h"
#include "vms/snapstore.h"
#include "vms/template.h"

/* A snapshot whose template never gets ready is given up after so many tries. */
#define TEMPLATE_ATTEMPTS 4
/* When it told why. That may be a moment's want of fds or memory; damage stays damage. */
#define TEMPLATE_ATTEMPTS_TOLD 3
#define READ_BYTES_PER_MS 50000u /* of a slow disk */

static struct hosted_pool *hosted_add(struct vms *vms, const char *name)
{
    struct hosted_pool *hosted = calloc(1, sizeof *hosted);

    if (!hosted)
        return NULL;
    pool_init(&hosted->pool, &vms->env, name);
    hosted->pool.owner = hosted;
    hosted->vms = vms;
    hosted->files = POOL_FILES_INIT;
    list_init(&hosted->retired);
    list_append(&vms->pools, &hosted->pool.node);
    return hosted;
}

/* A template that says nothing in all the time that a boot may take hangs; but it reads all of the
 * snapshot's memory before, perhaps from a slow disk. */
static uint64_t loading_deadline_ns(const struct hosted_pool *hosted)
{
    return hosted->phase_began_ns + hosted->vms->settings->boot_timeout_ms * NS_PER_MS +
           hosted->spec.memory_bytes / READ_BYTES_PER_MS * NS_PER_MS;
}

void hosted_set_state(struct hosted_pool *hosted, enum pool_state state, const char *error)
{
    hosted->phase_began_ns = now_ns();
    if (state == POOL_LOADING)
        turn_arm(hosted->vms->turn, loading_deadline_ns(hosted));
    pool_set_state(&hosted->pool, state, error);
    if (error)
        log_pool(LOG_LEVEL_ERROR, hosted->pool.name, "pool '%s' %s: %s", hosted->pool.name,
                 pool_state_name(state), error);
    else
        log_pool(LOG_LEVEL_INFO, hosted->pool.name, "pool '%s' is %s", hosted->pool.name,
                 pool_state_name(hosted->pool.state));
}

void hosted_free(struct hosted_pool *hosted)
{
    list_remove(&hosted->pool.node);
    pool_net_fini(&hosted->net, &hosted->vms->walls);
    pool_files_close(&hosted->files);
    free(hosted->maker);
    free(hosted->image_config);
    free(hosted);
}

struct hosted_pool *hosted_create(struct vms *vms, const struct pool_body *body,
                                  struct client_ids *maker, const struct pool_files *files)
{
    struct hosted_pool *hosted = hosted_add(vms, body->name);
    time_t now = time(NULL);
    struct tm tm;

    if (!hosted)
        return NULL;
    hosted->spec = body->spec;
    hosted->maker = maker;
    hosted->files = *files;
    hosted->pool.vm_bytes = body->spec.memory_bytes;
    gmtime_r(&now, &tm);
    strftime(hosted->created, sizeof hosted->created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    pool_set_limits(&hosted->pool, body->min, body->max, body->shells);
    hosted_set_state(hosted, POOL_BOOTING, NULL);
    boot_start(hosted);
    return hosted;
}

struct hosted_pool *hosted_restore(struct vms *vms, const char *name,
                                   const struct pool_record *record, struct client_ids *maker)
{
    const struct pool_body *body = &record->body;
    struct hosted_pool *hosted = hosted_add(vms, name);

    if (!hosted)
        return NULL;
    hosted->spec = body->spec;
    hosted->maker = maker;
    memcpy(hosted->created, record->created, sizeof hosted->created);
    hosted->cold_boot_ms = record->cold_boot_ms;
    hosted->snapshot_ms = record->snapshot_ms;
    hosted->pool.vm_bytes = hosted->spec.memory_bytes;
    pool_set_limits(&hosted->pool, body->min, body->max, body->shells);
    hosted_adopt(hosted);
    if (hosted->template)
        vms->hosted_ops->template_ready(hosted, template_has_working_set(hosted->template));
    else
        hosted_set_state(hosted, record->draining ? POOL_DRAINING : POOL_LOADING, NULL);
    if (record->draining)
        hosted_set_state(hosted, POOL_DRAINING, NULL);
    else if (!hosted->template && !vms->settings->stop_only)
        template_start(hosted);
    return hosted;
}

static void on_snapshotted(struct hosted_pool *hosted, uint64_t cold_boot_ms, uint64_t snapshot_ms)
{
    hosted->cold_boot_ms = cold_boot_ms;
    hosted->snapshot_ms = snapshot_ms;
    pool_files_booted(&hosted->files);
    if (hosted->deleting || hosted->vms->env.stopping)
        return;
    hosted_save(hosted);
    hosted_set_state(hosted, POOL_LOADING, NULL);
    template_start(hosted);
}

static void on_boot_failed(struct hosted_pool *hosted, const char *detail)
{
    pool_files_booted(&hosted->files);
    hosted_set_state(hosted, POOL_FAILED, detail);
}

static void on_template_ready(struct hosted_pool *hosted, bool has_working_set)
{
    backoff_success(&hosted->template_backoff);
    if (!has_working_set)
        pool_trial_want(&hosted->pool);
    /* Its first clone shows whether it is of use; a template that is started again needs none. */
    hosted_set_state(hosted, hosted->pool.proven ? POOL_READY : POOL_PROVING, NULL);
}

static void on_proved(struct hosted_pool *hosted, const char *trouble)
{
    char error[POOL_ERROR_BYTES];

    if (!trouble) {
        hosted_set_state(hosted, POOL_READY, NULL);
        return;
    }
    snprintf(
        error, sizeof error,
        "no VM of its snapshot gets ready, %u were tried: %.400s; when that is mended, delete the "
        "pool and create it again",
        PROOF_ATTEMPTS, trouble);
    hosted_set_state(hosted, POOL_FAILED, error);
    if (hosted->template)
        template_kill(hosted->template);
}

static void on_template_ended(struct hosted_pool *hosted, bool was_ready, bool final,
                              const char *detail)
{
    struct vms *vms = hosted->vms;

    turn_schedule(vms->turn);
    if (hosted->deleting || vms->env.stopping || hosted->pool.state == POOL_DRAINING ||
        hosted->pool.state == POOL_FAILED)
        return;
    backoff_failure(&hosted->template_backoff, now_ns());
    hosted->template_restarts++;
    if (!was_ready &&
        hosted->template_backoff.failures >= (final ? TEMPLATE_ATTEMPTS_TOLD : TEMPLATE_ATTEMPTS)) {
        hosted_set_state(hosted, POOL_FAILED, detail);
        return;
    }
    log_pool(LOG_LEVEL_WARN, hosted->pool.name,
             "pool '%s': the template ended (%s); it is started again", hosted->pool.name, detail);
    hosted_set_state(hosted, POOL_LOADING, NULL);
    turn_arm(vms->turn, hosted->template_backoff.until_ns);
}

static void on_snapshotting(struct hosted_pool *hosted)
{
    hosted_set_state(hosted, POOL_SNAPSHOTTING, NULL);
}

/* Acquires wait for the next one from now on, not only from when this one's end is seen. */
static void on_template_dying(struct hosted_pool *hosted)
{
    if (hosted->pool.state == POOL_READY || hosted->pool.state == POOL_PROVING)
        hosted_set_state(hosted, POOL_LOADING, NULL);
}

const struct hosted_ops hosted_ops = {
    .snapshotting = on_snapshotting,
    .snapshotted = on_snapshotted,
    .boot_failed = on_boot_failed,
    .template_ready = on_template_ready,
    .proved = on_proved,
    .template_dying = on_template_dying,
    .template_ended = on_template_ended,
};

static uint64_t loading_tick(struct hosted_pool *hosted, uint64_t now)
{
    uint64_t deadline_ns = loading_deadline_ns(hosted);

    if (now < deadline_ns)
        return deadline_ns;
    log_pool(LOG_LEVEL_ERROR, hosted->pool.name,
             "pool '%s': the template does not answer; it is started again", hosted->pool.name);
    template_kill(hosted->template);
    return UINT64_MAX;
}

uint64_t hosted_tick(struct hosted_pool *hosted, uint64_t now)
{
    if (hosted->pool.state != POOL_LOADING || hosted->boot || hosted->vms->env.stopping)
        return UINT64_MAX;
    if (hosted->template)
        return loading_tick(hosted, now);
    if (backoff_active(&hosted->template_backoff, now))
        return hosted->template_backoff.until_ns;
    template_start(hosted);
    return hosted->template ? loading_tick(hosted, now) : UINT64_MAX;
}

void hosted_body(const struct hosted_pool *hosted, struct pool_body *ret_body)
{
    const struct pool *pool = &hosted->pool;

    *ret_body = (struct pool_body){
        .spec = hosted->spec, .min = pool->min, .max = pool->max, .shells = pool->shells
    };
    snprintf(ret_body->name, sizeof ret_body->name, "%s", pool->name);
}

struct save_job {
    struct hosted_pool *hosted;
    char name[POOL_NAME_BYTES];
    char *text;
    int dir_fd;
    struct err err;
};

static void save_run(void *data)
{
    struct save_job *job = data;

    hosted_file_write(job->dir_fd, job->name, job->text, &job->err);
}

static void save_done(void *data)
{
    struct save_job *job = data;
    struct hosted_pool *hosted = job->hosted;

    if (job->err.code)
        log_pool(LOG_LEVEL_ERROR, job->name, "pool '%s' was not saved: %s", job->name,
                 job->err.msg);
    hosted->works--;
    hosted->saving = false;
    free(job->text);
    free(job);
    if (hosted->save_again)
        hosted_save(hosted);
    turn_schedule(hosted->vms->turn);
}

static char *text_of(const struct hosted_pool *hosted)
{
    _cleanup_free_ struct pool_record *record = malloc(sizeof *record);

    if (!record)
        return NULL;
    hosted_body(hosted, &record->body);
    memcpy(record->created, hosted->created, sizeof record->created);
    record->cold_boot_ms = hosted->cold_boot_ms;
    record->snapshot_ms = hosted->snapshot_ms;
    record->draining = hosted->pool.state == POOL_DRAINING;
    return hosted_file_format(record, hosted->maker);
}

void hosted_save(struct hosted_pool *hosted)
{
    struct save_job *job;

    /* One at a time, so that the last state is the one that stays. */
    hosted->save_again = hosted->saving;
    if (hosted->saving)
        return;
    job = calloc(1, sizeof *job);
    if (job)
        job->text = text_of(hosted);
    if (!job || !job->text) {
        free(job);
        log_pool(LOG_LEVEL_ERROR, hosted->pool.name, "pool '%s' was not saved: out of memory",
                 hosted->pool.name);
        return;
    }
    job->hosted = hosted;
    job->dir_fd = hosted->vms->pools_fd;
    snprintf(job->name, sizeof job->name, "%s", hosted->pool.name);
    if (work_start(hosted->vms->loop, save_run, save_done, job) == 0) {
        hosted->saving = true;
        hosted->works++;
        return;
    }
    free(job->text);
    free(job);
}

void hosted_stop_processes(struct hosted_pool *hosted)
{
    if (hosted->boot)
        boot_cancel(hosted->boot);
    if (hosted->template)
        template_kill(hosted->template);
    templates_retired_kill(hosted);
}

void hosted_delete(struct hosted_pool *hosted, void (*deleted)(void *data, const struct err *err),
                   void *data)
{
    hosted->deleting = true;
    hosted->deleted = deleted;
    hosted->deleted_data = data;
    pool_set_state(&hosted->pool, POOL_DRAINING, NULL);
    pool_stop_all(&hosted->pool, ACQUIRE_DRAINING);
    hosted_stop_processes(hosted);
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
