/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the connection to the keeper: what it has, and another in its place; see keep.h. */
#include "keep/keep.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "keep/keep_process.h"

#define END_MS 2000
#define STEADY_NS (60 * NS_PER_S) /* a keeper that lived so long did not fail to start */
#define UNKEPT "until one stays, VMs end with this poold, whatever its end"

/* ---- Start ---- */

static int inherit(struct keep *keep)
{
    const struct keep_msg list = { .type = KEEP_LIST };
    int fds[KEEP_ROLES_MAX], rc = keep_greet(keep->fd);
    struct keep_msg msg = { .type = 0 };

    if (rc == 0)
        rc = keep_send(keep->fd, &list, NULL, 0);
    while (rc == 0 && msg.type != KEEP_LIST_END) {
        rc = keep_recv(keep->fd, &msg, fds, 0);
        if (rc == 0 && msg.type == KEEP_ENTRY && !keep_table_put(&keep->inherited, &msg, fds))
            rc = -ENOMEM;
        keep_fds_close(fds, KEEP_ALL_ROLES);
    }
    return rc;
}

/* What is not understood ends with its keeper: poold has nothing of it. */
static void disown(struct keep *keep, const char *why)
{
    const struct keep_msg stop = { .type = KEEP_STOP };

    log_error("VMs of the poold before can't be taken over and end: %s", why);
    unlink(keep->path); /* for the next keeper's */
    if (keep_send(keep->fd, &stop, NULL, MSG_DONTWAIT) == 0)
        keep_await_end(keep->fd);
    close_fd(&keep->fd);
    keep_table_close(&keep->inherited);
}

/* 0: there is its ledger. -EMFILE, -ENOMEM: nothing has changed. */
static int take_over(struct keep *keep)
{
    struct keep_entry *entry;
    struct err err;
    int rc = inherit(keep);

    if (rc == -EMFILE || rc == -ENOMEM) {
        close_fd(&keep->fd);
        keep_table_close(&keep->inherited);
        return rc;
    }
    if (rc < 0) {
        disown(keep, strerror(-rc));
        return -ENOENT;
    }
    entry = keep_table_at(&keep->inherited, KEEP_LEDGER, 0);
    if (!entry || entry->fds[0] < 0) {
        disown(keep, "there is no ledger");
        return -ENOENT;
    }
    rc = ledger_open(take_fd(&entry->fds[0]), &keep->ledger, &err);
    if (rc < 0)
        disown(keep, err.msg);
    return rc < 0 ? -ENOENT : 0;
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
    int rc;

    *keep = (struct keep){ .loop = loop, .fd = -1, .program = program, .grace_ms = grace_ms };
    list_init(&keep->due);
    snprintf(keep->path, sizeof keep->path, "%s/%s", run_dir, KEEPER_SOCKET_NAME);
    rc = program ? keep_dial(keep->path, &keep->fd) : -ENOENT;
    if (rc == 0)
        rc = take_over(keep);
    if (rc == -EMFILE || rc == -ENOMEM)
        return err_set_errno(err, -rc,
                             "what the poold before has left does not fit into this one, whose "
                             "limits are lower (ulimit -n, LimitNOFILE=)");
    if (rc == 0) {
        keep_set_grace(keep, grace_ms);
        return 0;
    }
    if (ledger_create(&keep->ledger, err) < 0)
        return -err->code;
    if (program && keep_begin(keep, &why) < 0)
        log_error("there is no keeper; " UNKEPT ": %s", why.msg);
    ledger_put(keep);
    return 0;
}

/* ---- While it is there ---- */

static void on_poll(uv_poll_t *poll, int status, int events);
static void renew_later(struct keep *keep);

static void watch(struct keep *keep)
{
    if (keep->fd < 0 || uv_poll_init(keep->loop, &keep->poll, keep->fd) < 0)
        return;
    keep->poll.data = keep;
    keep->polling = true;
    uv_poll_start(&keep->poll, UV_READABLE, on_poll);
}

/* Starts another, or looks again later: one that fails is tried less and less often, and said once. */
static void renew(struct keep *keep)
{
    struct err err;

    if (!keep->anew)
        return;
    if (keep_begin(keep, &err) == 0) {
        ledger_put(keep);
        watch(keep);
        keep->anew(keep->data);
        return;
    }
    if (keep->backoff.failures == 1)
        log_error("no keeper can be started; " UNKEPT ": %s", err.msg);
    renew_later(keep);
}

static void on_again(uv_timer_t *timer)
{
    renew(timer->data);
}

static void renew_later(struct keep *keep)
{
    const uint64_t now = now_ns();

    backoff_failure(&keep->backoff, now);
    uv_timer_start(&keep->again, on_again, (keep->backoff.until_ns - now) / NS_PER_MS, 0);
}

void keep_watch(struct keep *keep, void (*anew)(void *data), void *data)
{
    keep->anew = anew;
    keep->data = data;
    uv_timer_init(keep->loop, &keep->again);
    keep->again.data = keep;
    if (keep->fd >= 0)
        watch(keep);
    else if (keep->program)
        renew_later(keep);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct keep *keep = handle->data;

    keep_put_down(keep); /* if it only hung up */
    if (!keep->anew)
        return;
    if (now_ns() - keep->begun_ns >= STEADY_NS)
        backoff_success(&keep->backoff);
    if (keep->backoff.failures == 0) {
        log_error("the keeper has ended; it is started again");
        backoff_failure(&keep->backoff, now_ns());
        renew(keep);
        return;
    }
    if (keep->backoff.failures == 1)
        log_error("the keeper ends again and again, or has no room for what it is given; " UNKEPT);
    renew_later(keep);
}

/* It says nothing: what can be read is its end, and so is an error, as of one that ends with messages
 * unread. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct keep *keep = poll->data;

    if (status == 0 && !(events & UV_READABLE)) {
        keep->room_wanted = false;
        uv_poll_start(&keep->poll, UV_READABLE, on_poll);
        keep_pump(keep, false);
        return;
    }
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
        keep_await_end(keep->fd);
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
