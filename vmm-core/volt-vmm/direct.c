/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the running of one VM without a daemon; see direct.h.
 *
 * How it works
 *   The VM is a child process with the same two sockets that poold gives it, so everything about it
 *   is the same: sandbox, doorbell, snapshot. This process keeps what the VM must not have: the
 *   terminal, the snapshot's directory, the right to open files. Its states follow the messages:
 *   first PARKED -> snapshot (if asked for) -> WAKE -> AWAKE -> READY -> live, until EXITED or EOF.
 */
#include "volt-vmm/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/util.h"
#include "snapshot/host.h"
#include "snapshot/store.h"

#define CONSOLE_ESCAPE 0x1d /* Ctrl-] */

struct direct {
    struct options *options;
    struct net_source net;
    pid_t child;
    int control, bell, console, signals; /* console -1: none */
    struct termios terminal;             /* as it was before */
    bool terminal_raw;
    bool ended;
    int status; /* exit status once ended */
    int store_fd;
    bool snapshotting;
    struct snapshot_txn txn;
    struct manifest manifest;
    uint64_t start_ns;
};

/* ---- The VM's process ---- */

static int start_child(struct direct *d, struct err *err)
{
    int control[2], bell[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bell) < 0)
        return err_set_errno(err, errno, "creating the VM's sockets");
    d->start_ns = now_ns();
    d->child = fork();
    if (d->child < 0)
        return err_set_errno(err, errno, "forking the VM's process");
    if (d->child == 0) {
        d->options->control_fd = control[1];
        d->options->bell_fd = bell[1];
        close(control[0]);
        close(bell[0]);
        setsid(); /* Ctrl-C on the terminal is ours */
        int status =
            d->options->restore ? program_restore(d->options, err) : program_run(d->options, err);
        program_report_failure(d->options, err); /* the parent says it */
        _exit(status);
    }
    close(control[1]);
    close(bell[1]);
    d->control = control[0];
    d->bell = bell[0];
    return 0;
}

static int send_wake(struct direct *d, struct err *err)
{
    struct control_msg msg = { .type = CONTROL_WAKE };
    uint8_t id[16];

    msg.u.wake.op = DOORBELL_OP_RESTORE;
    random_bytes(&msg.u.wake.nonce, sizeof msg.u.wake.nonce);
    random_bytes(id, sizeof id);
    memcpy(msg.u.wake.generation_id, id, sizeof id);
    random_bytes(msg.u.wake.entropy, sizeof msg.u.wake.entropy);
    snprintf(msg.u.wake.hostname, sizeof msg.u.wake.hostname, "volt-%02x%02x%02x%02x", id[0], id[1],
             id[2], id[3]);
    net_source_fill_wake(&d->net, &msg);
    int rc = control_send(d->bell, &msg, NULL, 0);
    return rc < 0 ? err_set_errno(err, -rc, "waking the VM") : 0;
}

/* ---- Snapshot ---- */

static int begin_snapshot(struct direct *d, struct err *err)
{
    char parent[MANIFEST_PATH_BYTES], name[MANIFEST_PATH_BYTES];
    const struct options *o = d->options;
    struct manifest *m = &d->manifest;
    int rc;

    snprintf(parent, sizeof parent, "%s", o->snapshot_to);
    snprintf(name, sizeof name, "%s", o->snapshot_to);
    d->store_fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->store_fd < 0)
        return err_set_errno(err, errno, "opening the directory of '%s'", o->snapshot_to);
    snprintf(m->volt_version, sizeof m->volt_version, "%s", VOLT_VERSION);
    snprintf(m->cmdline, sizeof m->cmdline, "%s", o->cmdline ? o->cmdline : "");
    m->memory_bytes = o->memory_bytes;
    m->vcpus = o->vcpu_count;
    host_cpu_detect(&m->cpu);
    rc = manifest_blob_fill(&m->kernel, o->kernel, err);
    if (rc == 0 && o->initrd)
        rc = manifest_blob_fill(&m->initrd, o->initrd, err);
    return rc < 0 ? rc : snapshot_create_begin(d->store_fd, basename(name), &d->txn, err);
}

