/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the cgroup hierarchies that poold uses and the groups in them; see cgroup.h. */
#include "host/cgroup.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "host/cgroup_own.h"

#define NAME_BYTES_MAX 40u
#define CPU_PERIOD_US 100000u
/* Of each second. A v1 group has none by default, and without it nobody in it can be real-time: a
 * parked VM is until it has answered (base/prompt.h), which takes it 0.2 ms. For 200 VMs of each of nine
 * poolds, as all groups together have 0.95 s. */
#define REAL_TIME_US "500"
#define REAL_TIME_OF_ALL_US "100000"

/* The files that hold a limit in either version, and how its value is written. */
static const struct {
    enum cgroup_controller controller;
    const char *v1, *v2;
} knobs[] = {
    { CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max" },
    { CGROUP_PIDS, "pids.max", "pids.max" },
    { CGROUP_CPU, "cpu.shares", "cpu.weight" },
    { CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max" },
};

enum knob { KNOB_MEMORY, KNOB_PIDS, KNOB_WEIGHT, KNOB_QUOTA, KNOB_COUNT };
static_assert(ARRAY_LEN(knobs) == KNOB_COUNT, "one row a knob");

static bool knob_value(const struct cgroup_limits *limits, enum knob knob, bool v2, char *value,
                       size_t value_bytes)
{
    uint64_t number = 0;

    if (knob == KNOB_MEMORY)
        number = limits->memory_bytes;
    else if (knob == KNOB_PIDS)
        number = limits->pids;
    else if (knob == KNOB_WEIGHT) /* v1 counts the default as 1024, v2 as 100 */
        number = v2 ? limits->cpu_weight : MAX_OF(limits->cpu_weight * 1024ull / 100, 2);
    else
        number = limits->cpu_percent * (uint64_t)CPU_PERIOD_US / 100;
    if (number == 0 || (knob == KNOB_WEIGHT && limits->cpu_weight == 0))
        return false;
    if (knob == KNOB_QUOTA && v2)
        snprintf(value, value_bytes, "%" PRIu64 " %u", number, CPU_PERIOD_US);
    else
        snprintf(value, value_bytes, "%" PRIu64, number);
    return true;
}

static void lacks(struct cgroup_host *host, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void lacks(struct cgroup_host *host, const char *fmt, ...)
{
    size_t used = strlen(host->lacking);
    va_list args;

    if (used > 0 && used + 2 < sizeof(host->lacking)) {
        memcpy(host->lacking + used, "; ", 3);
        used += 2;
    }
    va_start(args, fmt);
    vsnprintf(host->lacking + used, sizeof(host->lacking) - used, fmt, args);
    va_end(args);
}

/* Into the child of its own in which poold and its keeper are. */
static int v2_daemon_move(int own_fd, pid_t keeper)
{
    char pid[16];

    if (mkdirat(own_fd, CGROUP_V2_DAEMON, 0755) < 0 && errno != EEXIST)
        return -errno;
    snprintf(pid, sizeof pid, "%d", keeper);
    if (keeper > 0) /* one that has ended is not in the way */
        (void)cgroup_file_write(own_fd, CGROUP_V2_DAEMON "/cgroup.procs", pid);
    return cgroup_file_write(own_fd, CGROUP_V2_DAEMON "/cgroup.procs", "0");
}

/* v2: has this process's group what its children need switched on? A group that holds processes
 * can't hand controllers to children, so poold moves into a child of its own first. */
static uint32_t v2_delegate(int own_fd, pid_t keeper)
{
    char list[256], enable[64] = "";
    uint32_t there;

    if (cgroup_file_read(own_fd, "cgroup.controllers", list, sizeof(list)) < 0)
        return 0;
    there = cgroup_controllers_in(list, " \n");
    for (unsigned i = 0; i < CGROUP_CONTROLLER_COUNT; i++) {
        if (there & 1u << i)
            snprintf(enable + strlen(enable), sizeof(enable) - strlen(enable), "+%s ",
                     cgroup_controller_name(i));
    }
    if (there == 0 || cgroup_file_write(own_fd, "cgroup.subtree_control", enable) == 0)
        return there;
    if (v2_daemon_move(own_fd, keeper) < 0 ||
        cgroup_file_write(own_fd, "cgroup.subtree_control", enable) < 0)
        return 0;
    return there;
}

/* Makes or takes over "volt-NAME" in own_fd and adds it to the host. */
static void hierarchy_add(struct cgroup_host *host, int own_fd, bool v2, uint32_t controllers,
                          const struct cgroup_owner *owner)
{
    struct cgroup_hierarchy *h = &host->hierarchy[host->hierarchy_count];
    char parent[NAME_BYTES_MAX + 8];
    int fd;

    snprintf(parent, sizeof(parent), "volt-%s", owner->name);
    if (v2) {
        controllers &= v2_delegate(own_fd, owner->keeper);
        if (controllers == 0) {
            lacks(host, "cgroup v2 does not hand its controllers to this process's group");
            return;
        }
    }
    fd = cgroup_parent_open(own_fd, parent);
    if (fd < 0) {
        lacks(host, "the cgroup %s can't be made (%s)", parent, strerror(-fd));
        return;
    }
    if (v2 && v2_delegate(fd, 0) == 0) {
        lacks(host, "the cgroup %s can't be used (%s)", parent, strerror(errno));
        close_fd(&fd);
        return;
    }
    if (!v2 && controllers & 1u << CGROUP_CPU)
        (void)cgroup_file_write(fd, "cpu.rt_runtime_us", REAL_TIME_OF_ALL_US);
    /* Both ways: an earlier poold of the same name may have been told otherwise. */
    int rc = controllers & 1u << CGROUP_CPU
                 ? cgroup_file_write(fd, "cpu.idle", owner->idle ? "1" : "0")
                 : 0;
    if (rc < 0 && owner->idle)
        lacks(host, "the cgroup %s can't be idle (%s): VMs have as much of the CPUs as others",
              parent, strerror(-rc));
    *h = (struct cgroup_hierarchy){ .parent_fd = fd, .controllers = controllers, .v2 = v2 };
    host->controllers |= controllers;
    host->hierarchy_count++;
}

/* Adds what one hierarchy has that none before had. */
static void mount_consider(struct cgroup_host *host, const struct cgroup_mount *mount,
                           const struct cgroup_owner *owner)
{
    _cleanup_close_ int own_fd = -1;
    uint32_t controllers = mount->controllers & ~host->controllers;
    char list[256];

    if (controllers == 0 || host->hierarchy_count == CGROUP_HIERARCHIES_MAX)
        return;
    own_fd = cgroup_own_open(mount, controllers);
    if (own_fd == -ENOENT)
        return;
    if (own_fd < 0) {
        lacks(host, "a cgroup at %s can't be opened (%s)", mount->point, strerror(-own_fd));
        return;
    }
    if (mount->v2) {
        if (cgroup_file_read(own_fd, "cgroup.controllers", list, sizeof(list)) < 0)
            return;
        controllers &= cgroup_controllers_in(list, " \n");
        if (controllers == 0)
            return; /* mounted beside v1, without controllers of its own */
    }
    hierarchy_add(host, own_fd, mount->v2, controllers, owner);
}

static bool id_is_good(const char *id, size_t bytes_max)
{
    size_t bytes = strlen(id);

    if (bytes == 0 || bytes > bytes_max)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (!islower((unsigned char)id[i]) && !isdigit((unsigned char)id[i]) && id[i] != '-')
            return false;
    }
    return true;
}

int cgroup_host_open(struct cgroup_host *host, const struct cgroup_owner *owner, struct err *err)
{
    struct cgroup_mount mount;
    FILE *mounts;

    memset(host, 0, sizeof(*host));
    if (!id_is_good(owner->name, NAME_BYTES_MAX))
        return err_set(err, EINVAL, "\"%s\" can't be part of a cgroup's name", owner->name);
    mounts = fopen("/proc/self/mountinfo", "re");
    while (mounts && cgroup_mount_next(mounts, &mount))
        mount_consider(host, &mount, owner);
    if (mounts)
        fclose(mounts);
    for (unsigned i = 0; i < CGROUP_CONTROLLER_COUNT; i++) {
        if (!(host->controllers & 1u << i))
            lacks(host, "no %s controller can be used", cgroup_controller_name(i));
    }
    return 0;
}

void cgroup_host_close(struct cgroup_host *host, const char *name)
{
    char parent[NAME_BYTES_MAX + 16];

    snprintf(parent, sizeof(parent), "../volt-%.40s", name);
    for (unsigned i = 0; i < host->hierarchy_count; i++) {
        cgroup_children_sweep(host->hierarchy[i].parent_fd);
        (void)unlinkat(host->hierarchy[i].parent_fd, parent, AT_REMOVEDIR);
        close_fd(&host->hierarchy[i].parent_fd);
    }
    memset(host, 0, sizeof(*host));
}

static int limits_write(const struct cgroup_hierarchy *h, int group_fd, const char *id,
                        const struct cgroup_limits *limits, struct err *err)
{
    for (unsigned i = 0; i < KNOB_COUNT; i++) {
        const char *file = h->v2 ? knobs[i].v2 : knobs[i].v1;
        char value[64];
        int r;

        if (!(h->controllers & 1u << knobs[i].controller) ||
            !knob_value(limits, (enum knob)i, h->v2, value, sizeof(value)))
            continue;
        r = cgroup_file_write(group_fd, file, value);
        if (r < 0)
            return err_set_errno(err, -r, "writing %s to %s of cgroup %s", value, file, id);
    }
    if (!h->v2 && h->controllers & 1u << CGROUP_CPU)
        (void)cgroup_file_write(group_fd, "cpu.rt_runtime_us", REAL_TIME_US);
    if (h->v2 && h->controllers & 1u << CGROUP_MEMORY)
        (void)cgroup_file_write(group_fd, "memory.oom.group",
                                "1"); /* dies as a whole; since 4.19 */
    return 0;
}

int cgroup_group_limit(const struct cgroup_host *host, const char *id,
                       const struct cgroup_limits *limits, struct err *err)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < host->hierarchy_count; i++) {
        const struct cgroup_hierarchy *h = &host->hierarchy[i];
        _cleanup_close_ int fd = openat(h->parent_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        r = fd < 0 ? err_set_errno(err, errno, "opening cgroup %s", id)
                   : limits_write(h, fd, id, limits, err);
    }
    return r;
}

void cgroup_v2_let_in(int parent_fd)
{
    static const char *const files[] = { "cgroup.subtree_control", "../cgroup.subtree_control" };

    for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
        for (unsigned c = 0; c < CGROUP_CONTROLLER_COUNT; c++) {
            char off[16];

            snprintf(off, sizeof off, "-%s", cgroup_controller_name((enum cgroup_controller)c));
            (void)cgroup_file_write(parent_fd, files[i], off); /* one that it has not is refused */
        }
    }
}

