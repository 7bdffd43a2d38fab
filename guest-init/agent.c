/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's connections: see agent_session.h. */
#include "agent.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_session.h"
#include "io.h"

#define SESSION_COUNT 64
#define LISTEN_BACKLOG 64
#define PREFAULT_SESSIONS 2
#define PREFAULT_BYTES 4096

static struct session *sessions; /* SESSION_COUNT; their pages come when they are used */
static struct loop_source listener = { .fd = -1 };
static bool park_allowed, park_wanted;

static void refuse(int fd)
{
    struct {
        struct agent_frame frame;
        struct agent_error error;
        char sentence[22];
    } __attribute__((packed)) message = {
        .frame = { .type = AGENT_ERROR,
                   .payload_bytes = sizeof(message) - sizeof(struct agent_frame) },
        .error = { .error = EBUSY },
        .sentence = "too many sessions (64)",
    };

    (void)io_send(fd, &message, sizeof(message));
    io_close(fd);
}

static void connection_take(int fd)
{
    for (int i = 0; i < SESSION_COUNT; i++) {
        if (sessions[i].state != SESSION_FREE)
            continue;
        session_open(&sessions[i], fd);
        return;
    }
    refuse(fd);
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    int fd = io_accept(source->fd);

    (void)events;
    if (fd >= 0)
        connection_take(fd);
}

int agent_listen_vsock(void)
{
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = AGENT_VSOCK_PORT,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0) {
        error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int agent_init(int listen_fd)
{
    sessions = mmap(NULL, SESSION_COUNT * sizeof(*sessions), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sessions == MAP_FAILED)
        return -errno;
    listener = (struct loop_source){ .ready = listener_ready, .fd = listen_fd };
    return loop_add_level(&listener, EPOLLIN);
}

bool agent_child_ended(pid_t pid, int wait_status)
{
    if (service_child_ended(pid, wait_status)) {
        agent_gate_came(); /* nobody comes any more */
        return true;
    }
    for (int i = 0; sessions && i < SESSION_COUNT; i++) {
        if (sessions[i].state != SESSION_EXEC || sessions[i].pid != pid)
            continue;
        session_exec_ended(&sessions[i], wait_status);
        session_pump(&sessions[i]);
        return true;
    }
    return false;
}

void agent_gate_came(void)
{
    for (int i = 0; sessions && i < SESSION_COUNT; i++)
        if (sessions[i].state == SESSION_EXEC && sessions[i].call == CALL_WAITING)
            session_call_offer(&sessions[i]);
}

bool agent_run_pending(void)
{
    bool pending = false;

    for (int i = 0; sessions && i < SESSION_COUNT; i++) {
        if (!sessions[i].more)
            continue;
        session_pump(&sessions[i]);
        pending |= sessions[i].more;
    }
    return pending;
}

bool agent_park_ask(void)
{
    park_wanted = park_allowed;
    return park_allowed;
}

void agent_park_allow(bool allowed)
{
    park_allowed = allowed;
    park_wanted = false;
}

bool agent_park_due(void)
{
    for (int i = 0; park_wanted && i < SESSION_COUNT; i++) {
        if (sessions[i].state != SESSION_FREE)
            return false;
    }
    return park_wanted;
}

static void touch(volatile uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i += PREFAULT_BYTES)
        bytes[i] = 0;
    bytes[count - 1] = 0;
}

void agent_prefault(void)
{
    exec_fds_prepare();
    for (int i = 0; sessions && i < PREFAULT_SESSIONS; i++) {
        touch((uint8_t *)&sessions[i], offsetof(struct session, out) + PREFAULT_BYTES);
        touch(sessions[i].request, PREFAULT_BYTES);
    }
}
