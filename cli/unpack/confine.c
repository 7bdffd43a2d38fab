/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the walls around the process that unpacks; see confine.h. */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/landlock.h"
#include "base/util.h"
#include "confine_internal.h"

#define LANDLOCK_ABI_MIN 2u /* without REFER no hard link between two folders */
#define MEMORY_MAX GIB(2)   /* what decompressing and a million folders take, and room */
#define FILES_MAX 64

/* ---- Descriptors ---- */

/* The three at their places, 1 and 2 on /dev/null, all others closed. */
static int fds_arrange(const struct confine *confine, struct err *err)
{
    const int wanted[] = { CONFINE_INPUT_FD, CONFINE_REPORT_FD, CONFINE_TARGET_FD };
    int given[] = { confine->input_fd, confine->report_fd, confine->target_fd };
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null_fd < 0)
        return err_set_errno(err, errno, "opening /dev/null");
    for (size_t i = 0; i < ARRAY_LEN(given); i++) { /* out of each other's way first */
        given[i] = fcntl(given[i], F_DUPFD_CLOEXEC, 10);
        if (given[i] < 0)
            return err_set_errno(err, errno, "duplicating a descriptor");
    }
    if (dup2(null_fd, STDOUT_FILENO) < 0 || dup2(null_fd, STDERR_FILENO) < 0)
        return err_set_errno(err, errno, "duplicating a descriptor");
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        if (dup2(given[i], wanted[i]) < 0)
            return err_set_errno(err, errno, "duplicating a descriptor");
    }
    if (syscall(SYS_close_range, CONFINE_TARGET_FD + 1u, ~0u, 0u) < 0)
        return err_set_errno(err, errno, "closing inherited descriptors");
    return 0;
}

/* ---- chroot ---- */

/* A private view of the target in which no device can be opened and no set-id bit counts; in its
 * place as CONFINE_TARGET_FD. False: without the right to mount, or before Linux 5.12. */
