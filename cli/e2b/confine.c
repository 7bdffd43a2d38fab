/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is left to the gateway of the host; see e2b.h. */
#include <errno.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "base/landlock.h"
#include "base/util.h"
#include "e2b.h"

static int capabilities_drop(void)
{
    cap_t none = cap_init();
    int rc = none && cap_set_proc(none) == 0 ? 0 : -errno;

    cap_free(none);
    return rc;
}

/* Threads it needs, and sockets; other programs and other processes' memory it does not. */
static int calls_refuse(void)
{
    static const int refused[] = {
        SCMP_SYS(execve),
        SCMP_SYS(execveat),
        SCMP_SYS(fork),
        SCMP_SYS(vfork),
        SCMP_SYS(ptrace),
        SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev),
        SCMP_SYS(kill),
        SCMP_SYS(tkill),
        SCMP_SYS(pidfd_open),
        SCMP_SYS(chmod),
        SCMP_SYS(fchmodat),
        SCMP_SYS(chown),
        SCMP_SYS(lchown),
        SCMP_SYS(fchownat),
        SCMP_SYS(utimensat),
        SCMP_SYS(setxattr),
        SCMP_SYS(lsetxattr),
        SCMP_SYS(mount),
        SCMP_SYS(unshare),
        SCMP_SYS(setns),
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(bpf),
        SCMP_SYS(keyctl),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(refused); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

int e2b_confine(struct err *err)
{
    uint32_t abi;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set_errno(err, errno, "can't give up privileges");
    int rc = capabilities_drop();
    if (rc < 0)
        return err_set_errno(err, -rc, "can't drop capabilities");
    if (landlock_restrict(NULL, 0, &abi, err) < 0)
        return -err->code;
    rc = calls_refuse();
    if (rc < 0)
        return err_set_errno(err, -rc, "can't refuse system calls");
    return prctl(PR_SET_DUMPABLE, 0) < 0 ? err_set_errno(err, errno, "can't hide its memory") : 0;
}
