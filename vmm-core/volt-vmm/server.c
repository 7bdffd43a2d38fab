/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a VM's answers to poold; see server.h. */
#include "volt-vmm/server.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/util.h"

/* ---- The bell: vCPU 0's thread ---- */

static void close_fds(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static bool bell_pending(struct vm *vm)
{
    struct pollfd polled = { .fd = vm->doorbell.fd, .events = POLLIN };

    return poll(&polled, 1, 0) != 0;
}

static int bell_wait(struct vm *vm, enum control_type type, struct control_msg *ret_msg)
{
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;
    int rc = control_recv(vm->doorbell.fd, ret_msg, fds, &fd_count);

    if (rc < 0)
        return rc;
    close_fds(fds, fd_count);
    return ret_msg->type == type ? 0 : -EPROTO;
}

static void said(struct vm *vm, int rc)
{
    /* EPIPE: poold is gone, which the control socket's EOF tells the device thread. */
    if (rc < 0 && rc != -EPIPE)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "reporting on the bell: %s", strerror(-rc));
}

static void bell_report(struct vm *vm, struct control_msg *msg)
{
    said(vm, control_send(vm->doorbell.fd, msg, NULL, 0));
}

static int bell_wait_call(struct vm *vm, void *ret_payload, uint32_t room,
                          struct control_msg *ret_msg)
{
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;
    int rc = control_recv_payload(vm->doorbell.fd, ret_msg, fds, &fd_count, ret_payload, room);

    if (rc < 0)
        return rc;
    close_fds(fds, fd_count);
    return ret_msg->type == CONTROL_CALL && ret_msg->u.call.call ? 0 : -EPROTO;
}

static void bell_answer(struct vm *vm, struct control_msg *msg, const void *payload, uint32_t bytes)
{
    said(vm, control_send_payload(vm->doorbell.fd, msg, payload, bytes));
}

const struct vm_bell_ops server_bell_ops = {
    .pending = bell_pending,
    .wait = bell_wait,
    .report = bell_report,
    .wait_call = bell_wait_call,
    .answer = bell_answer,
};

/* ---- Control: the device thread ---- */

static void reply(struct server *server, struct control_msg *msg)
{
    int rc = control_send(server->control.fd, msg, NULL, 0);

    if (rc < 0 && rc != -EPIPE)
        vm_end(&server->machine->vm, EXIT_REASON_HOST_ERROR, "answering on control: %s",
               strerror(-rc));
}

static void on_snapshot(struct server *server, const struct control_msg *msg, int *fds)
{
    struct vm *vm = &server->machine->vm;
    struct control_msg done = { .type = CONTROL_SNAPSHOT_DONE };

    (void)msg;
    bool locked = pthread_mutex_trylock(&vm->run_lock) == 0;
    if (locked && atomic_load(&vm->phase) == VM_PARKED) {
        machine_snapshot(server->machine, fds[0], fds[1], &done);
    } else {
        done.u.snapshot_done.error = EBUSY;
        snprintf(done.u.snapshot_done.detail, sizeof done.u.snapshot_done.detail,
                 "the VM is not parked");
    }
    if (locked)
        pthread_mutex_unlock(&vm->run_lock);
    close_fds(fds, 2);
    reply(server, &done);
}

static void on_vsock_connect(struct server *server, const struct control_msg *msg, int *fds)
{
    /* A failure has closed the stream, which is what its client is told. */
    vsock_connect_fd(server->machine->vsock, msg->u.vsock_connect.port, fds[0]);
}

static void on_console(struct server *server, const struct control_msg *msg, int *fds)
{
    struct err err;

    uart_attach(server->machine->uart, fds[0], msg->u.console.backlog_only != 0, &err);
}

static void on_query_stats(struct server *server, const struct control_msg *msg, int *fds)
{
    struct control_msg stats = { .type = CONTROL_STATS };
    struct vsock_stats vsock;

    (void)msg;
    (void)fds;
    vm_stats(&server->machine->vm, &stats);
    vsock_query_stats(server->machine->vsock, &vsock);
    stats.cookie = uart_is_attached(server->machine->uart);
    stats.u.stats.console_dropped_bytes = uart_dropped_bytes(server->machine->uart);
    stats.u.stats.vsock_connections = vsock.connections;
    stats.u.stats.vsock_refused = vsock.refused;
    reply(server, &stats);
}

