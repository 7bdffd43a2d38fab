/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of sandboxes, and what poold is asked of their leases; see sandbox.h. */
#include "e2b/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "e2b/process.h"
#include "e2b/watchers.h"

#define WAIT_MS 20000ull    /* for a VM, where none is free */
#define TIMEOUT_MS 30000ull /* of poold's other answers */
#define SWEEP_NS NS_PER_S
#define GRACE_NS NS_PER_S /* poold ends a lease by its own clock */
#define PATH_BYTES 160
#define TEXTS_MAX 256
#define LABEL "{\"e2b\":\"sandbox\"}"

/* ---- poold ---- */

/* One call; an answer of poold is its status, and *ret_json (NULL: there is none, or it is no JSON), the
 * caller's. -errno when there is no answer. An error's sentence is in err. */
static int poold_ask(struct client *client, const char *method, const char *path, const char *body,
                     uint64_t timeout_ms, json_t **ret_json, struct err *err)
{
    struct client_response response;
    int rc = client_request(client, method, path, body, timeout_ms, &response, err);

    if (rc < 0)
        return rc;
    *ret_json = response.body ? json_loadb(response.body, response.body_bytes, 0, NULL) : NULL;
    const char *message =
        json_string_value(json_object_get(json_object_get(*ret_json, "error"), "message"));
    if (response.status >= 300)
        err_set(err, EREMOTEIO, "%s", message ? message : "poold refuses, and says nothing of it");
    client_response_fini(&response);
    return (int)response.status;
}

/* E2B's status for one of poold's. */
static unsigned status_of(int rc)
{
    switch (rc) {
    case 400:
    case 403:
    case 404:
    case 429:
        return (unsigned)rc;
    case 410:
        return 404;
    default:
        return rc < 0 ? 502 : 503; /* 409: its pool boots, 503: no VM, 507: no space */
    }
}

/* ---- References ---- */

static void sandbox_free(struct sandbox *sandbox)
{
    watchers_free(sandbox);
    client_fini(&sandbox->poold);
    json_decref(sandbox->metadata);
    json_decref(sandbox->env);
    exec_config_fini(&sandbox->config);
    pthread_mutex_destroy(&sandbox->poold_lock);
    pthread_mutex_destroy(&sandbox->lock);
    pthread_mutex_destroy(&sandbox->watch_lock);
    free(sandbox);
}

void sandbox_put(struct sandbox *sandbox)
{
    if (sandbox && atomic_fetch_sub(&sandbox->references, 1) == 1)
        sandbox_free(sandbox);
}

static struct sandbox *sandbox_get(struct sandbox *sandbox)
{
    atomic_fetch_add(&sandbox->references, 1);
    return sandbox;
}

struct sandbox *sandbox_search(struct sandboxes *sandboxes,
                               bool (*is)(const struct sandbox *sandbox, void *data), void *data)
{
    struct sandbox *found = NULL;

    pthread_mutex_lock(&sandboxes->lock);
    for (struct sandbox *at = sandboxes->first; at && !found; at = at->next)
        if (is(at, data))
            found = sandbox_get(at);
    pthread_mutex_unlock(&sandboxes->lock);
    return found;
}

static bool id_is(const struct sandbox *sandbox, void *id)
{
    return strcmp(sandbox->id, id) == 0;
}

struct sandbox *sandbox_find(struct sandboxes *sandboxes, const char *id)
{
    return sandbox_search(sandboxes, id_is, (void *)(uintptr_t)id);
}

struct sandbox **sandbox_all(struct sandboxes *sandboxes, int key, size_t *ret_count)
{
    size_t count = 0;

    pthread_mutex_lock(&sandboxes->lock);
    struct sandbox **all = calloc(atomic_load(&sandboxes->count) + 1, sizeof(struct sandbox *));
    for (struct sandbox *at = sandboxes->first; all && at; at = at->next)
        if (at->key == key)
            all[count++] = sandbox_get(at);
    pthread_mutex_unlock(&sandboxes->lock);
    *ret_count = count;
    return all;
}

/* Takes it out of the table. False: it was not in it any more. */
static bool sandbox_remove(struct sandbox *sandbox)
{
    struct sandboxes *sandboxes = sandbox->sandboxes;
    bool removed = false;

    pthread_mutex_lock(&sandboxes->lock);
    for (struct sandbox **at = &sandboxes->first; *at && !removed; at = &(*at)->next) {
        if (*at != sandbox)
            continue;
        *at = sandbox->next;
        removed = true;
        atomic_fetch_sub(&sandboxes->count, 1);
        break;
    }
    pthread_mutex_unlock(&sandboxes->lock);
    return removed;
}

