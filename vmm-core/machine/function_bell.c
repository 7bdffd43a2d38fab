/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the host side of the function's bell (guest_abi.h): requests into guest memory, answers out of
 * it.
 *
 * How it works
 *   A request is received from the bell's socket right into the guest's memory, and an answer sent
 *   right out of it: each byte is copied once, by the kernel, and nothing here depends on what it is.
 *   Of the head, two words are read, once each.
 *
 * Invariants
 *   1. bell->call is the call that is on, from its CALL to its ANSWER; between an ANSWER and the next
 *      CALL the vCPU runs not one instruction.
 *   2. What the guest claims of its answer is checked before it is used; what breaks a rule ends the
 *      VM, and so its call.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "machine/machine_internal.h"

static void *at(struct vm *vm, gpa_t gpa, uint64_t bytes)
{
    return guest_mem_at(&vm->mem, gpa, bytes);
}

static bool answer_send(struct vm *vm)
{
    struct vm_doorbell *bell = &vm->doorbell;
    const volatile struct function_head *head = at(vm, FUNCTION_AREA_GPA, sizeof *head);
    const uint32_t kind = head->answer_kind, bytes = head->answer_bytes;
    struct control_msg msg = { .type = CONTROL_ANSWER };

    if (bytes > FUNCTION_PAYLOAD_MAX) {
        vm_end(vm, EXIT_REASON_GUEST_MISBEHAVED, "the function's answer has %u bytes: at most %u",
               bytes, FUNCTION_PAYLOAD_MAX);
        return false;
    }
    msg.u.answer.call = bell->call;
    msg.u.answer.kind = kind;
    bell->call = 0;
    bell->ops->answer(vm, &msg, at(vm, FUNCTION_ANSWER_GPA, FUNCTION_PAYLOAD_MAX), bytes);
    return true;
}

enum doorbell_result function_bell_ring(struct vm *vm, uint32_t value)
{
    struct vm_doorbell *bell = &vm->doorbell;

    if (value != bell->call) {
        vm_end(vm, EXIT_REASON_BAD_ANSWER,
               "the function's bell was rung for another call than the one that is on");
        return DOORBELL_ENDED;
    }
    if (bell->call && !answer_send(vm))
        return DOORBELL_ENDED;
    return DOORBELL_STAY;
}

void function_bell_stopped(struct vm *vm)
{
    if (!vm->doorbell.park_allowed)
        return;
    vm->doorbell.park_allowed = false;
    doorbell_report_parked(vm, now_ns());
}

bool function_bell_wait(struct vm *vm, struct control_msg *ret_call)
{
    int rc = vm->doorbell.ops->wait_call(vm, at(vm, FUNCTION_REQUEST_GPA, FUNCTION_PAYLOAD_MAX),
                                         FUNCTION_PAYLOAD_MAX, ret_call);

    return doorbell_waited(vm, rc);
}

void function_bell_called(struct vm *vm, const struct control_msg *call)
{
    volatile struct function_head *head = at(vm, FUNCTION_AREA_GPA, sizeof *head);

    head->magic = DOORBELL_MAGIC;
    head->version = FUNCTION_VERSION;
    head->call = call->u.call.call;
    head->request_bytes = call->u.call.payload_bytes;
    head->wall_clock_ns = clock_ns(CLOCK_REALTIME);
    vm->doorbell.call = call->u.call.call;
}
