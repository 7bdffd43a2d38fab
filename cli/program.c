/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the running of programs on what is not trusted; see program.h. */
#include "program.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/landlock.h"
#include "base/util.h"
#include "interrupt.h"

#define ARGUMENTS_MAX 32
#define X32_BIT 0x40000000u
#define HEAD 6u /* instructions before the list */

/* ---- In the child ---- */

static bool capabilities_reduce(void)
{
    static const cap_value_t kept[] = { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH };
    cap_t set = cap_init();
    bool ok = set != NULL;

    if (geteuid() == 0)
        ok = ok && cap_set_flag(set, CAP_PERMITTED, ARRAY_LEN(kept), kept, CAP_SET) == 0 &&
             cap_set_flag(set, CAP_EFFECTIVE, ARRAY_LEN(kept), kept, CAP_SET) == 0;
    /* What root is given by exec is cut by the bounding set. */
    for (cap_value_t cap = 0; geteuid() == 0 && cap <= CAP_LAST_CAP && ok; cap++) {
        if (cap != kept[0] && cap != kept[1] && cap_drop_bound(cap) < 0 && errno != EINVAL)
            ok = false;
    }
    ok = ok && cap_set_proc(set) == 0;
    cap_free(set);
    return ok;
}

/* What no maker of file systems needs. Landlock sees TCP alone, and a Unix socket's name leads to
 * whatever does what this user asks for. */
static int calls_deny(struct err *err)
{
    static const unsigned denied[] = {
        SYS_socket,      SYS_io_uring_setup, /* which makes sockets, too */
        SYS_keyctl,      SYS_unshare,        /* a user's keys; the kernel's wider doors */
        SYS_setns,       SYS_bpf,
        SYS_userfaultfd, SYS_perf_event_open,
    };
    struct sock_filter code[HEAD + 2 * ARRAY_LEN(denied) + 1] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const struct sock_fprog filter = { .len = ARRAY_LEN(code), .filter = code };
    unsigned count = HEAD;

    for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
        code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, denied[i], 0, 1);
        code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    }
    code[count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0)
        return err_set_errno(err, errno, "denying system calls");
    return 0;
}

static int program_confine(const char *folder, struct err *err)
{
    _cleanup_close_ int root_fd = open("/", O_PATH | O_CLOEXEC);
    _cleanup_close_ int null_fd = open("/dev/null", O_PATH | O_CLOEXEC);
    _cleanup_close_ int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const uint64_t write = LANDLOCK_FS_WRITE_FILE | LANDLOCK_FS_TRUNCATE;
    const struct landlock_rule rules[] = {
        { root_fd, LANDLOCK_FS_READ_FILE | LANDLOCK_FS_READ_DIR | LANDLOCK_FS_EXECUTE },
        { null_fd, write },
        { folder_fd, write | LANDLOCK_FS_MAKE_REG | LANDLOCK_FS_MAKE_DIR | LANDLOCK_FS_REMOVE_FILE |
                         LANDLOCK_FS_REMOVE_DIR | LANDLOCK_FS_REFER },
    };
    uint32_t abi;

    if (root_fd < 0 || null_fd < 0 || folder_fd < 0)
        return err_set_errno(err, errno, "%s", folder);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || !capabilities_reduce())
        return err_set_errno(err, errno, "giving up rights");
    setenv("TMPDIR", folder, 1);
    int rc = landlock_restrict(rules, ARRAY_LEN(rules), &abi, err);
    return rc < 0 ? rc : calls_deny(err);
}

/* Why the program did not even start. */
struct failure {
    bool is_exec;
    struct err err;
};

static void program_become(const struct program *program, char *const *argv, int report_fd)
{
    struct failure failure = { 0 };
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    dup2(null_fd, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    /* Whatever voltctl was started with. */
    syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    if (program_confine(program->folder, &failure.err) == 0) {
        execvp(argv[0], argv);
        failure.is_exec = true;
        err_set_errno(&failure.err, errno, "starting %s", argv[0]);
    }
    _exit(write(report_fd, &failure, sizeof failure) < 0 ? 126 : 127);
}

/* ---- In the parent ---- */

static int status_check(const char *name, int status, struct err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (interrupt_check(err) < 0)
        return -EINTR;
    return err_set(err, EIO, "%s failed (%s %d); what it said is above", name,
                   WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

int program_run(const struct program *program, struct err *err)
{
    char *argv[ARGUMENTS_MAX + 1];
    struct failure failure;
    int status, report[2];
    size_t argc = 0;

    for (size_t i = 0; i < program->count && argc < ARGUMENTS_MAX; i++) {
        if (program->arguments[i])
            argv[argc++] = (char *)(uintptr_t)program->arguments[i];
    }
    assert(argc > 0);
    argv[argc] = NULL;
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "starting %s", argv[0]);
    _cleanup_close_ int read_end = report[0], write_end = report[1];
    pid_t pid = fork();
    if (pid < 0)
        return err_set_errno(err, errno, "starting %s", argv[0]);
    if (pid == 0)
        program_become(program, argv, write_end);
    close_fd(&write_end);
    ssize_t n;
    do
        n = read(read_end, &failure, sizeof failure); /* nothing: the exec closed it */
    while (n < 0 && errno == EINTR);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (n != sizeof failure)
        return status_check(argv[0], status, err);
    if (failure.is_exec && failure.err.code == ENOENT)
        return err_set(err, ENOENT,
                       "%s is not installed; on Debian it comes with: apt-get install %s", argv[0],
                       program->package);
    *err = failure.err;
    return -failure.err.code;
}
