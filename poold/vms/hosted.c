/* SPDX-License-Identifier: Apache-2.0 */
/* Owns hosted pools: which process comes after which, and their end; see hosted.h. */
#include "vms/hosted.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vms/boot.h"
#include "vms/hosted_file.h"
#include "vms/hosted_replace.h"
#include "vms/template.h"

/* A snapshot whose template never gets ready is given up after so many tries. */
#define TEMPLATE_ATTEMPTS 4
/* When it told why. That may be a moment's want of fds or memory; damage stays damage. */
#define TEMPLATE_ATTEMPTS_TOLD 3
#define READ_BYTES_PER_MS 50000u /* of a slow disk */

static struct hosted_pool *hosted_of(struct list *at)
{
    return list_entry(at, struct pool, node)->owner;
}

/* One pool more or less: so many VMs may be made beside them. */
static void pools_count(struct vms *vms, int change)
{
    vms->pool_count += (uint32_t)change;
    vms_room_set(vms);
}

struct hosted_pool *hosted_add(struct vms *vms, const char *name, uint32_t generation)
{
    struct hosted_pool *hosted = calloc(1, sizeof *hosted);

    if (!hosted)
        return NULL;
    pool_init(&hosted->pool, &vms->env, name);
    hosted->pool.owner = hosted;
    hosted->vms = vms;
    hosted->generation = generation;
    hosted_id(name, generation, hosted->id);
    hosted->files = POOL_FILES_INIT;
    list_init(&hosted->retired);
    list_init(&hosted->changes);
    list_append(&vms->pools, &hosted->pool.node);
    pools_count(vms, 1);
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
    static const char *const roles[] = {
        [HOSTED_CURRENT] = "",
        [HOSTED_COMING] = "the replacement of ",
        [HOSTED_GOING] = "what was replaced of ",
    };
    const char *role = roles[hosted->role];

    hosted->was_ready |= state == POOL_READY;
    hosted->phase_began_ns = now_ns();
    if (state == POOL_LOADING)
        turn_arm(hosted->vms->turn, loading_deadline_ns(hosted));
    pool_set_state(&hosted->pool, state, error);
    if (error)
        log_pool(LOG_LEVEL_ERROR, hosted->pool.name, "%spool '%s' %s: %s", role, hosted->pool.name,
                 pool_state_name(state), error);
    else
        log_pool(LOG_LEVEL_INFO, hosted->pool.name, "%spool '%s' is %s", role, hosted->pool.name,
                 pool_state_name(hosted->pool.state));
    hosted_tell(hosted, false);
}

/* What becomes of others of its name is nobody's business. */
void hosted_tell(const struct hosted_pool *hosted, bool deleted)
{
    if (hosted->role == HOSTED_CURRENT)
        hosted->vms->pool_changed(hosted->vms->told_data, &hosted->pool, deleted);
}

void hosted_free(struct hosted_pool *hosted)
{
    assert(hosted->works == 0 && list_empty(&hosted->changes));
    hosted_relatives_leave(hosted);
    list_remove(&hosted->pool.node);
    pools_count(hosted->vms, -1);
    pool_net_fini(&hosted->net, &hosted->vms->walls);
    pool_files_close(&hosted->files);
    free(hosted->maker);
    free(hosted->image_config);
    free(hosted);
}

void hosted_spec_set(struct hosted_pool *hosted, const struct pool_body *body)
{
    const struct pool_spec *spec = &body->spec;

    hosted->spec = *spec;
    hosted->pool.vm_bytes = spec->memory_bytes;
    hosted->pool.vm_fds = FD_VM + pool_net_vm_fds(&spec->net);
    hosted->pool.priority = spec->priority;
    hosted->pool.at_bell = spec->service_bell;
    pool_set_limits(&hosted->pool, body->min, body->max, body->shells);
}

struct hosted_pool *hosted_create(struct vms *vms, const struct pool_body *body,
                                  struct client_ids *maker, const struct pool_files *files,
                                  const struct hosted_pool *replaced)
{
    struct hosted_pool *hosted =
        hosted_add(vms, body->name, replaced ? replaced->generation + 1 : 0);
    time_t now = time(NULL);
    struct tm tm;

    if (!hosted)
        return NULL;
    if (replaced)
        hosted->role = HOSTED_COMING;
    hosted->maker = maker;
    hosted->files = *files;
    hosted_spec_set(hosted, body);
    gmtime_r(&now, &tm);
    strftime(hosted->created, sizeof hosted->created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    hosted_set_state(hosted, POOL_BOOTING, NULL);
    return hosted;
}

void hosted_boot(struct hosted_pool *hosted)
{
    hosted->boot_wanted = true;
    turn_schedule(hosted->vms->turn);
}

void hosted_boots_start(struct vms *vms)
{
    uint32_t booting = 0;

    LIST_FOR_EACH(at, &vms->pools)
    booting += hosted_of(at)->boot != NULL;
    LIST_FOR_EACH(at, &vms->pools)
    {
        struct hosted_pool *hosted = hosted_of(at);

        if (!hosted->boot_wanted || hosted->deleting || vms->env.stopping ||
            booting >= vms->settings->boots_max)
            continue;
        hosted->boot_wanted = false;
        boot_start(hosted);
        booting++;
    }
}

/* A pool that would be forgotten is not used. */
static void on_booted_saved(void *data, const struct err *err)
{
    struct hosted_pool *hosted = data;
    char detail[ERR_MSG_BYTES + 64];

    if (hosted->deleting || hosted->vms->env.stopping || hosted->pool.state == POOL_DRAINING)
        return;
    if (err) {
        snprintf(detail, sizeof detail, "it has booted, but can't be saved: %s", err->msg);
        hosted_set_state(hosted, POOL_FAILED, detail);
        return;
    }
    hosted->saved = true;
    hosted_load(hosted);
}

void hosted_load(struct hosted_pool *hosted)
{
    hosted_set_state(hosted, POOL_LOADING, NULL);
    if (!hosted->template) /* else one is ending, and is followed by another */
        template_start(hosted);
}

void hosted_save_booted(struct hosted_pool *hosted)
{
    const struct pool_wish wish = hosted_wish(hosted);

    hosted_change(hosted, &wish, on_booted_saved, hosted);
}

static void on_snapshotted(struct hosted_pool *hosted, uint64_t cold_boot_ms, uint64_t snapshot_ms)
{
    hosted->cold_boot_ms = cold_boot_ms;
    hosted->snapshot_ms = snapshot_ms;
    pool_files_booted(&hosted->files);
    hosted->booted = true;
    if (hosted->role == HOSTED_COMING) /* it is saved when it is of use */
        hosted_load(hosted);
    else
        hosted_save_booted(hosted);
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
    /* What was ready once will be again, once what it lacks is there. */
    if (!was_ready && !hosted->was_ready &&
        hosted->template_backoff.failures >= (final ? TEMPLATE_ATTEMPTS_TOLD : TEMPLATE_ATTEMPTS)) {
        hosted_set_state(hosted, POOL_FAILED, detail);
        return;
    }
    log_pool(LOG_LEVEL_WARN, hosted->pool.name,
             "pool '%s': the template ended (%s); it is started again", hosted->pool.name, detail);
    hosted->phase_began_ns = now_ns();
    pool_set_state(&hosted->pool, POOL_LOADING, was_ready ? NULL : detail);
    hosted_tell(hosted, false);
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

void hosted_stop_processes(struct hosted_pool *hosted)
{
    if (hosted->boot)
        boot_cancel(hosted->boot);
    if (hosted->template)
        template_kill(hosted->template);
    templates_retired_kill(hosted);
}
