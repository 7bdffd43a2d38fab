/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `functions`: calls of a function at the doorbell, beside acquires of parked VMs in the same
 * run: each in a VM of its own, in one that is reused, and a thousand by 50 clients, of which none may be
 * lost, none served twice and no VM left. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "daemon.h"

#define ONCE "once"
#define AGAIN "again"
#define STOCK 16u
#define REQUEST_BYTES 100u
#define CALL_TIMEOUT_MS 120000u
#define READY_TIMEOUT_NS (300 * NS_PER_S)
#define MANY_CLIENTS 50u
#define WHO_BYTES 96u

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * (long)NS_PER_MS }, NULL);
}

/* ---- A function ---- */

static int function_await(struct daemon *daemon, const char *name, struct err *err)
{
    const uint64_t deadline_ns = now_ns() + READY_TIMEOUT_NS;
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/functions/", name, "");

    while (rc == 0 && now_ns() < deadline_ns) {
        _cleanup_json_ json_t *function = NULL;

        rc = api_call(&daemon->api, "GET", path, NULL, API_TIMEOUT_MS, &function, err);
        if (rc < 0)
            break;
        if (strcmp(api_text_of(function, "state"), "ready") == 0)
            return 0;
        if (strcmp(api_text_of(function, "state"), "failed") == 0)
            return err_set(err, EIO, "the function failed: %s", api_text_of(function, "error"));
        progress_show("a function boots", 0, 1);
        nap_ms(50);
    }
    return rc < 0 ? rc : err_set(err, ETIMEDOUT, "the function did not get ready in time");
}

static int function_make(const struct bench *bench, struct daemon *daemon, const char *name,
                         unsigned reuse, struct err *err)
{
    _cleanup_json_ json_t *body = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i}", "name", name, "memory", "128M",
        "handler", "exec /bin/function", "runtime", "doorbell", "initrd",
        bench->options.function_initrd, "min", 1, "max", (int)DAEMON_VMS_MAX, "reuse", (int)reuse,
        "queue", 100000, "queue_ms", (int)CALL_TIMEOUT_MS, "timeout_ms", (int)CALL_TIMEOUT_MS);

    return api_call(&daemon->api, "POST", "/v1/functions", body, API_TIMEOUT_MS, NULL, err);
}

static int function_delete(struct daemon *daemon, const char *name, struct err *err)
{
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/functions/", name, "");

    return rc == 0 ? api_call(&daemon->api, "DELETE", path, NULL, CALL_TIMEOUT_MS, NULL, err) : rc;
}

/* Has so many of its VMs parked, and then no more made. */
static int function_stock(struct daemon *daemon, unsigned parked, struct err *err)
{
    const uint64_t deadline_ns = now_ns() + READY_TIMEOUT_NS;
    _cleanup_json_ json_t *more = json_pack("{s:i}", "min", (int)parked);
    _cleanup_json_ json_t *enough = json_pack("{s:i}", "min", 0);
    int rc = api_call(&daemon->api, "PATCH", "/v1/pools/" ONCE, more, API_TIMEOUT_MS, NULL, err);

    while (rc == 0) {
        _cleanup_json_ json_t *pool = NULL;

        rc = api_call(&daemon->api, "GET", "/v1/pools/" ONCE, NULL, API_TIMEOUT_MS, &pool, err);
        if (rc == 0 && api_number_of(pool, "slots.parked") >= parked &&
            api_number_of(pool, "slots.preparing") == 0 &&
            api_number_of(pool, "slots.stopping") == 0)
            break;
        if (rc == 0 && now_ns() > deadline_ns)
            rc = err_set(err, ETIMEDOUT, "the function's VMs were not parked in time");
        nap_ms(20);
    }
    return rc == 0 ? api_call(&daemon->api, "PATCH", "/v1/pools/" ONCE, enough, API_TIMEOUT_MS,
                              NULL, err)
                   : rc;
}

/* ---- A call ---- */

/* Request written to response read; its answer must be `bytes` of what was asked, unless answer is
 * given, where it is put then. */
static int call(struct api *api, const char *name, const char *request, size_t bytes,
                char ret_answer[WHO_BYTES], uint64_t *ret_ns, struct err *err)
{
    struct client_response response;
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/functions/", name, "/invoke");

    if (rc < 0)
        return rc;
    const uint64_t start_ns = now_ns();
    rc = api_invoke(api, path, "application/octet-stream", request, bytes, CALL_TIMEOUT_MS,
                    &response, err);
    *ret_ns = now_ns() - start_ns;
    if (rc < 0)
        return rc;
    if (response.status != 200)
        rc = err_set(err, EIO, "a call was answered with status %u", response.status);
    else if (ret_answer)
        snprintf(ret_answer, WHO_BYTES, "%s", response.body ? response.body : "");
    else if (response.body_bytes != bytes || memcmp(response.body, request, bytes) != 0)
        rc = err_set(err, EIO, "a call was answered with something else");
    client_response_fini(&response);
    return rc;
}