static int ask_snapshot(struct direct *d, struct err *err)
{
    struct control_msg msg = { .type = CONTROL_SNAPSHOT };
    int rc = begin_snapshot(d, err);

    if (rc < 0)
        return rc;
    int fds[] = { d->txn.state_fd, d->txn.memory_fd };
    d->snapshotting = true;
    rc = control_send(d->control, &msg, fds, ARRAY_LEN(fds));
    return rc < 0 ? err_set_errno(err, -rc, "asking for the snapshot") : 0;
}

static int on_snapshot_done(struct direct *d, const struct control_msg *msg, struct err *err)
{
    if (msg->u.snapshot_done.error) {
        snapshot_create_abort(&d->txn);
        return err_set(err, msg->u.snapshot_done.error, "snapshot: %.*s",
                       (int)sizeof msg->u.snapshot_done.detail, msg->u.snapshot_done.detail);
    }
    d->manifest.stopped_us = msg->u.snapshot_done.stopped_ns / NS_PER_US;
    int rc = snapshot_create_commit(&d->txn, &d->manifest, err);
    if (rc < 0)
        return rc;
    fprintf(stderr, "volt-vmm: snapshot '%s': %.1f MiB of memory, guest stopped %.1f ms\n",
            d->options->snapshot_to, (double)msg->u.snapshot_done.memory_data_bytes / 1048576.0,
            (double)msg->u.snapshot_done.stopped_ns / 1e6);
    d->options->snapshot_to = NULL;
    if (d->options->console)
        return send_wake(d, err);
    d->ended = true;
    return 0;
}

/* ---- Messages ---- */

static void print_progress(const struct direct *d, const char *what, const struct control_msg *msg)
{
    fprintf(stderr, "volt-vmm: %s after %.2f ms\r\n", what,
            (double)(msg->u.progress.at_ns - d->start_ns) / 1e6);
}

static int on_bell(struct direct *d, const struct control_msg *msg, struct err *err)
{
    switch (msg->type) {
    case CONTROL_BANNER:
        print_progress(d, "banner", msg);
        return 0;
    case CONTROL_AWAKE:
        print_progress(d, "awake", msg);
        return 0;
    case CONTROL_READY:
        print_progress(d, "ready", msg);
        return 0;
    case CONTROL_PARKED:
        return d->options->snapshot_to ? ask_snapshot(d, err) : send_wake(d, err);
    default:
        return 0;
    }
}

static int on_control(struct direct *d, const struct control_msg *msg, struct err *err)
{
    if (msg->type == CONTROL_SNAPSHOT_DONE)
        return on_snapshot_done(d, msg, err);
    if (msg->type == CONTROL_HELLO && d->options->restore)
        return send_wake(d, err);
    if (msg->type == CONTROL_EXITED) {
        enum control_exit_reason reason = (enum control_exit_reason)msg->u.exited.reason;

        d->ended = true;
        if (reason == EXIT_REASON_GUEST_POWEROFF || reason == EXIT_REASON_STOPPED)
            return 0;
        d->status = EXIT_VM_FAILED;
        return err_set(err, EIO, "the VM ended (%s): %.*s", control_exit_reason_name(reason),
                       (int)sizeof msg->u.exited.detail, msg->u.exited.detail);
    }
    return 0;
}

static int receive(struct direct *d, int fd, struct err *err)
{
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;
    int rc = control_recv(fd, &msg, fds, &fd_count);

    if (rc == -ENOTCONN || rc == -ECONNRESET) {
        if (fd == d->bell)
            return 0; /* control has the reason */
        d->ended = true;
        d->status = EXIT_VM_FAILED;
        return err_set(err, EIO, "the VM's process ended without a word");
    }
    if (rc < 0)
        return err_set_errno(err, -rc, "reading from the VM's process");
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    return fd == d->bell ? on_bell(d, &msg, err) : on_control(d, &msg, err);
}

/* ---- The terminal ---- */

static int attach_console(struct direct *d, struct err *err)
{
    struct control_msg msg = { .type = CONTROL_CONSOLE };
    int pair[2];

    if (!d->options->console)
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_errno(err, errno, "creating the console's socket");
    int rc = control_send(d->control, &msg, &pair[1], 1);
    close(pair[1]);
    d->console = pair[0];
    if (rc < 0)
        return err_set_errno(err, -rc, "attaching the console");
    if (tcgetattr(STDIN_FILENO, &d->terminal) == 0) {
        struct termios raw = d->terminal;

        cfmakeraw(&raw);
        d->terminal_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
        fputs("volt-vmm: the console; Ctrl-] ends the VM\r\n", stderr);
    }
    return 0;
}

