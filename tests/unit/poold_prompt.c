/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs ahead of others (base/prompt.h): this process is the loop, its children are VMs. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/prompt.h"
#include "base/util.h"
#include "tap_main.h"

struct vm {
    struct prompt_vm prompt;
    pid_t pid;
    int pidfd;
};

static uv_loop_t loop;
static uv_async_t alive; /* what keeps the loop going, as poold's sockets do */

static int policy_of(pid_t pid)
{
    return sched_getscheduler(pid) & ~SCHED_RESET_ON_FORK;
}

static int priority_of(pid_t pid)
{
    struct sched_param param;

    ck_assert_int_eq(sched_getparam(pid, &param), 0);
    return param.sched_priority;
}

static void vm_start(struct vm *vm)
{
    vm->pid = fork();
    ck_assert_int_ge(vm->pid, 0);
    if (vm->pid == 0) {
        for (;;)
            pause();
    }
    vm->pidfd = (int)syscall(SYS_pidfd_open, vm->pid, 0);
    ck_assert_int_ge(vm->pidfd, 0);
    prompt_vm_init(&vm->prompt);
}

static void vm_kill(struct vm *vm)
{
    prompt_vm_forget(&vm->prompt);
    kill(vm->pid, SIGKILL);
    ck_assert_int_eq(waitpid(vm->pid, NULL, 0), vm->pid);
    close_fd(&vm->pidfd);
}

static void loop_start(void)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(uv_async_init(&loop, &alive, NULL), 0);
    prompt_start(&loop);
    prompt_want(true);
}

/* As the daemon does with whatever is open. */
static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    uv_close(handle, NULL);
}

static void loop_stop(void)
{
    prompt_stop();
    prompt_want(false);
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* Runs the loop for so long. */
static void loop_run(unsigned ms)
{
    const struct timespec nap = { 0, 200000 };
    const uint64_t end = now_ns() + ms * 1000000ull;

    while (now_ns() < end) {
        uv_run(&loop, UV_RUN_NOWAIT);
        nanosleep(&nap, NULL);
    }
    uv_run(&loop, UV_RUN_NOWAIT); /* the nap may have been long */
}

START_TEST(a_parked_vm_is_behind_the_loop_alone)
{
    struct vm vm;

    loop_start();
    vm_start(&vm);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_OTHER);
    prompt_vm_park(&vm.prompt, vm.pidfd);
    prompt_vm_park(&vm.prompt, vm.pidfd);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_RR);
    ck_assert_int_lt(priority_of(vm.pid), priority_of(0));
    loop_run(3 * PROMPT_VM_MS);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_RR); /* however long it waits */
    prompt_vm_wake(&vm.prompt);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_RR);
    prompt_vm_end(&vm.prompt);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_OTHER);
    prompt_vm_wake(&vm.prompt); /* a second call of a function */
    ck_assert_int_eq(policy_of(vm.pid), SCHED_OTHER);
    vm_kill(&vm);
    loop_stop();
}
END_TEST

START_TEST(a_guest_that_does_not_answer_is_as_everybody)
{
    struct vm vms[3];

    loop_start();
    for (size_t i = 0; i < ARRAY_LEN(vms); i++) {
        vm_start(&vms[i]);
        prompt_vm_park(&vms[i].prompt, vms[i].pidfd);
    }
    uv_update_time(&loop);
    prompt_vm_wake(&vms[0].prompt);
    prompt_vm_wake(&vms[1].prompt);
    loop_run(2 * PROMPT_VM_MS);
    ck_assert_int_eq(policy_of(vms[0].pid), SCHED_OTHER);
    ck_assert_int_eq(policy_of(vms[1].pid), SCHED_OTHER);
    ck_assert_int_eq(policy_of(vms[2].pid), SCHED_RR); /* still parked */
    prompt_vm_wake(&vms[2].prompt);                    /* the time begins anew */
    ck_assert_int_eq(policy_of(vms[2].pid), SCHED_RR);
    loop_run(2 * PROMPT_VM_MS);
    ck_assert_int_eq(policy_of(vms[2].pid), SCHED_OTHER);
    for (size_t i = 0; i < ARRAY_LEN(vms); i++)
        vm_kill(&vms[i]);
    loop_stop();
}
END_TEST