/* Its VM is gone, or about to. False: that was known. */
static bool sandbox_end(struct sandbox *sandbox)
{
    if (!sandbox_remove(sandbox))
        return false;
    pthread_mutex_lock(&sandbox->lock);
    sandbox->ended = true;
    pthread_mutex_unlock(&sandbox->lock);
    processes_end(sandbox);
    sandbox_put(sandbox); /* the table's */
    return true;
}

/* ---- Creation ---- */

static int token_make(char ret_token[SANDBOX_TOKEN_BYTES])
{
    uint8_t bytes[SANDBOX_TOKEN_BYTES / 2];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return -EIO;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret_token + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

/* How large the pool's VMs are; what can't be had is not told. */
static void size_ask(struct sandbox *sandbox, const char *pool)
{
    char path[PATH_BYTES];
    _cleanup_json_ json_t *json = NULL;

    snprintf(path, sizeof path, "/v1/pools/%s", pool);
    if (poold_ask(&sandbox->poold, "GET", path, NULL, TIMEOUT_MS, &json, NULL) != 200)
        return;
    sandbox->memory_mib = (uint64_t)json_integer_value(json_object_get(json, "memory_bytes")) >> 20;
    sandbox->vcpus = (uint64_t)json_integer_value(json_object_get(json, "vcpus"));
}

static int config_ask(struct sandbox *sandbox, struct err *err)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "/v1/leases/%s/config", sandbox->id);
    return poold_ask(&sandbox->poold, "GET", path, NULL, TIMEOUT_MS, &sandbox->config.json, err);
}

/* 0 or a status. */
static unsigned lease_take(struct sandbox *sandbox, const char *pool, uint32_t timeout_s,
                           struct err *err)
{
    _cleanup_json_ json_t *lease = NULL;
    char body[256];

    snprintf(body, sizeof body,
             "{\"pool\":\"%s\",\"wait_ms\":%llu,\"ttl_ms\":%llu,\"bind\":true,\"labels\":" LABEL
             "}",
             pool, WAIT_MS, timeout_s * 1000ull);
    int rc =
        poold_ask(&sandbox->poold, "POST", "/v1/leases", body, WAIT_MS + TIMEOUT_MS, &lease, err);
    if (rc != 201)
        return status_of(rc);
    const char *id = json_string_value(json_object_get(lease, "lease"));
    if (!id || !*id || strlen(id) >= SANDBOX_ID_BYTES)
        return err_set(err, EPROTO, "poold's lease has no name"), 502;
    memcpy(sandbox->id, id, strlen(id) + 1);
    rc = config_ask(sandbox, err);
    return rc == 200 ? 0 : status_of(rc);
}

static struct sandbox *sandbox_new(struct sandboxes *sandboxes, const struct sandbox_wish *wish)
{
    struct sandbox *sandbox = calloc(1, sizeof *sandbox);

    if (!sandbox)
        abort(); /* a few hundred bytes */
    sandbox->sandboxes = sandboxes;
    sandbox->key = wish->key;
    sandbox->references = 1;
    sandbox->poold.fd = -1;
    snprintf(sandbox->template_id, sizeof sandbox->template_id, "%s", wish->template_id);
    sandbox->metadata = wish->metadata ? json_incref(wish->metadata) : json_object();
    sandbox->env = wish->env ? json_incref(wish->env) : json_object();
    pthread_mutex_init(&sandbox->poold_lock, NULL);
    pthread_mutex_init(&sandbox->lock, NULL);
    pthread_mutex_init(&sandbox->watch_lock, NULL);
    return sandbox;
}

static void sandbox_add(struct sandboxes *sandboxes, struct sandbox *sandbox, uint32_t timeout_s)
{
    sandbox->started_ms = clock_ns(CLOCK_REALTIME) / NS_PER_MS;
    sandbox->started_ns = now_ns();
    sandbox->end_ns = sandbox->started_ns + timeout_s * NS_PER_S;
    sandbox_get(sandbox);
    pthread_mutex_lock(&sandboxes->lock);
    sandbox->number = ++sandboxes->last_number;
    sandbox->next = sandboxes->first;
    sandboxes->first = sandbox;
    atomic_fetch_add(&sandboxes->count, 1);
    atomic_fetch_add(&sandboxes->created, 1);
    pthread_mutex_unlock(&sandboxes->lock);
}

