/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the small request object behind work_start; see work.h. */
#include "base/work.h"

#include <errno.h>
#include <stdlib.h>

#include "base/prompt.h"

struct work {
    uv_work_t request;
    void (*run)(void *data);
    void (*done)(void *data);
    void *data;
};

static void on_run(uv_work_t *request)
{
    struct work *work = request->data;

    work->run(work->data);
}

static void on_done(uv_work_t *request, int status)
{
    struct work *work = request->data;
    void (*done)(void *data) = work->done;
    void *data = work->data;

    (void)status; /* never cancelled */
    free(work);
    prompt_release();
    done(data);
}

int work_start(uv_loop_t *loop, void (*run)(void *data), void (*done)(void *data), void *data)
{
    struct work *work = malloc(sizeof *work);

    if (!work)
        return -ENOMEM;
    *work = (struct work){ .request.data = work, .run = run, .done = done, .data = data };
    prompt_hold();
    int rc = uv_queue_work(loop, &work->request, on_run, on_done);
    if (rc < 0) {
        prompt_release();
        free(work);
    }
    return rc;
}
