/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the benchmark's poold and its conversation with it; see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"

#define START_TIMEOUT_NS (60 * NS_PER_S)
#define POOL_TIMEOUT_NS (300 * NS_PER_S)
#define ACQUIRE_WAIT_MS 120000u
#define POOL_PATH "/v1/pools/" DAEMON_POOL

static void nap(uint64_t ms)
{
    const struct timespec pause = { .tv_sec = (time_t)(ms / 1000),
                                    .tv_nsec = (long)(ms % 1000 * NS_PER_MS) };

    nanosleep(&pause, NULL);
}

/* ---- Starting and stopping ---- */

static int start(struct bench *bench, struct daemon *daemon, struct err *err)
{
    const struct bench_options *options = &bench->options;
    char run[512], state[512], log[512];
    const char *argv[32] = { options->poold, "--run-dir", run, "--state-dir", state, "--socket",
                             daemon->socket, "--volt-vmm", options->volt_vmm, "--kernel",
                             options->kernel, "--config", "/dev/null", /* not this host's */
                             "--client-leases", "100000", "--client-acquires", "100000",
                             "--client-connections", "10000", "--surplus-ms", "3600000",
                             /* A VM that is late is a figure, not a failure. */
                             "--setup-timeout-ms", "60000", "--awake-timeout-ms", "60000",
                             "--ready-timeout-ms", "120000" };
    unsigned count = 0;

    while (argv[count])
        count++;

    snprintf(run, sizeof run, "%s/run", options->work_dir);
    snprintf(state, sizeof state, "%s/state%d", options->work_dir, daemon->work);
    snprintf(log, sizeof log, "%s/poold.log", options->work_dir);
    snprintf(daemon->snapshot_dir, sizeof daemon->snapshot_dir, "%s/snapshots/%s", state,
             DAEMON_POOL);
    if ((mkdir(run, 0755) < 0 && errno != EEXIST) || (mkdir(state, 0700) < 0 && errno != EEXIST))
        return err_set_errno(err, errno, "making '%s'", run);
    if (options->initrd) {
        argv[count++] = "--initrd";
        argv[count++] = options->initrd;
    }
    if (daemon->work == DAEMON_NO_WORK)
        argv[count++] = "--unsafe-skip-guest-work";
    return process_start(&daemon->process, argv, NULL, 0, &(struct process_output){ -1, -1, log },
                         err);
}

static int connect_first(struct daemon *daemon, struct err *err)
{
    uint64_t deadline_ns = now_ns() + START_TIMEOUT_NS;
    int rc;

    do {
        rc = client_init(&daemon->api.client, daemon->socket, err);
        if (rc < 0)
            nap(20);
    } while (rc < 0 && now_ns() < deadline_ns);
    return rc < 0 ? err_wrap(err, "starting poold (see poold.log in the work directory)") : 0;
}

int daemon_wait_pool(struct daemon *daemon, const char *name, struct err *err)
{
    char path[API_PATH_BYTES];
    uint64_t deadline_ns = now_ns() + POOL_TIMEOUT_NS;
    int rc = api_path(path, err, "/v1/pools/", name, "");

    while (rc == 0 && now_ns() < deadline_ns) {
        _cleanup_json_ json_t *pool = NULL;

        rc = api_call(&daemon->api, "GET", path, NULL, API_TIMEOUT_MS, &pool, err);
        if (rc < 0)
            break;
        const char *state = api_text_of(pool, "state");
        if (strcmp(state, "ready") == 0)
            return 0;
        if (strcmp(state, "failed") == 0)
            return err_set(err, EIO, "the pool failed: %s", api_text_of(pool, "error"));
        progress_show("poold boots the pool's guest",
                      (size_t)MAX_OF(api_number_of(pool, "progress.percent"), 0), 100);
        nap(50);
    }
    return rc < 0 ? rc : err_set(err, ETIMEDOUT, "the pool was not ready in time");
}

/* A poold that was started anew on its state brings its pool along. */
static bool pool_is_there(struct daemon *daemon)
{
    _cleanup_json_ json_t *pool = NULL;

    return api_call(&daemon->api, "GET", POOL_PATH, NULL, API_TIMEOUT_MS, &pool,
                    &(struct err){ 0 }) == 0;
}

