/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what happens to all pools and stocks at once; see vms_life.h. */
#include "vms/vms_life.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "host/cleanup.h"
#include "net/net_tap.h"
#include "snapshot/store.h"
#include "snapshot/upgrade/store_upgrade.h"
#include "vms/clone.h"
#include "vms/hosted.h"
#include "vms/hosted_replace.h"
#include "vms/pool_disk.h"
#include "vms/takeover.h"
#include "vms/upgrade.h"

/* Wide enough that dying VMs, which mostly wait, don't hold up a wave of releases; narrow enough
 * that restores get their share of the CPUs. */
#define DYING_MAX 32
/* ---- Start ---- */

static void env_init(struct vms *vms)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t cpu_count = cpus > 0 ? (uint32_t)cpus : 1;
    uint64_t host_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    vms->env = (struct pool_env){
        .ops = &clone_ops,
        .context = vms,
        .refill_max = cpu_count,
        .demand_max = 2 * cpu_count,
        .going_max = cpu_count + 1, /* one runs while the next is told that another is READY */
        .dying_max = DYING_MAX,
        .frozen_bytes_max = host_bytes / 4,
        .pools = &vms->pools,
    };
    list_init(&vms->env.kill_queue);
    list_init(&vms->env.held);
    list_init(&vms->env.readying);
}

/* The end waits for the last folder to be removed, and for the last gate. */
static void on_remains_changed(void *data)
{
    struct vms *vms = data;

    if (vms->env.stopping)
        turn_schedule(vms->turn);
}

static void on_groups_changed(void *data)
{
    struct vms *vms = data;

    turn_schedule(vms->turn);
}

void vms_init(struct vms *vms, struct turn *turn, const struct fd_budget *fds,
              const struct vms_settings *settings)
{
    *vms = (struct vms){ .settings = settings,
                         .loop = turn->loop,
                         .turn = turn,
                         .fds = fds,
                         .hosted_ops = &hosted_ops,
                         .images = { .dir_fd = -1, .packs_fd = -1 },
                         .pools_fd = -1,
                         .snapshots_fd = -1,
                         .consoles_fd = -1,
                         .keep = { .fd = -1 } };
    list_init(&vms->pools);
    volumes_init(&vms->volumes, turn->loop);
    env_init(vms);
    vms->vm_dirs.base_fd = -1;
    vms->vm_dirs.stock_max = MIN_OF(fds->folders, VM_DIRS_STOCK);
    vms->vm_dirs.groups = &vms->vm_groups;
    vms->vm_dirs.keeps = takeover_keeps_dir;
    vms->vm_dirs.keeps_data = vms;
    vms->vm_dirs.changed = on_remains_changed;
    vms->vm_dirs.changed_data = vms;
}

static int open_dir(int *ret_fd, const char *path, const char *name, struct err *err)
{
    char whole[PATH_MAX + 32];

    snprintf(whole, sizeof whole, "%s/%s", path, name);
    if (cleanup_make_dirs(whole, 0700, err) < 0)
        return -err->code;
    *ret_fd = open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0)
        return err_set_errno(err, errno, "can't open %s", whole);
    return 0;
}

static int images_open(struct vms *vms, const char *state_dir, struct err *err)
{
    struct upgrade_talk talk = { 0 };
    struct upgrade_log log = upgrade_log_of(&talk);
    struct err notice;
    int fd = -1;

    if (open_dir(&fd, state_dir, "images", err) < 0 ||
        image_store_open(&vms->images, fd, &log, &notice, err) < 0)
        return -err->code;
    if (notice.code)
        log_warn("image store: %s", notice.msg);
    return 0;
}

static void snapshots_tidy(struct vms *vms)
{
    struct upgrade_talk talk = { 0 };
    struct upgrade_log log = upgrade_log_of(&talk);
    struct err notice = { 0 };

    snapshot_store_upgrade(vms->snapshots_fd, &vms->images, &log);
    if (snapshot_store_clean(vms->snapshots_fd, NULL, &notice) < 0)
        log_warn("what an earlier poold left in the snapshot store stays for now: %s", notice.msg);
}

static int volumes_dir_open(struct vms *vms, const char *state_dir, struct err *err)
{
    int fd = -1;

    return open_dir(&fd, state_dir, "volumes", err) < 0 ? -err->code
                                                        : volumes_open(&vms->volumes, fd, err);
}

static int stores_open(struct vms *vms, const struct vms_host *host, struct err *err)
{
    if (open_dir(&vms->pools_fd, host->state_dir, "pools", err) < 0 ||
        open_dir(&vms->snapshots_fd, host->state_dir, "snapshots", err) < 0 ||
        open_dir(&vms->consoles_fd, host->run_dir, "consoles", err) < 0 ||
        images_open(vms, host->state_dir, err) < 0 ||
        volumes_dir_open(vms, host->state_dir, err) < 0)
        return -err->code;
    state_files_tidy(vms->pools_fd);
    snapshots_tidy(vms);
    return 0;
}

