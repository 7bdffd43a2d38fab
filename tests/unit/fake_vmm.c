/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for volt-vmm in poold's tests: it speaks control.h as boot VM, template and clone,
 * forks clones as the real one does, and has no VM in it. What it does wrong is chosen by words in
 * the file named by $VOLT_FAKE_FAULTS, which is read anew by every process, so that a test can
 * change its mind:
 *
 *   boot_crash boot_hang snapshot_error                   of boot VMs
 *   boot_slow                                             they boot on once it is gone
 *   template_crash template_hang                          of templates
 *   clone_crash no_awake no_ready bad_ready awake_crash   of clones
 *   slow_ready                                            READY comes 300 ms late
 *   no_service                                            a service ends at its start
 *   no_mount no_unmount dies_unmounting never_unmounts    of agents that are asked for volumes
 *
 * Its functions answer by the path that they are asked for, or by what they are asked with at their
 * doorbell (fake_function.c).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arguments.h"
#include "base/util.h"
#include "control/control.h"
#include "fake_function.h"
#include "snapshot/sections.h"

#define STREAMS_MAX 16
#define BACKLOG "fake console\n"

struct fake {
    int control_fd, bell_fd;
    int volume_fd; /* the last that it was given, or what it writes to it; -1 */
    int streams[STREAMS_MAX];
    unsigned stream_count;
};

static bool fault(const char *word)
{
    const char *path = getenv("VOLT_FAKE_FAULTS");
    _cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[256] = "";

    return fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strstr(text, word);
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 2; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return NULL;
}

static int fd_option(int argc, char **argv, const char *name)
{
    const char *text = option(argc, argv, name);

    return text ? atoi(text) : -1;
}

static void say(int fd, uint32_t type)
{
    struct control_msg msg = { .type = type };

    if (type == CONTROL_HELLO) {
        msg.u.hello.version = CONTROL_VERSION;
        msg.u.hello.layers = CONTROL_LAYER_CPUID | CONTROL_LAYER_SECCOMP | CONTROL_LAYER_LANDLOCK;
        msg.u.hello.landlock_abi = 7;
    } else if (type == CONTROL_READY) {
        msg.u.progress.ready_status = fault("bad_ready") ? DOORBELL_READY_FAILED_RNG : 0;
    } else {
        msg.u.progress.at_ns = now_ns();
        msg.u.progress.setup_ns = NS_PER_MS;
        msg.u.progress.run_ns = 100 * NS_PER_US;
    }
    control_send(fd, &msg, NULL, 0);
}

static void say_exited(int fd, enum control_exit_reason reason, const char *detail)
{
    struct control_msg msg = { .type = CONTROL_EXITED };

    msg.u.exited.reason = reason;
    snprintf(msg.u.exited.detail, sizeof msg.u.exited.detail, "%s", detail);
    control_send(fd, &msg, NULL, 0);
}

/* ---- Boot VM ---- */

static void write_snapshot(int control_fd, int state_fd, int memory_fd, uint64_t memory_bytes)
{
    struct control_msg msg = { .type = CONTROL_SNAPSHOT_DONE };
    struct state_builder builder;
    uint64_t bytes = 0;

    state_builder_init(&builder);
    state_builder_add(&builder, "fake", 1, 0, "state", 5);
    if (fault("snapshot_error") || state_builder_write(&builder, state_fd, &bytes, NULL) < 0 ||
        ftruncate(memory_fd, (off_t)memory_bytes) < 0 ||
        pwrite_all(memory_fd, "fake memory", 11, MIB(4)) < 0) {
        msg.u.snapshot_done.error = ENOSPC;
        snprintf(msg.u.snapshot_done.detail, sizeof msg.u.snapshot_done.detail,
                 "no space, says fake");
    }
    state_builder_fini(&builder);
    msg.u.snapshot_done.stopped_ns = NS_PER_MS;
    msg.u.snapshot_done.state_bytes = bytes;
    control_send(control_fd, &msg, NULL, 0);
}