unsigned sandbox_create(struct sandboxes *sandboxes, const struct sandbox_wish *wish,
                        struct sandbox **ret_sandbox, struct err *err)
{
    const char *pool = e2b_pool_of(sandboxes->settings, wish->template_id);
    struct sandbox *sandbox;
    char socket_path[108];
    unsigned status = 0;

    if (!e2b_pool_is_good(pool)) {
        err_set(err, ENOENT, "there is no template '%s'", wish->template_id);
        return 404;
    }
    sandbox = sandbox_new(sandboxes, wish);
    if (token_make(sandbox->token) < 0 ||
        client_socket_path(cli_socket_option, socket_path, err) < 0 ||
        client_init(&sandbox->poold, socket_path, err) < 0)
        status = 502;
    if (!status) {
        size_ask(sandbox, pool);
        status = lease_take(sandbox, pool, wish->timeout_s, err);
    }
    if (status) {
        sandbox_put(sandbox); /* and with its connection its lease, if it has one */
        return status;
    }
    sandbox_add(sandboxes, sandbox, wish->timeout_s);
    *ret_sandbox = sandbox;
    return 0;
}

bool sandbox_texts_are_good(const json_t *object)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object) || json_object_size(object) > TEXTS_MAX)
        return false;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!*key || strchr(key, '=') || !json_is_string(value))
            return false;
    }
    return true;
}

/* ---- What becomes of it ---- */

/* Of its lease. A status, or -errno. */
static int lease_ask(struct sandbox *sandbox, const char *method, const char *after,
                     const char *body, struct err *err)
{
    char path[PATH_BYTES];
    _cleanup_json_ json_t *json = NULL;

    snprintf(path, sizeof path, "/v1/leases/%s%s", sandbox->id, after);
    pthread_mutex_lock(&sandbox->poold_lock);
    /* A new connection would be another one than that the lease is bound to. */
    int rc = sandbox->poold.fd < 0
                 ? err_set(err, ENOTCONN, "poold has ended, and the sandbox with it")
                 : poold_ask(&sandbox->poold, method, path, body, TIMEOUT_MS, &json, err);
    pthread_mutex_unlock(&sandbox->poold_lock);
    if (rc == 404 || rc == 410 || rc < 0)
        sandbox_end(sandbox);
    return rc;
}

bool sandbox_alive(struct sandbox *sandbox)
{
    struct err err;

    return lease_ask(sandbox, "GET", "", NULL, &err) == 200;
}

unsigned sandbox_renew(struct sandbox *sandbox, uint32_t seconds, bool only_later, struct err *err)
{
    char body[48];

    const uint64_t before_ns = sandbox->end_ns, end_ns = now_ns() + seconds * NS_PER_S;
    if (only_later && end_ns <= before_ns)
        return sandbox_alive(sandbox) ? 0 : (err_set(err, ENOENT, "it has ended"), 404);
    sandbox->end_ns = MAX_OF(before_ns, end_ns); /* until poold has agreed */
    snprintf(body, sizeof body, "{\"ttl_ms\":%llu}", seconds * 1000ull);
    int rc = lease_ask(sandbox, "POST", "/renew", body, err);
    sandbox->end_ns = rc == 200 ? end_ns : before_ns;
    return rc == 200 ? 0 : status_of(rc);
}

bool sandbox_kill(struct sandbox *sandbox)
{
    struct err err;
    int rc = lease_ask(sandbox, "DELETE", "", NULL, &err);

    sandbox_end(sandbox);
    return rc == 204;
}

/* ---- Those whose time is over ---- */

static bool is_over(const struct sandbox *sandbox, void *data)
{
    return sandbox->end_ns + GRACE_NS < *(const uint64_t *)data;
}

static void *sweep(void *data)
{
    const struct timespec pause = { .tv_sec = SWEEP_NS / NS_PER_S };
    struct sandboxes *sandboxes = data;

    for (;;) {
        struct sandbox *sandbox;
        uint64_t now = now_ns();

        nanosleep(&pause, NULL);
        while ((sandbox = sandbox_search(sandboxes, is_over, &now)) != NULL) {
            sandbox_kill(sandbox);
            sandbox_put(sandbox);
        }
    }
    return NULL;
}

int sandboxes_init(struct sandboxes *sandboxes, const struct e2b_settings *settings,
                   struct err *err)
{
    pthread_t thread;

    sandboxes->settings = settings;
    pthread_mutex_init(&sandboxes->lock, NULL);
    int rc = pthread_create(&thread, NULL, sweep, sandboxes);
    if (rc)
        return err_set_errno(err, rc, "can't start a thread");
    pthread_detach(thread);
    return 0;
}