static int create_pool(struct daemon *daemon, struct err *err)
{
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:i}", "name", DAEMON_POOL, "memory", "128M", "warmup",
                  "true", /* as voltctl does */
                  "min", 0, "max", (int)DAEMON_VMS_MAX, "shells", 0);
    _cleanup_json_ json_t *answer = NULL;
    int rc = api_call(&daemon->api, "POST", "/v1/pools", body, API_TIMEOUT_MS, &answer, err);

    return rc < 0 ? rc : daemon_wait_pool(daemon, DAEMON_POOL, err);
}

void daemon_free(struct bench *bench)
{
    if (!bench->daemon)
        return;
    api_fini(&bench->daemon->api);
    process_end(&bench->daemon->process, SIGTERM);
    free_pointer(&bench->daemon);
}

int daemon_get(struct bench *bench, enum daemon_work work, struct daemon **ret_daemon,
               struct err *err)
{
    if (bench->daemon && bench->daemon->work != work)
        daemon_free(bench);
    if (bench->daemon) {
        *ret_daemon = bench->daemon;
        return 0;
    }
    if (!bench->options.poold || !bench->options.kernel)
        return bench_skip(err, "no %s", bench->options.poold ? "guest kernel" : "poold");
    struct daemon *daemon = calloc(1, sizeof *daemon);
    if (!daemon)
        return err_set_errno(err, ENOMEM, "starting poold");
    bench->daemon = daemon;
    daemon->work = work;
    daemon->api.client.fd = -1;
    if (snprintf(daemon->socket, sizeof daemon->socket, "%s/poold.sock", bench->options.work_dir) >=
        (int)sizeof daemon->socket)
        return err_set(err, ENAMETOOLONG, "the work directory's path is too long for a socket");
    int rc = start(bench, daemon, err);
    if (rc == 0)
        rc = connect_first(daemon, err);
    if (rc == 0)
        rc = pool_is_there(daemon) ? daemon_wait_pool(daemon, DAEMON_POOL, err)
                                   : create_pool(daemon, err);
    if (rc == 0)
        rc = daemon_empty(daemon, err);
    progress_clear();
    if (rc < 0) {
        daemon_free(bench);
        return rc;
    }
    *ret_daemon = daemon;
    return 0;
}

int daemon_connect(const struct daemon *daemon, struct api *ret_api, struct err *err)
{
    return client_init(&ret_api->client, daemon->socket, err);
}

/* ---- The pool ---- */

int daemon_scale(struct daemon *daemon, unsigned min, unsigned shells, struct err *err)
{
    _cleanup_json_ json_t *body = json_pack("{s:i, s:i, s:i}", "min", (int)min, "shells",
                                            (int)shells, "max", (int)DAEMON_VMS_MAX);

    return api_call(&daemon->api, "PATCH", POOL_PATH, body, API_TIMEOUT_MS, NULL, err);
}

int daemon_slots(struct daemon *daemon, struct daemon_slots *ret, struct err *err)
{
    _cleanup_json_ json_t *pool = NULL;
    const char *reason;
    json_t *count;
    int rc = api_call(&daemon->api, "GET", POOL_PATH, NULL, API_TIMEOUT_MS, &pool, err);

    if (rc < 0)
        return rc;
    *ret = (struct daemon_slots){
        .preparing = (unsigned)api_number_of(pool, "slots.preparing"),
        .shell = (unsigned)api_number_of(pool, "slots.shell"),
        .parked = (unsigned)api_number_of(pool, "slots.parked"),
        .leased = (unsigned)api_number_of(pool, "slots.leased"),
        .stopping = (unsigned)api_number_of(pool, "slots.stopping"),
    };
    json_object_foreach(json_object_get(pool, "failures"), reason, count) ret->failures +=
        (uint64_t)json_integer_value(count);
    return 0;
}

int daemon_wait_parked(struct daemon *daemon, unsigned parked, struct err *err)
{
    uint64_t deadline_ns = now_ns() + POOL_TIMEOUT_NS;
    struct daemon_slots slots;

    while (now_ns() < deadline_ns) {
        int rc = daemon_slots(daemon, &slots, err);

        if (rc < 0)
            return rc;
        if (slots.parked >= parked && slots.preparing == 0 && slots.stopping == 0)
            return 0;
        progress_show("poold prepares VMs", slots.parked, parked);
        nap(20);
    }
    return err_set(err, ETIMEDOUT, "%u of %u VMs were parked in time", slots.parked, parked);
}

