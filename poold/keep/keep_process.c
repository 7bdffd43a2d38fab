/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the keeper's process as poold sees it: its start, its first word, its end; see keep_process.h. */
#include "keep/keep_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "base/unix_listen.h"
#include "base/util.h"

#define PATIENCE_S 10 /* with a keeper that does not answer */
#define END_MS 2000
#define BACKLOG 4

int keep_dial(const char *path, int *ret_fd)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    *ret_fd = take_fd(&fd);
    return 0;
}

int keep_greet(int fd)
{
    int fds[KEEP_ROLES_MAX];
    struct keep_msg msg;
    int rc = keep_recv(fd, &msg, fds, 0);

    keep_fds_close(fds, KEEP_ALL_ROLES);
    return rc < 0 ? rc : msg.type == KEEP_HELLO && msg.value == KEEP_VERSION ? 0 : -EPROTO;
}

/* The program as a path that ps shows; what was replaced by an upgrade has none any more. */
static void program_path(const char *program, char ret_path[PATH_MAX])
{
    ssize_t bytes = readlink(program, ret_path, PATH_MAX - 1);

    ret_path[MAX_OF(bytes, 0)] = '\0';
    if (access(ret_path, X_OK) < 0)
        snprintf(ret_path, PATH_MAX, "%s", program);
}

/* The socket is the keeper's from then on, its file stays. */
static int launch(struct keep *keep, struct err *err)
{
    struct unix_listener listener = { .fd = -1 };
    struct spawned spawned;
    char path[PATH_MAX];
    char *argv[] = { path, (char[]){ KEEPER_COMMAND }, NULL };
    int rc = unix_listen_packets(&listener, keep->path, 0600, BACKLOG, err);

    if (rc < 0)
        return rc;
    program_path(keep->program, path);
    rc = spawn_process(argv, &listener.fd, 1, &spawned, err);
    close_fd(&listener.fd);
    if (rc < 0)
        return rc;
    close(spawned.pidfd);
    close(spawned.text_fd); /* it says nothing */
    keep->pid = spawned.pid;
    return 0;
}

void keep_await_end(int fd)
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };
    char rest[sizeof(struct keep_msg)];

    while (poll(&polled, 1, END_MS) > 0 && recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
        ;
}

/* Another poold's child. */
static void dismiss(const struct keep *keep)
{
    const struct keep_msg stop = { .type = KEEP_STOP };
    _cleanup_close_ int fd = -1;

    if (keep_dial(keep->path, &fd) == 0 && keep_send(fd, &stop, NULL, MSG_DONTWAIT) == 0)
        keep_await_end(fd);
}

static void kill_child(struct keep *keep)
{
    kill(keep->pid, SIGKILL);
    waitpid(keep->pid, NULL, 0);
    keep->pid = 0;
}

int keep_begin(struct keep *keep, struct err *err)
{
    int rc = launch(keep, err);

    keep->begun_ns = now_ns();
    if (rc == 0) {
        rc = keep_dial(keep->path, &keep->fd);
        if (rc == 0)
            rc = keep_greet(keep->fd);
        if (rc < 0)
            err_set_errno(err, -rc, "reaching the keeper at %s", keep->path);
    }
    if (rc < 0) {
        close_fd(&keep->fd);
        if (keep->pid > 0)
            kill_child(keep);
    }
    return rc;
}

void keep_put_down(struct keep *keep)
{
    if (keep->pid > 0)
        kill_child(keep);
    else
        dismiss(keep);
}
