/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the watching of a sandbox's folders: WatchDir, which streams events, and watchers, which keep them
 * until they are asked for.
 *
 * How it works
 *   Either is volt-files at work in the guest. What a watcher has to tell waits in its session, so who
 *   does not ask for it slows down volt-files by the agent's flow control, and costs nothing here; the
 *   guest's kernel drops events beyond its own bound. The watchers of a sandbox are under its
 *   watch_lock, under which a session is read, but not waited for; they end with the sandbox. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/util.h"
#include "e2b/calls.h"
#include "e2b/files_error.h"
#include "e2b/rpc.h"
#include "e2b/sandbox.h"
#include "e2b/stream.h"
#include "e2b/watchers.h"

#define EVENT_BYTES_MAX 8192u /* of one event's two texts */
#define EVENTS_MAX 1000u      /* of one answer; the next one has more */
#define START_TIMEOUT_NS (60 * NS_PER_S)

/* ---- Events ---- */

/* Takes an event out of what was printed; NULL: there is none. */
static json_t *event_take(struct guest_files *files)
{
    static const struct {
        const char *name, *type;
    } types[] = { { "create", "EVENT_TYPE_CREATE" },
                  { "write", "EVENT_TYPE_WRITE" },
                  { "remove", "EVENT_TYPE_REMOVE" },
                  { "rename", "EVENT_TYPE_RENAME" },
                  { "chmod", "EVENT_TYPE_CHMOD" } };
    const char *name = (const char *)files->output;
    const char *end = files->bytes ? memchr(name, '\0', files->bytes) : NULL;
    const char *path = end ? end + 1 : NULL;
    const char *path_end = path ? memchr(path, '\0', files->bytes - (size_t)(path - name)) : NULL;
    const char *type = "EVENT_TYPE_UNSPECIFIED";
    json_t *event;

    if (!path_end)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(name, types[i].name) == 0)
            type = types[i].type;
    if (strcmp(name, "start") == 0)
        event = json_pack("{s:{}}", "start");
    else
        event = json_pack("{s:{s:o, s:s}}", "filesystem", "name", json_text(path), "type", type);
    files->bytes -= (size_t)(path_end + 1 - name);
    memmove(files->output, path_end + 1, files->bytes);
    return event;
}

/* The next event in *ret_event; NULL: none just now, or, with files->over, none any more. 0 or -errno. */
static int event_next(struct guest_files *files, json_t **ret_event, struct err *err)
{
    const uint8_t *printed;

    while ((*ret_event = event_take(files)) == NULL) {
        if (files->bytes > EVENT_BYTES_MAX)
            return err_set(err, EPROTO, "the guest's events are too long");
        ssize_t count = guest_files_next(files, 0, &printed, err);
        if (count == -ETIMEDOUT) { /* what was read is taken: is there more? */
            count = agent_fill(files->agent);
            if (count == 0)
                continue;
            if (count == -EAGAIN)
                return 0;
            err_set(err, ENOTCONN, "The sandbox was not found");
        }
        if (count < 0 || files->over)
            return (int)count;
        guest_files_keep(files, printed, (size_t)count);
    }
    return 0;
}

/* Starts volt-files as a request wants it. 0 or -errno; 1: it has replied. */
static int watch_open(struct call *call, struct guest_files *files, struct err *err)
{
    _cleanup_json_ json_t *json = call_json(call);
    const char *path = json_string_value(json_object_get(json, "path"));
    bool recursive = json_is_true(json_object_get(json, "recursive"));
    char user[SERVER_USER_BYTES];
    const char *name;

    if (!json)
        return 1;
    if (!path) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "path must be a text");
        return 1;
    }
    if (!call_user(call, user, &name))
        return 1;
    return guest_files_open(files, call->sandbox, name, "watch", path,
                            recursive ? "recursive" : "flat", err);
}

/* ---- WatchDir ---- */

struct watch {
    struct guest_files files; /* what it has printed and was not told yet is in its output */
    bool over;                /* the last envelope was made */
};

static json_t *watch_keepalive(void *data)
{
    (void)data;
    return json_pack("{s:{}}", "keepalive");
}

static char *watch_last(struct watch *watch, int rc, const char *text, size_t *ret_bytes)
{
    unsigned status;
    enum rpc_error code = files_error(&watch->files, rc, &status);

    watch->over = true;
    return rpc_envelope_end(rc == 0 ? RPC_ERROR_COUNT : code, text, ret_bytes);
}

static char *watch_next(void *data, size_t *ret_bytes, int *ret_fd)
{
    struct watch *watch = data;
    struct err err = { 0 };
    json_t *event;

    *ret_fd = -1;
    if (watch->over)
        return NULL;
    int rc = event_next(&watch->files, &event, &err);
    if (event)
        return rpc_envelope_make(0, event, ret_bytes);
    if (rc < 0 || watch->files.over)
        return watch_last(watch, rc, err.msg, ret_bytes);
    *ret_fd = watch->files.agent->fd;
    return NULL;
}

static void watch_closed(void *data)
{
    struct watch *watch = data;

    guest_files_close(&watch->files);
    free(watch);
}

static const struct stream_ops watch_ops = {
    .next = watch_next,
    .keepalive = watch_keepalive,
    .closed = watch_closed,
};

void call_files_watch(struct call *call)
{
    struct watch *watch = calloc(1, sizeof *watch);
    struct err err;

    if (!watch)
        abort(); /* of SERVER_CONNECTIONS */
    int rc = watch_open(call, &watch->files, &err);
    if (rc == 0) {
        reply_stream(call, &watch_ops, watch);
        return;
    }
    if (rc < 0)
        reply_files_error(call, &watch->files, rc, &err);
    watch_closed(watch);
}

