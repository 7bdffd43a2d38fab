/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of system calls of the process that unpacks. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "confine_internal.h"

#define X32_BIT 0x40000000u

/* What must be in force for a call to be on the list. */
enum filter_needs {
    ALWAYS,
    CHROOT, /* acts on a name, and Landlock does not look */
    TIMES,  /* the same, but what came out of a VM must be marked: a user's rights hold it, too */
    OWNER,  /* the same, and only root has a use for it */
    NODES,  /* the same, for what is no copy */
};

static const struct {
    uint32_t number;
    enum filter_needs needs;
} allowed[] = {
    { SYS_read, ALWAYS },      /* the stream */
    { SYS_write, ALWAYS },     /* the report */
    { SYS_pwrite64, ALWAYS },  /* files, which have holes */
    { SYS_ftruncate, ALWAYS }, /* a hole at the end */
    { SYS_close, ALWAYS },
    { SYS_openat2, ALWAYS },    /* the way to every name, resolved beneath the target */
    { SYS_openat, ALWAYS },     /* the way back up when a tree is removed */
    { SYS_fcntl, ALWAYS },      /* fdopendir's look at its descriptor */
    { SYS_getdents64, ALWAYS }, /* trees that a layer removes */
    { SYS_newfstatat, ALWAYS }, /* what is in the way */
    { SYS_fstat, ALWAYS },
    { SYS_mkdirat, ALWAYS },
    { SYS_symlinkat, ALWAYS },
    { SYS_linkat, ALWAYS },
    { SYS_unlinkat, ALWAYS },
    { SYS_renameat, ALWAYS }, /* a file that takes another's place, whole */
    { SYS_fchmod, ALWAYS },   /* by descriptor, so beneath the target: Landlock let it be opened */
    { SYS_fchown, ALWAYS },
    { SYS_fsetxattr, ALWAYS },
    { SYS_utimensat, TIMES }, /* times of links; those of open files: see below */
    { SYS_fchmodat, CHROOT }, /* modes of device nodes, folders that are in the way */
    { SYS_fchownat, OWNER },  /* owners of links and device nodes */
    { SYS_mknodat, NODES },
    { SYS_umask, ALWAYS }, /* what copies' modes are cut by */
    { SYS_geteuid, ALWAYS },
    { SYS_brk, ALWAYS }, /* memory, none of it executable */
    { SYS_munmap, ALWAYS },
    { SYS_mremap, ALWAYS },
    { SYS_madvise, ALWAYS },
    { SYS_futex, ALWAYS },
    { SYS_getrandom, ALWAYS },
    { SYS_exit_group, ALWAYS },
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    { SYS_mprotect, ALWAYS }, /* the sanitizers' own */
    { SYS_sigaltstack, ALWAYS },
    { SYS_rt_sigaction, ALWAYS },
    { SYS_rt_sigprocmask, ALWAYS },
    { SYS_gettid, ALWAYS },
    { SYS_getpid, ALWAYS },
    { SYS_sched_yield, ALWAYS },
#endif
};

#define LOAD_AT(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define LOAD(field) LOAD_AT(offsetof(struct seccomp_data, field))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define IF(test, value, then_skip, else_skip)                                                      \
    BPF_JUMP(BPF_JMP | (test) | BPF_K, value, then_skip, else_skip)

/* What follows the list: calls that are allowed with certain arguments. Memory that can't be
 * executed, and times by descriptor; a time by name, where the list has it not, is not set. */
static const struct sock_filter tail[] = {
    IF(BPF_JEQ, SYS_mmap, 0, 3), /* else: to utimensat */
    LOAD(args[2]),
    IF(BPF_JSET, PROT_EXEC, 8, 0), /* then: kill */
    RETURN(SECCOMP_RET_ALLOW),
    IF(BPF_JEQ, SYS_utimensat, 0, 6), /* else: kill */
    LOAD(args[1]),
    IF(BPF_JEQ, 0, 0, 3), /* else: EPERM */
    LOAD_AT(offsetof(struct seccomp_data, args[1]) + 4),
    IF(BPF_JEQ, 0, 0, 1),
    RETURN(SECCOMP_RET_ALLOW),
    RETURN(SECCOMP_RET_ERRNO | EPERM),
    RETURN(SECCOMP_RET_KILL_PROCESS),
};

int confine_filter_install(const struct confine *confine, unsigned walls, struct err *err)
{
    struct sock_filter program[6 + 2 * ARRAY_LEN(allowed) + ARRAY_LEN(tail)] = {
        LOAD(arch), IF(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),   IF(BPF_JGE, X32_BIT, 0, 1),           RETURN(SECCOMP_RET_KILL_PROCESS),
    };
    bool chroot = walls & CONFINE_CHROOT;
    const bool there[] = { [ALWAYS] = true,
                           [CHROOT] = chroot,
                           [TIMES] = chroot || geteuid() != 0,
                           [OWNER] = chroot && confine->owner,
                           [NODES] = chroot && confine->owner && confine->nodes };
    unsigned short count = 6;

    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        if (!there[allowed[i].needs])
            continue;
        program[count++] = (struct sock_filter)IF(BPF_JEQ, allowed[i].number, 0, 1);
        program[count++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    }
    memcpy(program + count, tail, sizeof tail);
    count += ARRAY_LEN(tail);
    struct sock_fprog filter = { .len = count, .filter = program };
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0)
        return err_set_errno(err, errno, "installing the unpacker's system call filter");
    return 0;
}
