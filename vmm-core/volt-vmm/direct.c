/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the running of one VM without a daemon; see program.h.
 *
 * How it works
 *   The VM is a child process with the same two sockets that poold gives it, so everything about it
 *   is the same: sandbox, doorbell, snapshot. This process keeps what the VM must not have: the
 *   terminal, the API socket, the snapshot's directory, the right to open files. Its states follow
 *   the messages: first PARKED -> snapshot (if asked for) -> WAKE -> AWAKE -> READY -> live, then
 *   for each snapshot over the API PARKED -> snapshot -> WAKE, until EXITED or EOF.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "volt-vmm/direct_internal.h"
#include "volt-vmm/program.h"

#define CONSOLE_ESCAPE 0x1d /* Ctrl-] */

/* ---- The VM's process ---- */

static int start_child(struct direct *d, struct err *err)
{
    int control[2], bell[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bell) < 0)
        return err_set_errno(err, errno, "creating the VM's sockets");
    d->control = control[0];
    d->bell = bell[0];
    /* Waits on the bell from the beginning: the VM answers first, and then gets ready. */
    int rc = d->options->restore ? direct_wake(d, DOORBELL_OP_RESTORE, err) : 0;
    if (rc < 0)
        return rc;
    d->child = sandbox_fork(&d->options->sandbox);
    if (d->child < 0)
        return err_set_errno(err, errno, "forking the VM's process");
    if (d->child == 0) {
        d->options->control_fd = control[1];
        d->options->bell_fd = bell[1];
        program_speaks_on(control[1]);
        close(control[0]);
        close(bell[0]);
        prompt_follow(&d->prompt);
        /* Ctrl-C on the terminal is ours; and all its processes can be stopped. Not a session,
         * which would be scheduled as a group (sched_autogroup_enabled): see prompt.h. */
        setpgid(0, 0);
        int status =
            d->options->restore ? program_restore(d->options, err) : program_run(d->options, err);
        if (err->code)
            program_report_failure(err); /* the parent says it */
        _exit(status);
    }
    close(control[1]);
    close(bell[1]);
    return 0;
}

int direct_send(int socket_fd, struct control_msg *msg, int fd, const char *doing, struct err *err)
{
    int rc = control_send(socket_fd, msg, &fd, fd >= 0);

    return rc < 0 ? err_set_errno(err, -rc, "%s", doing) : 0;
}

int direct_wake(struct direct *d, enum doorbell_op op, struct err *err)
{
    const struct control_wake wake = {
        .op = op,
        .flags = d->options->api_socket ? DOORBELL_FLAG_PARK_LATER : 0,
        .network = net_source_network(&d->options->net),
    };
    struct control_msg msg;

    control_wake_make(&msg, &wake, NULL, NULL);
    int rc = direct_send(d->bell, &msg, -1, "waking the VM", err);
    control_wake_wipe(&msg);
    return rc;
}

/* The whole group: what runs the VM is not the child itself where it has a pid namespace. */
void direct_pause(struct direct *d, bool pause)
{
    if (d->child > 0 && d->paused != pause)
        kill(-d->child, pause ? SIGSTOP : SIGCONT);
    d->paused = pause;
}

/* ---- Messages ---- */

static void print_progress(const struct direct *d, const char *what, const struct control_msg *msg)
{
    fprintf(stderr, "volt-vmm: %s after %.2f ms\r\n", what,
            (double)(msg->u.progress.at_ns - d->start_ns) / 1e6);
}

/* With the parts that add up to it. */
static void print_awake(const struct direct *d, const struct control_msg *msg)
{
    uint64_t forked_ns = msg->u.progress.at_ns - msg->u.progress.run_ns - msg->u.progress.setup_ns;

    fprintf(stderr,
            "volt-vmm: awake after %.2f ms (%.2f before its process, %.2f to make it, %.2f to load "
            "it, %.2f to its answer)\r\n",
            (double)(msg->u.progress.at_ns - d->start_ns) / 1e6,
            (double)(forked_ns - d->start_ns) / 1e6,
            (double)(msg->u.progress.setup_ns - msg->u.progress.load_ns) / 1e6,
            (double)msg->u.progress.load_ns / 1e6, (double)msg->u.progress.run_ns / 1e6);
}

