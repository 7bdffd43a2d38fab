/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the connection to the keeper, its start and its end; see keep.h. */
#include "keep/keep.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/unix_listen.h"
#include "base/util.h"

#define PATIENCE_S 10 /* with a keeper that does not answer */
#define END_MS 2000
#define BACKLOG 4

/* ---- Start ---- */

static int dial(const char *path, int *ret_fd)
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

/* Its first word. */
static int greet(int fd)
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

static void put_down(struct keep *keep)
{
    if (keep->pid <= 0)
        return;
    kill(keep->pid, SIGKILL);
    waitpid(keep->pid, NULL, 0);
    keep->pid = 0;
}

/* A keeper that is new. */
static int begin(struct keep *keep, struct err *err)
{
    int rc = launch(keep, err);

    if (rc == 0) {
        rc = dial(keep->path, &keep->fd);
        if (rc == 0)
            rc = greet(keep->fd);
        if (rc < 0)
            err_set_errno(err, -rc, "reaching the keeper at %s", keep->path);
    }
    if (rc < 0) {
        close_fd(&keep->fd);
        put_down(keep);
    }
    return rc;
}

static int inherit(struct keep *keep)
{
    const struct keep_msg list = { .type = KEEP_LIST };
    int fds[KEEP_ROLES_MAX], rc = greet(keep->fd);
    struct keep_msg msg = { .type = 0 };

    if (rc == 0)
        rc = keep_send(keep->fd, &list, NULL, 0);
    while (rc == 0 && msg.type != KEEP_LIST_END) {
        rc = keep_recv(keep->fd, &msg, fds, 0);
        if (rc == 0 && msg.type == KEEP_ENTRY)
            keep_table_put(&keep->inherited, &msg, fds);
        keep_fds_close(fds, KEEP_ALL_ROLES);
    }
    return rc;
}

/* Nothing is left to be read then. */
static void await_end(int fd)
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };
    char rest[sizeof(struct keep_msg)];

    while (poll(&polled, 1, END_MS) > 0 && recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
        ;
}

/* What is not understood ends with its keeper: poold has nothing of it. */
static void disown(struct keep *keep, const char *why)
{
    const struct keep_msg stop = { .type = KEEP_STOP };

    log_error("VMs of the poold before can't be taken over and end: %s", why);
    unlink(keep->path); /* for the next keeper's */
    if (keep_send(keep->fd, &stop, NULL, MSG_DONTWAIT) == 0)
        await_end(keep->fd);
    close_fd(&keep->fd);
    keep_table_close(&keep->inherited);
}

/* 0: there is its ledger. */
static int take_over(struct keep *keep)
{
    struct keep_entry *entry;
    struct err err;
    int rc = inherit(keep);

    if (rc < 0) {
        disown(keep, strerror(-rc));
        return rc;
    }
    entry = keep_table_at(&keep->inherited, KEEP_LEDGER, 0);
    if (!entry || entry->fds[0] < 0) {
        disown(keep, "there is no ledger");
        return -ENOENT;
    }
    rc = ledger_open(take_fd(&entry->fds[0]), &keep->ledger, &err);
    if (rc < 0)
        disown(keep, err.msg);
    return rc;
}

static void ledger_put(struct keep *keep)
{
    const int fd = ledger_fd(keep->ledger);

    keep_put(keep, KEEP_LEDGER, 0, 1, 0, &fd);
    keep_set_grace(keep, keep->grace_ms);
}

int keep_start(struct keep *keep, uv_loop_t *loop, const char *run_dir, const char *program,
               uint64_t grace_ms, struct err *err)
{
    struct err why;

    *keep = (struct keep){ .loop = loop, .fd = -1, .program = program, .grace_ms = grace_ms };
    list_init(&keep->due);
    snprintf(keep->path, sizeof keep->path, "%s/%s", run_dir, KEEPER_SOCKET_NAME);
    if (program && dial(keep->path, &keep->fd) == 0 && take_over(keep) == 0) {
        keep_set_grace(keep, grace_ms);
        return 0;
    }
    if (ledger_create(&keep->ledger, err) < 0)
        return -err->code;
    if (program && begin(keep, &why) < 0)
        log_error("VMs will end with this poold, whatever its end: %s", why.msg);
    ledger_put(keep);
    return 0;
}

/* ---- While it is there ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct keep *keep)
{
    if (keep->fd < 0 || uv_poll_init(keep->loop, &keep->poll, keep->fd) < 0)
        return;
    keep->poll.data = keep;
    keep->polling = true;
    uv_poll_start(&keep->poll, UV_READABLE, on_poll);
}

void keep_watch(struct keep *keep, void (*anew)(void *data), void *data)
{
    keep->anew = anew;
    keep->data = data;
    watch(keep);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct keep *keep = handle->data;
    struct err err;

    put_down(keep); /* if it only hung up */
    if (!keep->anew)
        return;
    if (begin(keep, &err) < 0) {
        log_error("VMs will end with this poold, whatever its end: %s", err.msg);
        return;
    }
    ledger_put(keep);
    watch(keep);
    keep->anew(keep->data);
}

