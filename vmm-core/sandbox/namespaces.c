/* SPDX-License-Identifier: Apache-2.0 */
/* New namespaces and an empty root: after this the process sees no file, no process and no network
 * but what it was given as fds.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "control/control.h"
#include "sandbox/sandbox_internal.h"

/* From linux/mount.h, which can't be included beside sys/mount.h on all C libraries. */
#define MOUNT_FROM_EMPTY_PATH 0x00000004u /* MOVE_MOUNT_F_EMPTY_PATH */
#define CONFIG_SET_STRING 1u              /* FSCONFIG_SET_STRING */
#define CONFIG_CREATE 6u                  /* FSCONFIG_CMD_CREATE */
#define MOUNT_ATTRS 0x0000000eu           /* MOUNT_ATTR_NOSUID | NODEV | NOEXEC */

/* Beside the pid namespace, which is entered by a fork; these by the thread that asks for them. */
static const int thread_flags =
    CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

static int file_write(const char *path, const char *text, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return err_set_errno(err, errno, "writing \"%s\" to %s", text, path);
    return 0;
}

/* In a new user namespace the process stays the user that it was; nobody else exists in it. */
static int id_maps_write(uid_t uid, gid_t gid, struct err *err)
{
    char map[64];
    int r = file_write("/proc/self/setgroups", "deny", err);

    if (r < 0)
        return r;
    snprintf(map, sizeof(map), "%u %u 1", uid, uid);
    r = file_write("/proc/self/uid_map", map, err);
    if (r < 0)
        return r;
    snprintf(map, sizeof(map), "%u %u 1", gid, gid);
    return file_write("/proc/self/gid_map", map, err);
}

/* 0: the next child is in a new pid namespace, and the process has the right to the others; 1: not
 * allowed to, nothing changed; or -errno. */
static int pid_namespace_unshare(struct sandbox_status *status, struct err *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (unshare(CLONE_NEWPID) == 0) {
        /* Supplementary groups open files to a process that has no other right to them. */
        if (setgroups(0, NULL) < 0)
            return err_set_errno(err, errno, "dropping supplementary groups");
        return 0;
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0)
        return id_maps_write(uid, gid, err);
    sandbox_lacks(status, "namespaces are not available (%s)", strerror(errno));
    return 1;
}

/* What it waits by where there is a lifeline; else it waits by its pid alone. */
struct outside {
    int inner_fd, lifeline_fd; /* -1: none */
};

enum { OUTSIDE_INNER_FD, OUTSIDE_LIFELINE_FD, OUTSIDE_FD_COUNT };

/* All but these are closed. */
static int outside_close(struct outside *outside)
{
    int high[] = { outside->inner_fd, outside->lifeline_fd };
    unsigned count = outside->lifeline_fd < 0 ? 0 : OUTSIDE_FD_COUNT;

    for (unsigned i = 0; i < count; i++) {
        high[i] = fcntl(high[i], F_DUPFD, OUTSIDE_FD_COUNT);
        if (high[i] < 0)
            return -errno;
    }
    for (unsigned i = 0; i < count; i++) {
        if (dup2(high[i], (int)i) < 0)
            return -errno;
    }
    if (syscall(SYS_close_range, count, ~0u, 0u) < 0)
        return -errno;
    if (count)
        *outside = (struct outside){ OUTSIDE_INNER_FD, OUTSIDE_LIFELINE_FD };
    return 0;
}

/* All that it does not need for waiting. Without a lifeline it ends with who started it. Either way
 * it takes pid 1 along, which then need not hear of that end: it may be stopped, or in a guest's
 * hands. The kernel asks for the right to send that signal: without capabilities it takes pid 1's
 * uid. */
static int outside_strip(const struct sandbox_config *config, uint32_t uid, struct outside *outside)
{
    int r = outside_close(outside);

    if (r == 0)
        r = sandbox_limits_set(NULL);
    if (r == 0 && config->capabilities) /* of root yet, or the bounding set would stay as it is */
        r = sandbox_capabilities_reduce(NULL);
    if (r == 0 && uid != SANDBOX_KEEP_ID &&
        (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
         prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0))
        r = -errno;
    if (r == 0 && config->capabilities)
        r = sandbox_capabilities_drop(NULL);
    if (r == 0 && outside->lifeline_fd < 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) /* which a change of uids clears */
        r = -errno;
    return r == 0 ? sandbox_install_filter(config, SANDBOX_THREAD_OUTSIDE, NULL, NULL) : r;
}

/* Until pid 1 has ended. False: the lifeline's other end is gone before. */
static bool outside_poll(const struct outside *outside)
{
    if (outside->lifeline_fd < 0)
        return true;
    struct pollfd polled[] = { { .fd = outside->inner_fd, .events = POLLIN },
                               { .fd = outside->lifeline_fd, .events = 0 } };

    while (poll(polled, ARRAY_LEN(polled), -1) < 0) {
        if (errno != EINTR)
            return false;
    }
    return polled[0].revents;
}

/* What stays outside: holds nothing else, waits for pid 1 of the namespace and ends as it did. Killed
 * from outside, or when it could not be stripped, it takes that process along (PR_SET_PDEATHSIG).
 * Not sanitized: before each _exit that would make a call which its filter does not know.
 */
