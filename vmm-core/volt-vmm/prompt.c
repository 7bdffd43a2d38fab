/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the scheduling of a VM without a daemon; see prompt.h. */
#include "volt-vmm/prompt.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/util.h"

enum rank { RANK_BEHIND, RANK_EVERYBODY, RANK_VM, RANK_PARENT };

static const struct {
    int policy, priority;
} ranks[] = {
    [RANK_BEHIND] = { SCHED_IDLE, 0 },
    [RANK_EVERYBODY] = { SCHED_OTHER, 0 },
    [RANK_VM] = { SCHED_RR, 1 },
    [RANK_PARENT] = { SCHED_RR, 2 },
};

static bool set_rank(pid_t thread, enum rank rank)
{
    const struct sched_param param = { .sched_priority = ranks[rank].priority };

    return sched_setscheduler(thread, ranks[rank].policy, &param) == 0;
}

/* What ends it is found in /proc: without that it does not begin. */
static bool can_be_ended(void)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", getpid(), getpid());
    return access(path, R_OK) == 0;
}

void prompt_begin(struct prompt *prompt)
{
    if (sched_getscheduler(0) != SCHED_OTHER || getpriority(PRIO_PROCESS, 0) > 0 || !can_be_ended())
        return;
    if (set_rank(0, RANK_PARENT))
        prompt->end_ns = now_ns() + PROMPT_NS;
}

void prompt_follow(const struct prompt *prompt)
{
    if (prompt->end_ns)
        set_rank(0, RANK_VM);
}

int prompt_timeout_ms(const struct prompt *prompt)
{
    uint64_t now = now_ns();

    if (!prompt->end_ns)
        return -1;
    return now >= prompt->end_ns ? 0 : (int)((prompt->end_ns - now) / NS_PER_MS + 1);
}

/* Those that are there; who starts another meanwhile hands on its rank. */
static void rank_threads(pid_t process, enum rank rank)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/%d/task", process);
    DIR *threads = opendir(path);
    if (!threads)
        return; /* it is gone */
    for (struct dirent *entry = readdir(threads); entry; entry = readdir(threads)) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);

        if (thread > 0)
            set_rank(thread, rank);
    }
    closedir(threads);
}

/* Without the right to a pid namespace, the VM is a child of the process that was forked for it. */
static void rank_vm(pid_t vm, enum rank rank)
{
    char path[64];
    pid_t child;

    rank_threads(vm, rank);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", vm, vm);
    FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%d", &child) == 1)
        rank_threads(child, rank);
    if (children)
        fclose(children);
}

/* Back from behind takes what a lower nice value takes, CAP_SYS_NICE or RLIMIT_NICE (sched(7)), which
 * who went ahead by RLIMIT_RTPRIO alone does not have. */
static bool may_come_back(void)
{
    const int nice = getpriority(PRIO_PROCESS, 0);

    return setpriority(PRIO_PROCESS, 0, nice - 1) == 0 && setpriority(PRIO_PROCESS, 0, nice) == 0;
}

void prompt_answered(struct prompt *prompt, pid_t vm)
{
    if (!prompt->end_ns)
        return;
    if (!may_come_back()) {
        prompt_end(prompt, vm);
        return;
    }
    rank_vm(vm, RANK_BEHIND);
    set_rank(0, RANK_EVERYBODY);
    prompt->end_ns = now_ns() + PROMPT_BEHIND_NS;
}

void prompt_end(struct prompt *prompt, pid_t vm)
{
    if (!prompt->end_ns)
        return;
    if (vm > 0)
        rank_vm(vm, RANK_EVERYBODY);
    set_rank(0, RANK_EVERYBODY);
    prompt->end_ns = 0;
}
