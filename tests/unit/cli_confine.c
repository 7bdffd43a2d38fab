/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the process that unpacks can write beneath its folder and do nothing else, as root and not,
 * with chroot and without; a kernel without Landlock is told; and what the process says is not
 * believed. Method: a process behind the walls tries each thing that it must not; a filter hides
 * Landlock; children that are none send reports.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/landlock.h"
#include "base/util.h"
#include "hostile_write.h"
#include "tap_main.h"
#include "unpack.h"

#define NOBODY 65534u

static char base[64];
static uint8_t stream[HOSTILE_BYTES_MAX];

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

static void base_make(void)
{
    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    run("mkdir -m 777 out && chmod 755 .");
}

static void base_remove(void)
{
    char command[96];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", base, base);
    run(command);
}

static void become_nobody(void)
{
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        _exit(99);
}

/* Unpacks into "out". */
static int unpack_bytes(const struct unpack_spec *wanted, const void *data, size_t bytes,
                        struct unpack_result *ret_result, struct err *err)
{
    struct unpack_spec spec = *wanted;
    struct unpack unpack;

    spec.target_fd = open("out", O_PATH | O_DIRECTORY | O_CLOEXEC);
    spec.walls = CONFINE_ALL;
    ck_assert_int_ge(spec.target_fd, 0);
    ck_assert_int_eq(unpack_start(&unpack, &spec, err), 0);
    unpack_feed(&unpack, data, bytes);
    int rc = unpack_finish(&unpack, ret_result, err);
    close(spec.target_fd);
    return rc;
}

/* ---- The second wall ---- */

static int errno_of(long result)
{
    return result < 0 ? errno : 0;
}

/* What the process must not be able to do: an error, or its end by the filter. */
static int try_read(void)
{
    return errno_of(open("/etc/passwd", O_RDONLY));
}
static int try_read_inside(void)
{
    return errno_of(openat(CONFINE_TARGET_FD, "mine", O_RDONLY));
}
static int try_write(void)
{
    return errno_of(open("/tmp/volt-evil", O_WRONLY | O_CREAT, 0600));
}
static int try_parent(void)
{
    struct stat st;

    if (openat(CONFINE_TARGET_FD, "../evil", O_WRONLY | O_CREAT, 0600) < 0)
        return errno;
    return fstatat(CONFINE_TARGET_FD, "evil", &st, 0) == 0 ? EXDEV
                                                           : 0; /* nothing is above a root */
}
static int try_link(void)
{
    return errno_of(linkat(AT_FDCWD, "/etc/passwd", CONFINE_TARGET_FD, "passwd", 0));
}
static int try_chmod(void)
{
    return errno_of(fchmodat(AT_FDCWD, "/etc/passwd", 0644, 0));
}
static int try_chown(void)
{
    return errno_of(fchownat(AT_FDCWD, "/etc/passwd", 0, 0, 0));
}
static int try_time(void)
{
    return errno_of(utimensat(AT_FDCWD, "/etc/passwd", NULL, 0));
}
static int try_socket(void)
{
    return errno_of(syscall(SYS_socket, 2, 1, 0));
}
static int try_fork(void)
{
    return errno_of(syscall(SYS_fork));
}
static int try_exec(void)
{
    return errno_of(execl("/bin/true", "true", (char *)NULL));
}
static int try_kill(void)
{
    return errno_of(kill(1, 0));
}
static int try_ioctl(void)
{
    return errno_of(syscall(SYS_ioctl, 2, 0x5412, "x")); /* TIOCSTI */
}
static int try_ptrace(void)
{
    return errno_of(syscall(SYS_ptrace, 16, 1, 0, 0));
}
static int try_mount(void)
{
    return errno_of(syscall(SYS_mount, "none", "/", "tmpfs", 0, 0));
}
static int try_chroot(void)
{
    return errno_of(syscall(SYS_chroot, "."));
}
static int try_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}
static int try_x32(void)
{
    return errno_of(syscall(0x40000000 + SYS_read, 0, NULL, 0));
}
/* A device that could be made must not be one that can be opened. */
static int try_device(void)
{
    if (mknodat(CONFINE_TARGET_FD, "zero", S_IFCHR | 0666, makedev(1, 5)) < 0)
        return errno;
    return errno_of(openat(CONFINE_TARGET_FD, "zero", O_WRONLY));
}
static int try_descriptors(void)
{
    for (int fd = CONFINE_TARGET_FD + 1; fd < 1024; fd++) {
        if (close(fd) == 0)
            return 0;
    }
    return EBADF;
}
/* And what it must be able to do: the walls are not just a brick. */
static int may_write_inside(void)
{
    int fd = openat(CONFINE_TARGET_FD, "mine", O_WRONLY | O_CREAT | O_EXCL, 0600);

    return fd >= 0 && write(fd, "x", 1) == 1 && fchmod(fd, 0644) == 0 &&
                   linkat(CONFINE_TARGET_FD, "mine", CONFINE_TARGET_FD, "again", 0) == 0 &&
                   mkdirat(CONFINE_TARGET_FD, "folder", 0700) == 0 &&
                   linkat(CONFINE_TARGET_FD, "mine", CONFINE_TARGET_FD, "folder/mine", 0) == 0
               ? EPERM
               : 0;
}

