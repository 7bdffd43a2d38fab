/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the start, the turn of the loop and the end of poold; see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "base/process.h"
#include "host/cleanup.h"
#include "http/http.h"
#include "net/net_tap.h"
#include "reload.h"
#include "snapshot/host.h"
#include "snapshot/store.h"
#include "snapshot/upgrade/store_upgrade.h"
#include "vms/hosted.h"
#include "vms/pool_disk.h"
#include "vms/template.h"
#include "vms/upgrade.h"

/* Wide enough that dying VMs, which mostly wait, don't hold up a wave of releases; narrow enough
 * that restores get their share of the CPUs. */
#define DYING_MAX 32
/* Of clients; and of those for root and poold's user alone. */
#define CONNECTIONS_MAX 8192
#define CONNECTIONS_KEPT 64

struct hosted_pool *daemon_pool_find(struct daemon *daemon, const char *name)
{
    LIST_FOR_EACH(at, &daemon->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        if (strcmp(pool->name, name) == 0)
            return pool->owner;
    }
    return NULL;
}

/* ---- The deadline timer and the pump ---- */

static void on_deadline(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;
    uint64_t now = now_ns(), next = UINT64_MAX;

    daemon->deadline_ns = UINT64_MAX;
    LIST_FOR_EACH(at, &daemon->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);
        uint64_t pool_next = pool_tick(pool, now), hosted_next = hosted_tick(pool->owner, now);

        next = MIN_OF(next, MIN_OF(pool_next, hosted_next));
    }
    if (next != UINT64_MAX)
        daemon_arm(daemon, next);
}

void daemon_arm(struct daemon *daemon, uint64_t deadline_ns)
{
    uint64_t now_ms;

    if (deadline_ns >= daemon->deadline_ns)
        return;
    daemon->deadline_ns = deadline_ns;
    now_ms = uv_now(&daemon->loop);
    uv_timer_start(&daemon->deadline_timer, on_deadline,
                   deadline_ns / NS_PER_MS >= now_ms ? deadline_ns / NS_PER_MS - now_ms + 1 : 0, 0);
}

static bool daemon_quiet(struct daemon *daemon)
{
    LIST_FOR_EACH(at, &daemon->pools)
    {
        struct hosted_pool *hosted = list_entry(at, struct pool, node)->owner;

        if (!hosted_idle(hosted))
            return false;
    }
    return http_open_requests(daemon->http) == 0 && daemon->image_works == 0 &&
           daemon->pool_makes == 0 && !daemon->reloading && daemon->walls.gates == 0 &&
           stock_idle(&daemon->deltas) && stock_idle(&daemon->taps) &&
           vm_dirs_finish(&daemon->vm_dirs);
}

static void on_pump(uv_idle_t *idle)
{
    struct daemon *daemon = idle->data;
    bool pressed;

    uv_idle_stop(idle);
    http_flush(daemon->http);
    LIST_FOR_EACH(at, &daemon->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        pool_pump(pool);
        hosted_reap(pool->owner);
    }
    /* VMs on their way to acquires get the CPU: folders, groups and poold's haste would take it. */
    pressed = daemon->env.demanded > 0;
    daemon->vm_dirs.pressed = pressed;
    vm_dirs_pump(&daemon->vm_dirs);
    daemon_arm(daemon, vm_groups_pump(&daemon->vm_groups, pressed));
    http_flush(daemon->http);
    process_run_promptly(!pressed);
    service_update(&daemon->service);
    if (daemon->stopping && daemon_quiet(daemon))
        uv_stop(&daemon->loop);
}

void daemon_schedule(struct daemon *daemon)
{
    uv_idle_start(&daemon->pump, on_pump);
}

void daemon_shutdown(struct daemon *daemon)
{
    if (daemon->stopping)
        return;
    log_info("shutting down: no new leases, VMs are stopped");
    service_stopping();
    daemon->stopping = daemon->env.stopping = true;
    daemon->env.dying_max = UINT32_MAX;
    http_stop(daemon->http);
    LIST_FOR_EACH(at, &daemon->pools)
    {
        struct pool *pool = list_entry(at, struct pool, node);

        pool_stop_all(pool, ACQUIRE_SHUTTING_DOWN);
        hosted_stop_processes(pool->owner);
    }
    pool_kill_queue(&daemon->env);
    daemon_schedule(daemon);
}

