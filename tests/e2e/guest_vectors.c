/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in a guest: whether vector registers belong to their process, all of them. Prints a line for each
 * way in which another's values, or a handler's, could get into them, and "ok" or what was wrong.
 *
 * What ought to stay is loaded, a system call is made that another process or a handler gets the CPU
 * by, and what is there is compared, in assembly: a compiler would use the registers itself. */
#include <assert.h>
#include <cpuid.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 3
#define ROUNDS 200

struct registers {
    uint8_t zmm0[64], zmm7[64], zmm31[64];
    uint64_t k1;
};

enum wrong { NOTHING, SSE, AVX, AVX512, DIED, WRONG_COUNT };
static const char *const wrong_names[] = { "ok", "SSE's part", "AVX's part", "AVX-512's part",
                                           "a process died" };
static_assert(sizeof wrong_names / sizeof *wrong_names == WRONG_COUNT, "a name each");

static bool has_avx512;

/* A system call without arguments but two, with AVX's registers, or all of AVX-512's, around it. */
__attribute__((target("avx"))) static long call_avx(long nr, long a, long b, struct registers *at)
{
    __asm__ volatile("vmovdqu %[zero], %%ymm0\n vmovdqu %[seven], %%ymm7\n"
                     "syscall\n"
                     "vmovdqu %%ymm0, %[zero]\n vmovdqu %%ymm7, %[seven]\n"
                     : "+a"(nr), [zero] "+m"(at->zmm0), [seven] "+m"(at->zmm7)
                     : "D"(a), "S"(b)
                     : "rcx", "r11", "memory", "xmm0", "xmm7");
    return nr;
}

__attribute__((target("avx512bw"))) static long call_avx512(long nr, long a, long b,
                                                            struct registers *at)
{
    __asm__ volatile("vmovdqu64 %[zero], %%zmm0\n vmovdqu64 %[seven], %%zmm7\n"
                     "vmovdqu64 %[last], %%zmm31\n kmovq %[mask], %%k1\n"
                     "syscall\n"
                     "vmovdqu64 %%zmm0, %[zero]\n vmovdqu64 %%zmm7, %[seven]\n"
                     "vmovdqu64 %%zmm31, %[last]\n kmovq %%k1, %[mask]\n"
                     : "+a"(nr), [zero] "+m"(at->zmm0), [seven] "+m"(at->zmm7),
                       [last] "+m"(at->zmm31), [mask] "+m"(at->k1)
                     : "D"(a), "S"(b)
                     : "rcx", "r11", "memory", "xmm0", "xmm7", "xmm31", "k1");
    return nr;
}

static long call(long nr, long a, long b, struct registers *at)
{
    return has_avx512 ? call_avx512(nr, a, b, at) : call_avx(nr, a, b, at);
}

/* Makes the call with registers full of `fill`. */
static enum wrong kept(long nr, long a, long b, uint8_t fill, long *ret_result)
{
    struct registers before, after;

    memset(&before, fill, sizeof before);
    after = before;
    *ret_result = call(nr, a, b, &after);
    if (memcmp(before.zmm0, after.zmm0, 16) != 0 || memcmp(before.zmm7, after.zmm7, 16) != 0)
        return SSE;
    if (memcmp(before.zmm0, after.zmm0, 32) != 0 || memcmp(before.zmm7, after.zmm7, 32) != 0)
        return AVX;
    return memcmp(&before, &after, sizeof before) == 0 ? NOTHING : AVX512;
}

static void tell(const char *way, enum wrong wrong)
{
    printf("%s: %s\n", way, wrong_names[wrong]);
    fflush(stdout);
}

static void switches(void)
{
    enum wrong wrong = NOTHING;
    int status;
    long result;

    for (int i = 0; i < PROCESSES; i++) {
        if (fork() != 0)
            continue;
        for (int round = 0; round < ROUNDS && wrong == NOTHING; round++)
            wrong = kept(SYS_sched_yield, 0, 0, (uint8_t)(0x11 * (i + 1)), &result);
        _exit((int)wrong);
    }
    while (wait(&status) > 0)
        if (status != 0)
            wrong = WIFEXITED(status) ? (enum wrong)WEXITSTATUS(status) : DIED;
    tell("switches of processes", wrong);
}

__attribute__((target("avx"))) static void on_signal(int number)
{
    (void)number;
    __asm__ volatile("vpcmpeqd %%xmm0, %%xmm0, %%xmm0\n vmovdqa %%xmm0, %%xmm7\n vzeroupper\n" ::
                         : "xmm0", "xmm7");
}

static void signals(void)
{
    enum wrong wrong = NOTHING;
    long result;

    signal(SIGUSR1, on_signal);
    for (int round = 0; round < ROUNDS && wrong == NOTHING; round++)
        wrong = kept(SYS_kill, getpid(), SIGUSR1, 0x5a, &result);
    tell("a signal's handler", wrong);
}

static void forks(void)
{
    int status = 0;
    long child;
    enum wrong wrong = kept(SYS_fork, 0, 0, 0xa5, &child);

    if (child == 0)
        _exit((int)wrong);
    if (child < 0 || waitpid((pid_t)child, &status, 0) < 0)
        wrong = DIED;
    else if (status != 0)
        wrong = WIFEXITED(status) ? (enum wrong)WEXITSTATUS(status) : DIED;
    tell("fork", wrong);
}

int main(void)
{
    unsigned eax, ebx, ecx, edx;

    __cpuid(1, eax, ebx, ecx, edx);
    if (!(ecx & bit_AVX) || !(ecx & bit_OSXSAVE)) {
        puts("no AVX");
        return EXIT_SUCCESS;
    }
    __cpuid_count(7, 0, eax, ebx, ecx, edx);
    has_avx512 = (ebx & bit_AVX512BW) != 0;
    switches();
    signals();
    forks();
    return EXIT_SUCCESS;
}