/* What a command ended with: 7 with "exit" in it, nothing that runs it with "no shell", else 0. */
static void say_command_end(int fd, const void *request, size_t bytes)
{
    const bool no_shell = memmem(request, bytes, "no shell", 8);
    const struct agent_exit ended = { .kind = no_shell ? AGENT_EXIT_NOT_FOUND : AGENT_EXIT_CODE,
                                      .value = no_shell                            ? ENOENT
                                               : memmem(request, bytes, "exit", 4) ? 7
                                                                                   : 0 };

    say_frame(fd, AGENT_STDOUT, "warm\n", 5);
    say_frame(fd, AGENT_EXIT, &ended, sizeof ended);
}

/* One agent session of the boot VM. */
static void agent_session(int fd, int bell_fd)
{
    struct agent_frame frame;
    uint8_t payload[4096];

    if (write(fd, "OK 1024\n", 8) != 8 || recv(fd, &frame, sizeof frame, MSG_WAITALL) <= 0 ||
        frame.payload_bytes > sizeof payload ||
        (frame.payload_bytes && recv(fd, payload, frame.payload_bytes, MSG_WAITALL) <= 0))
        return;
    if (frame.type == AGENT_EXEC && ((struct agent_exec *)payload)->flags & AGENT_EXEC_SERVICE) {
        say_frame(fd, AGENT_DONE, NULL, 0);
    } else if (frame.type == AGENT_EXEC) {
        say_command_end(fd, payload, frame.payload_bytes);
    } else if (frame.type == AGENT_CALL) {
        fake_service(fd, fault("no_service"));
    } else if (frame.type == AGENT_PARK) {
        say_frame(fd, AGENT_DONE, NULL, 0);
        say(bell_fd, CONTROL_PARKED);
    }
}

static int boot_vm(int control_fd, int bell_fd, uint64_t memory_bytes)
{
    struct pollfd polls[2] = { { .fd = control_fd, .events = POLLIN },
                               { .fd = bell_fd, .events = POLLIN } };
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    if (fault("boot_crash"))
        _exit(3);
    say(control_fd, CONTROL_HELLO);
    if (fault("boot_hang"))
        pause();
    while (fault("boot_slow"))
        usleep(10000);
    say(control_fd, CONTROL_BANNER);
    say(bell_fd, CONTROL_PARKED);
    for (;;) {
        if (poll(polls, 2, -1) < 0 ||
            control_recv(polls[1].revents ? bell_fd : control_fd, &msg, fds, &fd_count) < 0)
            return 0;
        if (msg.type == CONTROL_SNAPSHOT && fd_count == 2)
            write_snapshot(control_fd, fds[0], fds[1], memory_bytes);
        else if (msg.type == CONTROL_WAKE && msg.u.wake.flags == DOORBELL_FLAG_PARK_LATER)
            say(bell_fd, CONTROL_AWAKE);
        else if (msg.type == CONTROL_VSOCK_CONNECT && fd_count == 1)
            agent_session(fds[0], bell_fd);
        for (unsigned i = 0; i < fd_count; i++)
            close(fds[i]);
    }
}

/* ---- Clone ---- */

static void on_wake(struct fake *fake, const struct control_msg *msg)
{
    if (fault("awake_crash"))
        _exit(9);
    if (fault("no_awake"))
        return;
    say(fake->bell_fd, CONTROL_AWAKE);
    if (msg->u.wake.op != DOORBELL_OP_RESTORE)
        return;
    if (fault("no_ready") || (fault("no_trial") && msg->u.wake.flags == 0))
        return;
    if (fault("slow_ready"))
        usleep(300000);
    say(fake->bell_fd, CONTROL_READY);
    if (msg->u.wake.flags & DOORBELL_FLAG_PARK_AGAIN)
        say(fake->bell_fd, CONTROL_PARKED);
}

/* A guest that echoes what it gets, unless it is a command, on any vsock port but those that end the
 * VM: 666 by a crash of the guest, 667 by its poweroff, 668 without a word. */