static void __attribute__((noreturn, no_sanitize_address))
outside_wait(const struct sandbox_config *config, uint32_t uid, pid_t inner)
{
    struct outside outside = { -1, -1 };
    int status = 0;

    if (config->lifeline_fd > 0)
        outside = (struct outside){ (int)syscall(SYS_pidfd_open, inner, 0), config->lifeline_fd };
    if (outside_strip(config, uid, &outside) < 0 || !outside_poll(&outside))
        _exit(EXIT_FAILURE);
    while (waitpid(inner, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
        _exit(128 + WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

/* The parent may have died before the death signal was asked for; getppid() is 0 in a new pid
 * namespace either way, so its pidfd tells. */
static void die_with_parent(int parent_pidfd)
{
    struct pollfd parent = { .fd = parent_pidfd, .events = POLLIN };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&parent, 1, 0) == 1)
        _exit(EXIT_FAILURE);
}

int sandbox_pid_namespace_enter(const struct sandbox_config *config, uint32_t uid,
                                struct sandbox_status *status, struct err *err)
{
    _cleanup_close_ int self = -1;
    pid_t inner;
    int r = pid_namespace_unshare(status, err);

    if (r != 0)
        return r < 0 ? r : 0;
    self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self < 0)
        return err_set_errno(err, errno, "opening a pidfd");
    inner = fork();
    if (inner < 0)
        return err_set_errno(err, errno, "forking into the pid namespace");
    if (inner > 0)
        outside_wait(config, uid, inner);
    die_with_parent(self);
    return 1;
}

/* Of this process's children from now on; *ret_old leads back. */
static int pid_namespace_for_children(int *ret_old)
{
    _cleanup_close_ int old = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

    if (old < 0 || unshare(CLONE_NEWPID) < 0)
        return -errno;
    *ret_old = take_fd(&old);
    return 0;
}

pid_t sandbox_fork(struct sandbox_config *config)
{
    _cleanup_close_ int old = -1, self = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (!config->namespaces || self < 0 || pid_namespace_for_children(&old) < 0)
        return fork();
    pid_t pid = fork();
    int code = errno;
    if (pid != 0) {
        /* It can make no thread while its children have another namespace than it has. */
        if (setns(old, CLONE_NEWPID) < 0)
            abort();
        errno = code;
        return pid;
    }
    die_with_parent(self);
    if (setgroups(0, NULL) < 0) /* they open files to a process that has no other right to them */
        _exit(EXIT_FAILURE);
    config->forked = true;
    return 0;
}

int sandbox_namespaces_enter(struct sandbox_status *status, struct err *err)
{
    if (unshare(thread_flags) == 0)
        status->layers |= CONTROL_LAYER_NAMESPACES;
    else if (errno == EPERM || errno == ENOSPC || errno == EINVAL)
        sandbox_lacks(status, "namespaces are not available (%s)", strerror(errno));
    else
        return err_set_errno(err, errno, "entering namespaces");
    return 0;
}

/* An empty tmpfs that nothing is ever written to, not mounted anywhere yet. */
static int tmpfs_make(struct err *err)
{
    _cleanup_close_ int fs = (int)syscall(SYS_fsopen, "tmpfs", 1u /* FSOPEN_CLOEXEC */);
    int mount_fd;

    if (fs < 0 || syscall(SYS_fsconfig, fs, CONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
        syscall(SYS_fsconfig, fs, CONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
        syscall(SYS_fsconfig, fs, CONFIG_CREATE, NULL, NULL, 0) < 0)
        return err_set_errno(err, errno, "making an empty tmpfs");
    mount_fd = (int)syscall(SYS_fsmount, fs, 1u /* FSMOUNT_CLOEXEC */, MOUNT_ATTRS);
    if (mount_fd < 0)
        return err_set_errno(err, errno, "making an empty tmpfs");
    return mount_fd;
}

int sandbox_root_empty(struct err *err)
{
    _cleanup_close_ int root = -1;

    if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_set_errno(err, errno, "making the mounts private");
    root = tmpfs_make(err);
    if (root < 0)
        return root;
    if (syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOUNT_FROM_EMPTY_PATH) < 0 ||
        fchdir(root) < 0)
        return err_set_errno(err, errno, "mounting an empty root");
    if (syscall(SYS_pivot_root, ".", ".") == 0) {
        /* The old root now lies on top of the new one: take it away, with all below it. */
        if (umount2(".", MNT_DETACH) < 0)
            return err_set_errno(err, errno, "letting go of the old root");
    } else if (errno != EINVAL) {
        return err_set_errno(err, errno, "changing to an empty root");
    }
    /* EINVAL: the system runs from an initramfs, which can't be pivoted away from. The empty root
     * lies on top of it: a chroot to there, and only CAP_SYS_CHROOT, which is dropped, leads
     * back. */
    if (chroot(".") < 0 || chdir("/") < 0)
        return err_set_errno(err, errno, "changing to an empty root");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              NULL) < 0)
        return err_set_errno(err, errno, "making the empty root read-only");
    return 0;
}