/* It says nothing: what can be read is its end. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct keep *keep = poll->data;

    (void)status;
    if (!(events & UV_READABLE)) {
        keep->room_wanted = false;
        uv_poll_start(&keep->poll, UV_READABLE, on_poll);
        keep_pump(keep, false);
        return;
    }
    log_error("the keeper has ended; it is started again");
    close_fd(&keep->fd);
    keep->polling = false;
    keep->queue_count = 0;
    uv_close((uv_handle_t *)&keep->poll, on_poll_closed);
}

static int send_now(struct keep *keep, const struct keep_msg *msg, const int *fds)
{
    int rc = keep->fd < 0 ? -ENOTCONN : keep_send(keep->fd, msg, fds, MSG_DONTWAIT);

    if (rc == -EAGAIN && keep->polling && !keep->room_wanted) {
        keep->room_wanted = true;
        uv_poll_start(&keep->poll, UV_READABLE | UV_WRITABLE, on_poll);
    }
    return rc;
}

int keep_put(struct keep *keep, enum keep_kind kind, uint32_t index, uint32_t roles, uint64_t value,
             const int *fds)
{
    const struct keep_msg msg = {
        .type = KEEP_PUT, .kind = kind, .index = index, .roles = roles, .value = value
    };

    /* Take-backs of the same index come first. */
    keep_pump(keep, true);
    return keep->queue_count ? -EAGAIN : send_now(keep, &msg, fds);
}

void keep_take_back(struct keep *keep, enum keep_kind kind, uint32_t index, uint32_t roles)
{
    const struct keep_msg msg = {
        .type = KEEP_TAKE_BACK, .kind = kind, .index = index, .roles = roles
    };

    if (keep->fd < 0)
        return;
    if (keep->queue_count == keep->queue_room) {
        uint32_t room = MAX_OF(2 * keep->queue_room, 64u);
        struct keep_msg *grown = reallocarray(keep->queue, room, sizeof *grown);

        if (!grown)
            return; /* it holds them until it ends: the next poold finds no record for them */
        keep->queue = grown;
        keep->queue_room = room;
    }
    keep->queue[keep->queue_count++] = msg;
}

void keep_set_grace(struct keep *keep, uint64_t grace_ms)
{
    const struct keep_msg msg = { .type = KEEP_GRACE, .value = grace_ms };

    keep->grace_ms = grace_ms;
    send_now(keep, &msg, NULL);
}

void keep_pump(struct keep *keep, bool pressed)
{
    uint32_t sent = 0;

    while (sent < keep->queue_count && send_now(keep, &keep->queue[sent], NULL) != -EAGAIN)
        sent++;
    keep->queue_count -= sent;
    if (sent && keep->queue_count)
        memmove(keep->queue, keep->queue + sent, keep->queue_count * sizeof keep->queue[0]);
    while (!pressed && !keep->queue_count && !list_empty(&keep->due)) {
        struct keep_due *due = list_entry(keep->due.next, struct keep_due, node);

        if (due->put(due) == -EAGAIN)
            return;
        list_remove(&due->node);
    }
}

/* ---- Ends ---- */

/* Whoever is in it is in no pool. */
void keep_inherited_end(struct keep *keep)
{
    for (uint32_t kind = 0; kind < KEEP_KIND_COUNT; kind++) {
        for (uint32_t i = 0; i < keep->inherited.kinds[kind].room; i++) {
            struct keep_entry *entry = &keep->inherited.kinds[kind].entry[i];

            if (keep_entry_roles(entry))
                keep_take_back(keep, (enum keep_kind)kind, i, keep_entry_roles(entry));
        }
    }
    keep_table_close(&keep->inherited);
    keep_pump(keep, true);
}

/* The socket blocks if it is not told otherwise. */
void keep_end(struct keep *keep)
{
    const struct keep_msg stop = { .type = KEEP_STOP };

    keep->anew = NULL;
    if (keep->fd < 0)
        return;
    unlink(keep->path);
    if (keep_send(keep->fd, &stop, NULL, 0) == 0)
        await_end(keep->fd);
    if (keep->pid > 0)
        waitpid(keep->pid, NULL, 0);
    keep->pid = 0;
}

void keep_hand_over(struct keep *keep)
{
    struct pollfd polled = { .fd = keep->fd, .events = POLLOUT };

    keep->anew = NULL;
    for (unsigned i = 0; i < END_MS / 10 && keep->fd >= 0; i++) {
        keep_pump(keep, false);
        if (!keep->queue_count && list_empty(&keep->due))
            return;
        poll(&polled, 1, 10);
    }
}

void keep_fini(struct keep *keep)
{
    close_fd(&keep->fd);
    keep_table_close(&keep->inherited);
    ledger_close(keep->ledger);
    keep->ledger = NULL;
    free(keep->queue);
    keep->queue = NULL;
}