static int (*const attempts[])(void) = {
    try_read,   try_read_inside, try_write,        try_parent, try_link, try_chmod,
    try_chown,  try_time,        try_socket,       try_fork,   try_exec, try_kill,
    try_ioctl,  try_ptrace,      try_mount,        try_chroot, try_code, try_x32,
    try_device, try_descriptors, may_write_inside,
};

static int attempt_work(void *context, unsigned walls)
{
    int (*const *attempt)(void) = context;

    (void)walls;
    return (*attempt)() == 0 ? 66 : 0;
}

static const unsigned wall_sets[] = { CONFINE_ALL, CONFINE_LANDLOCK | CONFINE_FILTER };

static void attempt_in_child(size_t index, bool owner, bool nodes, unsigned walls, bool nobody)
{
    struct err err = { 0 };
    int status = 0;

    if (nobody)
        become_nobody();
    int target_fd = open("out", O_PATH | O_DIRECTORY | O_CLOEXEC),
        null_fd = open("/dev/null", O_RDWR);
    const struct confine confine = { .target_fd = target_fd,
                                     .input_fd = null_fd,
                                     .report_fd = null_fd,
                                     .owner = owner,
                                     .nodes = nodes,
                                     .walls = walls };
    int (*attempt)(void) = attempts[index];
    pid_t pid;

    if (confine_start(&confine, attempt_work, &attempt, &pid, &err) < 0)
        _exit(2);
    waitpid(pid, &status, 0);
    bool held = (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) || status == 0;
    _exit(held ? 0 : 1);
}

START_TEST(the_process_can_do_nothing_else)
{
    bool root = geteuid() == 0;

    for (unsigned i = 0; i < 16; i++) {
        bool nobody = i & 1, owner = i & 2, nodes = i & 8;
        unsigned walls = wall_sets[i / 4 % 2];
        int status;

        if (nobody && !root)
            continue;
        run("rm -rf out/* && echo mine >other && chmod 777 out");
        pid_t pid = fork();
        if (pid == 0)
            attempt_in_child((size_t)_i, owner, nodes, walls, nobody);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        run("test ! -e evil && test ! -e /tmp/volt-evil");
        ck_assert_msg(status == 0, "attempt %d, walls %x, owner %d, nobody %d: %#x", _i, walls,
                      owner, nobody, status);
    }
}
END_TEST

/* A system call that fails for this process and what it starts. */
static void call_hide(uint32_t number, uint16_t code)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { ARRAY_LEN(program), program };

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

