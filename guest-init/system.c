/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts, description and power off: see system.h. */
#include "system.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#define TERMINATE_GRACE_US 100000
#define NAME_COLUMN 12

void console_write(const char *string)
{
    size_t left = strlen(string);

    while (left > 0) {
        ssize_t count = write(STDOUT_FILENO, string, left);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return;
        string += count;
        left -= (size_t)count;
    }
}

static struct fail failure;

void system_complain(const struct fail *fail)
{
    console_write("volt-init: ");
    console_write(fail->sentence);
    console_write("\n");
}

void system_fail(const struct fail *fail)
{
    system_complain(fail);
    if (!failure.sentence[0])
        failure = *fail;
}

const char *system_failure(void)
{
    return failure.sentence;
}

struct mount_point {
    const char *type, *target, *options;
    unsigned long flags;
    bool optional; /* kernels may be without it */
};

static int mount_one(const struct mount_point *point)
{
    if (mount(point->type, point->target, point->type, point->flags, point->options) == 0)
        return 0;
    /* Directories of the initramfs are there; those below a mount are made. */
    if (errno == ENOENT && mkdir(point->target, 0755) == 0 &&
        mount(point->type, point->target, point->type, point->flags, point->options) == 0)
        return 0;
    return -errno;
}

void system_mount(void)
{
    static const struct mount_point points[] = {
        { "devtmpfs", "/dev", "mode=0755", MS_NOSUID, false },
        { "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
        { "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
        { "devpts", "/dev/pts", "mode=0620,ptmxmode=0666,gid=5", MS_NOSUID | MS_NOEXEC, false },
        { "tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV, false },
        { "mqueue", "/dev/mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true },
        { "cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true },
        { "tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV, false },
        { "tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV, false },
    };
    static const struct {
        const char *target, *link;
    } links[] = {
        { "/proc/self/fd", "/dev/fd" },
        { "/proc/self/fd/0", "/dev/stdin" },
        { "/proc/self/fd/1", "/dev/stdout" },
        { "/proc/self/fd/2", "/dev/stderr" },
    };
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        int status = mount_one(&points[i]);

        if (status == 0 || status == -EBUSY || points[i].optional) /* busy: the kernel did it */
            continue;
        fail_set_errno(&fail, -status, "can't mount", points[i].target);
        system_complain(&fail);
    }
    for (size_t i = 0; i < ARRAY_LEN(links); i++)
        (void)symlink(links[i].target, links[i].link);
}

void system_limits(void)
{
    const struct rlimit files = { .rlim_cur = 1024, .rlim_max = 1048576 };

    prlimit(0, RLIMIT_NOFILE, &files, NULL);
}

static void describe_line(struct text *text, const char *indent, const char *name)
{
    size_t start = text->length;

    text_add(text, indent);
    text_add(text, name);
    text_pad(text, start + NAME_COLUMN);
}

static unsigned cpu_count(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (unsigned)CPU_COUNT(&set);
}

void system_describe(struct text *text, const char *indent)
{
    struct utsname name;
    struct sysinfo info;

    uname(&name);
    sysinfo(&info);
    describe_line(text, indent, "kernel");
    text_add(text, name.sysname);
    text_add(text, " ");
    text_add(text, name.release);
    text_add(text, "\n");
    describe_line(text, indent, "memory");
    text_add_u64(text, info.freeram * (uint64_t)info.mem_unit >> 20);
    text_add(text, " MiB free of ");
    text_add_u64(text, info.totalram * (uint64_t)info.mem_unit >> 20);
    text_add(text, " MiB\n");
    describe_line(text, indent, "CPUs");
    text_add_u64(text, cpu_count());
    text_add(text, "\n");
    describe_line(text, indent, "uptime");
    text_add_u64(text, (uint64_t)info.uptime);
    text_add(text, " s\n");
}

void system_stay_on_cpu0(bool stay)
{
    static cpu_set_t all;
    static int count;
    cpu_set_t first;

    if (count == 0 && sched_getaffinity(0, sizeof(all), &all) == 0)
        count = CPU_COUNT(&all);
    if (count < 2)
        return;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof(all), stay ? &first : &all);
}

void system_power_off(void)
{
    signal(SIGTERM, SIG_IGN); /* also when it is the shell that asks */
    kill(-1, SIGTERM);
    usleep(TERMINATE_GRACE_US);
    sync();
    /* The project's kernel has no ACPI: its reset goes through the keyboard controller, which the
     * VMM takes as power off. */
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}