/* ---- Beside acquires ---- */

static int one_pair(struct daemon *daemon, struct samples *acquires, struct samples *calls,
                    struct err *err)
{
    static const char request[REQUEST_BYTES] = "a request";
    struct daemon_lease lease;
    uint64_t took_ns;
    int rc = daemon_acquire(&daemon->api, &lease, err);

    if (rc == 0 && strcmp(lease.tier, "parked") == 0)
        samples_add(acquires, lease.latency_ns);
    if (rc == 0)
        rc = daemon_release(&daemon->api, &lease, err);
    if (rc == 0)
        rc = call(&daemon->api, ONCE, request, sizeof request, NULL, &took_ns, err);
    if (rc == 0)
        samples_add(calls, took_ns);
    return rc;
}

static int measure_once(struct bench *bench, struct daemon *daemon, struct err *err)
{
    struct samples acquires = { 0 }, calls = { 0 };
    const unsigned rounds = bench_runs(bench, 12, 1);
    int rc = 0;

    for (unsigned round = 0; rc == 0 && round < rounds; round++) {
        rc = daemon_stock(daemon, STOCK, err);
        if (rc == 0)
            rc = function_stock(daemon, STOCK, err);
        for (unsigned i = 0; rc == 0 && i < STOCK; i++)
            rc = one_pair(daemon, &acquires, &calls, err);
        progress_show("calls and acquires in turn", round + 1, rounds);
    }
    progress_clear();
    if (rc == 0) {
        const struct summary a = samples_summarize(&acquires), c = samples_summarize(&calls);

        report_latency(&bench->report, &(struct report_row){ .name = "acquire tier=parked" },
                       &acquires);
        report_latency(&bench->report, &(struct report_row){ .name = "call, a VM each" }, &calls);
        report_value(&bench->report,
                     &(struct report_row){ .name = "call/acquire", .unit = "ratio" },
                     a.p50 ? (double)c.p50 / (double)a.p50 : 0);
        report_value(&bench->report,
                     &(struct report_row){ .name = "call p99/p50", .unit = "ratio" },
                     c.p50 ? (double)c.p99 / (double)c.p50 : 0);
    }
    samples_fini(&acquires);
    samples_fini(&calls);
    return rc;
}

/* ---- Again and again ---- */

static int measure_again(struct bench *bench, struct daemon *daemon, struct err *err)
{
    static const char request[REQUEST_BYTES] = "a request";
    const unsigned count = bench_runs(bench, 20000, 50);
    struct samples calls = { 0 };
    uint64_t took_ns, start_ns;
    int rc = call(&daemon->api, AGAIN, request, sizeof request, NULL, &took_ns, err);

    start_ns = now_ns();
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        rc = call(&daemon->api, AGAIN, request, sizeof request, NULL, &took_ns, err);
        samples_add(&calls, took_ns);
    }
    if (rc == 0) {
        const double seconds = (double)(now_ns() - start_ns) / (double)NS_PER_S;

        report_latency(&bench->report, &(struct report_row){ .name = "call, VM reused" }, &calls);
        report_value(&bench->report,
                     &(struct report_row){ .name = "calls, VM reused", .unit = "/s" },
                     (double)count / seconds);
    }
    samples_fini(&calls);
    return rc;
}

/* ---- Many at once ---- */

struct crowd {
    const struct daemon *daemon;
    pthread_mutex_t lock; /* for the rest */
    unsigned left, answered;
    char (*who)[WHO_BYTES]; /* of each answer */
    struct samples calls;
    struct err err; /* the first one's; code 0: none */
};

/* False: none is left, or another has failed. */
static bool crowd_take(struct crowd *crowd)
{
    pthread_mutex_lock(&crowd->lock);
    const bool more = crowd->left > 0 && !crowd->err.code;
    crowd->left -= more;
    pthread_mutex_unlock(&crowd->lock);
    return more;
}

