/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the scheduling of poold's loop, and of VMs before and after they are woken; see prompt.h. */
#include "base/prompt.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/process.h"
#include "base/util.h"

/* Above the lowest, which VMs have. */
#define LOOP_ABOVE 1

static bool wanted, is_prompt, is_refused, has_timer;
static unsigned holds;
static uv_timer_t timer;
/* VMs that have not answered a wake: those that are prompt and may run, and the others. */
static struct list running = { &running, &running }, parked = { &parked, &parked };

static bool schedule(pid_t pid, int policy, int above)
{
    const struct sched_param param = {
        .sched_priority = policy == SCHED_OTHER ? 0 : sched_get_priority_min(policy) + above,
    };

    return sched_setscheduler(pid, policy | SCHED_RESET_ON_FORK, &param) == 0;
}

static void vm_demote(struct prompt_vm *vm)
{
    if (vm->is_ahead)
        schedule(vm->pid, SCHED_OTHER, 0);
    vm->is_ahead = false;
}

static void all_demote(void)
{
    LIST_FOR_EACH(at, &running)
    {
        struct prompt_vm *vm = list_entry(at, struct prompt_vm, node);

        vm_demote(vm);
        list_remove(&vm->node);
        list_append(&parked, &vm->node);
    }
    if (has_timer)
        uv_timer_stop(&timer);
}

static void loop_schedule(void)
{
    const bool promptly = wanted && holds == 0;

    if (promptly == is_prompt)
        return;
    if (!promptly)
        all_demote();
    is_prompt = promptly; /* also when it is refused: asked for at the next change only */
    is_refused = !schedule(0, promptly ? SCHED_RR : SCHED_OTHER, LOOP_ABOVE);
}

void prompt_want(bool promptly)
{
    wanted = promptly;
    loop_schedule();
}

void prompt_hold(void)
{
    holds++;
    loop_schedule();
}

void prompt_release(void)
{
    holds--;
    loop_schedule();
}

/* All of them: one that was woken just now loses a little. */
static void on_time(uv_timer_t *expired)
{
    (void)expired;
    all_demote();
}

void prompt_start(uv_loop_t *loop)
{
    uv_timer_init(loop, &timer);
    uv_unref((uv_handle_t *)&timer);
    has_timer = true;
}

void prompt_stop(void)
{
    all_demote();
    LIST_FOR_EACH(at, &parked)
    {
        struct prompt_vm *vm = list_entry(at, struct prompt_vm, node);

        vm_demote(vm);
        prompt_vm_forget(vm);
    }
    has_timer = false;
}

void prompt_vm_init(struct prompt_vm *vm)
{
    *vm = (struct prompt_vm){ 0 };
    list_init(&vm->node);
}

void prompt_vm_adopt(struct prompt_vm *vm, int pidfd)
{
    const pid_t pid = process_of_pidfd(pidfd);

    prompt_vm_forget(vm);
    if (pid > 0)
        schedule(pid, SCHED_OTHER, 0);
}

/* sched_setattr(2), its first version; C libraries have it in 2.41 and later only. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* 0: as everybody's. Nothing else of it changes. Kernels before 6.12 take the call and keep their
 * slice. */
static void thread_slice(pid_t tid, uint64_t slice_ns)
{
    struct attributes attr = { 0 };

    if (syscall(SYS_sched_getattr, tid, &attr, sizeof attr, 0) < 0 ||
        (attr.policy != SCHED_OTHER && attr.policy != SCHED_BATCH))
        return;
    attr.runtime_ns = slice_ns;
    (void)syscall(SYS_sched_setattr, tid, &attr, 0);
}

void prompt_vm_defer(pid_t pid, int pidfd)
{
    char path[32];
    const struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return;
    /* What was opened is of the process that had the number then, and that lives yet. */
    while (!process_ended(pidfd) && (entry = readdir(tasks))) {
        if (entry->d_name[0] != '.')
            thread_slice((pid_t)strtol(entry->d_name, NULL, 10), PROMPT_VM_SLICE_NS);
    }
    closedir(tasks);
}

void prompt_vm_park(struct prompt_vm *vm, int pidfd)
{
    if (vm->pid != 0 || !has_timer)
        return;
    const pid_t pid = process_of_pidfd(pidfd);
    if (pid <= 0)
        return;
    /* The process's first thread is vCPU 0's. Before it is prompt, which has no slices. */
    thread_slice(pid, 0);
    vm->pid = pid;
    vm->is_ahead = !is_refused && schedule(pid, SCHED_RR, 0);
    list_append(&parked, &vm->node);
}

void prompt_vm_wake(struct prompt_vm *vm)
{
    if (!is_prompt || !has_timer)
        vm_demote(vm);
    if (!vm->is_ahead)
        return;
    if (list_empty(&running))
        uv_timer_start(&timer, on_time, PROMPT_VM_MS, 0);
    list_remove(&vm->node);
    list_append(&running, &vm->node);
}

void prompt_vm_end(struct prompt_vm *vm)
{
    if (vm->pid == 0)
        return;
    vm_demote(vm);
    thread_slice(vm->pid, PROMPT_VM_SLICE_NS);
    prompt_vm_forget(vm);
}

void prompt_vm_forget(struct prompt_vm *vm)
{
    vm->pid = 0;
    vm->is_ahead = false;
    list_remove(&vm->node);
    if (has_timer && list_empty(&running))
        uv_timer_stop(&timer);
}