static int on_bell(struct direct *d, const struct control_msg *msg, struct err *err)
{
    switch (msg->type) {
    case CONTROL_BANNER:
        print_progress(d, "banner", msg);
        return 0;
    case CONTROL_TROUBLE:
        fprintf(stderr, "volt-vmm: the guest says: %s\r\n", msg->u.trouble.text);
        return 0;
    case CONTROL_AWAKE:
        if (d->options->restore && !d->ready)
            print_awake(d, msg);
        else
            print_progress(d, "awake", msg);
        prompt_answered(&d->prompt, d->child);
        direct_source_worked(d);
        return 0;
    case CONTROL_READY:
        print_progress(d, "ready", msg);
        prompt_end(&d->prompt, d->child);
        d->ready = true;
        return 0;
    case CONTROL_PARKED:
        return d->snapshot_to[0] ? direct_snapshot_ask(d, err)
                                 : direct_wake(d, DOORBELL_OP_RESTORE, err);
    default:
        return 0;
    }
}

/* A snapshot that was asked for over the API may fail: the VM goes on. */
static int on_snapshot_done(struct direct *d, const struct control_msg *msg, struct err *err)
{
    int rc = direct_snapshot_done(d, msg, err);

    if (d->ready) {
        direct_api_snapshot(d, msg, rc < 0 ? err : NULL);
        err->code = 0;
        return direct_wake(d, DOORBELL_OP_LEASE, err);
    }
    if (rc < 0)
        return rc;
    if (d->options->console || d->options->api_socket)
        return direct_wake(d, DOORBELL_OP_RESTORE, err);
    d->ended = true;
    return 0;
}

static int on_control(struct direct *d, const struct control_msg *msg, struct err *err)
{
    if (msg->type == CONTROL_SNAPSHOT_DONE)
        return on_snapshot_done(d, msg, err);
    if (msg->type == CONTROL_STATS)
        direct_api_stats(d, msg);
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
    int rc = direct_send(d->control, &msg, pair[1], "attaching the console", err);
    close(pair[1]);
    d->console = pair[0];
    if (rc < 0)
        return rc;
    if (tcgetattr(STDIN_FILENO, &d->terminal) == 0) {
        struct termios raw = d->terminal;

        cfmakeraw(&raw);
        d->terminal_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
        fputs("volt-vmm: the console; Ctrl-] ends the VM\r\n", stderr);
    }
    return 0;
}

void direct_stop(struct direct *d)
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

enum polled { CONTROL, BELL, SIGNALS, CONSOLE, INPUT, AGENT, POLLED_COUNT };

/* The agent's failures are the snapshot's, not the VM's. */
static void serve_agent(struct direct *d)
{
    struct err err = { 0 };

    if (direct_snapshot_agent(d, &err) < 0) {
        direct_snapshot_abort(d);
        direct_api_snapshot(d, NULL, &err);
    }
}

static int serve_ready(struct direct *d, struct pollfd *polled, struct err *err)
{
    bool escape = false;
    int rc = polled[BELL].revents ? receive(d, d->bell, err) : 0;

    if (rc == 0 && polled[BELL].revents & POLLHUP)
        polled[BELL].fd = -1;
    if (rc == 0 && polled[CONTROL].revents)
        rc = receive(d, d->control, err);
    if (polled[CONSOLE].revents && !copy_some(d->console, STDOUT_FILENO, NULL))
        polled[CONSOLE].fd = -1;
    if (polled[INPUT].revents && !copy_some(STDIN_FILENO, d->console, &escape))
        polled[INPUT].fd = -1;
    if (polled[AGENT].revents)
        serve_agent(d);
    if (polled[SIGNALS].revents || escape) {
        direct_pause(d, false); /* or it would not hear of it */
        direct_stop(d);
        polled[SIGNALS].fd = -1; /* once is enough */
    }
    return rc;
}