static void crowd_add(struct crowd *crowd, const char *who, uint64_t took_ns, const struct err *err)
{
    pthread_mutex_lock(&crowd->lock);
    if (err->code) {
        if (!crowd->err.code)
            crowd->err = *err;
    } else {
        memcpy(crowd->who[crowd->answered++], who, WHO_BYTES);
        samples_add(&crowd->calls, took_ns);
    }
    pthread_mutex_unlock(&crowd->lock);
}

static void *crowd_main(void *data)
{
    struct crowd *crowd = data;
    struct api api = { .client.fd = -1 };
    struct err err = { 0 };
    char who[WHO_BYTES] = "";
    uint64_t took_ns = 0;
    int rc = daemon_connect(crowd->daemon, &api, &err);

    if (rc < 0)
        crowd_add(crowd, who, 0, &err);
    while (rc == 0 && crowd_take(crowd)) {
        rc = call(&api, ONCE, "who", 3, who, &took_ns, &err);
        crowd_add(crowd, who, took_ns, &err);
    }
    api_fini(&api);
    return NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Answers that tell of a VM which served another call, too. */
static unsigned twice_count(struct crowd *crowd)
{
    unsigned twice = 0;

    qsort(crowd->who, crowd->answered, WHO_BYTES, by_text);
    for (unsigned i = 1; i < crowd->answered; i++)
        twice += strcmp(crowd->who[i], crowd->who[i - 1]) == 0;
    return twice;
}

/* VMs that still serve somebody once all is over. */
static int left_count(struct daemon *daemon, double *ret_left, struct err *err)
{
    _cleanup_json_ json_t *pool = NULL;
    int rc;

    nap_ms(500);
    rc = api_call(&daemon->api, "GET", "/v1/pools/" ONCE, NULL, API_TIMEOUT_MS, &pool, err);
    if (rc == 0)
        *ret_left =
            (double)(api_number_of(pool, "slots.leased") + api_number_of(pool, "slots.waking"));
    return rc;
}

static int crowd_report(struct bench *bench, struct daemon *daemon, struct crowd *crowd,
                        unsigned count, struct err *err)
{
    struct report_row row = { .unit = "calls" };
    double left = 0;
    int rc = left_count(daemon, &left, err);

    if (rc < 0)
        return rc;
    report_latency(&bench->report, &(struct report_row){ .name = "call, 50 clients" },
                   &crowd->calls);
    row.name = "50 clients: lost";
    report_value(&bench->report, &row, (double)(count - crowd->answered));
    row.name = "50 clients: VMs that served twice";
    report_value(&bench->report, &row, twice_count(crowd));
    row.name = "50 clients: VMs left";
    report_value(&bench->report, &row, left);
    return 0;
}

static int measure_many(struct bench *bench, struct daemon *daemon, struct err *err)
{
    const unsigned count = bench_runs(bench, 1000, 20);
    struct crowd crowd = { .daemon = daemon,
                           .lock = PTHREAD_MUTEX_INITIALIZER,
                           .left = count,
                           .who = calloc(count, WHO_BYTES) };
    pthread_t thread[MANY_CLIENTS];
    unsigned started = 0;
    int rc = crowd.who ? 0 : err_set_errno(err, ENOMEM, "keeping results");

    while (rc == 0 && started < MANY_CLIENTS &&
           pthread_create(&thread[started], NULL, crowd_main, &crowd) == 0)
        started++;
    for (unsigned i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    if (rc == 0 && crowd.err.code) {
        *err = crowd.err;
        rc = -err->code;
    }
    if (rc == 0)
        rc = crowd_report(bench, daemon, &crowd, count, err);
    samples_fini(&crowd.calls);
    free(crowd.who);
    return rc;
}

int suite_functions(struct bench *bench, struct err *err)
{
    static int (*const parts[])(struct bench *, struct daemon *,
                                struct err *) = { measure_once, measure_again, measure_many };
    struct daemon *daemon;
    int rc;

    if (!bench->options.function_initrd)
        return bench_skip(err, "no initramfs with a function in it (--function-initrd)");
    rc = daemon_get(bench, DAEMON_ALL_WORK, &daemon, err);
    if (rc == 0)
        rc = function_make(bench, daemon, ONCE, 1, err);
    if (rc == 0)
        rc = function_make(bench, daemon, AGAIN, 1000000, err); /* both boot at once */
    if (rc == 0)
        rc = function_await(daemon, ONCE, err);
    if (rc == 0)
        rc = function_await(daemon, AGAIN, err);
    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(parts); i++)
        rc = parts[i](bench, daemon, err);
    if (rc == 0)
        rc = function_delete(daemon, ONCE, err);
    return rc == 0 ? function_delete(daemon, AGAIN, err) : rc;
}
