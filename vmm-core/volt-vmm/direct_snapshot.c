/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the snapshots of a VM without a daemon; see direct_internal.h.
 *
 * How it works
 *   A VM parks by itself once, when its boot is over. Later it is asked to, through the agent in
 *   it: a stream to the agent's port, the agent's PARK request, its DONE, and once the stream is
 *   closed the guest parks. Either way PARKED comes on the bell, then SNAPSHOT is sent, and
 *   SNAPSHOT_DONE commits it. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/util.h"
#include "base/version.h"
#include "volt-vmm/direct_internal.h"

#define GREETING_BYTES_MAX 32u

/* ---- What a snapshot says of the machine ---- */

int direct_manifest_fill(struct direct *d, struct err *err)
{
    const struct options *o = d->options;
    bool asked = o->snapshot_to || o->api_socket; /* else nobody will ask for its files */
    const struct manifest_machine machine = { .kernel = asked ? o->kernel : NULL,
                                              .initrd = asked ? o->initrd : NULL,
                                              .kernel_fd = -1,
                                              .initrd_fd = -1,
                                              .cmdline = o->cmdline,
                                              .memory_bytes = o->memory_bytes,
                                              .vcpus = o->vcpu_count };

    if (!o->restore)
        return manifest_describe(&d->manifest, &machine, err);
    int rc = direct_source_open(d, err);
    snprintf(d->manifest.volt_version, sizeof d->manifest.volt_version, "%s", VOLT_VERSION);
    return rc;
}

/* ---- From begin to commit ---- */

int direct_snapshot_begin(struct direct *d, const char *path, struct err *err)
{
    char parent[MANIFEST_PATH_BYTES], name[MANIFEST_PATH_BYTES];

    if ((size_t)snprintf(parent, sizeof parent, "%s", path) >= sizeof parent)
        return err_set(err, ENAMETOOLONG, "the snapshot's path");
    memcpy(name, parent, sizeof name);
    memcpy(d->snapshot_to, parent, sizeof parent);
    close_fd(&d->store_fd);
    d->store_fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = d->store_fd < 0
                 ? err_set_errno(err, errno, "opening the directory of '%s'", d->snapshot_to)
                 : snapshot_create_begin(d->store_fd, basename(name), &d->txn, err);
    if (rc < 0)
        d->snapshot_to[0] = '\0';
    return rc;
}

void direct_snapshot_abort(struct direct *d)
{
    close_fd(&d->agent_fd);
    d->park = DIRECT_PARK_NONE;
    if (d->snapshot_to[0])
        snapshot_create_abort(&d->txn);
    d->snapshot_to[0] = '\0';
}

int direct_snapshot_ask(struct direct *d, struct err *err)
{
    struct control_msg msg = { .type = CONTROL_SNAPSHOT };
    const int fds[] = { d->txn.state_fd, d->txn.memory_fd };

    d->park = DIRECT_PARK_NONE;
    int rc = control_send(d->control, &msg, fds, ARRAY_LEN(fds));
    return rc < 0 ? err_set_errno(err, -rc, "asking for the snapshot") : 0;
}

/* A delta belongs to the snapshot: nothing may write to it from here on. */
static void end_writer(struct direct *d)
{
    if (d->txn.disk_fd < 0)
        return;
    close_fd(&d->control);
    waitpid(d->child, NULL, 0);
    d->child = 0;
}

int direct_snapshot_done(struct direct *d, const struct control_msg *msg, struct err *err)
{
    int rc = 0;

    if (msg->u.snapshot_done.error)
        rc = err_set(err, msg->u.snapshot_done.error, "snapshot: %.*s",
                     (int)sizeof msg->u.snapshot_done.detail - 1, msg->u.snapshot_done.detail);
    if (rc < 0) {
        direct_snapshot_abort(d);
        return rc;
    }
    end_writer(d);
    d->manifest.stopped_us = msg->u.snapshot_done.stopped_ns / NS_PER_US;
    rc = snapshot_create_commit(&d->txn, &d->manifest, err);
    if (rc == 0)
        fprintf(stderr, "volt-vmm: snapshot '%s': %.1f MiB of memory, guest stopped %.1f ms\r\n",
                d->snapshot_to, (double)msg->u.snapshot_done.memory_data_bytes / 1048576.0,
                (double)msg->u.snapshot_done.stopped_ns / 1e6);
    d->snapshot_to[0] = '\0';
    return rc;
}

/* ---- Parking a live guest ---- */

int direct_snapshot_park(struct direct *d, struct err *err)
{
    struct control_msg msg = { .type = CONTROL_VSOCK_CONNECT };
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_errno(err, errno, "creating a stream to the agent");
    msg.u.vsock_connect.port = AGENT_VSOCK_PORT;
    int rc = direct_send(d->control, &msg, pair[1], "connecting to the agent", err);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return rc;
    }
    d->agent_fd = pair[0];
    d->park = DIRECT_PARK_GREETING;
    return 0;
}

/* "OK <port>\n", which is sent in one piece; a byte at a time, as what follows it is the agent's. 1
 * or -errno. */
static int read_greeting(struct direct *d, struct err *err)
{
    char text[GREETING_BYTES_MAX];

    for (unsigned n = 0; n < sizeof text; n++) {
        if (recv(d->agent_fd, text + n, 1, MSG_DONTWAIT) != 1)
            return err_set(err, ECONNREFUSED, "no agent answers in the guest");
        if (text[n] == '\n')
            return n > 3 && memcmp(text, "OK ", 3) == 0
                       ? 1
                       : err_set(err, EPROTO, "the agent did not greet");
    }
    return err_set(err, EPROTO, "the agent did not greet");
}

static int send_park(struct direct *d, struct err *err)
{
    const struct agent_frame frame = { .type = AGENT_PARK };

    d->park = DIRECT_PARK_ASKED;
    if (send(d->agent_fd, &frame, sizeof frame, MSG_NOSIGNAL) != (ssize_t)sizeof frame)
        return err_set(err, EIO, "asking the agent to park");
    return 0;
}

/* One frame is due, an empty DONE. In pieces it would be refused: nobody waits for a guest here. */
static int read_done(struct direct *d, struct err *err)
{
    struct agent_frame frame;

    if (recv(d->agent_fd, &frame, sizeof frame, MSG_DONTWAIT) != (ssize_t)sizeof frame ||
        frame.type != AGENT_DONE)
        return err_set(err, EPROTO, "the agent does not park the guest");
    close_fd(&d->agent_fd);
    d->park = DIRECT_PARK_DUE;
    return 0;
}

int direct_snapshot_agent(struct direct *d, struct err *err)
{
    int rc = d->park == DIRECT_PARK_ASKED ? read_done(d, err) : read_greeting(d, err);

    if (rc == 1)
        rc = send_park(d, err);
    return rc;
}