static int serve(struct direct *d, struct err *err)
{
    struct pollfd polled[POLLED_COUNT + DIRECT_API_CONNECTIONS + 1] = {
        [CONTROL] = { .fd = d->control, .events = POLLIN },
        [BELL] = { .fd = d->bell, .events = POLLIN },
        [SIGNALS] = { .fd = d->signals, .events = POLLIN },
        [CONSOLE] = { .fd = d->console, .events = POLLIN },
        [INPUT] = { .fd = d->console >= 0 ? STDIN_FILENO : -1, .events = POLLIN },
        [AGENT] = { .events = POLLIN },
    };
    int rc = 0;

    while (rc == 0 && !d->ended) {
        unsigned api = direct_api_poll(&d->api, polled + POLLED_COUNT);

        polled[AGENT].fd = d->agent_fd;
        int count = poll(polled, POLLED_COUNT + api, prompt_timeout_ms(&d->prompt));
        if (count == 0)
            prompt_end(&d->prompt, d->child);
        if (count <= 0)
            continue;
        rc = serve_ready(d, polled, err);
        if (rc == 0)
            direct_api_serve(d, polled + POLLED_COUNT, api);
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
    direct_api_close(d);
    if (d->child > 0) {
        direct_pause(d, false);
        close_fd(&d->control); /* tells it to end, if it has not */
        waitpid(d->child, NULL, 0);
    }
    direct_snapshot_abort(d);
}

static int check_options(const struct options *o, struct err *err)
{
    if (!o->kernel == !o->restore)
        return err_set(err, EINVAL, "give either --kernel FILE or --restore DIR");
    if (o->restore && o->snapshot_to)
        return err_set(err, EINVAL,
                       "--snapshot-to goes with --kernel; of a restored VM, "
                       "--api-socket takes snapshots");
    if (o->restore && o->of_boot)
        return err_set(err, EINVAL,
                       "%s goes with --kernel: a restored VM is what it was when its snapshot was "
                       "taken",
                       o->of_boot);
    if (o->restore && o->huge_pages)
        return err_set(err, EINVAL,
                       "--huge-pages goes with --kernel: a restored VM maps the "
                       "file of its snapshot, which has small pages");
    return 0;
}

/* What must be there before the VM's process. */
static int prepare(struct direct *d, struct err *err)
{
    struct options *o = d->options;
    int rc = direct_manifest_fill(d, err);

    if (rc == 0)
        rc = net_source_open_link(&o->net, err);
    if (rc == 0 && o->snapshot_to)
        rc = direct_snapshot_begin(d, o->snapshot_to, err);
    if (rc == 0 && o->snapshot_to && o->disk)
        rc = snapshot_create_disk(&d->txn, err);
    if (rc == 0)
        rc = direct_disk_open(o, &d->manifest, o->snapshot_to ? &d->txn : NULL, err);
    if (rc == 0 && o->disk_delta_fd < 0)
        close_fd(&d->txn.disk_fd);
    if (rc == 0 && o->snapshot_to && o->disk_delta_fd >= 0 && (o->console || o->api_socket))
        rc = err_set(err, EINVAL,
                     "with a disk that it writes to, the VM ends with --snapshot-to: without "
                     "--console and --api-socket, or with --disk FILE,ro");
    if (rc == 0 && o->api_socket)
        rc = direct_api_open(d, o->api_socket, err);
    return rc;
}

int program_direct(struct options *options, struct err *err)
{
    static struct direct d; /* its manifest is large */
    int rc;

    d = (struct direct){ .options = options,
                         .start_ns = now_ns(),
                         .control = -1,
                         .bell = -1,
                         .console = -1,
                         .signals = -1,
                         .store_fd = -1,
                         .agent_fd = -1,
                         .txn = { .dir_fd = -1, .state_fd = -1, .memory_fd = -1, .disk_fd = -1 },
                         .api.listener.fd = -1 };
    for (unsigned i = 0; i < DIRECT_API_CONNECTIONS; i++)
        d.api.call[i].fd = -1;
    if (check_options(options, err) < 0)
        return EXIT_BAD_USAGE;
    if (options->restore)
        prompt_begin(&d.prompt);
    rc = prepare(&d, err);
    if (rc == 0)
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
