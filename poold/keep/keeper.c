/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the keeper's process: what it holds, and when it ends; see keeper.h. */
#include "keep/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sysexits.h>

#include "base/util.h"
#include "host/cgroup.h"
#include "keep/keep_table.h"

#define NAME "poold-keeper"
#define GRACE_MS_FIRST 60000u
#define WORDS_MAX 1000000u /* that are heard in one go */

struct keeper {
    int connection_fd; /* -1: there is no poold */
    uint64_t grace_ms, alone_since_ns;
    bool stop;
    bool full; /* there was no room for something: poold is to hear of it */
    struct keep_table held;
};

/* ---- What it holds ---- */

static int entry_send(const struct keeper *keeper, uint32_t kind, uint32_t index,
                      const struct keep_entry *entry)
{
    const struct keep_msg msg = { .type = KEEP_ENTRY,
                                  .kind = kind,
                                  .index = index,
                                  .roles = keep_entry_roles(entry),
                                  .value = entry->value };
    int fds[KEEP_ROLES_MAX];
    unsigned count = 0;

    for (unsigned role = 0; role < KEEP_ROLES_MAX; role++) {
        if (entry->fds[role] >= 0)
            fds[count++] = entry->fds[role];
    }
    return count ? keep_send(keeper->connection_fd, &msg, fds, 0) : 0;
}

/* 0 or -errno: it can't be told. */
static int list_send(struct keeper *keeper)
{
    const struct keep_msg end = { .type = KEEP_LIST_END };
    int rc = 0;

    for (uint32_t kind = 0; kind < KEEP_KIND_COUNT; kind++) {
        for (uint32_t i = 0; rc == 0 && i < keeper->held.kinds[kind].room; i++)
            rc = entry_send(keeper, kind, i, &keeper->held.kinds[kind].entry[i]);
    }
    return rc < 0 ? rc : keep_send(keeper->connection_fd, &end, NULL, 0);
}

static void take_back(struct keeper *keeper, const struct keep_msg *msg)
{
    struct keep_entry *entry = keep_table_at(&keeper->held, msg->kind, msg->index);

    if (entry)
        keep_fds_close(entry->fds, msg->roles);
}

/* ---- Its poold ---- */

/* A group of cgroup v2 whose children have controllers takes no processes: the next poold could not
 * be started in the group of the service. So they lose their limits until it is there. */
static void groups_open(struct keeper *keeper)
{
    const struct keep_entry *entry = keep_table_at(&keeper->held, KEEP_GROUPS, 0);

    if (entry && entry->fds[0] >= 0)
        cgroup_v2_let_in(entry->fds[0]);
}

static void hang_up(struct keeper *keeper)
{
    close_fd(&keeper->connection_fd);
    keeper->full = false;
    keeper->alone_since_ns = now_ns();
}

static void poold_gone(struct keeper *keeper)
{
    hang_up(keeper);
    if (!keeper->stop)
        groups_open(keeper);
}

/* False: there is no message. */
static bool serve(struct keeper *keeper)
{
    int fds[KEEP_ROLES_MAX];
    struct keep_msg msg;
    int rc = keep_recv(keeper->connection_fd, &msg, fds, MSG_DONTWAIT);

    keeper->full |= rc == -EMFILE;
    if (rc == -EAGAIN || rc == -EPROTO || rc == -EMFILE) /* what is not whole is not kept */
        return rc != -EAGAIN;
    if (rc < 0) {
        poold_gone(keeper);
        return false;
    }
    if (msg.type == KEEP_PUT)
        keeper->full |= !keep_table_put(&keeper->held, &msg, fds);
    else if (msg.type == KEEP_TAKE_BACK)
        take_back(keeper, &msg);
    else if (msg.type == KEEP_LIST && list_send(keeper) < 0)
        poold_gone(keeper);
    else if (msg.type == KEEP_GRACE)
        keeper->grace_ms = msg.value;
    else if (msg.type == KEEP_STOP)
        keeper->stop = true;
    keep_fds_close(fds, KEEP_ALL_ROLES);
    return keeper->connection_fd >= 0;
}

static void serve_all(struct keeper *keeper)
{
    for (unsigned i = 0; i < WORDS_MAX && keeper->connection_fd >= 0 && serve(keeper); i++)
        ;
    if (keeper->full && keeper->connection_fd >= 0)
        hang_up(keeper);
}

/* Whoever comes is in place of who was there: of two poolds, one has the state directory's lock. What the
 * other has said before its end counts. */
static void accept_one(struct keeper *keeper)
{
    const struct keep_msg hello = { .type = KEEP_HELLO, .value = KEEP_VERSION };
    _cleanup_close_ int fd = accept4(KEEPER_LISTEN_FD, NULL, NULL, SOCK_CLOEXEC);
    struct ucred peer;
    socklen_t bytes = sizeof peer;

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0 ||
        peer.uid != geteuid() || keep_send(fd, &hello, NULL, MSG_DONTWAIT) < 0)
        return;
    serve_all(keeper);
    close_fd(&keeper->connection_fd);
    keeper->connection_fd = take_fd(&fd);
}

/* Until something comes; false: nobody came in time. */
static bool wait_for(struct keeper *keeper)
{
    struct pollfd polled[] = { { .fd = KEEPER_LISTEN_FD, .events = POLLIN },
                               { .fd = keeper->connection_fd, .events = POLLIN } };
    int timeout_ms = -1;

    if (keeper->connection_fd < 0) {
        uint64_t end_ns = keeper->alone_since_ns + keeper->grace_ms * NS_PER_MS, now = now_ns();

        if (now >= end_ns)
            return false;
        timeout_ms = (int)MIN_OF((end_ns - now) / NS_PER_MS + 1, 1000000u);
    }
    if (poll(polled, ARRAY_LEN(polled), timeout_ms) <= 0)
        return true;
    if (polled[1].revents)
        serve_all(keeper);
    if (polled[0].revents)
        accept_one(keeper);
    return true;
}

static int rights_drop(void)
{
    cap_t none = cap_init();
    int rc = none ? cap_set_proc(none) : -1;

    cap_free(none);
    return rc;
}

int keeper_main(void)
{
    static struct keeper keeper = { .connection_fd = -1, .grace_ms = GRACE_MS_FIRST };
    const int own[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

    /* Those who signal all of a service mean poold, which tells the keeper what is to be. */
    for (unsigned i = 0; i < ARRAY_LEN(own); i++)
        signal(own[i], SIG_IGN);
    prctl(PR_SET_NAME, NAME);
    if (syscall(SYS_close_range, KEEPER_LISTEN_FD + 1, ~0u, 0u) < 0 || chdir("/") < 0 ||
        rights_drop() < 0)
        return EX_OSERR;
    keeper.alone_since_ns = now_ns();
    while (!keeper.stop && wait_for(&keeper))
        ;
    return EX_OK;
}