int daemon_stock(struct daemon *daemon, unsigned parked, struct err *err)
{
    int rc = daemon_scale(daemon, parked, 0, err);

    if (rc == 0)
        rc = daemon_wait_parked(daemon, parked, err);
    return rc == 0 ? daemon_scale(daemon, 0, 0, err) : rc;
}

int daemon_empty(struct daemon *daemon, struct err *err)
{
    struct daemon_slots slots;
    struct daemon_lease lease;
    int rc = daemon_scale(daemon, 0, 0, err);

    if (rc == 0)
        rc = daemon_wait_parked(daemon, 0, err);
    if (rc == 0)
        rc = daemon_slots(daemon, &slots, err);
    for (unsigned i = 0; rc == 0 && i < slots.parked + slots.shell; i++)
        rc = daemon_acquire(&daemon->api, &lease, err);
    if (rc == 0)
        rc = daemon_release_all(daemon, err);
    return rc == 0 ? daemon_wait_parked(daemon, 0, err) : rc;
}

/* ---- Leases ---- */

static uint64_t timing(json_t *lease, const char *key)
{
    return (uint64_t)MAX_OF(api_number_of(lease, key), 0);
}

static int read_lease(const struct client_response *response, struct daemon_lease *lease,
                      struct err *err)
{
    _cleanup_json_ json_t *json =
        json_loadb(response->body ? response->body : "", response->body_bytes, 0, NULL);

    if (response->status != 201 || !json)
        return err_set(err, EIO, "an acquire was answered with status %u: %s", response->status,
                       response->body ? response->body : "");
    snprintf(lease->id, sizeof lease->id, "%s", api_text_of(json, "lease"));
    snprintf(lease->tier, sizeof lease->tier, "%s", api_text_of(json, "tier"));
    lease->queue_us = timing(json, "timings_us.queue");
    lease->load_us = timing(json, "timings_us.load");
    lease->awake_us = timing(json, "timings_us.awake");
    lease->ready_us = timing(json, "timings_us.ready");
    lease->total_us = timing(json, "timings_us.total");
    return 0;
}

int daemon_acquire_from(struct api *api, const char *pool, struct daemon_lease *ret_lease,
                        struct err *err)
{
    struct client_response response;
    char body[128];

    snprintf(body, sizeof body, "{\"pool\":\"%s\",\"wait_ms\":%u,\"ttl_ms\":0}", pool,
             ACQUIRE_WAIT_MS);
    uint64_t start_ns = now_ns();
    int rc = client_request(&api->client, "POST", "/v1/leases", body, ACQUIRE_WAIT_MS + 5000,
                            &response, err);
    uint64_t end_ns = now_ns();
    if (rc < 0)
        return rc;
    rc = read_lease(&response, ret_lease, err);
    client_response_fini(&response);
    ret_lease->latency_ns = end_ns - start_ns;
    ret_lease->response_at_ns = end_ns;
    return rc;
}

int daemon_acquire(struct api *api, struct daemon_lease *ret_lease, struct err *err)
{
    return daemon_acquire_from(api, DAEMON_POOL, ret_lease, err);
}

int daemon_release(struct api *api, const struct daemon_lease *lease, struct err *err)
{
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/leases/", lease->id, "");

    return rc == 0 ? api_call(api, "DELETE", path, NULL, API_TIMEOUT_MS, NULL, err) : rc;
}

int daemon_release_all(struct daemon *daemon, struct err *err)
{
    return api_call(&daemon->api, "DELETE", "/v1/leases", NULL, API_TIMEOUT_MS, NULL, err);
}

int daemon_lease_pid(struct daemon *daemon, const struct daemon_lease *lease, pid_t *ret_pid,
                     struct err *err)
{
    _cleanup_json_ json_t *json = NULL;
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/leases/", lease->id, "");

    if (rc == 0)
        rc = api_call(&daemon->api, "GET", path, NULL, API_TIMEOUT_MS, &json, err);
    if (rc < 0)
        return rc;
    *ret_pid = (pid_t)api_number_of(json, "pid");
    return *ret_pid > 0 ? 0 : err_set(err, EPROTO, "the lease tells no pid");
}