/* ---- Watchers ---- */

struct watcher {
    struct watcher *next;
    struct guest_files files; /* as a watch's */
    uint32_t number;
};

static void watcher_free(struct watcher *watcher)
{
    guest_files_close(&watcher->files);
    free(watcher);
}

void watchers_free(struct sandbox *sandbox)
{
    struct watcher *next = take_pointer(&sandbox->watchers);

    while (next) {
        struct watcher *watcher = next;

        next = watcher->next;
        watcher_free(watcher);
    }
}

/* Waits until it watches. 0 or -errno. */
static int start_await(struct guest_files *files, struct err *err)
{
    const uint64_t deadline_ns = now_ns() + START_TIMEOUT_NS;
    json_t *event;

    for (;;) {
        int rc = event_next(files, &event, err);
        uint64_t now = now_ns();

        if (event) { /* the first one says so */
            json_decref(event);
            return 0;
        }
        if (rc < 0)
            return rc;
        if (files->over)
            return err_set(err, EPROTO, "the guest's answer is not whole");
        if (now >= deadline_ns)
            return err_set(err, ETIMEDOUT, "the guest gave no answer in time");
        struct pollfd fd = { .fd = files->agent->fd, .events = POLLIN };
        poll(&fd, 1, (int)((deadline_ns - now) / NS_PER_MS) + 1);
    }
}

/* Puts it into its sandbox, and gives it a number. False: there are too many. */
static bool watcher_add(struct sandbox *sandbox, struct watcher *watcher)
{
    unsigned count = 0;

    pthread_mutex_lock(&sandbox->watch_lock);
    for (const struct watcher *at = sandbox->watchers; at; at = at->next)
        count++;
    const bool fits = count < SANDBOX_WATCHERS_MAX;
    if (fits) {
        watcher->number = ++sandbox->last_watcher;
        watcher->next = sandbox->watchers;
        sandbox->watchers = watcher;
    }
    pthread_mutex_unlock(&sandbox->watch_lock);
    return fits;
}

void call_watcher_create(struct call *call)
{
    struct watcher *watcher = calloc(1, sizeof *watcher);
    char number[16];
    struct err err;

    if (!watcher)
        abort(); /* of SERVER_CONNECTIONS */
    int rc = watch_open(call, &watcher->files, &err);
    if (rc == 0)
        rc = start_await(&watcher->files, &err);
    if (rc < 0) {
        reply_files_error(call, &watcher->files, rc, &err);
    } else if (rc == 0 && watcher_add(call->sandbox, watcher)) {
        snprintf(number, sizeof number, "%u", watcher->number);
        reply_json(call, 200, json_pack("{s:s}", "watcherId", number));
        return;
    } else if (rc == 0) {
        reply_error(call, 429, RPC_RESOURCE_EXHAUSTED, "a sandbox may have %u watchers",
                    SANDBOX_WATCHERS_MAX);
    }
    watcher_free(watcher);
}

/* Where the watcher that a request names is linked, under the lock. NULL: there is none. */
static struct watcher **watcher_find(struct sandbox *sandbox, const json_t *json)
{
    const char *id = json_string_value(json_object_get(json, "watcherId"));
    char number[16];

    for (struct watcher **at = &sandbox->watchers; id && *at; at = &(*at)->next) {
        snprintf(number, sizeof number, "%u", (*at)->number);
        if (strcmp(number, id) == 0)
            return at;
    }
    return NULL;
}

static void reply_no_watcher(struct call *call)
{
    reply_error(call, 404, RPC_NOT_FOUND, "there is no such watcher");
}

/* What has come since the last time. 0 or -errno of its end, once all is told. */
static int events_take(struct guest_files *files, json_t *list, struct err *err)
{
    json_t *event;
    int rc = 0;

    for (unsigned i = 0; i < EVENTS_MAX; i++) {
        rc = event_next(files, &event, err);
        if (!event)
            break;
        json_array_append(list, json_object_get(event, "filesystem"));
        json_decref(event);
    }
    if (rc == 0 && files->over && json_array_size(list) == 0)
        rc = err_set(err, ENOTCONN, "the watcher has ended");
    return json_array_size(list) > 0 ? 0 : rc;
}

void call_watcher_events(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call), *list = json_array();
    enum rpc_error code = RPC_ERROR_COUNT;
    unsigned status;
    struct err err;
    int rc = 0;

    if (!json)
        return;
    pthread_mutex_lock(&call->sandbox->watch_lock);
    struct watcher **at = watcher_find(call->sandbox, json);
    const bool found = at != NULL;
    if (found)
        rc = events_take(&(*at)->files, list, &err);
    if (rc < 0)
        code = files_error(&(*at)->files, rc, &status);
    pthread_mutex_unlock(&call->sandbox->watch_lock);
    if (!found)
        reply_no_watcher(call);
    else if (rc < 0)
        reply_error(call, status, code, "%s", err.msg);
    else
        reply_json(call, 200, json_pack("{s:O}", "events", list));
}

void call_watcher_remove(struct call *call)
{
    _cleanup_json_ json_t *json = call_json(call);
    struct watcher *watcher = NULL;

    if (!json)
        return;
    pthread_mutex_lock(&call->sandbox->watch_lock);
    struct watcher **at = watcher_find(call->sandbox, json);
    if (at) {
        watcher = *at;
        *at = watcher->next;
    }
    pthread_mutex_unlock(&call->sandbox->watch_lock);
    if (!watcher) {
        reply_no_watcher(call);
        return;
    }
    watcher_free(watcher);
    reply_json(call, 200, json_object());
}