/* The first that asks for the end asks for one in good order. All VMs have been sent their kill by
 * then: a second one means that whoever asks will not wait until everything is gone. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;

    if (number == SIGHUP) {
        daemon_reload(daemon, NULL, NULL);
        return;
    }
    if (daemon->signalled) {
        log_warn("a second signal: ended at once, the next start removes what is left");
        _exit(EXIT_FAILURE);
    }
    daemon->signalled = true;
    daemon_shutdown(daemon);
}

/* ---- Start ---- */

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

static int images_open(struct daemon *daemon, struct err *err)
{
    struct upgrade_talk talk = { 0 };
    struct upgrade_log log = upgrade_log_of(&talk);
    struct err notice;
    int fd = -1;

    if (open_dir(&fd, daemon->config.state_dir, "images", err) < 0 ||
        image_store_open(&daemon->images, fd, &log, &notice, err) < 0)
        return -err->code;
    if (notice.code)
        log_warn("image store: %s", notice.msg);
    return 0;
}

static void snapshots_tidy(struct daemon *daemon)
{
    struct upgrade_talk talk = { 0 };
    struct upgrade_log log = upgrade_log_of(&talk);
    struct err notice = { 0 };

    snapshot_store_upgrade(daemon->snapshots_fd, &daemon->images, &log);
    if (snapshot_store_clean(daemon->snapshots_fd, NULL, &notice) < 0)
        log_warn("what an earlier poold left in the snapshot store stays for now: %s", notice.msg);
}

static int dirs_open(struct daemon *daemon, struct err *err)
{
    const struct config *config = &daemon->config;

    if (cleanup_make_dirs(config->state_dir, 0700, err) < 0 ||
        cleanup_make_dirs(config->run_dir, 0755, err) < 0 ||
        cleanup_lock(config->state_dir, &daemon->lock_fd, err) < 0)
        return -err->code;
    /* The two may be one directory, whose lock is taken then. */
    if (strcmp(config->state_dir, config->run_dir) != 0 &&
        cleanup_lock(config->run_dir, &daemon->run_lock_fd, err) < 0)
        return -err->code;
    cleanup_stale_vms(config->run_dir);
    if (open_dir(&daemon->pools_fd, config->state_dir, "pools", err) < 0 ||
        open_dir(&daemon->snapshots_fd, config->state_dir, "snapshots", err) < 0 ||
        open_dir(&daemon->consoles_fd, config->run_dir, "consoles", err) < 0 ||
        images_open(daemon, err) < 0)
        return -err->code;
    snapshots_tidy(daemon);
    return 0;
}

/* Each VM has three fds here. */
static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const char *kvm_kind(void)
{
    struct manifest_cpu cpu;

    if (access("/dev/kvm", R_OK | W_OK) < 0)
        return "none";
    host_cpu_detect(&cpu);
    return cpu.software_only_kvm ? "pvm" : "hardware";
}

/* What of the settings is HTTP's. */
static struct http_limits http_limits(const struct config *config)
{
    return (struct http_limits){ .connections = config->connections_per_client,
                                 .connections_all = CONNECTIONS_MAX,
                                 .connections_kept = CONNECTIONS_KEPT,
                                 .request_ms = config->request_timeout_ms,
                                 .transfer_ms = config->transfer_timeout_ms,
                                 .idle_ms = config->idle_timeout_ms };
}

void daemon_settings_changed(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    const struct http_limits limits = http_limits(config);

    log_set_level(config->log_level);
    daemon->env.timeouts = (struct pool_timeouts){
        .setup_ns = config->setup_timeout_ms * NS_PER_MS,
        .awake_ns = config->awake_timeout_ms * NS_PER_MS,
        .ready_ns = config->ready_timeout_ms * NS_PER_MS,
        .surplus_ns = config->surplus_ms * NS_PER_MS,
        .trial_ns = config->boot_timeout_ms * NS_PER_MS,
    };
    if (daemon->http) /* not yet, at the start */
        http_set_limits(daemon->http, &limits);
}

static void env_init(struct daemon *daemon)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t cpu_count = cpus > 0 ? (uint32_t)cpus : 1;
    uint64_t host_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    daemon->env = (struct pool_env){
        .ops = &clone_ops,
        .context = daemon,
        .refill_max = cpu_count,
        .demand_max = 2 * cpu_count,
        .going_max = cpu_count,
        .dying_max = DYING_MAX,
        .frozen_bytes_max = host_bytes / 4,
    };
    list_init(&daemon->env.kill_queue);
    list_init(&daemon->env.held);
    list_init(&daemon->env.readying);
    daemon_settings_changed(daemon);
}

