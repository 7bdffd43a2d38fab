/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the wait for a pool's boot and what is shown meanwhile; see pool_wait.h. */
#include "pool_wait.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "table.h"

#define POLL_EVERY_MS 100u
#define CREATE_TIMEOUT_MS (30u * 60 * 1000) /* a stock kernel on a simulated CPU takes minutes */

/* On a terminal one line that is drawn again and again; else a line for each new phase. */
struct progress {
    bool is_tty;
    char phase[64]; /* the last one shown */
};

/* Of a pool, or of its replacement. */
static void progress_show(struct progress *progress, json_t *pool)
{
    char phase[TABLE_CELL_BYTES], elapsed[TABLE_CELL_BYTES];
    static const struct table_column phase_column = { NULL, "progress.phase", TABLE_TEXT };
    static const struct table_column elapsed_column = { NULL, "progress.elapsed_ms", TABLE_MS };
    json_int_t percent = api_number_of(json_object_get(pool, "progress"), "percent");

    if (!json_is_object(json_object_get(pool, "progress")))
        return;
    table_cell(pool, &phase_column, phase);
    if (json_is_true(json_object_get(json_object_get(pool, "progress"), "overdue")))
        strncat(phase, ", longer than usual", sizeof phase - strlen(phase) - 1);
    table_cell(pool, &elapsed_column, elapsed);
    if (progress->is_tty)
        fprintf(stderr, "\r\033[K%s  %3d%%  %s", phase, (int)percent, elapsed);
    else if (strncmp(phase, progress->phase, sizeof progress->phase - 1) != 0)
        fprintf(stderr, "%s (%s)\n", phase, elapsed);
    snprintf(progress->phase, sizeof progress->phase, "%s", phase);
}

static void progress_end(const struct progress *progress)
{
    if (progress->is_tty && *progress->phase)
        fprintf(stderr, "\r\033[K");
}

/* What is waited for. */
struct wait {
    const char *name;
    json_int_t generation; /* 0: the pool's first, which is to be ready */
};

/* 1: it is there; 0: not yet, *ret_on is what goes on; -errno. */
static int look_created(const struct wait *wait, json_t *pool, json_t **ret_on, struct err *err)
{
    const char *state;
    int rc = api_get_string(pool, "state", &state, err);

    (void)wait;
    *ret_on = pool;
    if (rc == 0 && strcmp(state, "failed") == 0)
        rc = err_set(err, EREMOTEIO, "%s", api_text_of(pool, "error"));
    return rc < 0 ? rc : strcmp(state, "ready") == 0;
}

static int look_replaced(const struct wait *wait, json_t *pool, json_t **ret_on, struct err *err)
{
    json_t *on = json_object_get(pool, "replacement");
    const char *state = api_text_of(on, "state");

    *ret_on = on;
    if (api_number_of(pool, "generation") >= wait->generation)
        return 1;
    if (!json_is_object(on))
        return err_set(err, EREMOTEIO,
                       "it stays as it is: poold was started again before the new one was ready");
    if (strcmp(state, "failed") == 0)
        return err_set(err, EREMOTEIO, "it stays as it is: %s", api_text_of(on, "error"));
    return 0;
}

static int wait_for(struct api *api, const struct wait *wait, json_t **ret_pool, struct err *err)
{
    int (*const look)(const struct wait *, json_t *, json_t **, struct err *) =
        wait->generation ? look_replaced : look_created;
    char path[API_PATH_BYTES];
    struct progress progress = { .is_tty = isatty(STDERR_FILENO) };
    uint64_t deadline_ns = now_ns() + CREATE_TIMEOUT_MS * NS_PER_MS;
    const struct timespec pause = { .tv_nsec = POLL_EVERY_MS * NS_PER_MS };

    if (api_path(path, err, "/v1/pools/", wait->name, "") < 0)
        return -err->code;
    for (;;) {
        _cleanup_json_ json_t *pool = NULL;
        json_t *on = NULL;
        int rc = api_call(api, "GET", path, NULL, API_TIMEOUT_MS, &pool, err);

        if (rc == 0)
            rc = look(wait, pool, &on, err);
        if (rc == 0 && now_ns() > deadline_ns)
            rc = err_set(err, ETIMEDOUT, "it is still %s after %u minutes",
                         api_text_of(on, "state"), CREATE_TIMEOUT_MS / 60000);
        if (rc != 0) {
            progress_end(&progress);
            if (rc > 0)
                *ret_pool = json_incref(pool);
            return MIN_OF(rc, 0);
        }
        progress_show(&progress, on);
        nanosleep(&pause, NULL);
    }
}

int pool_wait(struct api *api, const char *name, json_t **ret_pool, struct err *err)
{
    const struct wait wait = { .name = name };

    return wait_for(api, &wait, ret_pool, err);
}

int pool_wait_replaced(struct api *api, const char *name, json_t *begun, json_t **ret_pool,
                       struct err *err)
{
    const struct wait wait = { name, api_number_of(begun, "generation") + 1 };

    return wait_for(api, &wait, ret_pool, err);
}
