/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the start, the turn of the loop and the end of poold; see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/lease_news.h"
#include "base/log.h"
#include "base/process.h"
#include "base/prompt.h"
#include "functions/function_keep.h"
#include "host/cleanup.h"
#include "http/http.h"
#include "listen.h"
#include "reload.h"
#include "remote.h"
#include "snapshot/host.h"
#include "vms/hosted_load.h"
#include "vms/takeover.h"
#include "vms/vms_life.h"

/* For whom a poold waits that leaves its VMs to the next one. */
#define LEAVE_NS_MAX (1000 * NS_PER_MS)

/* ---- The turn ---- */

static uint64_t on_tick(void *data, uint64_t now)
{
    struct daemon *daemon = data;

    uint64_t functions_next = functions_tick(&daemon->functions, now);

    if (daemon->leaving)
        turn_schedule(&daemon->turn);
    return MIN_OF(functions_next, vms_tick(&daemon->vms, now));
}

static bool daemon_quiet(struct daemon *daemon)
{
    return http_open_requests(daemon->http) == 0 && remote_open_requests(daemon) == 0 &&
           daemon->api.upload_works == 0 && !daemon->reloading &&
           functions_idle(&daemon->functions) && vms_stopped(&daemon->vms);
}

/* Requests that are being answered, and files that are being written, are waited for. */
static bool daemon_left(const struct daemon *daemon)
{
    return now_ns() >= daemon->leave_ns ||
           (http_open_requests(daemon->http) == 0 && remote_open_requests(daemon) == 0 &&
            functions_idle(&daemon->functions) && vms_left(&daemon->vms));
}

/* Who connects while there is no poold waits for the next one. */
static void listener_keep(struct daemon *daemon)
{
    const int fd = http_listener(daemon->http);

    if (fd >= 0 && !daemon->listener_kept)
        daemon->listener_kept = keep_put(&daemon->vms.keep, KEEP_LISTENER, 0, 1, 0, &fd) != -EAGAIN;
}

static void on_pump(void *data)
{
    struct daemon *daemon = data;
    bool pressed;

    daemon->vms.env.cramped = !http_spare_take(daemon->http);
    functions_pump(&daemon->functions);
    http_flush(daemon->http);
    reload_go_on(daemon);
    pressed = vms_pump(&daemon->vms);
    http_flush(daemon->http);
    remote_flush(daemon);
    turn_arm(&daemon->turn, lease_news_pump(&daemon->api, pressed));
    if (!pressed)
        api_events_pump(&daemon->api);
    /* VMs on their way to acquires get the CPU, which poold's haste would take. */
    prompt_want(!pressed);
    turn_arm(&daemon->turn, daemon_drain_pump(daemon));
    service_update(&daemon->service);
    listener_keep(daemon);
    if (daemon->vms.env.stopping &&
        (daemon->leaving ? daemon_left(daemon) : daemon_quiet(daemon))) {
        daemon_news_stopped(daemon);
        uv_stop(&daemon->loop);
    }
}

static const struct turn_ops turn_ops = { .pump = on_pump, .tick = on_tick };

void daemon_shutdown(struct daemon *daemon)
{
    if (daemon->vms.env.stopping)
        return;
    log_info("shutting down: no new leases, VMs are stopped");
    service_stopping();
    e2b_stop(&daemon->e2b);
    daemon->vms.env.stopping = true;
    functions_stop(&daemon->functions);
    http_stop(daemon->http);
    remote_stop(daemon);
    vms_stop(&daemon->vms);
    turn_schedule(&daemon->turn);
}

void daemon_hand_over(struct daemon *daemon)
{
    if (daemon->vms.env.stopping)
        return;
    log_info("leaving: VMs and leases are the next poold's");
    service_stopping();
    e2b_stop(&daemon->e2b);
    daemon->vms.env.stopping = daemon->leaving = true;
    daemon->leave_ns = now_ns() + LEAVE_NS_MAX;
    functions_stop(&daemon->functions);
    http_hand_over(daemon->http);
    remote_stop(daemon);
    vms_leave(&daemon->vms);
    turn_arm(&daemon->turn, daemon->leave_ns);
    turn_schedule(&daemon->turn);
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
        if (!daemon->leaving)
            keep_end(&daemon->vms.keep);
        _exit(EXIT_FAILURE);
    }
    daemon->signalled = true;
    if (number == SIGUSR2 || (number == SIGTERM && service_restarts()))
        daemon_hand_over(daemon);
    else
        daemon_shutdown(daemon);
}

/* ---- Start ---- */

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
    return 0;
}

static const char *kvm_kind(void)
{
    struct manifest_cpu cpu;

    if (access("/dev/kvm", R_OK | W_OK) < 0)
        return "none";
    host_cpu_detect(&cpu);
    return cpu.software_only_kvm ? "pvm" : "hardware";
}

static void loop_init(struct daemon *daemon)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR2 };

    uv_loop_init(&daemon->loop);
    turn_init(&daemon->turn, &daemon->loop, &turn_ops, daemon);
    prompt_start(&daemon->loop);
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&daemon->loop, &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
    }
}

