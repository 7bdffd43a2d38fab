/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a call of a function that waits at its VM's doorbell: its bytes in, what it answers out, and
 * nothing of HTTP between; see function.h. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "functions/function.h"
#include "vms/clone_call.h"

static void answer_take(struct invocation *invocation, uint32_t kind, const void *answer,
                        uint32_t bytes)
{
    struct http_message *message = &invocation->answer;

    if (bytes && !invocation->request.charge(invocation->data, bytes)) {
        invocation_end(invocation, INVOCATION_REFUSED,
                       "its answer and all else that is held for you take too much memory");
        return;
    }
    message->body = malloc(MAX_OF(bytes, 1u));
    if (!message->body) {
        invocation_end(invocation, INVOCATION_FAILED, "out of memory");
        return;
    }
    if (bytes)
        memcpy(message->body, answer, bytes);
    message->body_bytes = bytes;
    message->status = 200;
    message->whole = true;
    invocation->function_error = kind == FUNCTION_ANSWER_ERROR;
    invocation_end(invocation, INVOCATION_ANSWERED, NULL);
}

/* What a guest calls an answer of another kind is the sentence of a failure. */
static void on_answered(void *owner, uint32_t kind, const void *answer, uint32_t bytes)
{
    struct invocation *invocation = ((struct function_vm *)owner)->invocation;
    char sentence[ERR_MSG_BYTES];

    if (!invocation || invocation->state == INVOCATION_OVER)
        return;
    if (kind == FUNCTION_ANSWER_OK || kind == FUNCTION_ANSWER_ERROR) {
        answer_take(invocation, kind, answer, bytes);
        return;
    }
    text_clean(sentence, sizeof sentence, answer, bytes);
    invocation_end(invocation, INVOCATION_FAILED, sentence);
}

static void on_ended(void *owner)
{
    struct invocation *invocation = ((struct function_vm *)owner)->invocation;

    if (invocation)
        invocation_end(invocation, INVOCATION_FAILED, "its VM ended");
}

static const struct clone_call_ops call_ops = { .answered = on_answered, .ended = on_ended };

void doorbell_send(struct invocation *invocation)
{
    const struct function_request *request = &invocation->request;
    struct function_vm *vm = invocation->vm;

    if (clone_call(vm->slot, request->body, (uint32_t)request->body_bytes, &call_ops, vm) < 0)
        invocation_end(invocation, INVOCATION_FAILED, "its VM takes no call");
}
