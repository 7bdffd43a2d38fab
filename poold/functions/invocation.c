/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is done for one call: its VM, the session with that, the end; see function.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "functions/function.h"
#include "net/net_publish.h"
#include "vms/clone.h"

/* Of such a lease: no client's own, so that nobody who calls gets into it beside the function. */
#define OWNER_NOBODY UINT32_MAX
#define IDLE_NS_MAX (10 * NS_PER_S) /* a VM that waits for its next call */

/* ---- The VM ---- */

/* The lease may have ended by itself, and its slot be another's: only those that are leased are
 * looked at. */
static bool vm_is_there(const struct function *function, const struct function_vm *vm)
{
    const struct hosted_pool *hosted = hosted_find(function->functions->vms, function->name);

    if (!hosted)
        return false;
    LIST_FOR_EACH(at, &hosted->pool.slots[SLOT_LEASED])
    {
        const struct slot *slot = list_entry(at, struct slot, node);

        if (slot == vm->slot)
            return strcmp(slot->id, vm->id) == 0;
    }
    return false;
}

void function_vm_end(struct function *function, struct function_vm *vm)
{
    if (!vm)
        return;
    list_remove(&vm->node);
    runtime_destroy(vm->runtime);
    if (vm_is_there(function, vm))
        pool_release(vm->slot, LEASE_END_RELEASED);
    free(vm);
}

/* After an answer. */
static void vm_keep(struct function *function, struct function_vm *vm)
{
    vm->calls++;
    vm->invocation = NULL;
    if (vm->calls >= function->spec.reuse || function->deleting || vm->broken) {
        function_vm_end(function, vm);
        return;
    }
    vm->idle_until_ns = now_ns() + IDLE_NS_MAX;
    list_append(&function->idle, &vm->node);
    turn_arm(function->functions->vms->turn, vm->idle_until_ns);
}

/* The youngest, whose memory is warm; NULL: there is none. */
static struct function_vm *vm_idle(struct function *function)
{
    while (!list_empty(&function->idle)) {
        struct function_vm *vm = list_entry(function->idle.prev, struct function_vm, node);

        list_remove(&vm->node);
        if (!vm->broken && vm_is_there(function, vm))
            return vm;
        function_vm_end(function, vm);
    }
    return NULL;
}

/* ---- The end ---- */

void invocation_end(struct invocation *invocation, enum invocation_result result,
                    const char *sentence)
{
    struct function *function = invocation->function;

    if (invocation->state == INVOCATION_OVER)
        return;
    if (invocation->state == INVOCATION_QUEUED)
        function->queued_count--;
    else
        function->on_count--;
    invocation->state = INVOCATION_OVER;
    invocation->result = result;
    snprintf(invocation->sentence, sizeof invocation->sentence, "%s", sentence ? sentence : "");
    list_remove(&invocation->node);
    list_append(&function->functions->over, &invocation->node);
    turn_schedule(function->functions->vms->turn);
}

static void record_keep(struct invocation *invocation)
{
    const uint64_t now = now_ns();
    const uint64_t sent_ns = invocation->sent_ns ? invocation->sent_ns : now;
    const struct function_record record = {
        .result = invocation->result,
        .status = invocation->answer.whole ? invocation->answer.status : 0,
        .uid = invocation->request.uid,
        .began_wall_ns = invocation->asked_wall_ns,
        .wait_ns = sent_ns - invocation->asked_ns,
        .run_ns = now - sent_ns,
        .log = invocation->log,
    };
    struct function_record kept = record;
    struct function *function = invocation->function;

    memcpy(kept.id, invocation->id, sizeof kept.id);
    function->results[invocation->result]++;
    if (invocation->result == INVOCATION_ANSWERED)
        histogram_add(&function->total, now - invocation->asked_ns);
    function_records_add(&function->records, &kept);
    invocation->log = (struct function_log){ 0 };
}

/* The client first: what it waits for is there. */
void invocation_finish(struct invocation *invocation)
{
    struct function *function = invocation->function;

    list_remove(&invocation->node);
    if (invocation->done)
        invocation->done(invocation->data, invocation);
    agent_stream_close(invocation->stream);
    if (invocation->vm && invocation->result == INVOCATION_ANSWERED)
        vm_keep(function, invocation->vm);
    else
        function_vm_end(function, invocation->vm);
    record_keep(invocation);
    http_message_fini(&invocation->answer);
    free(invocation);
}