START_TEST(without_landlock_it_works_and_says_so)
{
    const struct unpack_spec spec = { .what = UNPACK_COPY, .names = { "top", "", false } };
    static const struct hostile_place place = { "top", "%" };
    static const struct hostile_member good = { .name = "@/a" }, bad = { .name = "@/../b" };
    struct hostile_writer writer = { &place, stream, 0 };
    struct unpack_result result;
    struct err err = { 0 };

    call_hide(SYS_landlock_create_ruleset, ENOSYS);
    ck_assert_uint_eq(landlock_abi(), 0);
    hostile_put(&writer, &good);
    hostile_put_end(&writer);
    ck_assert_int_eq(unpack_bytes(&spec, stream, writer.bytes, &result, &err), 0);
    ck_assert_ptr_nonnull(strstr(unpack_walls_note(result.walls), "no Landlock"));
    run("test \"$(cat out/a)\" = evil");
    writer.bytes = 0;
    hostile_put(&writer, &bad);
    hostile_put_end(&writer);
    ck_assert_int_eq(unpack_bytes(&spec, stream, writer.bytes, &result, &err), -EPERM);
    run("test ! -e b");
    ck_assert_ptr_null(unpack_walls_note(CONFINE_ALL));
}
END_TEST

/* As on a host whose users get no namespaces. */
START_TEST(links_are_marked_without_a_change_of_root)
{
    const struct unpack_spec spec = { .what = UNPACK_COPY, .names = { "top", "", false } };
    static const struct hostile_place place = { "top", "%" };
    static const struct hostile_member link = { .name = "@/l", .type = '2', .link = "/etc" };
    struct hostile_writer writer = { &place, stream, 0 };
    struct unpack_result result;
    struct err err = { 0 };
    int status;

    hostile_put(&writer, &link);
    hostile_put_end(&writer);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0)
            become_nobody();
        call_hide(SYS_unshare, EPERM);
        int rc = unpack_bytes(&spec, stream, writer.bytes, &result, &err);
        _exit(rc == 0 && !(result.walls & CONFINE_CHROOT) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    struct stat st;
    ck_assert_int_eq(lstat("out/l", &st), 0);
    ck_assert_int_eq(st.st_mtim.tv_nsec, PLACE_LINK_MARK_NS);
}
END_TEST

/* ---- What the parent makes of its child ---- */

static int report_take(const void *report, size_t bytes, int exit_code, struct err *err)
{
    struct unpack_result result;
    struct unpack unpack = { .fd = -1 };
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    unpack.pid = fork();
    if (unpack.pid == 0) {
        if (exit_code < 0)
            raise(-exit_code);
        _exit(write(ends[1], report, bytes) == (ssize_t)bytes ? exit_code : 98);
    }
    close(ends[1]);
    unpack.report_fd = ends[0];
    return unpack_finish(&unpack, &result, err);
}

START_TEST(a_child_is_not_believed)
{
    static uint8_t report[4096];
    struct err err;

    memset(report, 0xff, sizeof report); /* strings without an end, an errno of -1 */
    for (size_t bytes = 0; bytes < sizeof report; bytes += 41) {
        ck_assert_int_lt(report_take(report, bytes, 0, &err), 0);
        ck_assert_int_lt(report_take(report, bytes, CONFINE_FAILED, &err), 0);
        ck_assert_msg(strspn(err.msg, "\n\r\033") == 0 && err.msg[0], "it says '%s'", err.msg);
    }
    ck_assert_int_eq(report_take(report, 0, -SIGSYS, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.msg, "must not make"));
    ck_assert_int_eq(report_take(report, 0, -SIGSEGV, &err), -EIO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_confine");
    TCase *tests = tap_case(suite, "the process that unpacks");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_loop_test(tests, the_process_can_do_nothing_else, 0, ARRAY_LEN(attempts));
    tcase_add_test(tests, without_landlock_it_works_and_says_so);
    tcase_add_test(tests, links_are_marked_without_a_change_of_root);
    tcase_add_test(tests, a_child_is_not_believed);
    return tap_main(suite);
}