static void loop_init(struct daemon *daemon)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

    uv_loop_init(&daemon->loop);
    uv_timer_init(&daemon->loop, &daemon->deadline_timer);
    daemon->deadline_timer.data = daemon;
    uv_idle_init(&daemon->loop, &daemon->pump);
    daemon->pump.data = daemon;
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&daemon->loop, &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
    }
}

/* The end waits for the last folder to be removed, and for the last gate. */
static void on_remains_changed(void *data)
{
    struct daemon *daemon = data;

    if (daemon->stopping)
        daemon_schedule(daemon);
}

static void on_http_schedule(void *context)
{
    daemon_schedule(context);
}

static int http_start(struct daemon *daemon, struct err *err)
{
    const struct http_config http = {
        .loop = &daemon->loop,
        .socket = daemon->config.socket,
        .group = daemon->config.group,
        .access = &daemon->access,
        .routes = api_routes,
        .route_count = api_route_count,
        .limits = http_limits(&daemon->config),
        .context = daemon,
        .schedule = on_http_schedule,
        .keeps = api_connection_keeps,
        .closed = api_connection_closed,
    };

    return http_create(&daemon->http, &http, err);
}

/* The first of daemon_init: what needs no cleaning up. */
static void fields_init(struct daemon *daemon, const struct config *config, int argc,
                        char *const *argv)
{
    memset(daemon, 0, sizeof *daemon);
    daemon->config = *config;
    daemon->argc = argc;
    daemon->argv = argv;
    daemon->pools_fd = daemon->snapshots_fd = daemon->consoles_fd = -1;
    daemon->lock_fd = daemon->run_lock_fd = -1;
    daemon->images.dir_fd = daemon->images.packs_fd = -1;
    daemon->vm_dirs.base_fd = -1;
    daemon->vm_dirs.changed = on_remains_changed;
    daemon->vm_dirs.changed_data = daemon;
    daemon->deadline_ns = UINT64_MAX;
    daemon->started_ns = now_ns();
    list_init(&daemon->pools);
    list_init(&daemon->reload_wishes);
}

int daemon_init(struct daemon *daemon, const struct config *config,
                struct declarations *declarations, int argc, char *const *argv, struct err *err)
{
    fields_init(daemon, config, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    raise_fd_limit();
    env_init(daemon);
    loop_init(daemon);
    daemon->kvm_kind = kvm_kind();
    daemon->vm_dirs.groups = &daemon->vm_groups;
    if (access_init(&daemon->access, config->policy, err) < 0 || dirs_open(daemon, err) < 0 ||
        vm_dirs_init(&daemon->vm_dirs, &daemon->loop, config, err) < 0)
        return -err->code;
    stock_init(&daemon->deltas, &daemon->loop, pool_disk_delta_make, &daemon->snapshots_fd);
    stock_init(&daemon->taps, &daemon->loop, net_tap_make, &daemon->walls);
    vm_groups_init(&daemon->vm_groups, &daemon->loop, config);
    net_walls_init(&daemon->walls, &daemon->loop, daemon->config.volt_gate, &daemon->vm_dirs.uids,
                   daemon->vm_groups.name);
    daemon->walls.gate_gone = on_remains_changed;
    daemon->walls.gate_gone_data = daemon;
    if (http_start(daemon, err) < 0)
        return -err->code;
    hosted_load_all(daemon);
    declared_apply(daemon, declarations);
    service_init(&daemon->service, daemon);
    return 0;
}

void daemon_run(struct daemon *daemon)
{
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
}

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void daemon_fini(struct daemon *daemon)
{
    http_destroy(daemon->http);
    declarations_fini(&daemon->declared);
    while (!list_empty(&daemon->pools)) {
        struct pool *pool = list_entry(daemon->pools.next, struct pool, node);

        hosted_free(pool->owner);
    }
    uv_walk(&daemon->loop, close_handle, NULL);
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    uv_loop_close(&daemon->loop);
    vm_dirs_fini(&daemon->vm_dirs);
    vm_groups_fini(&daemon->vm_groups);
    access_fini(&daemon->access);
    stock_fini(&daemon->deltas);
    stock_fini(&daemon->taps);
    image_store_close(&daemon->images);
    close_fd(&daemon->pools_fd);
    close_fd(&daemon->snapshots_fd);
    close_fd(&daemon->consoles_fd);
    close_fd(&daemon->lock_fd);
    close_fd(&daemon->run_lock_fd);
}