void invocation_cancel(struct invocation *invocation)
{
    invocation->done = NULL;
    if (invocation->state == INVOCATION_ACQUIRING)
        pool_acquire_cancel(&invocation->acquire);
    invocation_end(invocation, INVOCATION_CANCELLED, NULL);
}

/* ---- The session ---- */

/* What can't be sent is not: one who hangs up, or takes no more, may have answered; and the end of its VM
 * is heard of as such. */
static void request_sent(struct invocation *invocation, int rc)
{
    struct agent_feed *feed = &invocation->feed;

    if (rc < 0)
        feed->sent = feed->head_bytes + feed->body_bytes;
}

static void on_output(struct invocation *invocation, const uint8_t *payload, uint32_t bytes)
{
    struct err err;

    if (http_message_feed(&invocation->answer, payload, bytes, &err) < 0)
        invocation_end(invocation, err.code == EDQUOT ? INVOCATION_REFUSED : INVOCATION_FAILED,
                       err.msg);
    else if (invocation->answer.whole)
        invocation_end(invocation, INVOCATION_ANSWERED, NULL);
}

static void on_connection_end(struct invocation *invocation)
{
    struct err err;

    if (http_message_end(&invocation->answer, &err) < 0)
        invocation_end(invocation, INVOCATION_FAILED, err.msg);
    else
        invocation_end(invocation, INVOCATION_ANSWERED, NULL);
}

static void on_frame(void *owner, const struct agent_frame *frame, const uint8_t *payload)
{
    struct invocation *invocation = owner;
    char sentence[AGENT_SENTENCE_BYTES];

    if (invocation->state == INVOCATION_OVER)
        return;
    switch (frame->type) {
    case AGENT_STDOUT:
        on_output(invocation, payload, frame->payload_bytes);
        break;
    case AGENT_STDERR:
        function_log_add(&invocation->log, payload, frame->payload_bytes);
        break;
    case AGENT_CREDIT:
        request_sent(invocation, agent_feed_credit(&invocation->feed, invocation->stream, payload,
                                                   frame->payload_bytes));
        break;
    case AGENT_DONE:
        on_connection_end(invocation);
        break;
    case AGENT_ERROR:
        invocation_end(invocation, INVOCATION_FAILED,
                       agent_error_sentence(frame, payload, sentence));
        break;
    default:
        invocation_end(invocation, INVOCATION_FAILED, "its VM's agent sent a frame out of place");
        break;
    }
}

static void on_broken(void *owner, const char *why)
{
    (void)why;
    invocation_end(owner, INVOCATION_FAILED, "its VM ended");
}

int function_vm_connect(const struct function_vm *vm, int fd)
{
    struct control_msg msg = { .type = CONTROL_VSOCK_CONNECT };

    msg.u.vsock_connect.port = AGENT_VSOCK_PORT;
    return vm_is_there(vm->function, vm) ? clone_connect(vm->slot, &msg, fd) : -ENOTCONN;
}

static int on_connect(void *owner, int fd)
{
    const struct invocation *invocation = owner;

    return function_vm_connect(invocation->vm, fd);
}

static const struct agent_stream_ops stream_ops = {
    .connect = on_connect,
    .frame = on_frame,
    .broken = on_broken,
};

static void http_send(struct invocation *invocation)
{
    struct vms *vms = invocation->function->functions->vms;
    const struct hosted_pool *hosted = invocation->vm->slot->pool->owner;
    const struct function_request *request = &invocation->request;
    const struct agent_call call = { .port = (uint16_t)hosted->spec.service_port };

    invocation->feed = (struct agent_feed){ .head = request->head,
                                            .head_bytes = request->head_bytes,
                                            .body = request->body,
                                            .body_bytes = request->body_bytes,
                                            .credit = AGENT_STDIN_CREDIT };
    if (agent_stream_open(&invocation->stream, vms->loop, &stream_ops, invocation) < 0 ||
        agent_stream_send(invocation->stream, AGENT_CALL, &call, sizeof call) < 0)
        invocation_end(invocation, INVOCATION_FAILED, "its VM takes no stream");
    else
        request_sent(invocation, agent_feed_send(&invocation->feed, invocation->stream));
}

