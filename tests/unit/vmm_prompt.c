/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a VM without a daemon runs ahead of all else up to its answer and not a moment longer, behind
 * all else from there until it is ready, and whoever has put volt-vmm behind others is obeyed.
 * Method: a process with threads in a VM's place, and how the kernel says that each is scheduled.
 */
#include "volt-vmm/prompt.h"

#include <check.h>
#include <dirent.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "tap_main.h"

#define THREADS 3u

static void *__attribute__((noreturn)) wait_for_end(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

/* A process with threads, which are all there when this returns; in_child: those of a child of that
 * process, *ret_child. */
static pid_t start_vm_in(const struct prompt *prompt, bool in_child, pid_t *ret_child)
{
    int ready[2];
    pid_t child;

    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        pthread_t thread;

        prompt_follow(prompt);
        child = in_child ? fork() : 0;
        if (child > 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            wait_for_end(NULL);
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (unsigned i = 1; i < THREADS; i++)
            pthread_create(&thread, NULL, wait_for_end, NULL);
        child = getpid();
        (void)!write(ready[1], &child, sizeof child);
        wait_for_end(NULL);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], ret_child, sizeof *ret_child), sizeof *ret_child);
    close(ready[0]);
    return pid;
}

static pid_t start_vm(const struct prompt *prompt)
{
    pid_t self;

    return start_vm_in(prompt, false, &self);
}

static void end_vm(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* How many of its threads are scheduled so. */
static unsigned threads_with(pid_t pid, int policy)
{
    unsigned count = 0;
    char path[32];

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    ck_assert_ptr_nonnull(threads);
    for (struct dirent *entry = readdir(threads); entry; entry = readdir(threads))
        count += entry->d_name[0] != '.' &&
                 sched_getscheduler((pid_t)strtol(entry->d_name, NULL, 10)) == policy;
    closedir(threads);
    return count;
}

static int priority_of(pid_t pid)
{
    struct sched_param param;

    ck_assert_int_eq(sched_getparam(pid, &param), 0);
    return param.sched_priority;
}

START_TEST(all_threads_are_ahead_until_the_end)
{
    struct prompt prompt = { 0 };

    prompt_begin(&prompt);
    pid_t vm = start_vm(&prompt);
    ck_assert_uint_eq(threads_with(vm, SCHED_RR), THREADS);
    ck_assert_int_lt(priority_of(vm), priority_of(0)); /* who ends it comes first */
    int timeout_ms = prompt_timeout_ms(&prompt);
    ck_assert_int_ge(timeout_ms, 0);
    ck_assert_int_le(timeout_ms, (int)(PROMPT_NS / NS_PER_MS) + 1);
    prompt_end(&prompt, vm);
    ck_assert_uint_eq(threads_with(vm, SCHED_OTHER), THREADS);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
    ck_assert_int_eq(prompt_timeout_ms(&prompt), -1);
    prompt_end(&prompt, vm); /* once is enough */
    end_vm(vm);
}
END_TEST

/* As without root: a process outside of the VM's namespace has forked it. */
START_TEST(vm_that_is_a_child_is_found)
{
    struct prompt prompt = { 0 };
    pid_t vm;

    prompt_begin(&prompt);
    pid_t outer = start_vm_in(&prompt, true, &vm);
    ck_assert_int_ne(outer, vm);
    ck_assert_uint_eq(threads_with(vm, SCHED_RR), THREADS);
    prompt_end(&prompt, outer);
    ck_assert_uint_eq(threads_with(vm, SCHED_OTHER), THREADS);
    ck_assert_uint_eq(threads_with(outer, SCHED_OTHER), 1);
    end_vm(outer);
}
END_TEST

START_TEST(all_threads_are_behind_after_the_answer)
{
    struct prompt prompt = { 0 };

    prompt_begin(&prompt);
    pid_t vm = start_vm(&prompt);
    prompt_answered(&prompt, vm);
    ck_assert_uint_eq(threads_with(vm, SCHED_IDLE), THREADS);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
    int timeout_ms = prompt_timeout_ms(&prompt);
    ck_assert_int_ge(timeout_ms, 0);
    ck_assert_int_le(timeout_ms, (int)(PROMPT_BEHIND_NS / NS_PER_MS) + 1);
    prompt_end(&prompt, vm);
    ck_assert_uint_eq(threads_with(vm, SCHED_OTHER), THREADS);
    ck_assert_int_eq(prompt_timeout_ms(&prompt), -1);
    prompt_answered(&prompt, vm); /* another one, of a snapshot taken later */
    ck_assert_uint_eq(threads_with(vm, SCHED_OTHER), THREADS);
    end_vm(vm);
}
END_TEST

START_TEST(timeout_comes_and_a_dead_vm_is_fine)
{
    struct prompt prompt = { 0 };

    prompt_begin(&prompt);
    pid_t vm = start_vm(&prompt);
    while (prompt_timeout_ms(&prompt) > 0)
        usleep(1000);
    end_vm(vm);
    prompt_end(&prompt, vm);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
    prompt_begin(&prompt);
    prompt_end(&prompt, 0);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
}
END_TEST

START_TEST(who_is_behind_others_stays_there)
{
    struct prompt prompt = { 0 };

    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 5), 0);
    prompt_begin(&prompt);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
    ck_assert_int_eq(prompt_timeout_ms(&prompt), -1);
    pid_t vm = start_vm(&prompt);
    ck_assert_uint_eq(threads_with(vm, SCHED_OTHER), THREADS);
    prompt_answered(&prompt, vm); /* who may not go ahead could not come back from behind */
    ck_assert_uint_eq(threads_with(vm, SCHED_OTHER), THREADS);
    end_vm(vm);
}
END_TEST