static void on_stream(struct fake *fake, const struct control_msg *msg, int fd)
{
    char text[32];

    if (msg->type == CONTROL_VSOCK_CONNECT && msg->u.vsock_connect.port == 666) {
        say_exited(fake->control_fd, EXIT_REASON_TRIPLE_FAULT, "the guest fell over");
        _exit(0);
    }
    if (msg->type == CONTROL_VSOCK_CONNECT && msg->u.vsock_connect.port == 667)
        say_exited(fake->control_fd, EXIT_REASON_GUEST_POWEROFF, "off");
    if (msg->type == CONTROL_VSOCK_CONNECT &&
        (msg->u.vsock_connect.port == 667 || msg->u.vsock_connect.port == 668))
        _exit(0);
    if (msg->type == CONTROL_CONSOLE && fault("long_console")) { /* and it never ends */
        static const char much[160 * 1024] = "fake";

        (void)!send(fd, much, sizeof much, MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
    if (msg->type == CONTROL_CONSOLE)
        snprintf(text, sizeof text, BACKLOG);
    else
        snprintf(text, sizeof text, "OK %u\n", msg->u.vsock_connect.port);
    if (write(fd, text, strlen(text)) < 0 || fake->stream_count == STREAMS_MAX ||
        (msg->type == CONTROL_CONSOLE && msg->u.console.backlog_only))
        close(fd);
    else
        fake->streams[fake->stream_count++] = fd;
}

/* A guest that mounts a volume, and what it then writes to it. */
static void on_mount(struct fake *fake, int fd, bool mount)
{
    static const char sentence[] = "\5\0\0\0can't do that";

    if (!mount && fault("dies_unmounting"))
        _exit(0);
    if (!mount && fault("never_unmounts"))
        return;
    if (fault(mount ? "no_mount" : "no_unmount")) {
        say_frame(fd, AGENT_ERROR, sentence, sizeof sentence - 1);
        return;
    }
    if (mount) /* a read-only one it can't */
        (void)!pwrite(fake->volume_fd, "written", 7, 65536);
    say_frame(fd, AGENT_DONE, NULL, 0);
}

static void echo(struct fake *fake, unsigned i)
{
    char data[4096] = "";
    struct agent_frame frame;
    ssize_t n = read(fake->streams[i], data, sizeof data - 1); /* an end for texts */

    if (n < 0 && errno == EAGAIN)
        return;
    memcpy(&frame, data, sizeof frame);
    if (n >= (ssize_t)(sizeof frame + sizeof(struct agent_call)) && frame.type == AGENT_CALL &&
        frame.payload_bytes == sizeof(struct agent_call)) {
        fake_call(fake->streams[i], data, sizeof data, (size_t)n, fault("no_service"));
        return;
    }
    if (n > (ssize_t)sizeof frame && frame.type == AGENT_EXEC &&
        frame.payload_bytes == (size_t)n - sizeof frame) {
        say_command_end(fake->streams[i], data, (size_t)n);
        return;
    }
    if (n >= (ssize_t)sizeof frame && (frame.type == AGENT_MOUNT || frame.type == AGENT_UNMOUNT)) {
        on_mount(fake, fake->streams[i], frame.type == AGENT_MOUNT);
        return;
    }
    if (n > 0 && frame.type == AGENT_STDIN) {
        fake_input(fake->streams[i], data, (size_t)n);
        return;
    }
    if (n > 0 && write(fake->streams[i], data, (size_t)n) == n)
        return;
    close(fake->streams[i]);
    fake->streams[i] = fake->streams[--fake->stream_count];
}

static void on_volume(struct fake *fake, const struct control_msg *msg, const int *fds,
                      unsigned fd_count)
{
    const bool copy = msg->u.volume.mode == CONTROL_VOLUME_COPY;

    assert(fd_count == (copy ? 2 : 1));
    fake->volume_fd = fds[copy ? 1 : 0];
    if (copy)
        close(fds[0]);
}

static void say_stats(struct fake *fake)
{
    struct control_msg msg = { .type = CONTROL_STATS };

    msg.u.stats.vsock_connections = fake->stream_count;
    assert(control_send(fake->control_fd, &msg, NULL, 0) == 0);
}

static void take_message(struct fake *fake, int from_fd)
{
    static char payload[FUNCTION_PAYLOAD_MAX];
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    if (control_recv_payload(from_fd, &msg, fds, &fd_count, payload, sizeof payload) < 0)
        _exit(0); /* poold is gone */
    if (msg.type == CONTROL_WAKE)
        on_wake(fake, &msg);
    else if (msg.type == CONTROL_CALL)
        fake_bell(fake->bell_fd, &msg, payload);
    else if ((msg.type == CONTROL_VSOCK_CONNECT || msg.type == CONTROL_CONSOLE) && fd_count == 1)
        on_stream(fake, &msg, fds[0]);
    else if (msg.type == CONTROL_VOLUME)
        on_volume(fake, &msg, fds, fd_count);
    else if (msg.type == CONTROL_QUERY_STATS && !fault("no_stats"))
        say_stats(fake);
    else if (msg.type == CONTROL_STOP)
        _exit(0);
}

_Noreturn static void clone_main(int control_fd, int bell_fd, int listen_fd)
{
    struct fake fake = { .control_fd = control_fd, .bell_fd = bell_fd, .volume_fd = -1 };
    struct pollfd polls[2 + STREAMS_MAX];
    int listens = 0;

    if (fault("clone_crash"))
        _exit(1);
    assert(getsockopt(listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &listens,
                      &(socklen_t){ sizeof listens }) == 0 &&
           listens);
    say(control_fd, CONTROL_HELLO);
    for (;;) {
        polls[0] = (struct pollfd){ .fd = control_fd, .events = POLLIN };
        polls[1] = (struct pollfd){ .fd = bell_fd, .events = POLLIN };
        for (unsigned i = 0; i < fake.stream_count; i++)
            polls[2 + i] = (struct pollfd){ .fd = fake.streams[i], .events = POLLIN };
        unsigned count = fake.stream_count;
        if (poll(polls, 2 + count, -1) < 0)
            _exit(1);
        for (unsigned i = count; i-- > 0;) {
            if (polls[2 + i].revents)
                echo(&fake, i);
        }
        if (polls[1].revents)
            take_message(&fake, bell_fd);
        if (polls[0].revents)
            take_message(&fake, control_fd);
    }
}

/* ---- Template ---- */

static void fork_clone(int control_fd, const struct control_msg *request,
                       const struct control_clone_fds *fds)
{
    struct control_msg msg = { .type = CONTROL_CLONED, .cookie = request->cookie };
    pid_t pid = fork();
    int pidfd;

    assert(pid >= 0);
    if (pid == 0) {
        close(control_fd);
        clone_main(fds->control, fds->bell, fds->vsock_listen);
    }
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    msg.u.cloned.pid = pid;
    control_send(control_fd, &msg, &pidfd, 1);
    close(pidfd);
}

/* Memory as real clones have it, with a page read and one written. */
static void map_memory(int snapshot_fd)
{
    _cleanup_close_ int fd = openat(snapshot_fd, "memory.img", O_RDONLY | O_CLOEXEC);
    volatile char *memory = mmap(NULL, MIB(8), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

    assert(memory != MAP_FAILED);
    memory[MIB(6)] = memory[MIB(4)];
}

static int template_vm(int control_fd, int snapshot_fd)
{
    struct control_msg msg;
    struct control_clone_fds named;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    if (fault("template_crash"))
        _exit(4);
    if (fault("template_hang"))
        pause();
    map_memory(snapshot_fd);
    say(control_fd, CONTROL_HELLO);
    while (control_recv(control_fd, &msg, fds, &fd_count) == 0) {
        if (msg.type == CONTROL_CLONE && control_clone_sort(&msg, fds, fd_count, &named))
            fork_clone(control_fd, &msg, &named);
        if (msg.type == CONTROL_WORKING_SET && fd_count == 1)
            fprintf(stderr, "fake_vmm: a working set came\n");
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        for (unsigned i = 0; i < fd_count; i++)
            close(fds[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (arguments_get(&argc, &argv, 2, NULL) < 0)
        return 2;
    int control_fd = fd_option(argc, argv, "--control-fd");
    const char *memory = option(argc, argv, "--memory");

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "run") == 0)
        return boot_vm(control_fd, fd_option(argc, argv, "--bell-fd"),
                       memory ? strtoull(memory, NULL, 10) : 0);
    if (argc > 1 && strcmp(argv[1], "template") == 0)
        return template_vm(control_fd, fd_option(argc, argv, "--snapshot-fd"));
    fprintf(stderr, "fake_vmm: run or template\n");
    return 2;
}