/* Or it would be ahead of the one who takes that from it. */
START_TEST(no_vm_is_ahead_while_the_loop_is_not)
{
    struct vm woken, parked;

    loop_start();
    vm_start(&woken);
    vm_start(&parked);
    prompt_vm_park(&woken.prompt, woken.pidfd);
    prompt_vm_park(&parked.prompt, parked.pidfd);
    prompt_vm_wake(&woken.prompt);
    prompt_hold();
    ck_assert_int_eq(policy_of(0), SCHED_OTHER);
    ck_assert_int_eq(policy_of(woken.pid), SCHED_OTHER);
    ck_assert_int_eq(policy_of(parked.pid), SCHED_RR); /* it sleeps */
    prompt_vm_wake(&parked.prompt);
    ck_assert_int_eq(policy_of(parked.pid), SCHED_OTHER);
    prompt_release();
    ck_assert_int_eq(policy_of(0), SCHED_RR);
    prompt_vm_end(&parked.prompt); /* and parks anew */
    prompt_vm_park(&parked.prompt, parked.pidfd);
    prompt_vm_wake(&parked.prompt);
    ck_assert_int_eq(policy_of(parked.pid), SCHED_RR);
    prompt_want(false);
    ck_assert_int_eq(policy_of(parked.pid), SCHED_OTHER);
    vm_kill(&woken);
    vm_kill(&parked);
    vm_start(&woken);
    prompt_want(true);
    prompt_vm_park(&woken.prompt, woken.pidfd);
    ck_assert_int_eq(policy_of(woken.pid), SCHED_RR);
    loop_stop();
    ck_assert_int_eq(policy_of(woken.pid), SCHED_OTHER); /* whoever adopts it */
    ck_assert_int_eq(sched_setscheduler(woken.pid, SCHED_RR, &(struct sched_param){ 1 }), 0);
    prompt_vm_adopt(&woken.prompt, woken.pidfd); /* of one that was killed */
    ck_assert_int_eq(policy_of(woken.pid), SCHED_OTHER);
    vm_kill(&woken);
}
END_TEST

START_TEST(what_has_ended_is_not_touched)
{
    struct vm vm, gone;

    loop_start();
    vm_start(&gone);
    kill(gone.pid, SIGKILL);
    ck_assert_int_eq(waitpid(gone.pid, NULL, 0), gone.pid);
    prompt_vm_park(&gone.prompt, gone.pidfd);
    ck_assert_int_eq(gone.prompt.pid, 0);
    close_fd(&gone.pidfd);
    vm_start(&vm);
    prompt_vm_park(&vm.prompt, vm.pidfd);
    prompt_vm_wake(&vm.prompt);
    prompt_vm_forget(&vm.prompt);
    prompt_vm_end(&vm.prompt);
    loop_run(2 * PROMPT_VM_MS);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_RR); /* for all it knows another's */
    vm_kill(&vm);
    loop_stop();
}
END_TEST

/* Of which sched_setattr(2) tells; 0: the kernel is older than 6.12. */
static uint64_t slice_of(pid_t tid)
{
    uint64_t attr[6] = { 0 };

    ck_assert_int_eq(syscall(SYS_sched_getattr, tid, attr, sizeof attr, 0), 0);
    return attr[3];
}

static int told; /* where the second vCPU tells its thread id */

static void *vcpu_run(void *unused)
{
    const pid_t tid = gettid();

    if (write(told, &tid, sizeof tid) == sizeof tid)
        pause();
    return unused;
}

/* A VM of two vCPUs. Returns the second one's thread id. */
static pid_t vm_start_smp(struct vm *vm)
{
    int channel[2];
    pid_t second = 0;
    pthread_t thread;

    ck_assert_int_eq(pipe(channel), 0);
    vm->pid = fork();
    ck_assert_int_ge(vm->pid, 0);
    if (vm->pid == 0) {
        told = channel[1];
        pthread_create(&thread, NULL, vcpu_run, NULL);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(channel[0], &second, sizeof second), sizeof second);
    close_fd(&channel[0]);
    close_fd(&channel[1]);
    vm->pidfd = (int)syscall(SYS_pidfd_open, vm->pid, 0);
    ck_assert_int_ge(vm->pidfd, 0);
    prompt_vm_init(&vm->prompt);
    return second;
}

