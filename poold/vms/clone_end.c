/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the finding out of why a clone's process ended that said nothing of it; see clone_internal.h. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/process.h"
#include "base/util.h"
#include "vms/clone_internal.h"

#define PF_EXITING 0x4ul /* linux/sched.h: of the flags in /proc/PID/stat */

/* What the file of a process in /proc begins with; "" if it is gone. */
static void proc_read(int pid, const char *name, char ret_text[512])
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "re");
    const size_t bytes = file ? fread(ret_text, 1, 511, file) : 0;
    if (file)
        fclose(file);
    ret_text[bytes] = '\0';
}

static bool is_exiting(int pid)
{
    unsigned long flags;
    char text[512];

    proc_read(pid, "stat", text);
    const char *name_end = strrchr(text, ')');
    return !name_end || sscanf(name_end, ") %*c %*d %*d %*d %*d %*d %lu", &flags) != 1 ||
           flags & PF_EXITING;
}

/* The process that VMs are forked from is the init of their pid namespace: the kernel ends them in the
 * middle of its own end, which its parent, the only process of it that poold has, hears of later. */
static bool template_exits(const struct clone *clone)
{
    const struct hosted_pool *hosted = clone->slot->pool->owner;
    const int pid = process_of_pidfd(template_fd(hosted, clone->child.template_record, LINK_PIDFD));
    char name[48], text[512];
    int inside;

    if (pid <= 0 || is_exiting(pid))
        return true;
    if (!(clone->slot->layers & CONTROL_LAYER_NAMESPACES))
        return false;
    snprintf(name, sizeof name, "task/%d/children", pid);
    proc_read(pid, name, text);
    return sscanf(text, "%d", &inside) != 1 || is_exiting(inside);
}

/* Its sockets close before the kernel kills those that it is the init of. */
static bool template_ends(const struct clone *clone)
{
    const struct hosted_pool *hosted = clone->slot->pool->owner;
    const int fd = template_fd(hosted, clone->child.template_record, LINK_CONTROL);
    struct pollfd look = { .fd = fd, .events = POLLRDHUP };

    return fd < 0 || (poll(&look, 1, 0) == 1 && look.revents & (POLLHUP | POLLRDHUP));
}

void clone_fail_silently(struct clone *clone, const char *detail)
{
    const struct slot *slot = clone->slot;
    enum cgroup_oom oom;
    char limit[96];

    if (!slot || slot->state == SLOT_STOPPING)
        return;
    oom =
        clone->in_group ? cgroup_group_oom(&clone->vms->vm_groups.host, slot->id) : CGROUP_OOM_NONE;
    if (oom == CGROUP_OOM_HOST) {
        clone_fail(clone, FAILURE_HOST_MEMORY, "its own limit was not reached");
    } else if (oom == CGROUP_OOM_OWN) {
        snprintf(limit, sizeof limit, "its control group's limit is %llu MiB",
                 (unsigned long long)((slot->pool->vm_bytes + VM_GROUP_EXTRA_BYTES) >> 20));
        clone_fail(clone, FAILURE_OUT_OF_MEMORY, limit);
    } else if (clone->link.fds[LINK_PIDFD] >= 0 &&
               (template_ends(clone) || template_exits(clone))) {
        clone_fail(clone, FAILURE_TEMPLATE, detail);
    } else {
        clone_fail(clone, FAILURE_CRASHED, detail);
    }
}
