/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the VMs' control groups; see vm_groups.h. */
#include "host/vm_groups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/prompt.h"
#include "base/util.h"
#include "base/work.h"
#include "host/rights.h"
#include "pool/slot.h"

#define REMOVE_TRIES 100u
#define REMOVE_WAIT_US 2000u
#define WAIT_NS_MAX (50 * NS_PER_MS) /* of a VM for its group */
#define RETRY_NS (100 * NS_PER_MS)   /* after a want of descriptors or memory */

struct vm_group_job {
    struct list node; /* in groups->waiting */
    uint64_t asked_ns, not_before_ns;
    struct vm_groups *groups;
    char id[SLOT_ID_BYTES];
    int vm_pidfd; /* the caller's */
    int pidfd;    /* of it, while a work is out; else -1 */
    bool out;
    struct cgroup_limits limits;
    int result;
    struct err err;
    void (*done)(void *data, bool joined); /* NULL: abandoned */
    void *data;
};

/* FNV-1a: a short name for a path, not a digest. */
static uint64_t path_hash(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *path; path++)
        hash = (hash ^ (uint8_t)*path) * 0x100000001b3u;
    return hash;
}

void vm_groups_init(struct vm_groups *groups, uv_loop_t *loop, const char *state_dir, pid_t keeper,
                    bool idle)
{
    const struct cgroup_owner owner = { groups->name, keeper, idle };
    struct err err = { 0 };

    groups->loop = loop;
    list_init(&groups->waiting);
    snprintf(groups->name, sizeof groups->name, "%016llx",
             (unsigned long long)path_hash(state_dir));
    if (cgroup_host_open(&groups->host, &owner, &err) < 0)
        log_warn("control groups: %s", err.msg);
    if (groups->host.lacking[0] && idle)
        log_warn("control groups of VMs: %s", groups->host.lacking);
    else if (groups->host.lacking[0])
        log_info("control groups of VMs: %s", groups->host.lacking);
}

void vm_groups_fini(struct vm_groups *groups)
{
    cgroup_host_close(&groups->host, groups->name);
}

static void job_run(void *data)
{
    struct vm_group_job *job = data;
    const struct cgroup_host *host = &job->groups->host;
    pid_t pid = process_of_pidfd(job->pidfd);

    if (pid == 0 || process_ended(job->pidfd)) {
        job->result = -ESRCH;
        return;
    }
    rights_oom_adjust(pid, job->pidfd, RIGHTS_OOM_VM);
    prompt_vm_defer(pid, job->pidfd);
    if (host->hierarchy_count == 0) {
        job->result = -ESRCH;
        return;
    }
    job->result = cgroup_group_create(host, job->id, &job->limits, &job->err);
    if (job->result == -EEXIST) /* of a VM that was taken over: its limits may be gone */
        job->result = cgroup_group_limit(host, job->id, &job->limits, &job->err);
    if (job->result == 0)
        job->result = cgroup_group_join(host, job->id, pid, &job->err);
    if (job->result < 0 || process_ended(job->pidfd))
        vm_groups_remove(job->groups, job->id);
}

static bool is_shortage(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

/* Back to those that wait: true, unless its VM is gone or it is no passing trouble. */
static bool job_again(struct vm_group_job *job)
{
    if (!job->done || !is_shortage(job->result))
        return false;
    job->not_before_ns = now_ns() + RETRY_NS;
    list_append(&job->groups->waiting, &job->node);
    return true;
}

static void job_done(void *data)
{
    struct vm_group_job *job = data;

    job->out = false;
    close_fd(&job->pidfd);
    if (job_again(job)) {
        job->groups->changed(job->groups->changed_data);
        return;
    }
    if (job->done)
        job->done(job->data, job->result == 0);
    if (job->result < 0 && job->result != -ESRCH)
        log_warn("VM %s has no control group: %s", job->id, job->err.msg);
    free(job);
}

struct vm_group_job *vm_groups_join(struct vm_groups *groups, const char *id, int pidfd,
                                    const struct cgroup_limits *limits,
                                    void (*done)(void *data, bool joined), void *data)
{
    struct vm_group_job *job;

    if (groups->host.hierarchy_count == 0 && geteuid() != 0)
        return NULL;
    job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->asked_ns = now_ns();
    job->groups = groups;
    snprintf(job->id, sizeof job->id, "%s", id);
    job->limits = *limits;
    job->done = done;
    job->data = data;
    job->vm_pidfd = pidfd;
    job->pidfd = -1;
    list_append(&groups->waiting, &job->node);
    return job;
}

static void job_start(struct vm_group_job *job)
{
    list_remove(&job->node);
    job->out = true;
    job->pidfd = fcntl(job->vm_pidfd, F_DUPFD_CLOEXEC, 0);
    if (job->pidfd < 0)
        job->result = err_set_errno(&job->err, errno, "a descriptor of its process");
    else if (work_start(job->groups->loop, job_run, job_done, job) < 0)
        job->result = err_set(&job->err, ENOMEM, "out of memory");
    else
        return;
    job_done(job);
}

uint64_t vm_groups_pump(struct vm_groups *groups, bool busy)
{
    const uint64_t now = now_ns();
    uint64_t next = UINT64_MAX;

    LIST_FOR_EACH(at, &groups->waiting)
    {
        struct vm_group_job *job = list_entry(at, struct vm_group_job, node);
        uint64_t due_ns = busy ? job->asked_ns + WAIT_NS_MAX : 0;

        due_ns = MAX_OF(due_ns, job->not_before_ns);
        if (due_ns <= now)
            job_start(job);
        else
            next = MIN_OF(next, due_ns);
    }
    return next;
}

unsigned vm_groups_make(struct vm_groups *groups, const char *id,
                        const struct cgroup_limits *limits, int ret_fds[CGROUP_HIERARCHIES_MAX])
{
    struct err err = { 0 };
    unsigned count = 0;
    int rc;

    if (groups->host.hierarchy_count == 0)
        return 0;
    rc = cgroup_group_create(&groups->host, id, limits, &err);
    if (rc == 0) {
        rc = cgroup_group_open(&groups->host, id, ret_fds, &count, &err);
        if (rc < 0)
            cgroup_group_remove(&groups->host, id);
    }
    if (rc < 0)
        log_warn("VM %s has no control group: %s", id, err.msg);
    return rc < 0 ? 0 : count;
}

void vm_groups_abandon(struct vm_group_job *job)
{
    if (!job)
        return;
    job->done = NULL;
    if (job->out)
        return;
    list_remove(&job->node);
    free(job);
}

void vm_groups_remove(const struct vm_groups *groups, const char *id)
{
    for (unsigned i = 0; i < REMOVE_TRIES; i++) {
        if (groups->host.hierarchy_count == 0 || cgroup_group_remove(&groups->host, id) != -EBUSY)
            return;
        usleep(REMOVE_WAIT_US);
    }
}
