/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the steps of a trial restore: warm-up, recording, telling the template; see trial.h. */
#include "vms/trial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/work.h"
#include "vms/snapstore.h"
#include "vms/template.h"
#include "vms/warmup.h"

/* The service has accepted connections already, in the snapshot. */
#define SERVICE_WAIT_MS 5000

struct trial {
    struct hosted_pool *hosted;
    const struct trial_ops *ops;
    void *owner; /* of ops; NULL: abandoned */
    struct warmup *warmup;
    bool recording; /* on the thread pool */
    pid_t pid;
    int set_fd; /* the new working set; -1: it failed, err says why */
    uint64_t set_bytes;
    struct err err;
};

/* Tells how it ended, and ends the VM. */
static void trial_end(struct trial *trial)
{
    const char *name = trial->hosted->pool.name;
    const bool recorded = trial->set_fd >= 0;

    if (recorded)
        log_pool(LOG_LEVEL_INFO, name, "pool '%s': its clones' working set is recorded: %llu KiB",
                 name, (unsigned long long)(trial->set_bytes >> 10));
    if (trial->owner)
        trial->ops->over(trial->owner, recorded ? NULL : &trial->err);
    close_fd(&trial->set_fd);
    free(trial);
}

static void record_run(void *data)
{
    struct trial *trial = data;

    snapstore_record(trial->hosted->vms->snapshots_fd, trial->hosted->id, trial->pid,
                     &trial->set_fd, &trial->set_bytes, &trial->err);
}

static void record_done(void *data)
{
    struct trial *trial = data;
    struct hosted_pool *hosted = trial->hosted;

    hosted->works--;
    if (trial->set_fd >= 0 && hosted->template)
        template_working_set(hosted->template, trial->set_fd);
    trial_end(trial);
    turn_schedule(hosted->vms->turn);
}

static int record_start(struct trial *trial)
{
    int rc;

    trial->pid = trial->ops->pid(trial->owner);
    rc = trial->pid ? work_start(trial->hosted->vms->loop, record_run, record_done, trial) : -ESRCH;
    if (rc < 0)
        return err_set_errno(&trial->err, -rc, "the recording can't start");
    trial->recording = true;
    trial->hosted->works++;
    return 0;
}

static int warmup_connect(void *owner, int fd)
{
    struct trial *trial = owner;

    return trial->ops->connect(trial->owner, fd);
}

static void warmup_done(void *owner, const struct err *err)
{
    struct trial *trial = owner;

    trial->warmup = NULL;
    if (err)
        trial->err = *err;
    if (err || record_start(trial) < 0)
        trial_end(trial);
}

static const struct warmup_ops trial_warmup_ops = {
    .connect = warmup_connect,
    .done = warmup_done,
};

struct trial *trial_start(struct hosted_pool *hosted, const struct trial_ops *ops, void *owner)
{
    struct trial *trial = calloc(1, sizeof *trial);
    int rc;

    if (!trial) {
        const struct err err = { ENOMEM, "out of memory" };

        ops->over(owner, &err);
        return NULL;
    }
    *trial = (struct trial){ .hosted = hosted, .ops = ops, .owner = owner, .set_fd = -1 };
    if (warmup_wanted(&hosted->spec))
        rc = warmup_start(&trial->warmup, hosted->vms->loop, hosted->pool.name, &hosted->spec, NULL,
                          false, SERVICE_WAIT_MS, &trial_warmup_ops, trial, &trial->err);
    else
        rc = record_start(trial);
    if (rc == 0)
        return trial;
    trial_end(trial);
    return NULL;
}

void trial_abandon(struct trial *trial)
{
    if (!trial)
        return;
    trial->owner = NULL;
    warmup_cancel(trial->warmup);
    if (!trial->recording)
        free(trial);
}
