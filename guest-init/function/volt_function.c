/* SPDX-License-Identifier: Apache-2.0 */
/* libvolt_function: see volt_function.h, and guest_abi.h for what is between it and the host. Needs a C
 * library for nothing but getenv, memmove and five system calls, so that any will do. */
#include "volt_function.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_abi.h"

/* One process has one bell: all of this is of the thread that opened it. */
static struct {
    volatile struct function_head *head; /* NULL: not open */
    uint8_t *request, *answer;
    uint32_t call; /* that is on; 0: none */
    int passed;    /* the gate */
} bell;

int volt_function_open(void)
{
    const char *version = getenv(FUNCTION_VARIABLE);
    uint8_t *area;

    if (bell.head)
        return 0;
    if (!version)
        return -ENODEV;
    if (strtoul(version, NULL, 10) != FUNCTION_VERSION)
        return -EPROTONOSUPPORT;
    area = mmap(NULL, FUNCTION_AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                FUNCTION_MEMORY_FD, FUNCTION_AREA_GPA);
    if (area == MAP_FAILED)
        return -errno;
    bell.head = (volatile void *)area;
    bell.request = area + (FUNCTION_REQUEST_GPA - FUNCTION_AREA_GPA);
    bell.answer = area + (FUNCTION_ANSWER_GPA - FUNCTION_AREA_GPA);
    return 0;
}

/* Touches what the first call will, so that it finds its pages copied and mapped. */
static void touch(void)
{
    *(volatile uint8_t *)bell.request = 0;
    *(volatile uint8_t *)bell.answer = 0;
    bell.head->answer_bytes = 0;
}

/* Says that this program is ready, and waits until its VM is one of its own. */
static int gate_pass(void)
{
    ssize_t count;
    char byte = 0;

    do
        count = write(FUNCTION_GATE_FD, &byte, 1);
    while (count < 0 && errno == EINTR);
    while (count == 1) {
        count = read(FUNCTION_GATE_FD, &byte, 1);
        if (count == 1)
            break;
        if (count < 0 && errno == EINTR)
            count = 1;
    }
    if (count != 1)
        return count < 0 ? -errno : -EPIPE;
    bell.passed = 1;
    touch();
    return 0;
}

/* The VM stops in this instruction. */
static inline void ring(uint32_t call)
{
    __asm__ volatile("outl %0, %1" : : "a"(call), "Nd"((uint16_t)FUNCTION_PORT_BELL) : "memory");
}

long volt_function_next(void **ret_request)
{
    volatile struct function_head *head;
    int status = bell.passed ? 0 : volt_function_open();

    if (status == 0 && !bell.passed)
        status = gate_pass();
    if (status < 0)
        return status;
    head = bell.head;
    if (bell.call)
        head->answered = bell.call;
    ring(bell.call);
    if (head->magic != DOORBELL_MAGIC || head->version != FUNCTION_VERSION ||
        head->call == head->answered || head->request_bytes > FUNCTION_PAYLOAD_MAX) {
        bell.call = 0;
        return -EPROTO;
    }
    bell.call = head->call;
    head->answer_kind = FUNCTION_ANSWER_OK;
    head->answer_bytes = 0;
    *ret_request = bell.request;
    return (long)head->request_bytes;
}

static int answer_set(const void *data, size_t bytes, uint32_t kind)
{
    if (!bell.call)
        return -EINVAL;
    if (bytes > FUNCTION_PAYLOAD_MAX)
        return -EMSGSIZE;
    if (bytes && data != bell.answer)
        memmove(bell.answer, data, bytes);
    bell.head->answer_kind = kind;
    bell.head->answer_bytes = (uint32_t)bytes;
    return 0;
}

int volt_function_answer(const void *data, size_t bytes)
{
    return answer_set(data, bytes, FUNCTION_ANSWER_OK);
}

int volt_function_fail(const char *text, size_t bytes)
{
    return answer_set(text, bytes, FUNCTION_ANSWER_ERROR);
}

void *volt_function_buffer(void)
{
    return bell.answer;
}

uint64_t volt_function_time_ns(void)
{
    return bell.call ? bell.head->wall_clock_ns : 0;
}

/* "the handler failed: 12", without a C library's printf. */
static void fail_with(unsigned number)
{
    char text[64] = "the handler failed: ", digits[12];
    size_t length = strlen(text), count = 0;

    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        text[length++] = digits[--count];
    (void)volt_function_fail(text, length);
}

int volt_function_serve(int (*handler)(void *context, const void *request, size_t bytes),
                        void *context)
{
    void *request;
    long bytes;

    while ((bytes = volt_function_next(&request)) >= 0) {
        int status = handler(context, request, (size_t)bytes);

        if (status < 0)
            fail_with(0u - (unsigned)status);
    }
    return (int)bytes;
}
