/* SPDX-License-Identifier: Apache-2.0 */
/* A service at the function's bell: answers with the request, unless its first byte says otherwise. Where
 * the bell does not count, it stops. */
#include "guest.h"

static volatile uint8_t *at(uint32_t gpa)
{
    return (volatile uint8_t *)(uintptr_t)gpa;
}

static void answer(volatile struct function_head *head)
{
    head->answer_kind = FUNCTION_ANSWER_OK;
    head->answer_bytes = head->request_bytes;
    for (uint32_t i = 0; i < head->request_bytes; i++)
        at(FUNCTION_ANSWER_GPA)[i] = at(FUNCTION_REQUEST_GPA)[i];
}

GUEST_MAIN
{
    volatile struct function_head *head = (volatile void *)at(FUNCTION_AREA_GPA);
    uint32_t call = 0;

    park_and_answer(0);
    outl(FUNCTION_PORT_BELL, 0); /* before READY: not yet */
    outl(DOORBELL_PORT_READY, 0);
    for (;;) {
        outl(FUNCTION_PORT_BELL, call);
        if (head->call == call || head->magic != DOORBELL_MAGIC)
            stop();
        call = head->call;
        answer(head);
        switch (*at(FUNCTION_REQUEST_GPA)) {
        case 'l':
            head->answer_bytes = FUNCTION_PAYLOAD_MAX + 1;
            break;
        case 'k':
            head->answer_kind = 77;
            break;
        case 'o':
            call++;
            break;
        case 'p': /* none of these counts in a call */
            outl(DOORBELL_PORT_PARK, 0);
            outl(DOORBELL_PORT_AWAKE, 0);
            outl(DOORBELL_PORT_READY, 0);
            outb(FUNCTION_PORT_BELL, (uint8_t)call);
            break;
        case 'n':
            outl(FUNCTION_PORT_BELL, 0);
            break;
        }
    }
}
