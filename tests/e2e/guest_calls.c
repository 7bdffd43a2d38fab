/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in a guest: makes the system calls that programs expect of any Linux, and prints a line for
 * each: its name, and "ok" or what it failed with. A call counts as there if it fails for another
 * reason than that the kernel does not have it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FILE_NAME "volt-guest-calls"

static void tell(const char *name, bool works)
{
    printf("%s %s\n", name, works ? "ok" : strerror(errno));
    fflush(stdout);
}

/* An event of a file that is made in the watched folder. */
static void notify(void)
{
    int in = inotify_init1(0), fan = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
    char event[512];

    tell("inotify", in >= 0 && inotify_add_watch(in, ".", IN_CREATE) >= 0 &&
                        open(FILE_NAME, O_CREAT | O_WRONLY, 0644) >= 0 &&
                        read(in, event, sizeof event) > 0);
    tell("fanotify", fan >= 0 && fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, ".") == 0);
}

static void sysv(void)
{
    int shm = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    struct {
        long type;
        char text[8];
    } message = { 1, "hello" };
    int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);

    tell("shm", shm >= 0 && shmat(shm, NULL, 0) != (void *)-1 && shmctl(shm, IPC_RMID, NULL) == 0);
    tell("sem", semget(IPC_PRIVATE, 2, IPC_CREAT | 0600) >= 0);
    tell("msg", queue >= 0 && msgsnd(queue, &message, sizeof message.text, 0) == 0 &&
                    msgctl(queue, IPC_RMID, NULL) == 0);
}

static void posix_queue(void)
{
    mqd_t queue = mq_open("/volt", O_CREAT | O_RDWR, 0600, NULL);

    tell("mqueue", queue >= 0 && mq_send(queue, "x", 1, 0) == 0 && mq_unlink("/volt") == 0);
    tell("mqueue-mounted", access("/dev/mqueue", W_OK) == 0);
}

static void async_io(void)
{
    aio_context_t context = 0;
    char params[256] = { 0 };

    tell("aio", syscall(SYS_io_setup, 8, &context) == 0);
    tell("io_uring", syscall(425, 8, params) >= 0);
}

/* A filter that allows everything, in a child. */
static void seccomp_filter(void)
{
    static struct {
        unsigned short code;
        unsigned char jt, jf;
        unsigned int k;
    } allow = { 0x06, 0, 0, SECCOMP_RET_ALLOW };
    struct {
        unsigned short length;
        void *filter;
    } program = { 1, &allow };

    tell("seccomp", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

static void attributes(void)
{
    char value[8];
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } at = { .handle.handle_bytes = MAX_HANDLE_SZ };
    int mount_id;

    tell("user-xattr", setxattr(FILE_NAME, "user.volt", "x", 1, 0) == 0 &&
                           getxattr(FILE_NAME, "user.volt", value, sizeof value) == 1);
    /* An overlay may have none. */
    tell("file-handles", name_to_handle_at(AT_FDCWD, FILE_NAME, &at.handle, &mount_id, 0) == 0 ||
                             errno == EOPNOTSUPP);
}

static void processes(void)
{
    char byte = 'x', copy = 0;
    struct iovec to = { &copy, 1 }, from = { &byte, 1 };

    tell("process_vm_readv", process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1 && copy == 'x');
    tell("kcmp", syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0) >= 0);
    tell("pidfd", syscall(434, getpid(), 0) >= 0);
    tell("membarrier", syscall(SYS_membarrier, 0, 0, 0) >= 0);
    tell("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC) >= 0);
    tell("memfd", memfd_create("x", MFD_CLOEXEC) >= 0);
    tell("smaps", access("/proc/self/smaps", R_OK) == 0);
}

static void namespaces(void)
{
    static const struct {
        const char *name;
        int flag;
    } kinds[] = { { "mount-namespace", CLONE_NEWNS },  { "uts-namespace", CLONE_NEWUTS },
                  { "ipc-namespace", CLONE_NEWIPC },   { "pid-namespace", CLONE_NEWPID },
                  { "user-namespace", CLONE_NEWUSER }, { "net-namespace", CLONE_NEWNET } };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        pid_t child = fork();
        int status;

        if (child == 0)
            _exit(unshare(kinds[i].flag) == 0 ? 0 : errno);
        waitpid(child, &status, 0);
        errno = WEXITSTATUS(status);
        tell(kinds[i].name, WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

int main(int argc, char **argv)
{
    if (chdir(argc > 1 ? argv[1] : "/tmp") < 0)
        return 1;
    notify();
    sysv();
    posix_queue();
    async_io();
    attributes();
    processes();
    namespaces();
    seccomp_filter(); /* last: it stays */
    unlink(FILE_NAME);
    return 0;
}
