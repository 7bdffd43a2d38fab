/* SPDX-License-Identifier: Apache-2.0 */
/* A guest program: exit status 0 if the clocks of all CPUs are in step. A thread on each CPU takes
 * its turn, reads the TSC and CLOCK_MONOTONIC, and compares them with what the CPU before it read:
 * neither may be behind. */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define ROUNDS 50
#define CPUS_MAX 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int cpu_count, turn; /* under lock, as the rest */
static uint64_t last_tsc, last_ns;
static uint64_t tsc_behind, ns_behind; /* the worst */

static void compare(void)
{
    struct timespec now;
    uint64_t tsc = __rdtsc();

    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (tsc < last_tsc && last_tsc - tsc > tsc_behind)
        tsc_behind = last_tsc - tsc;
    if (ns < last_ns && last_ns - ns > ns_behind)
        ns_behind = last_ns - ns;
    last_tsc = tsc;
    last_ns = ns;
}

static void *run(void *arg)
{
    int cpu = (int)(intptr_t)arg;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        return (void *)1;
    pthread_mutex_lock(&lock);
    for (int round = 0; round < ROUNDS; round++) {
        while (turn != cpu)
            pthread_cond_wait(&turned, &lock);
        compare();
        turn = (turn + 1) % cpu_count;
        pthread_cond_broadcast(&turned);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(void)
{
    pthread_t thread[CPUS_MAX];
    void *failed = NULL, *result;

    cpu_count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (cpu_count < 1 || cpu_count > CPUS_MAX)
        return 2;
    for (int i = 0; i < cpu_count; i++)
        if (pthread_create(&thread[i], NULL, run, (void *)(intptr_t)i) != 0)
            return 2;
    for (int i = 0; i < cpu_count; i++)
        if (pthread_join(thread[i], &result) == 0 && result)
            failed = result;
    printf("%d CPUs: TSC at most %llu cycles behind, CLOCK_MONOTONIC at most %llu ns\n", cpu_count,
           (unsigned long long)tsc_behind, (unsigned long long)ns_behind);
    return failed || tsc_behind || ns_behind;
}
