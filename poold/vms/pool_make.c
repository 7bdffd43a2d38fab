/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way from what a pool is asked to be to the pool; see pool_make.h. */
#include "vms/pool_make.h"

#include <errno.h>
#include <stdlib.h>

#include "base/work.h"
#include "vms/hosted.h"
#include "vms/hosted_replace.h"
#include "vms/pool_body.h"
#include "vms/pool_disk.h"

struct make {
    struct vms *vms;
    bool replaces; /* the pool of its name */
    struct pool_body body;
    struct client_ids *maker; /* NULL: poold, or the pool has it */
    struct pool_files files;
    struct hosted_pool *hosted; /* while it is saved */
    pool_made_fn made;
    void *data;
    struct err err;
};

static void make_free(struct make *make)
{
    pool_files_close(&make->files);
    free(make->maker);
    free(make);
}

/* Whether two VMs on one link would have one address. */
static int check_addresses(const struct vms *vms, const struct pool_net_spec *net, struct err *err)
{
    LIST_FOR_EACH(at, &vms->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        if (pool_net_overlap(net, &((const struct hosted_pool *)pool->owner)->spec.net))
            return err_set(err, EINVAL,
                           "'net_address' %s has addresses of pool '%s' on the same link: give "
                           "another",
                           net->address, pool->name);
    }
    return 0;
}

/* A limit that would not be kept is refused. */
static int check_limits(const struct vms *vms, const struct pool_spec *spec, struct err *err)
{
    const struct cgroup_host *host = &vms->vm_groups.host;

    if ((!spec->cpu_percent && !spec->cpu_weight) || host->controllers & 1u << CGROUP_CPU)
        return 0;
    return err_set(
        err, EINVAL,
        "'%s' needs control groups with a cpu controller, which poold can't use here: %s",
        spec->cpu_percent ? "cpu_percent" : "cpu_weight",
        host->lacking[0] ? host->lacking : "there is none");
}

/* Whether the pool of that name is as it should be, for one that replaces it or is the first. */
static int check_name(const struct make *make, struct err *err)
{
    const char *name = make->body.name;
    const struct hosted_pool *hosted = hosted_find(make->vms, name);

    if (!make->replaces)
        return hosted ? err_set(err, EEXIST, "there is a pool '%s' already", name) : 0;
    return hosted ? hosted_replaceable(hosted, err)
                  : err_set(err, ENOENT, "there is no pool '%s' any more", name);
}

/* Of a body that may be made now; later, too. */
static int may_be_made(const struct make *make, struct err *err)
{
    const struct vms *vms = make->vms;

    if (vms->env.stopping || vms->env.draining)
        return err_set(err, ESHUTDOWN, "poold is %s",
                       vms->env.stopping ? "shutting down" : "draining");
    if (check_name(make, err) < 0)
        return -err->code;
    if (!fd_budget_has_pool(vms->fds, vms->pool_count + vms->pool_makes, vms->env.claimed.fds))
        return err_set(
            err, EMFILE,
            "poold may have %u file descriptors, too few for another pool beside %u and %u "
            "leases: raise its limit, delete a pool, or release leases",
            vms->fds->limit, vms->pool_count + vms->pool_makes, vms->env.claimed.vms);
    return check_addresses(vms, &make->body.spec.net, err);
}

static void make_run(void *data)
{
    struct make *make = data;
    struct pool_disk disk;

    if (pool_files_open(&make->body.spec, make->maker, &make->files, &make->err) < 0 ||
        pool_disk_open(make->vms, &make->body.spec, &make->files, &disk, &make->err) < 0)
        return;
    pool_disk_close(&disk);
    pool_net_try(&make->body.spec.net, &make->vms->walls, &make->err);
}

static void make_end(struct make *make, struct hosted_pool *hosted)
{
    make->made(make->data, hosted, &make->err);
    make_free(make);
}

static void on_undone(void *data, const struct err *err)
{
    (void)err; /* why it was not made is told */
    make_end(data, NULL);
}

/* A pool that could not be saved is none. */
static void on_saved(void *data, const struct err *err)
{
    struct make *make = data;

    if (err)
        make->err = *err;
    else if (make->vms->env.stopping)
        err_set(&make->err, ESHUTDOWN, "poold is shutting down");
    if (make->err.code == 0) {
        hosted_boot(make->hosted);
        make_end(make, make->hosted);
    } else if (make->hosted->deleting) {
        make_end(make, NULL);
    } else {
        hosted_delete(make->hosted, on_undone, make);
    }
}

/* The pool, or the one that it is to replace: it has maker and files now. NULL: it was not made. */
static struct hosted_pool *pool_add(struct make *make)
{
    struct hosted_pool *hosted;

    if (make->err.code || may_be_made(make, &make->err) < 0)
        return NULL;
    if (!make->replaces) {
        hosted = hosted_create(make->vms, &make->body, make->maker, &make->files, NULL);
    } else {
        hosted = hosted_find(make->vms, make->body.name);
        if (hosted_come(hosted, &make->body, make->maker, &make->files) < 0)
            hosted = NULL;
    }
    if (!hosted) {
        err_set(&make->err, ENOMEM, "out of memory");
        return NULL;
    }
    make->maker = NULL;
    make->files = POOL_FILES_INIT;
    return hosted;
}

static void make_done(void *data)
{
    struct make *make = data;
    struct vms *vms = make->vms;
    struct hosted_pool *hosted;

    vms->pool_makes--;
    hosted = pool_add(make);
    if (hosted && !make->replaces) {
        const struct pool_wish wish = hosted_wish(hosted);

        make->hosted = hosted;
        hosted_change(hosted, &wish, on_saved, make);
    } else {
        make_end(make, hosted);
    }
    turn_schedule(vms->turn);
}

static void make_start(struct vms *vms, const struct pool_body *body, bool replaces,
                       struct client_ids *maker, pool_made_fn made, void *data)
{
    struct make *make = calloc(1, sizeof *make);
    struct err err = { 0 };
    int rc = 0;

    if (!make) {
        free(maker);
        err_set(&err, ENOMEM, "out of memory");
        made(data, NULL, &err);
        return;
    }
    *make = (struct make){ .vms = vms,
                           .replaces = replaces,
                           .body = *body,
                           .maker = maker,
                           .files = POOL_FILES_INIT,
                           .made = made,
                           .data = data };
    rc = pool_body_choose(&make->body, vms->settings, &err);
    if (rc == 0)
        rc = pool_body_check(&make->body, &err);
    if (rc == 0)
        rc = check_limits(vms, &make->body.spec, &err);
    if (rc == 0)
        rc = may_be_made(make, &err);
    if (rc == 0 && make->body.spec.net.kind[0])
        rc = net_walls_watch(&vms->walls, &err);
    if (rc == 0 && work_start(vms->loop, make_run, make_done, make) < 0)
        rc = err_set(&err, ENOMEM, "out of memory");
    if (rc == 0) {
        vms->pool_makes++;
        return;
    }
    make_free(make);
    made(data, NULL, &err);
}

void pool_make(struct vms *vms, const struct pool_body *body, struct client_ids *maker,
               pool_made_fn made, void *data)
{
    make_start(vms, body, false, maker, made, data);
}

void pool_remake(struct vms *vms, const struct pool_body *body, struct client_ids *maker,
                 pool_made_fn made, void *data)
{
    make_start(vms, body, true, maker, made, data);
}