int cgroup_group_create(const struct cgroup_host *host, const char *id,
                        const struct cgroup_limits *limits, struct err *err)
{
    int r = 0;

    if (!id_is_good(id, CGROUP_ID_BYTES - 1))
        return err_set(err, EINVAL, "\"%s\" can't be a cgroup's name", id);
    for (unsigned i = 0; r == 0 && i < host->hierarchy_count; i++) {
        const struct cgroup_hierarchy *h = &host->hierarchy[i];
        _cleanup_close_ int fd = -1;

        if (mkdirat(h->parent_fd, id, 0755) < 0) {
            r = err_set_errno(err, errno, "making cgroup %s", id);
            break;
        }
        fd = openat(h->parent_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = fd < 0 ? err_set_errno(err, errno, "opening cgroup %s", id)
                   : limits_write(h, fd, id, limits, err);
    }
    if (r < 0 && r != -EEXIST)
        (void)cgroup_group_remove(host, id);
    return r;
}

int cgroup_group_open(const struct cgroup_host *host, const char *id,
                      int ret_fds[CGROUP_HIERARCHIES_MAX], unsigned *ret_count, struct err *err)
{
    int fds[CGROUP_HIERARCHIES_MAX];
    char path[CGROUP_ID_BYTES + 16];

    snprintf(path, sizeof(path), "%s/cgroup.procs", id);
    for (unsigned i = 0; i < host->hierarchy_count; i++) {
        fds[i] = openat(host->hierarchy[i].parent_fd, path, O_WRONLY | O_CLOEXEC);
        if (fds[i] < 0) {
            int r = err_set_errno(err, errno, "opening cgroup %s", id);

            while (i-- > 0)
                close(fds[i]);
            return r;
        }
    }
    memcpy(ret_fds, fds, host->hierarchy_count * sizeof(fds[0]));
    *ret_count = host->hierarchy_count;
    return 0;
}

int cgroup_group_join(const struct cgroup_host *host, const char *id, pid_t pid, struct err *err)
{
    char path[CGROUP_ID_BYTES + 16], text[16];

    snprintf(path, sizeof(path), "%s/cgroup.procs", id);
    snprintf(text, sizeof(text), "%d", pid);
    for (unsigned i = 0; i < host->hierarchy_count; i++) {
        int r = cgroup_file_write(host->hierarchy[i].parent_fd, path, text);

        if (r < 0)
            return err_set_errno(err, -r, "moving process %d into cgroup %s", pid, id);
    }
    return 0;
}

/* The number after a name, of a group's file of such lines; 0 where there is none. */
static unsigned long group_count(const struct cgroup_hierarchy *h, const char *id, const char *file,
                                 const char *name)
{
    char path[CGROUP_ID_BYTES + 32], text[512];
    const char *line;

    snprintf(path, sizeof(path), "%s/%s", id, file);
    if (cgroup_file_read(h->parent_fd, path, text, sizeof(text)) < 0)
        return 0;
    line = strstr(text, name);
    return line ? strtoul(line + strlen(name), NULL, 10) : 0;
}

/* "oom_kill" counts what was killed in the group, whosever limit had been met. Of its own tell "oom" of
 * memory.events (v2) and memory.failcnt (v1), which also counts limits that freeing pages had helped. */
enum cgroup_oom cgroup_group_oom(const struct cgroup_host *host, const char *id)
{
    for (unsigned i = 0; i < host->hierarchy_count; i++) {
        const struct cgroup_hierarchy *h = &host->hierarchy[i];

        if (!(h->controllers & 1u << CGROUP_MEMORY))
            continue;
        if (!group_count(h, id, h->v2 ? "memory.events" : "memory.oom_control", "oom_kill "))
            return CGROUP_OOM_NONE;
        return group_count(h, id, h->v2 ? "memory.events" : "memory.failcnt", h->v2 ? "oom " : "")
                   ? CGROUP_OOM_OWN
                   : CGROUP_OOM_HOST;
    }
    return CGROUP_OOM_NONE;
}

int cgroup_group_remove(const struct cgroup_host *host, const char *id)
{
    int r = 0;

    for (unsigned i = 0; i < host->hierarchy_count; i++) {
        if (unlinkat(host->hierarchy[i].parent_fd, id, AT_REMOVEDIR) < 0 && errno != ENOENT)
            r = -errno;
    }
    return r;
}