START_TEST(a_vm_has_long_slices_whatever_becomes_of_it)
{
    const uint64_t usual = slice_of(0);
    struct vm vm;

    loop_start();
    const pid_t second = vm_start_smp(&vm);
    ck_assert_int_eq(setpriority(PRIO_PROCESS, (id_t)second, 5), 0);
    ck_assert_uint_eq(slice_of(vm.pid), usual);
    prompt_vm_defer(vm.pid, vm.pidfd);
    if (usual != 0) {
        ck_assert_uint_eq(slice_of(vm.pid), PROMPT_VM_SLICE_NS);
        ck_assert_uint_eq(slice_of(second), PROMPT_VM_SLICE_NS);
    }
    ck_assert_int_eq(policy_of(vm.pid), SCHED_OTHER);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)vm.pid), 0);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)second), 5);
    prompt_vm_park(&vm.prompt, vm.pidfd);
    prompt_vm_wake(&vm.prompt);
    prompt_vm_end(&vm.prompt);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_OTHER);
    if (usual != 0)
        ck_assert_uint_eq(slice_of(vm.pid), PROMPT_VM_SLICE_NS);
    vm_kill(&vm);
    loop_stop();
}
END_TEST

/* Where nothing is prompt, as without the right to be: or it would wait behind VMs that compute, and be
 * answered later than if they had no long slices. */
START_TEST(a_vm_that_waits_for_a_wake_has_slices_as_everybody)
{
    const uint64_t usual = slice_of(0);
    struct vm vm;

    loop_start();
    const pid_t second = vm_start_smp(&vm);
    prompt_vm_defer(vm.pid, vm.pidfd);
    prompt_vm_park(&vm.prompt, vm.pidfd);
    prompt_want(false);
    prompt_vm_wake(&vm.prompt);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_OTHER);
    ck_assert_uint_eq(slice_of(vm.pid), usual);
    loop_run(2 * PROMPT_VM_MS);
    ck_assert_uint_eq(slice_of(vm.pid), usual); /* until it has answered */
    if (usual != 0)
        ck_assert_uint_eq(slice_of(second), PROMPT_VM_SLICE_NS);
    prompt_vm_end(&vm.prompt);
    if (usual != 0)
        ck_assert_uint_eq(slice_of(vm.pid), PROMPT_VM_SLICE_NS);
    vm_kill(&vm);
    loop_stop();
}
END_TEST

/* Slices are of those who share: what is idle or real-time stays that, and what is gone is not asked. */
START_TEST(only_who_shares_has_slices)
{
    struct vm vm;

    loop_start();
    vm_start(&vm);
    ck_assert_int_eq(sched_setscheduler(vm.pid, SCHED_IDLE, &(struct sched_param){ 0 }), 0);
    prompt_vm_defer(vm.pid, vm.pidfd);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_IDLE);
    ck_assert_int_eq(sched_setscheduler(vm.pid, SCHED_RR, &(struct sched_param){ 1 }), 0);
    prompt_vm_defer(vm.pid, vm.pidfd);
    ck_assert_int_eq(policy_of(vm.pid), SCHED_RR);
    const pid_t pid = vm.pid;
    vm_kill(&vm);
    prompt_vm_defer(pid, vm.pidfd);
    /* A number that is another's by now: this process's, which has not ended as the VM has. */
    vm_start(&vm);
    kill(vm.pid, SIGKILL);
    ck_assert_int_eq(waitpid(vm.pid, NULL, 0), vm.pid);
    const uint64_t before = slice_of(0);
    prompt_vm_defer(getpid(), vm.pidfd);
    ck_assert_uint_eq(slice_of(0), before);
    close_fd(&vm.pidfd);
    loop_stop();
}
END_TEST

static bool may_be_prompt(void)
{
    const struct sched_param param = { .sched_priority = sched_get_priority_min(SCHED_RR) + 1 };
    bool may = sched_setscheduler(0, SCHED_RR, &param) == 0;

    sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 });
    return may;
}

int main(void)
{
    Suite *suite = suite_create("poold_prompt");
    TCase *tests = tap_case(suite, "prompt");

    if (!may_be_prompt()) {
        puts("1..0 # SKIP real-time scheduling is refused here");
        return 0;
    }
    tcase_add_test(tests, a_parked_vm_is_behind_the_loop_alone);
    tcase_add_test(tests, a_guest_that_does_not_answer_is_as_everybody);
    tcase_add_test(tests, no_vm_is_ahead_while_the_loop_is_not);
    tcase_add_test(tests, what_has_ended_is_not_touched);
    tcase_add_test(tests, a_vm_has_long_slices_whatever_becomes_of_it);
    tcase_add_test(tests, a_vm_that_waits_for_a_wake_has_slices_as_everybody);
    tcase_add_test(tests, only_who_shares_has_slices);
    return tap_main(suite);
}