/* It has its VM: the request goes out with the session's own. */
static void invocation_send(struct invocation *invocation)
{
    static void (*const send[FUNCTION_RUNTIME_COUNT])(struct invocation *) = {
        [FUNCTION_HTTP] = http_send,
        [FUNCTION_LAMBDA] = lambda_send,
        [FUNCTION_DOORBELL] = doorbell_send,
    };
    struct function *function = invocation->function;

    invocation->vm->invocation = invocation;
    invocation->state = INVOCATION_SENT;
    invocation->sent_ns = now_ns();
    invocation->deadline_ns = invocation->sent_ns + function->spec.timeout_ms * NS_PER_MS;
    turn_arm(function->functions->vms->turn, invocation->deadline_ns);
    send[function->runtime](invocation);
}

/* ---- The acquire ---- */

static void acquire_failed(struct invocation *invocation, enum acquire_result result,
                           const struct pool *pool)
{
    char sentence[ERR_MSG_BYTES];

    switch (result) {
    case ACQUIRE_NO_VM_FREE:
        invocation_end(invocation, INVOCATION_NO_VM, "no VM came free for it in time");
        break;
    case ACQUIRE_NO_ROOM:
        invocation_end(invocation, INVOCATION_NO_VM,
                       "the limits of all pools leave no room for it");
        break;
    case ACQUIRE_RESTORE_FAILED:
        invocation_end(invocation, INVOCATION_FAILED, "no VM could be restored for it");
        break;
    case ACQUIRE_SHUTTING_DOWN:
        invocation_end(invocation, INVOCATION_SHUTDOWN, "poold is shutting down");
        break;
    default:
        snprintf(sentence, sizeof sentence, "its pool is %s", pool_state_name(pool->state));
        invocation_end(invocation, INVOCATION_NOT_READY, sentence);
        break;
    }
}

/* From within the pool: what ends here is told, and its VM released, in the turn. */
static void acquire_done(struct acquire *acquire, enum acquire_result result, struct slot *slot)
{
    struct invocation *invocation = list_entry(acquire, struct invocation, acquire);
    struct net_publish publish = { 0 };

    if (result != ACQUIRE_OK) {
        acquire_failed(invocation, result, acquire->pool);
        return;
    }
    invocation->vm->slot = slot;
    memcpy(invocation->vm->id, slot->id, sizeof invocation->vm->id);
    slot->owner_uid = OWNER_NOBODY;
    slot->leased_wall_ns = clock_ns(CLOCK_REALTIME);
    if (clone_net_lease(slot, &publish) < 0)
        invocation_end(invocation, INVOCATION_FAILED, "its VM's network can't be started");
    else
        invocation_send(invocation);
}

static void acquire_start(struct invocation *invocation)
{
    struct function *function = invocation->function;
    struct hosted_pool *hosted = hosted_find(function->functions->vms, function->name);
    const uint64_t now = now_ns();

    invocation->vm = calloc(1, sizeof *invocation->vm);
    if (!hosted || !invocation->vm) {
        invocation_end(invocation, INVOCATION_NOT_READY,
                       hosted ? "out of memory" : "its pool is gone");
        return;
    }
    list_init(&invocation->vm->node);
    invocation->vm->function = function;
    invocation->acquire =
        (struct acquire){ .asked_ns = now,
                          .wait_ns =
                              invocation->deadline_ns > now ? invocation->deadline_ns - now : 0,
                          .done = acquire_done };
    pool_acquire(&hosted->pool, &invocation->acquire);
}

void invocation_start(struct invocation *invocation)
{
    struct function *function = invocation->function;

    list_remove(&invocation->node);
    list_append(&function->on, &invocation->node);
    function->queued_count--;
    function->on_count++;
    invocation->state = INVOCATION_ACQUIRING;
    invocation->vm = vm_idle(function);
    if (invocation->vm)
        invocation_send(invocation);
    else
        acquire_start(invocation);
}