int vms_open(struct vms *vms, const struct vms_host *host, struct err *err)
{
    const struct vm_dirs_config dirs = { .run_dir = host->run_dir,
                                         .uid_locks = host->uid_locks,
                                         .uid_base = host->uid_base,
                                         .uid_count = host->uid_count };

    if (takeover_begin(vms, host->run_dir, err) < 0)
        return -err->code;
    takeover_uids(vms);
    if (stores_open(vms, host, err) < 0 || vm_dirs_init(&vms->vm_dirs, vms->loop, &dirs, err) < 0)
        return -err->code;
    takeover_uids_hold(vms);
    vm_dirs_pump(&vms->vm_dirs);
    stock_init(&vms->deltas, vms->loop, pool_disk_delta_make, &vms->snapshots_fd);
    stock_init(&vms->taps, vms->loop, net_tap_make, &vms->walls);
    vm_groups_init(&vms->vm_groups, vms->loop, host->state_dir, vms->keep.pid, host->idle_vms);
    vms->vm_groups.changed = on_groups_changed;
    vms->vm_groups.changed_data = vms;
    net_walls_init(&vms->walls, vms->loop, host->volt_gate, &vms->vm_dirs.uids,
                   vms->vm_groups.name);
    takeover_walls(vms);
    vms->walls.gate_gone = on_remains_changed;
    vms->walls.gate_gone_data = vms;
    return 0;
}

/* ---- Turns ---- */

bool vms_pump(struct vms *vms)
{
    bool pressed;

    LIST_FOR_EACH(at, &vms->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        pool_pump(pool);
        hosted_replace_pump(pool->owner);
        hosted_reap(pool->owner);
    }
    hosted_boots_start(vms);
    pool_refill(&vms->env);
    /* VMs on their way to acquires get the CPU: folders and groups would take it. */
    pressed = vms->env.demanded > 0;
    vms->vm_dirs.pressed = pressed || vms->env.cramped;
    turn_arm(vms->turn, vm_dirs_pump(&vms->vm_dirs));
    turn_arm(vms->turn, vm_groups_pump(&vms->vm_groups, pressed));
    takeover_pump(vms, pressed);
    return pressed;
}

uint64_t vms_tick(struct vms *vms, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    LIST_FOR_EACH(at, &vms->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);
        uint64_t pool_next = pool_tick(pool, now), hosted_next = hosted_tick(pool->owner, now);

        next = MIN_OF(next, MIN_OF(pool_next, hosted_next));
    }
    return next;
}

/* ---- The end ---- */

void vms_stop(struct vms *vms)
{
    vms->env.dying_max = UINT32_MAX;
    LIST_FOR_EACH(at, &vms->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        pool_stop_all(pool, ACQUIRE_SHUTTING_DOWN);
        hosted_stop_processes(pool->owner);
    }
    pool_kill_queue(&vms->env);
}

void vms_drain(struct vms *vms)
{
    vms->env.draining = true;
    LIST_FOR_EACH(at, &vms->pools)
    {
        pool_dismiss(list_entry(at, struct pool, node), ACQUIRE_SHUTTING_DOWN);
    }
}

void vms_leave(struct vms *vms)
{
    LIST_FOR_EACH(at, &vms->pools)
    {
        pool_dismiss(list_entry(at, struct pool, node), ACQUIRE_SHUTTING_DOWN);
    }
}

bool vms_left(const struct vms *vms)
{
    LIST_FOR_EACH(at, &vms->pools)
    {
        const struct hosted_pool *hosted = list_entry(at, struct pool, node)->owner;

        if (hosted->works > 0)
            return false;
    }
    return vms->volumes.works == 0;
}

bool vms_stopped(struct vms *vms)
{
    LIST_FOR_EACH(at, &vms->pools)
    {
        struct hosted_pool *hosted = list_entry(at, struct pool, node)->owner;

        if (!hosted_idle(hosted))
            return false;
    }
    return vms->pool_makes == 0 && volumes_idle(&vms->volumes) && vms->walls.gates == 0 &&
           stock_idle(&vms->deltas) && stock_idle(&vms->taps) && vm_dirs_finish(&vms->vm_dirs);
}

void vms_pools_free(struct vms *vms)
{
    while (!list_empty(&vms->pools))
        hosted_free(list_entry(vms->pools.next, struct pool, node)->owner);
}

void vms_fini(struct vms *vms)
{
    if (vms->env.stopping || vms->keep.pid > 0) /* else a start that failed costs no VM */
        keep_end(&vms->keep);
    keep_fini(&vms->keep);
    net_walls_fini(&vms->walls);
    vm_dirs_fini(&vms->vm_dirs);
    vm_groups_fini(&vms->vm_groups);
    stock_fini(&vms->deltas);
    stock_fini(&vms->taps);
    image_store_close(&vms->images);
    volumes_fini(&vms->volumes);
    close_fd(&vms->pools_fd);
    close_fd(&vms->snapshots_fd);
    close_fd(&vms->consoles_fd);
}