/* A volume that can't be attached ends the VM: its lease hears why, and waits for nothing. */
static void on_volume(struct server *server, const struct control_msg *msg, int *fds)
{
    struct vm *vm = &server->machine->vm;
    const uint32_t slot = msg->u.volume.slot, mode = msg->u.volume.mode;
    const struct disk_config config = { .base_fd = fds[0],
                                        .delta_fd = { fds[1] },
                                        .delta_count = fds[1] >= 0,
                                        .read_only = mode == CONTROL_VOLUME_READ_ONLY,
                                        .scratch_bytes = msg->u.volume.bytes };
    struct err err;

    if (slot < CONTROL_VOLUMES_MAX && server->machine->volume[slot] && config.scratch_bytes &&
        (mode == CONTROL_VOLUME_COPY) == (fds[1] >= 0)) {
        if (blk_attach(server->machine->volume[slot], &config, &err) < 0)
            vm_end(vm, EXIT_REASON_HOST_ERROR, "attaching a volume: %s", err.msg);
        return;
    }
    close_fd(&fds[0]);
    close_fd(&fds[1]);
    vm_end(vm, EXIT_REASON_HOST_ERROR, "a volume for a slot that this VM does not have");
}

static void on_stop(struct server *server, const struct control_msg *msg, int *fds)
{
    (void)msg;
    (void)fds;
    vm_end(&server->machine->vm, EXIT_REASON_STOPPED, "asked to stop");
}

static const struct {
    enum control_type type;
    unsigned fd_count;
    void (*handle)(struct server *server, const struct control_msg *msg, int *fds);
} handlers[] = {
    { CONTROL_SNAPSHOT, 2, on_snapshot }, { CONTROL_VSOCK_CONNECT, 1, on_vsock_connect },
    { CONTROL_CONSOLE, 1, on_console },   { CONTROL_QUERY_STATS, 0, on_query_stats },
    { CONTROL_STOP, 0, on_stop },         { CONTROL_VOLUME, 1, on_volume },
    { CONTROL_VOLUME, 2, on_volume },
};

static void control_ready(struct vm_poll *poll, uint32_t events)
{
    struct server *server = (struct server *)((char *)poll - offsetof(struct server, control));
    struct vm *vm = &server->machine->vm;
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    (void)events;
    fds[1] = -1; /* where one comes or two */
    int rc = control_recv(poll->fd, &msg, fds, &fd_count);
    if (rc == -ENOTCONN || rc == -ECONNRESET) {
        vm_end(vm, EXIT_REASON_POOLD_GONE, "the control socket was closed");
        return;
    }
    /* A stream that this process has no descriptor for: its client is told by its end. */
    if (rc == -EMFILE && (msg.type == CONTROL_VSOCK_CONNECT || msg.type == CONTROL_CONSOLE))
        return;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(handlers); i++) {
        if (handlers[i].type == msg.type && handlers[i].fd_count == fd_count) {
            handlers[i].handle(server, &msg, fds);
            return;
        }
    }
    if (rc == 0)
        close_fds(fds, fd_count);
    if (rc != -EAGAIN)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "a malformed message on the control socket");
}

int server_init(struct server *server, struct machine *machine, int control_fd, struct err *err)
{
    server->machine = machine;
    server->control = (struct vm_poll){ .ready = control_ready, .fd = control_fd };
    int rc = vm_poll_add(&machine->vm, &server->control, EPOLLIN);
    return rc < 0 ? err_set_errno(err, -rc, "polling the control socket") : 0;
}

int server_hello(struct server *server, uint32_t layers, uint32_t landlock_abi)
{
    const struct vm *vm = &server->machine->vm;
    struct control_msg msg = { .type = CONTROL_HELLO };

    msg.u.hello.version = CONTROL_VERSION;
    msg.u.hello.vcpu_count = vm->vcpu_count;
    msg.u.hello.ram_bytes = vm->mem.ram_bytes;
    msg.u.hello.setup_ns = now_ns() - vm->created_ns;
    msg.u.hello.layers = layers;
    msg.u.hello.landlock_abi = landlock_abi;
    return control_send(server->control.fd, &msg, NULL, 0);
}

void server_say_exited(int control_fd, enum control_exit_reason reason, const char *detail)
{
    struct control_msg msg = { .type = CONTROL_EXITED };

    msg.u.exited.reason = reason;
    snprintf(msg.u.exited.detail, sizeof msg.u.exited.detail, "%s", detail);
    control_send(control_fd, &msg, NULL, 0);
}

void server_exited(struct server *server, enum control_exit_reason reason)
{
    server_say_exited(server->control.fd, reason, server->machine->vm.end_detail);
}