static void *on_connection_adopt(void *data, int fd)
{
    struct daemon *daemon = data;
    struct http_connection *connection = http_adopt(daemon->http, fd);

    if (connection)
        connection->owns = true;
    return connection;
}

static void on_keep_anew(void *data)
{
    struct daemon *daemon = data;

    daemon->listener_kept = false;
}

/* Clients' replies go out before anything else is done. */
static void on_told(void *data)
{
    struct daemon *daemon = data;

    http_flush(daemon->http);
}

static int vms_start(struct daemon *daemon, struct err *err)
{
    const struct config *config = &daemon->config;
    const struct vms_host host = { .run_dir = config->run_dir,
                                   .state_dir = config->state_dir,
                                   .volt_gate = config->volt_gate,
                                   .uid_locks = config->uid_locks,
                                   .idle_vms = config->idle_vms,
                                   .uid_base = config->uid_base,
                                   .uid_count = config->uid_count };

    return vms_open(&daemon->vms, &host, err);
}

static void on_http_schedule(void *context)
{
    struct api *api = context;

    turn_schedule(api->vms->turn);
}

static void api_shutdown_asked(void *data, bool drain, uint64_t grace_ms)
{
    if (drain)
        daemon_drain(data, grace_ms);
    else
        daemon_shutdown(data);
}

static uint64_t api_drain_until(const void *data)
{
    const struct daemon *daemon = data;

    return daemon->drain_until_ns;
}

static void api_reload_asked(void *daemon, reloaded_fn done, void *data)
{
    daemon_reload(daemon, done, data);
}

static bool api_reload_good(const void *data)
{
    const struct daemon *daemon = data;

    return !daemon->reload_failed;
}

static const struct api_ops api_ops = {
    .shutdown = api_shutdown_asked,
    .drain_until = api_drain_until,
    .reload = api_reload_asked,
    .reload_good = api_reload_good,
};

static void api_init(struct daemon *daemon)
{
    daemon->api = (struct api){ .vms = &daemon->vms,
                                .functions = &daemon->functions,
                                .settings = &daemon->config.api,
                                .run_dir = daemon->config.run_dir,
                                .state_dir = daemon->config.state_dir,
                                .kvm_kind = kvm_kind(),
                                .started_ns = now_ns(),
                                .ops = &api_ops,
                                .daemon = daemon };
}

static int http_start(struct daemon *daemon, struct err *err)
{
    struct http_config http = {
        .loop = &daemon->loop,
        .access = &daemon->access,
        .routes = api_routes,
        .route_count = api_route_count,
        .limits = daemon_http_limits(daemon),
        .context = &daemon->api,
        .schedule = on_http_schedule,
        .keeps = api_connection_keeps,
        .closed = api_connection_closed,
    };

    struct keep_entry *kept = keep_table_at(&daemon->vms.keep.inherited, KEEP_LISTENER, 0);

    if (listen_open(&http.listener, daemon->config.socket, daemon->config.group,
                    kept ? &kept->fds[0] : NULL, err) < 0)
        return -err->code;
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
    daemon->lock_fd = daemon->run_lock_fd = -1;
    list_init(&daemon->reload_wishes);
}

int daemon_init(struct daemon *daemon, const struct config *config,
                struct declarations *declarations, int argc, char *const *argv, struct err *err)
{
    fields_init(daemon, config, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    const int fds_rc = fd_budget_init(&daemon->fds, err);
    loop_init(daemon);
    vms_init(&daemon->vms, &daemon->turn, &daemon->fds, &daemon->config.vms);
    functions_init(&daemon->functions, &daemon->vms);
    daemon->vms.told = on_told;
    daemon->vms.connection_adopt = on_connection_adopt;
    daemon->vms.keep_anew = on_keep_anew;
    daemon->vms.told_data = daemon;
    api_init(daemon);
    daemon_settings_hold(daemon);
    if (fds_rc < 0 || access_init(&daemon->access, config->policy, err) < 0 ||
        dirs_open(daemon, err) < 0 || daemon_news_init(daemon, err) < 0 ||
        vms_start(daemon, err) < 0 || http_start(daemon, err) < 0 ||
        functions_open(&daemon->functions, config->state_dir, err) < 0 ||
        remote_start(daemon, err) < 0 ||
        (!config->vms.stop_only &&
         e2b_start(&daemon->e2b, &daemon->loop, &daemon->config, err) < 0))
        return -err->code;
    /* Pools that are being loaded can't be freed: what may fail has been done. */
    hosted_load_all(&daemon->vms);
    takeover_finish(&daemon->vms);
    functions_load(&daemon->functions);
    if (!config->vms.stop_only)
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
    remote_fini(daemon);
    e2b_fini(&daemon->e2b);
    declarations_fini(&daemon->declared);
    functions_fini(&daemon->functions);
    prompt_stop();
    vms_pools_free(&daemon->vms);
    uv_walk(&daemon->loop, close_handle, NULL);
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    uv_loop_close(&daemon->loop);
    vms_fini(&daemon->vms);
    history_close(daemon->api.history);
    access_fini(&daemon->access);
    close_fd(&daemon->lock_fd);
    close_fd(&daemon->run_lock_fd);
}
