/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes, terminals and signals of commands: see exec_fds.h. */
#include "exec_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"
#include "text.h"

#define NO_FDS ((struct exec_fds){ { -1, -1, -1 }, -1, { -1, -1 } })

/* A terminal made ahead, and no command's yet: streams[0] is -1 where there is none. */
static struct exec_fds spare = NO_FDS;
static dev_t spare_in; /* the /dev/pts that has its name */

/* Tells of mounts. */
static void mounts_changed(struct loop_source *source, uint32_t events);
static struct loop_source mounts = { .ready = mounts_changed, .fd = -1 };
static bool spare_named; /* nothing was mounted since it was seen to have a name */

static void fds_close(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

void exec_fds_close(struct exec_fds *fds)
{
    /* A terminal is all three. */
    if (fds->child[1] == fds->child[0])
        fds->child[1] = -1;
    if (fds->child[2] == fds->child[0] || fds->child[2] == fds->child[1]) /* or a service's */
        fds->child[2] = -1;
    fds_close(fds->child, ARRAY_LEN(fds->child));
    fds_close(&fds->input, 1);
    fds_close(fds->streams, STREAM_COUNT);
}

static int make_terminal(struct exec_fds *fds)
{
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), unlock = 0, slave;

    fds->streams[0] = master;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return -errno;
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -errno;
    fds->child[0] = fds->child[1] = fds->child[2] = slave;
    fds->input = fcntl(master, F_DUPFD_CLOEXEC, 0);
    return fds->input < 0 ? -errno : 0;
}

static int open_pipe(int *ret_ours, int *ret_childs, bool to_child)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_ours = ends[to_child ? 1 : 0];
    *ret_childs = ends[to_child ? 0 : 1];
    return fcntl(*ret_ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* /dev/null, opened once. */
static int null_fd(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* One pipe, which takes much while nobody reads it; a smaller one does as well. */
static int open_service(struct exec_fds *fds)
{
    int status = open_pipe(&fds->streams[0], &fds->child[1], false);

    if (status < 0)
        return status;
    fds->child[2] = fds->child[1];
    (void)fcntl(fds->streams[0], F_SETPIPE_SZ, AGENT_SERVICE_LOG_BYTES);
    return 0;
}

static void mounts_changed(struct loop_source *source, uint32_t events)
{
    (void)source;
    (void)events;
    spare_named = false;
}

/* From here on; where it can't be, each terminal made ahead is looked up. */
static void mounts_watch(void)
{
    if (mounts.fd >= 0)
        return;
    mounts.fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (mounts.fd >= 0 && loop_add(&mounts, EPOLLPRI) == 0)
        return;
    fds_close(&mounts.fd, 1);
}

/* Whether the one made ahead is in the file system that is at /dev/pts now. */
static bool spare_has_name(void)
{
    struct stat pts;

    if (spare_named)
        return true;
    if (stat("/dev/pts", &pts) < 0 || pts.st_dev != spare_in)
        return false;
    spare_named = mounts.fd >= 0;
    return true;
}

/* Moves the one made ahead to *fds. False: there is none, or another file system was mounted at
 * /dev/pts meanwhile, in which it has no name. */
static bool take_terminal(struct exec_fds *fds)
{
    if (spare.streams[0] < 0)
        return false;
    *fds = spare;
    spare = NO_FDS;
    if (spare_has_name())
        return true;
    exec_fds_close(fds);
    return false;
}

static int open_terminal(const struct agent_exec *exec, struct exec_fds *fds)
{
    const struct agent_winsize size = { .rows = exec->rows, .cols = exec->cols };
    int status = take_terminal(fds) ? 0 : make_terminal(fds);

    if (status == 0 && (size.rows || size.cols)) /* a new one has neither */
        exec_terminal_resize(fds->streams[0], &size);
    return status;
}

static int open_pipes(const struct agent_exec *exec, struct exec_fds *fds)
{
    int status = 0;

    if (exec->flags & AGENT_EXEC_STDIN)
        status = open_pipe(&fds->input, &fds->child[0], true);
    else if (null_fd() < 0)
        status = null_fd();
    if (status == 0 && exec->flags & AGENT_EXEC_SERVICE)
        return open_service(fds);
    for (int i = 0; status == 0 && i < STREAM_COUNT; i++)
        status = open_pipe(&fds->streams[i], &fds->child[1 + i], false);
    return status;
}

int exec_fds_open(const struct agent_exec *exec, struct exec_fds *ret_fds)
{
    bool terminal = exec->flags & AGENT_EXEC_PTY;
    int status;

    *ret_fds = NO_FDS;
    status = terminal ? open_terminal(exec, ret_fds) : open_pipes(exec, ret_fds);
    if (status < 0)
        exec_fds_close(ret_fds);
    return status;
}

void exec_fds_child(const struct exec_fds *fds, int ret_child[3])
{
    for (int i = 0; i < 3; i++)
        ret_child[i] = fds->child[i] < 0 ? null_fd() : fds->child[i];
}

void exec_fds_started(struct exec_fds *fds)
{
    if (fds->child[1] != fds->child[0])
        fds_close(fds->child, 1);
}

void exec_fds_ended(struct exec_fds *fds)
{
    if (fds->child[1] != fds->child[0])
        return;
    fds->child[1] = fds->child[2] = -1;
    fds_close(fds->child, 1);
}

void exec_fds_prepare(void)
{
    struct stat slave;

    (void)null_fd();
    mounts_watch();
    if (spare.streams[0] >= 0)
        return;
    if (make_terminal(&spare) < 0 || fstat(spare.child[0], &slave) < 0)
        exec_fds_close(&spare);
    else
        spare_in = slave.st_dev;
}

void exec_fds_drop(void)
{
    exec_fds_close(&spare);
}

int exec_fd_duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    return copy < 0 ? -errno : copy;
}

size_t exec_pipe_bytes(int fd)
{
    int bytes = fcntl(fd, F_GETPIPE_SZ);

    return bytes < 0 ? 0 : (size_t)bytes;
}

void exec_terminal_resize(int fd, const struct agent_winsize *size)
{
    struct winsize winsize = { .ws_row = size->rows, .ws_col = size->cols };

    ioctl(fd, TIOCSWINSZ, &winsize);
}

void exec_signal_group(pid_t leader, int signal)
{
    kill(-leader, signal);
}
