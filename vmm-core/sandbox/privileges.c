/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is stripped of: inherited fds, limits, capabilities. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "sandbox/sandbox_internal.h"

#define KEEP_FDS_MAX 64u

static const struct {
    int resource;
    rlim_t value;
    const char *name;
} limits[] = {
    { RLIMIT_CORE, 0, "RLIMIT_CORE" },         /* a core would hold guest memory */
    { RLIMIT_NOFILE, 4096, "RLIMIT_NOFILE" },  /* the template holds fds of many clones */
    { RLIMIT_MSGQUEUE, 0, "RLIMIT_MSGQUEUE" }, /* none is used */
    { RLIMIT_SIGPENDING, 1024, "RLIMIT_SIGPENDING" },
    { RLIMIT_RTTIME, 1000000, "RLIMIT_RTTIME" }, /* 1 s, should poold die before it takes it away */
};

/* Kept for sandbox_enter_vm: the VM's own uid, gid and root directory, which is that uid's alone
 * (DAC_READ_SEARCH: to change into it). */
static const unsigned kept_caps[] = { CAP_SETUID, CAP_SETGID, CAP_SYS_CHROOT, CAP_DAC_READ_SEARCH };

static int fd_compare(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;

    return (left > right) - (left < right);
}

/* Closes first to last; nothing when the range is empty. */
static int range_close(unsigned first, unsigned last, struct err *err)
{
    if (first <= last && syscall(SYS_close_range, first, last, 0u) < 0)
        return err_set_errno(err, errno, "closing inherited fds");
    return 0;
}

/* Who started the process shares the descriptions of its stdio, and would share them with a guest
 * that takes it over. */
static int stdio_let_go(struct err *err)
{
    _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null_fd < 0)
        return err_set_errno(err, errno, "opening /dev/null");
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(null_fd, fd) < 0)
            return err_set_errno(err, errno, "letting go of stdio");
    }
    if (null_fd <= 2)
        (void)take_fd(&null_fd);
    return 0;
}

int sandbox_close_fds(const int *keep_fds, unsigned keep_count, struct err *err)
{
    int keep[KEEP_FDS_MAX], next = 3, rc = stdio_let_go(err);

    if (rc < 0)
        return rc;
    if (keep_count > KEEP_FDS_MAX)
        return err_set(err, E2BIG, "%u fds to keep, %u is the limit", keep_count, KEEP_FDS_MAX);
    memcpy(keep, keep_fds, keep_count * sizeof(keep[0]));
    qsort(keep, keep_count, sizeof(keep[0]), fd_compare);
    for (unsigned i = 0; i < keep_count; i++) {
        int r;

        if (keep[i] < next)
            continue; /* stdio, -1, or named twice */
        r = keep[i] > next ? range_close((unsigned)next, (unsigned)keep[i] - 1, err) : 0;
        if (r < 0)
            return r;
        next = keep[i] + 1;
    }
    return range_close((unsigned)next, ~0u, err);
}

int sandbox_limits_set(struct err *err)
{
    for (unsigned i = 0; i < ARRAY_LEN(limits); i++) {
        struct rlimit limit;

        if (getrlimit(limits[i].resource, &limit) < 0)
            return err_set_errno(err, errno, "reading %s", limits[i].name);
        limit.rlim_max = MIN_OF(limit.rlim_max, limits[i].value);
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(limits[i].resource, &limit) < 0)
            return err_set_errno(err, errno, "setting %s", limits[i].name);
    }
    umask(0077);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set_errno(err, errno, "setting no_new_privs");
    /* Not dumpable: no ptrace, no core, and /proc/PID is root's even for the same user. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return err_set_errno(err, errno, "becoming undumpable");
    return 0;
}

/* Sets all three sets of the thread to empty, but for those of keep that it has. By capset(2) itself:
 * libcap asks the kernel for its capabilities in every program that it is linked to. */
static int caps_set(const unsigned *keep, unsigned keep_count, struct err *err)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct old[_LINUX_CAPABILITY_U32S_3] = { 0 },
                                  new[_LINUX_CAPABILITY_U32S_3] = { 0 };

    if (syscall(SYS_capget, &head, old) < 0)
        return err_set_errno(err, errno, "reading capabilities");
    for (unsigned i = 0; i < keep_count; i++) {
        unsigned word = CAP_TO_INDEX(keep[i]);
        uint32_t has = old[word].permitted & CAP_TO_MASK(keep[i]);

        new[word].permitted |= has;
        new[word].effective |= has;
    }
    if (syscall(SYS_capset, &head, new) < 0)
        return err_set_errno(err, errno, "dropping capabilities");
    return 0;
}

int sandbox_capabilities_reduce(struct err *err)
{
    unsigned long cap = 0;

    /* Not asked first which are set: 41 system calls instead of 82. */
    while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
        cap++;
    /* EINVAL: that was the last one. EPERM: without CAP_SETPCAP (started by a user, outside a user
     * namespace) it can't be emptied; no_new_privs keeps it from mattering, and there is nothing
     * to drop. */
    if (errno != EINVAL && errno != EPERM)
        return err_set_errno(err, errno, "emptying the bounding set");
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return err_set_errno(err, errno, "emptying the ambient set");
    return caps_set(kept_caps, ARRAY_LEN(kept_caps), err);
}

int sandbox_capabilities_drop(struct err *err)
{
    return caps_set(NULL, 0, err);
}
