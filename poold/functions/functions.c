/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the queues of all functions, whose turn it is, and the time limits; see function.h. */
#include "functions/function.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "host/cleanup.h"

static const char *const runtime_names[] = {
    [FUNCTION_HTTP] = "http",
    [FUNCTION_LAMBDA] = "lambda",
    [FUNCTION_DOORBELL] = "doorbell",
};
static_assert(ARRAY_LEN(runtime_names) == FUNCTION_RUNTIME_COUNT, "every runtime has a name");

const char *function_runtime_name(enum function_runtime runtime)
{
    return runtime_names[runtime];
}

int function_runtime_parse(const char *name, enum function_runtime *ret_runtime)
{
    for (unsigned i = 0; i < FUNCTION_RUNTIME_COUNT; i++) {
        if (strcmp(runtime_names[i], name) == 0) {
            *ret_runtime = (enum function_runtime)i;
            return 0;
        }
    }
    return -EINVAL;
}

struct function *function_find(const struct functions *functions, const char *name)
{
    LIST_FOR_EACH(at, &functions->all)
    {
        struct function *function = list_entry(at, struct function, node);

        if (strcmp(function->name, name) == 0)
            return function;
    }
    return NULL;
}

/* ---- A call ---- */

/* A version 4 UUID. */
static void id_make(struct random_stock *random, char ret_id[INVOCATION_ID_BYTES])
{
    uint8_t b[16];

    random_stock_take(random, b, sizeof b);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    snprintf(ret_id, INVOCATION_ID_BYTES,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

/* As many as its pool may have VMs, unless something else was asked for. */
static uint32_t concurrency(const struct function *function)
{
    const struct hosted_pool *hosted;

    if (function->spec.concurrency)
        return function->spec.concurrency;
    hosted = hosted_find(function->functions->vms, function->name);
    return hosted ? hosted->pool.max : 1; /* which tells that the pool is gone */
}

static void queue_serve(struct function *function)
{
    const uint32_t most = list_empty(&function->queued) ? 0 : concurrency(function);

    while (!list_empty(&function->queued) && function->on_count < most)
        invocation_start(list_entry(function->queued.next, struct invocation, node));
}

size_t function_request_max(const struct function *function)
{
    return function->runtime == FUNCTION_DOORBELL ? FUNCTION_PAYLOAD_MAX : FUNCTION_BODY_MAX;
}

int function_invoke(struct function *function, const struct function_request *request,
                    invocation_done_fn done, void *data, struct invocation **ret_invocation)
{
    struct vms *vms = function->functions->vms;
    struct invocation *invocation;

    if (vms->env.stopping || function->deleting)
        return -ESHUTDOWN;
    if (request->body_bytes > function_request_max(function))
        return -EMSGSIZE;
    /* Who is served at once takes no place in the queue. */
    if (function->queued_count >= function->spec.queue &&
        function->on_count >= concurrency(function)) {
        function->results[INVOCATION_REFUSED]++;
        return -EBUSY;
    }
    invocation = calloc(1, sizeof *invocation);
    if (!invocation)
        return -ENOMEM;
    invocation->function = function;
    invocation->request = *request;
    invocation->done = done;
    invocation->data = data;
    invocation->asked_ns = now_ns();
    invocation->asked_wall_ns = clock_ns(CLOCK_REALTIME);
    invocation->deadline_ns = invocation->asked_ns + function->spec.queue_ms * NS_PER_MS;
    id_make(&vms->random, invocation->id);
    http_message_init(&invocation->answer, FUNCTION_HEAD_MAX, FUNCTION_BODY_MAX,
                      request->no_body ? HTTP_MESSAGE_HEAD_ANSWER : HTTP_MESSAGE_ANSWER);
    invocation->answer.charge = request->charge;
    invocation->answer.owner = data;
    list_append(&function->queued, &invocation->node);
    function->queued_count++;
    turn_arm(vms->turn, invocation->deadline_ns);
    *ret_invocation = invocation;
    queue_serve(function);
    return 0;
}

/* ---- Turns ---- */

void functions_pump(struct functions *functions)
{
    /* Those that end while these are told have their turn, too. */
    while (!list_empty(&functions->over))
        invocation_finish(list_entry(functions->over.next, struct invocation, node));
    LIST_FOR_EACH(at, &functions->all)
    {
        queue_serve(list_entry(at, struct function, node));
    }
}

static void late_end(struct invocation *invocation)
{
    const struct function_spec *spec = &invocation->function->spec;
    char sentence[ERR_MSG_BYTES];

    if (invocation->state == INVOCATION_QUEUED) {
        snprintf(sentence, sizeof sentence, "it has waited for %llu ms, while %u others were on",
                 (unsigned long long)spec->queue_ms, invocation->function->on_count);
        invocation_end(invocation, INVOCATION_NO_VM, sentence);
    } else {
        snprintf(sentence, sizeof sentence,
                 "it has not answered within %llu ms, and its VM is killed",
                 (unsigned long long)spec->timeout_ms);
        invocation_end(invocation, INVOCATION_TIMED_OUT, sentence);
    }
}

/* An acquire has the pool's own limits. */
static uint64_t list_tick(struct list *list, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    LIST_FOR_EACH(at, list)
    {
        struct invocation *invocation = list_entry(at, struct invocation, node);

        if (invocation->state == INVOCATION_ACQUIRING)
            continue;
        if (invocation->deadline_ns <= now)
            late_end(invocation);
        else
            next = MIN_OF(next, invocation->deadline_ns);
    }
    return next;
}

static uint64_t idle_tick(struct function *function, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    LIST_FOR_EACH(at, &function->idle)
    {
        struct function_vm *vm = list_entry(at, struct function_vm, node);

        if (vm->idle_until_ns <= now)
            function_vm_end(function, vm);
        else
            next = MIN_OF(next, vm->idle_until_ns);
    }
    return next;
}

uint64_t functions_tick(struct functions *functions, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    LIST_FOR_EACH(at, &functions->all)
    {
        struct function *function = list_entry(at, struct function, node);
        const uint64_t queued = list_tick(&function->queued, now),
                       on = list_tick(&function->on, now), idle = idle_tick(function, now);

        next = MIN_OF(next, MIN_OF(MIN_OF(queued, on), idle));
    }
    return next;
}

/* ---- The end ---- */

static void list_end(struct list *list, const char *sentence)
{
    while (!list_empty(list)) {
        struct invocation *invocation = list_entry(list->next, struct invocation, node);

        if (invocation->state == INVOCATION_ACQUIRING)
            pool_acquire_cancel(&invocation->acquire);
        invocation_end(invocation, INVOCATION_SHUTDOWN, sentence);
    }
}

void function_stop(struct function *function, const char *sentence)
{
    list_end(&function->queued, sentence);
    list_end(&function->on, sentence);
    while (!list_empty(&function->idle))
        function_vm_end(function, list_entry(function->idle.next, struct function_vm, node));
}

void functions_stop(struct functions *functions)
{
    LIST_FOR_EACH(at, &functions->all)
    {
        function_stop(list_entry(at, struct function, node), "poold is shutting down");
    }
    functions_pump(functions);
}

bool functions_idle(const struct functions *functions)
{
    return list_empty(&functions->over) && functions->works == 0;
}

int functions_open(struct functions *functions, const char *state_dir, struct err *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof path, "%s/functions", state_dir);
    if (cleanup_make_dirs(path, 0700, err) < 0)
        return -err->code;
    functions->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (functions->dir_fd < 0)
        return err_set_errno(err, errno, "can't open %s", path);
    return 0;
}

void functions_init(struct functions *functions, struct vms *vms)
{
    *functions = (struct functions){ .vms = vms, .dir_fd = -1 };
    list_init(&functions->all);
    list_init(&functions->over);
}

struct function *function_add(struct functions *functions, const char *name,
                              const struct function_spec *spec, const char *created)
{
    struct function *function = calloc(1, sizeof *function);

    if (!function)
        return NULL;
    function->functions = functions;
    snprintf(function->name, sizeof function->name, "%s", name);
    snprintf(function->created, sizeof function->created, "%s", created);
    function->spec = *spec;
    function_runtime_parse(spec->runtime, &function->runtime); /* it was checked */
    list_init(&function->queued);
    list_init(&function->on);
    list_init(&function->idle);
    function_records_init(&function->records);
    list_append(&functions->all, &function->node);
    return function;
}

void function_free(struct function *function)
{
    assert(list_empty(&function->queued) && list_empty(&function->on));
    list_remove(&function->node);
    function_records_fini(&function->records);
    free(function);
}

void functions_fini(struct functions *functions)
{
    while (!list_empty(&functions->all))
        function_free(list_entry(functions->all.next, struct function, node));
    close_fd(&functions->dir_fd);
}
