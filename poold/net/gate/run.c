/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how passt is started; see run.h.
 *
 * passt stays on the host's network, with the rights of a uid, and takes what a guest sends. What it
 * has no use for there it can't have: sockets of other kinds than the internet's (abstract Unix
 * sockets have no owner; vsock reaches VMs). And where nothing else holds its ports (as root, the
 * host's kernel does: net_programs.bpf.c), it gets none that another program has: for datagrams it
 * asks for the port that its guest sends from, with SO_REUSEADDR, and of two such sockets with one
 * port the last one gets what comes. Without, bind() fails there. A port of TCP that is published may
 * be the one of connections that have just ended, and takes it. */
#include "net/gate/run.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/util.h"
#include "net/gate/gate.h"

#define X32_BIT 0x40000000u

static int join(const char *procs, struct err *err)
{
    int fd = atoi(procs);

    if (strcmp(procs, "-") == 0)
        return 0;
    if (write(fd, "0", 1) != 1)
        return err_set_errno(err, errno, "joining the control group");
    close(fd);
    return 0;
}

/* A socket of the host's for each connection of its guest's: as many as it may. */
static int limit(struct err *err)
{
    const struct rlimit core = { 0, 0 };
    struct rlimit fds;

    if (getrlimit(RLIMIT_NOFILE, &fds) < 0)
        return err_set_errno(err, errno, "reading limits");
    fds.rlim_cur = fds.rlim_max = MIN_OF(fds.rlim_max, GATE_RUN_FDS);
    if (setrlimit(RLIMIT_NOFILE, &fds) < 0 || setrlimit(RLIMIT_CORE, &core) < 0)
        return err_set_errno(err, errno, "setting limits");
    return 0;
}

static int become(const char *uid_text, struct err *err)
{
    uint32_t uid = (uint32_t)strtoul(uid_text, NULL, 10);

    if (strcmp(uid_text, "-") == 0)
        return 0;
    if (uid == 0 || setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
        setresuid(uid, uid, uid) < 0)
        return err_set_errno(err, errno, "switching to uid %s", uid_text);
    return 0;
}

#define LOAD(field)                                                                                \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define UNLESS(value, skipped) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skipped)
#define IF(value, skipped) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, skipped, 0)
#define RESULT(value) BPF_STMT(BPF_RET | BPF_K, value)

static int restrict_sockets(bool shares, struct err *err)
{
    struct sock_filter filter[] = {
        LOAD(arch),
        IF(AUDIT_ARCH_X86_64, 1),
        RESULT(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
        RESULT(SECCOMP_RET_KILL_PROCESS),
        UNLESS(SYS_setsockopt, 5),
        LOAD(args[1]), /* their lower halves, which are all that the kernel looks at */
        UNLESS(SOL_SOCKET, 9),
        LOAD(args[2]),
        UNLESS(SO_REUSEADDR, 7),
        RESULT(shares ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | 0), /* which does nothing */
        UNLESS(SYS_socket, 5),
        LOAD(args[0]),
        IF(AF_INET, 3),
        IF(AF_INET6, 2),
        IF(AF_NETLINK, 1),
        RESULT(SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        RESULT(SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { ARRAY_LEN(filter), filter };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return err_set_errno(err, errno, "keeping it from other sockets");
    return 0;
}

int gate_run(char **argv, struct err *err)
{
    bool shares = strcmp(argv[2], "-") != 0;
    int rc = join(argv[1], err);

    if (rc == 0)
        rc = limit(err);
    if (rc == 0)
        rc = become(argv[0], err);
    if (rc == 0)
        rc = restrict_sockets(shares, err);
    if (rc == 0) {
        execv(argv[3], argv + 3);
        err_set_errno(err, errno, "%s", argv[3]);
    }
    return EX_OSERR;
}