static bool view_enter(void)
{
    struct mount_attr attr = { .attr_set =
                                   MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC };
    _cleanup_close_ int fd = (int)syscall(SYS_open_tree, CONFINE_TARGET_FD, "",
                                          OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

    return fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0 &&
           dup2(fd, CONFINE_TARGET_FD) >= 0;
}

static bool target_chroot(void)
{
    return fchdir(CONFINE_TARGET_FD) == 0 && chroot(".") == 0;
}

static bool line_write(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* A user namespace in which we are who we are, and may change our root. */
static bool user_namespace_enter(void)
{
    char uid_map[48], gid_map[48];

    snprintf(uid_map, sizeof uid_map, "%u %u 1", geteuid(), geteuid());
    snprintf(gid_map, sizeof gid_map, "%u %u 1", getegid(), getegid());
    return unshare(CLONE_NEWUSER) == 0 && line_write("/proc/self/setgroups", "deny") &&
           line_write("/proc/self/uid_map", uid_map) && line_write("/proc/self/gid_map", gid_map) &&
           target_chroot();
}

/* Some hosts let a user make a namespace and then forbid all in it: whoever is in one can't go
 * back, so another process tries first. */
static bool user_namespace_works(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(user_namespace_enter() ? 0 : 1);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void root_enter(unsigned *walls)
{
    if (view_enter())
        *walls |= CONFINE_NODEV;
    if (target_chroot() || (user_namespace_works() && user_namespace_enter()))
        *walls |= CONFINE_CHROOT;
}

/* ---- Rights ---- */

static int limits_set(struct err *err)
{
    const struct rlimit no_core = { 0, 0 }, files = { FILES_MAX, FILES_MAX };

    if (setrlimit(RLIMIT_CORE, &no_core) < 0 || setrlimit(RLIMIT_NOFILE, &files) < 0)
        return err_set_errno(err, errno, "limiting the unpacker");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they map terabytes */
    const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
    if (setrlimit(RLIMIT_AS, &memory) < 0)
        return err_set_errno(err, errno, "limiting the unpacker's memory");
#endif
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set_errno(err, errno, "setting no_new_privs");
    return 0;
}

/* How many of the capabilities below are kept. */
static int capabilities_kept(const struct confine *confine, unsigned walls)
{
    if (geteuid() != 0)
        return 0;
    if (!confine->owner || !(walls & CONFINE_CHROOT))
        return 1;
    return !confine->nodes ? 3 : walls & CONFINE_NODEV ? 6 : 5;
}

/* Root writes into others' folders; told to, it gives files away, and for an image it makes nodes,
 * too. What acts on names is kept only where every name is confined. */
static int capabilities_reduce(const struct confine *confine, unsigned walls, struct err *err)
{
    static const cap_value_t caps[] = { CAP_DAC_OVERRIDE, CAP_CHOWN,   CAP_FOWNER,
                                        CAP_FSETID,       CAP_SETFCAP, CAP_MKNOD };
    int keep = capabilities_kept(confine, walls);
    cap_t old = cap_get_proc(), set = cap_init();
    bool ok = old && set;

    for (int i = 0; i < keep && ok; i++) {
        cap_flag_value_t has = CAP_CLEAR;

        ok = cap_get_flag(old, caps[i], CAP_PERMITTED, &has) == 0 &&
             (has == CAP_CLEAR || (cap_set_flag(set, CAP_PERMITTED, 1, &caps[i], CAP_SET) == 0 &&
                                   cap_set_flag(set, CAP_EFFECTIVE, 1, &caps[i], CAP_SET) == 0));
    }
    ok = ok && cap_set_proc(set) == 0;
    cap_free(old);
    cap_free(set);
    return ok ? 0 : err_set_errno(err, errno, "dropping the unpacker's capabilities");
}

static int landlock_enter(unsigned *walls, struct err *err)
{
    const struct landlock_rule rule = {
        CONFINE_TARGET_FD,
        LANDLOCK_FS_WRITE_FILE | LANDLOCK_FS_TRUNCATE | LANDLOCK_FS_READ_DIR |
            LANDLOCK_FS_REMOVE_DIR | LANDLOCK_FS_REMOVE_FILE | LANDLOCK_FS_MAKE_DIR |
            LANDLOCK_FS_MAKE_REG | LANDLOCK_FS_MAKE_SYM | LANDLOCK_FS_REFER |
            (*walls & CONFINE_NODEV ? LANDLOCK_FS_MAKE_CHAR | LANDLOCK_FS_MAKE_BLOCK : 0) |
            LANDLOCK_FS_MAKE_FIFO,
    };
    uint32_t abi;

    if (landlock_abi() < LANDLOCK_ABI_MIN)
        return 0;
    int rc = landlock_restrict(&rule, 1, &abi, err);
    if (rc == 0)
        *walls |= CONFINE_LANDLOCK;
    return rc;
}

/* Last, as a change of rights takes it back: the child goes when its parent does. */
static int parent_follow(pid_t parent, struct err *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return err_set_errno(err, errno, "asking for a death signal");
    return getppid() == parent ? 0 : err_set(err, ESRCH, "voltctl is gone");
}

static int walls_set_up(const struct confine *confine, pid_t parent, unsigned *ret_walls,
                        struct err *err)
{
    unsigned walls = confine->walls & CONFINE_FILTER;
    int rc = 0;

    setlocale(LC_CTYPE, "C.UTF-8"); /* names in pax headers; a file, while there is a way to it */
    if (confine->walls & CONFINE_CHROOT)
        root_enter(&walls);
    rc = limits_set(err);
    if (rc == 0)
        rc = capabilities_reduce(confine, walls, err);
    if (rc == 0 && (confine->walls & CONFINE_LANDLOCK))
        rc = landlock_enter(&walls, err);
    if (rc == 0)
        rc = parent_follow(parent, err);
    if (rc == 0 && (confine->walls & CONFINE_FILTER))
        rc = confine_filter_install(confine, walls, err);
    *ret_walls = walls;
    return rc;
}

static int child_run(const struct confine *confine, pid_t parent, confine_work work, void *context)
{
    struct err failure = { 0 };
    int report_fd = confine->report_fd;
    unsigned walls = 0;
    int rc = fds_arrange(confine, &failure);

    if (rc == 0) {
        report_fd = CONFINE_REPORT_FD;
        rc = walls_set_up(confine, parent, &walls, &failure);
    }
    if (rc == 0)
        return work(context, walls);
    return write(report_fd, failure.msg, sizeof failure.msg) < 0 ? 1 : CONFINE_FAILED;
}

int confine_start(const struct confine *confine, confine_work work, void *context, pid_t *ret_pid,
                  struct err *err)
{
    pid_t parent = getpid(), pid = fork();

    if (pid < 0)
        return err_set_errno(err, errno, "starting the unpacker");
    if (pid == 0)
        _exit(child_run(confine, parent, work, context));
    *ret_pid = pid;
    return 0;
}
