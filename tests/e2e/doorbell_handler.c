/* SPDX-License-Identifier: Apache-2.0 */
/* A function that waits at its VM's doorbell: answers with the bytes that it is asked with, unless they
 * are a word of the table below. Some of it is what no function should do. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "guest_abi.h"
#include "volt_function.h"

static unsigned calls;
static atomic_bool wanted, seen;
static struct function_head *head; /* a mapping of its own, to do harm with */

static void say(const char *text)
{
    (void)volt_function_answer(text, strlen(text));
}

/* Where it ran, and as which call of its VM. */
static void where(void)
{
    char name[64] = "", text[96];

    gethostname(name, sizeof name - 1);
    snprintf(text, sizeof text, "%s %u\n", name, calls);
    say(text);
}

static void draw(void)
{
    uint64_t number = 0;
    char text[32];

    (void)!getrandom(&number, sizeof number, 0);
    snprintf(text, sizeof text, "%016" PRIx64 "\n", number);
    say(text);
}

/* How far the guest's clock is from the host's, in ms. */
static void clock_tell(void)
{
    struct timespec now;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text, "%lld\n",
             (long long)(now.tv_sec * 1000 + now.tv_nsec / 1000000) -
                 (long long)(volt_function_time_ns() / 1000000));
    say(text);
}

static void fail(void)
{
    (void)volt_function_fail("told an error", 13);
}

static void too_long(void)
{
    static char much[VOLT_FUNCTION_BYTES_MAX + 1];

    say(volt_function_answer(much, sizeof much) == -EMSGSIZE ? "refused" : "taken");
}

static void die(void)
{
    static const char words[] = "last words\n";

    (void)!write(2, words, sizeof words - 1);
    _exit(3);
}

static void spin(void)
{
    for (;;)
        __asm__ volatile("pause");
}

/* Without a system call: goes on only if the guest's kernel lets the other thread run. */
static void wait_for_thread(void)
{
    atomic_store(&wanted, true);
    while (!atomic_load(&seen))
        __asm__ volatile("pause");
    atomic_store(&seen, false);
    say("seen");
}

static void *thread_main(void *argument)
{
    for (;;) {
        if (atomic_exchange(&wanted, false))
            atomic_store(&seen, true);
        usleep(1000);
    }
    return argument;
}

static void rest(void)
{
    usleep(30000);
    say("rested");
}

static void ring(uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"((uint16_t)FUNCTION_PORT_BELL) : "memory");
}

static void lie_of_length(void)
{
    head->answer_bytes = 1u << 20;
    head->answered = head->call;
    ring(head->call);
}

static void lie_of_kind(void)
{
    head->answer_kind = 77;
    head->answer_bytes = 5;
    memcpy(volt_function_buffer(), "\033[31m", 5);
    head->answered = head->call;
    ring(head->call);
}

static void ring_for_another(void)
{
    ring(head->call + 1);
}

static const struct {
    const char *word;
    void (*run)(void);
} words[] = {
    { "where", where },
    { "draw", draw },
    { "clock", clock_tell },
    { "fail", fail },
    { "too long", too_long },
    { "die", die },
    { "spin", spin },
    { "thread", wait_for_thread },
    { "rest", rest },
    { "lie of length", lie_of_length },
    { "lie of kind", lie_of_kind },
    { "another", ring_for_another },
};

static int answer(void *context, const void *request, size_t bytes)
{
    (void)context;
    calls++;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (bytes == strlen(words[i].word) && memcmp(request, words[i].word, bytes) == 0) {
            words[i].run();
            return 0;
        }
    }
    return volt_function_answer(request, bytes);
}

int main(int argc, char **argv)
{
    pthread_t thread;

    if (argc > 1 && strcmp(argv[1], "--thread") == 0 &&
        pthread_create(&thread, NULL, thread_main, NULL) != 0)
        return 2;
    head = mmap(NULL, FUNCTION_HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, FUNCTION_MEMORY_FD,
                FUNCTION_AREA_GPA);
    if (head == MAP_FAILED)
        return 4;
    int status = volt_function_serve(answer, NULL);
    fprintf(stderr, "no more calls: %s\n", strerror(-status));
    return 1;
}
