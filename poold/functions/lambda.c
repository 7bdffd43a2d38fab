/* SPDX-License-Identifier: Apache-2.0 */
/* Owns calls of functions that ask for their events by Lambda's Runtime API (runtime_api.h); see
 * function.h. */
#include <stdio.h>

#include "base/util.h"
#include "functions/function.h"

static int runtime_connect(void *owner, int fd)
{
    return function_vm_connect(owner, fd);
}

static void on_runtime_log(void *owner, const void *bytes, size_t count)
{
    struct function_vm *vm = owner;

    if (vm->invocation)
        function_log_add(&vm->invocation->log, bytes, count);
}

/* What is posted while there is no event is bounded by the runtime's own limit. */
static bool on_runtime_charge(void *owner, size_t bytes)
{
    const struct function_vm *vm = owner;
    struct invocation *invocation = vm->invocation;

    if (!invocation || invocation->state == INVOCATION_OVER ||
        invocation->request.charge(invocation->data, bytes))
        return true;
    invocation_end(invocation, INVOCATION_REFUSED,
                   "what its runtime posts and all else that is held for you take too much memory");
    return false;
}

/* The invocation that pieces of an answer are for; NULL: there is none. */
static struct invocation *streaming(const struct function_vm *vm)
{
    struct invocation *invocation = vm->invocation;

    return invocation && invocation->state == INVOCATION_SENT && invocation->request.piece
               ? invocation
               : NULL;
}

static bool on_runtime_streams(void *owner)
{
    struct invocation *invocation = streaming(owner);

    if (invocation)
        invocation->streamed = true;
    return invocation != NULL;
}

static bool on_runtime_piece(void *owner, const char *bytes, size_t count)
{
    struct invocation *invocation = streaming(owner);

    return !invocation || invocation->request.piece(invocation->data, bytes, count);
}

void invocation_resume(struct invocation *invocation)
{
    if (invocation->vm && invocation->vm->runtime)
        runtime_resume(invocation->vm->runtime);
}

static void on_runtime_over(void *owner, struct http_message *message, bool error)
{
    struct function_vm *vm = owner;
    struct invocation *invocation = vm->invocation;
    const char *type;

    if (!invocation || invocation->state == INVOCATION_OVER)
        return;
    /* In the trailers of a response in pieces: what went wrong after it had begun. */
    type = message->piece ? http_message_find(message, "Lambda-Runtime-Function-Error-Type") : NULL;
    if (type)
        snprintf(invocation->error_type, sizeof invocation->error_type, "%s", type);
    invocation->function_error = error || type;
    invocation->answer.whole = true;
    invocation->answer.status = 200;
    invocation->answer.body = take_pointer(&message->body);
    invocation->answer.body_bytes = message->body_bytes;
    invocation_end(invocation, INVOCATION_ANSWERED, NULL);
}

static void on_runtime_failed(void *owner, const char *why)
{
    struct function_vm *vm = owner;

    vm->broken = true;
    if (vm->invocation)
        invocation_end(vm->invocation, INVOCATION_FAILED, why);
}

static const struct runtime_ops lambda_ops = {
    .connect = runtime_connect,
    .charge = on_runtime_charge,
    .log = on_runtime_log,
    .streams = on_runtime_streams,
    .piece = on_runtime_piece,
    .over = on_runtime_over,
    .failed = on_runtime_failed,
};

void lambda_send(struct invocation *invocation)
{
    struct function *function = invocation->function;
    struct function_vm *vm = invocation->vm;
    const struct function_request *request = &invocation->request;
    const struct runtime_event event = {
        .id = invocation->id,
        .function = function->name,
        .deadline_ms = clock_ns(CLOCK_REALTIME) / NS_PER_MS + function->spec.timeout_ms,
        .body = request->body ? request->body : "",
        .body_bytes = request->body_bytes,
    };

    if (!vm->runtime)
        vm->runtime = runtime_create(function->functions->vms->loop, &lambda_ops, vm);
    if (vm->runtime)
        runtime_offer(vm->runtime, &event);
    else
        invocation_end(invocation, INVOCATION_FAILED, "its VM takes no stream");
}