static void stop(struct direct *d)
{
    struct control_msg msg = { .type = CONTROL_STOP };

    control_send(d->control, &msg, NULL, 0);
}

/* Copies what is there from one fd to the other; false at its end. */
static bool copy_some(int from, int to, bool *ret_escape)
{
    char buffer[4096];
    ssize_t n = read(from, buffer, sizeof buffer);

    if (n <= 0)
        return n < 0 && (errno == EINTR || errno == EAGAIN);
    if (ret_escape)
        *ret_escape = memchr(buffer, CONSOLE_ESCAPE, (size_t)n) != NULL;
    for (ssize_t done = 0; done < n;) {
        ssize_t wrote = write(to, buffer + done, (size_t)(n - done));
        if (wrote < 0 && errno != EINTR)
            return false;
        done += wrote > 0 ? wrote : 0;
    }
    return true;
}

/* ---- The loop ---- */

static int watch_signals(struct direct *d, struct err *err)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    d->signals = signalfd(-1, &set, SFD_CLOEXEC);
    return d->signals < 0 ? err_set_errno(err, errno, "watching signals") : 0;
}

static int serve(struct direct *d, struct err *err)
{
    enum { CONTROL, BELL, SIGNALS, CONSOLE, INPUT };
    struct pollfd polled[] = { [CONTROL] = { .fd = d->control, .events = POLLIN },
                               [BELL] = { .fd = d->bell, .events = POLLIN },
                               [SIGNALS] = { .fd = d->signals, .events = POLLIN },
                               [CONSOLE] = { .fd = d->console, .events = POLLIN },
                               [INPUT] = { .fd = d->console >= 0 ? STDIN_FILENO : -1,
                                           .events = POLLIN } };
    int rc = 0;

    while (rc == 0 && !d->ended) {
        bool escape = false;

        if (poll(polled, ARRAY_LEN(polled), -1) < 0)
            continue;
        if (polled[BELL].revents)
            rc = receive(d, d->bell, err);
        if (rc == 0 && polled[BELL].revents & POLLHUP)
            polled[BELL].fd = -1;
        if (rc == 0 && polled[CONTROL].revents)
            rc = receive(d, d->control, err);
        if (polled[CONSOLE].revents && !copy_some(d->console, STDOUT_FILENO, NULL))
            polled[CONSOLE].fd = -1;
        if (polled[INPUT].revents && !copy_some(STDIN_FILENO, d->console, &escape))
            polled[INPUT].fd = -1;
        if (polled[SIGNALS].revents || escape) {
            stop(d);
            polled[SIGNALS].fd = -1; /* once is enough */
        }
    }
    /* What the guest printed last. */
    while (rc == 0 && d->console >= 0 && poll(&polled[CONSOLE], 1, 0) == 1 &&
           copy_some(d->console, STDOUT_FILENO, NULL))
        ;
    return rc;
}

static void finish(struct direct *d)
{
    if (d->terminal_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &d->terminal);
    if (d->child > 0) {
        close_fd(&d->control); /* tells it to end, if it has not */
        waitpid(d->child, NULL, 0);
    }
}

int program_direct(struct options *options, struct err *err)
{
    static struct direct d; /* its manifest is large */
    int rc;

    d = (struct direct){
        .options = options, .control = -1, .bell = -1, .console = -1, .signals = -1, .store_fd = -1
    };
    if (!options->kernel == !options->restore) {
        err_set(err, EINVAL, "give either --kernel FILE or --restore DIR");
        return EXIT_BAD_USAGE;
    }
    if (options->restore && options->snapshot_to) {
        err_set(err, EINVAL, "--snapshot-to goes with --kernel");
        return EXIT_BAD_USAGE;
    }
    if (net_source_parse(options->net, &d.net, err) < 0)
        return EXIT_BAD_USAGE;
    rc = start_child(&d, err);
    if (rc == 0)
        rc = watch_signals(&d, err);
    if (rc == 0)
        rc = attach_console(&d, err);
    if (rc == 0)
        rc = serve(&d, err);
    finish(&d);
    if (rc < 0 && d.status == 0)
        d.status = EXIT_SOFTWARE;
    return d.status;
}
