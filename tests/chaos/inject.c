/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into poold and volt-vmm by tests: makes the n-th call of a kind fail.
 *
 * How it works
 *   $VOLT_FAULT_PAGE names a file of one page that the test and all processes share: struct
 *   fault_page. The test arms it at any time; each process whose program is meant counts its calls
 *   of the kind there, clones included (they inherit the mapping, which no sandbox takes away), and
 *   the call that makes the count `nth` fails with `error`.
 *
 * What is not covered: calls that libc makes from within itself (malloc's and pthread's mmap,
 * stdio's write), vDSO calls, and programs that are linked statically. A write fails only to a
 * regular file, as a full disk would have it: an eventfd or a pipe never does in earnest.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* tests/chaos/lab.py has the same numbers. */
enum fault_kind {
    FAULT_NONE,
    FAULT_OPEN,    /* open, openat */
    FAULT_MMAP,    /* mmap, mprotect */
    FAULT_IOCTL,   /* ioctl */
    FAULT_WRITE,   /* write, pwrite, ftruncate of regular files */
    FAULT_SYNC,    /* fsync, fdatasync */
    FAULT_FORK,    /* fork, pthread_create, pidfd_open */
    FAULT_SOCKET,  /* what else makes an fd, but accept */
    FAULT_SENDMSG, /* sendmsg of the control protocol */
    FAULT_RENAME,  /* rename, link, mkdir, and their kin */
};

enum fault_program { PROGRAM_ANY, PROGRAM_POOLD, PROGRAM_VMM };

struct fault_page {
    _Atomic uint32_t kind, program;
    _Atomic int32_t error;
    _Atomic uint32_t nth;   /* from 1; 0: disarmed */
    _Atomic uint32_t count; /* calls of the kind since it was armed */
    _Atomic uint32_t fired;
};

static struct fault_page *page;
static enum fault_program self;

__attribute__((constructor)) static void inject_init(void)
{
    const char *path = getenv("VOLT_FAULT_PAGE");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    void *at = (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    self = strcmp(program_invocation_short_name, "poold") == 0 ? PROGRAM_POOLD : PROGRAM_VMM;
    page = at == MAP_FAILED ? NULL : at;
}

/* Whether this call is the one; errno is set then. */
static int fails(enum fault_kind kind)
{
    if (!page || atomic_load(&page->kind) != kind)
        return 0;
    uint32_t program = atomic_load(&page->program), nth = atomic_load(&page->nth);
    if (nth == 0 || (program != PROGRAM_ANY && program != self))
        return 0;
    if (atomic_fetch_add(&page->count, 1) + 1 != nth)
        return 0;
    atomic_store(&page->fired, 1);
    errno = atomic_load(&page->error);
    return 1;
}

/* In a VMM fstat may be none of the calls that its filter allows; there write is not counted. */
static int write_fails(int fd)
{
    struct stat st;

    return page && self == PROGRAM_POOLD && atomic_load(&page->kind) == FAULT_WRITE &&
           fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && fails(FAULT_WRITE);
}

/* The next definition of `name`, libc's. */
#define NEXT(name)                                                                                 \
    static __typeof__(name) *next;                                                                 \
    if (!next) {                                                                                   \
        union {                                                                                    \
            void *object;                                                                          \
            __typeof__(name) *function;                                                            \
        } found = { .object = dlsym(RTLD_NEXT, #name) };                                           \
        next = found.function;                                                                     \
    }

/* A function with fixed arguments: its kind, result on failure, name, parameters, arguments. */
#define WRAP(kind, result, failure, name, parameters, arguments)                                   \
    EXPORT result name parameters                                                                  \
    {                                                                                              \
        NEXT(name)                                                                                 \
        return fails(kind) ? failure : next arguments;                                             \
    }

/* clang-format off */
WRAP(FAULT_SYNC, int, -1, fsync, (int fd), (fd))
WRAP(FAULT_SYNC, int, -1, fdatasync, (int fd), (fd))
WRAP(FAULT_FORK, pid_t, -1, fork, (void), ())
WRAP(FAULT_SOCKET, int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(FAULT_SOCKET, int, -1, socketpair, (int domain, int type, int protocol, int pair[2]),
     (domain, type, protocol, pair))
WRAP(FAULT_SOCKET, int, -1, pipe2, (int pair[2], int flags), (pair, flags))
WRAP(FAULT_SOCKET, int, -1, eventfd, (unsigned value, int flags), (value, flags))
WRAP(FAULT_SOCKET, int, -1, epoll_create1, (int flags), (flags))
WRAP(FAULT_SOCKET, int, -1, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(FAULT_SOCKET, int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(FAULT_RENAME, int, -1, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
WRAP(FAULT_RENAME, int, -1, renameat, (int from, const char *old, int to, const char *new),
     (from, old, to, new))
WRAP(FAULT_RENAME, int, -1, renameat2,
     (int from, const char *old, int to, const char *new, unsigned flags),
     (from, old, to, new, flags))
WRAP(FAULT_RENAME, int, -1, fchownat, (int fd, const char *path, uid_t uid, gid_t gid, int flags),
     (fd, path, uid, gid, flags))
WRAP(FAULT_MMAP, int, -1, mprotect, (void *at, size_t bytes, int protection),
     (at, bytes, protection))
/* clang-format on */

/* Files of 64 bits are all there are: mmap and mmap64 and the like are the same functions. */
#define WRAP_MMAP(name)                                                                            \
    EXPORT void *name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)     \
    {                                                                                              \
        NEXT(name)                                                                                 \
        return fails(FAULT_MMAP) ? MAP_FAILED : next(at, bytes, protection, flags, fd, offset);    \
    }
#define WRAP_OPEN(name)                                                                            \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        va_list list;                                                                              \
        NEXT(name)                                                                                 \
        va_start(list, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                    \
        va_end(list);                                                                              \
        return fails(FAULT_OPEN) ? -1 : next(path, flags, mode);                                   \
    }
#define WRAP_OPENAT(name)                                                                          \
    EXPORT int name(int dir, const char *path, int flags, ...)                                     \
    {                                                                                              \
        va_list list;                                                                              \
        NEXT(name)                                                                                 \
        va_start(list, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                    \
        va_end(list);                                                                              \
        return fails(FAULT_OPEN) ? -1 : next(dir, path, flags, mode);                              \
    }
#define WRAP_PWRITE(name)                                                                          \
    EXPORT ssize_t name(int fd, const void *buffer, size_t bytes, off_t offset)                    \
    {                                                                                              \
        NEXT(name)                                                                                 \
        return fails(FAULT_WRITE) ? -1 : next(fd, buffer, bytes, offset);                          \
    }

/* clang-format off */
#undef mmap
#undef open
#undef openat
#undef pwrite
#undef ftruncate
WRAP_MMAP(mmap)
WRAP_MMAP(mmap64)
WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP_PWRITE(pwrite)
WRAP_PWRITE(pwrite64)
/* clang-format on */

EXPORT ssize_t write(int fd, const void *buffer, size_t bytes)
{
    NEXT(write)
    return write_fails(fd) ? -1 : next(fd, buffer, bytes);
}

EXPORT int ftruncate64(int fd, off_t bytes)
{
    NEXT(ftruncate64)
    return fails(FAULT_WRITE) ? -1 : next(fd, bytes);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    NEXT(ioctl)
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    return fails(FAULT_IOCTL) ? -1 : next(fd, request, argument);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *argument)
{
    NEXT(pthread_create)
    return fails(FAULT_FORK) ? errno : next(thread, attr, run, argument);
}

/* In poold also replies to clients are sent so, on stream sockets: those are not meant. */
static int is_control_socket(int fd)
{
    socklen_t bytes = sizeof(int);
    int type = 0;

    return self != PROGRAM_POOLD ||
           (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_SEQPACKET);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    NEXT(sendmsg)
    if (page && atomic_load(&page->kind) == FAULT_SENDMSG && is_control_socket(fd) &&
        fails(FAULT_SENDMSG))
        return -1;
    return next(fd, msg, flags);
}

EXPORT long syscall(long number, ...)
{
    long a[6];
    va_list list;
    NEXT(syscall)
    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_pidfd_open && fails(FAULT_FORK))
        return -1;
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