START_TEST(idle_stays_idle)
{
    struct prompt prompt = { 0 };

    ck_assert_int_eq(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 }), 0);
    prompt_begin(&prompt);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_IDLE);
}
END_TEST

/* As where RLIMIT_RTPRIO gave real-time scheduling to a user who has no RLIMIT_NICE. */
START_TEST(who_could_not_come_back_does_not_go_behind)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    struct prompt prompt = { 0 };

    prompt_begin(&prompt);
    pid_t vm = start_vm(&prompt);
    ck_assert_int_eq(syscall(SYS_capget, &header, data), 0);
    data[0].effective &= ~(1u << CAP_SYS_NICE);
    ck_assert_int_eq(syscall(SYS_capset, &header, data), 0);
    prompt_answered(&prompt, vm);
    prompt_end(&prompt, vm);
    ck_assert_uint_eq(threads_with(vm, SCHED_OTHER), THREADS);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), 0);
    ck_assert_int_eq(prompt_timeout_ms(&prompt), -1);
    end_vm(vm);
}
END_TEST

/* Without the right, or where real-time scheduling has no share of this control group. */
static bool may_be_prompt(void)
{
    const struct sched_param one = { .sched_priority = 1 }, none = { 0 };

    if (getpriority(PRIO_PROCESS, 0) > 0 || sched_getscheduler(0) != SCHED_OTHER ||
        sched_setscheduler(0, SCHED_RR, &one) < 0)
        return false;
    return sched_setscheduler(0, SCHED_OTHER, &none) == 0;
}

int main(void)
{
    Suite *suite = suite_create("vmm_prompt");
    TCase *tests = tap_case(suite, "prompt");

    if (!may_be_prompt()) {
        puts("1..0 # SKIP this process can't get real-time scheduling, or runs behind others");
        return 0;
    }
    tcase_add_test(tests, all_threads_are_ahead_until_the_end);
    tcase_add_test(tests, vm_that_is_a_child_is_found);
    tcase_add_test(tests, all_threads_are_behind_after_the_answer);
    tcase_add_test(tests, timeout_comes_and_a_dead_vm_is_fine);
    tcase_add_test(tests, who_is_behind_others_stays_there);
    tcase_add_test(tests, idle_stays_idle);
    tcase_add_test(tests, who_could_not_come_back_does_not_go_behind);
    return tap_main(suite);
}
