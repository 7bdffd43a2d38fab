/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's connections and the life of a session: see agent_session.h. */
#include "agent.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_session.h"

#define SESSION_COUNT 64
#define LISTEN_BACKLOG 64
#define FRAMES_PER_TURN 8 /* of one session before the others have their turn */
#define LINGER_NS 5000000000ull
#define FRAME_IGNORED 0 /* as session.frame_type */
#define PREFAULT_SESSIONS 2
#define PREFAULT_BYTES 4096

static struct session *sessions; /* SESSION_COUNT; their pages come when they are used */
static struct loop_source listener = { .fd = -1 };
static bool park_allowed, park_wanted;
static uint8_t scratch[65536]; /* what was just read from a socket */

static struct session *session_of_socket(struct loop_source *source)
{
    return (struct session *)((char *)source - offsetof(struct session, socket));
}

void session_frame(struct session *session, enum agent_frame_type type, const void *payload,
                   size_t bytes)
{
    session->out_frame =
        (struct agent_frame){ .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };
    if (payload)
        memcpy(session->out + sizeof(struct agent_frame), payload, bytes);
    session->out_bytes = (uint32_t)(sizeof(struct agent_frame) + bytes);
    session->out_sent = 0;
}

static void session_fini_work(struct session *session)
{
    if (session->state == SESSION_EXEC)
        session_exec_fini(session);
    else if (session->state == SESSION_PUT)
        session_put_fini(session);
    else if (session->state == SESSION_GET)
        tar_writer_fini(&session->get);
}

void session_result(struct session *session, enum agent_frame_type type, const void *payload,
                    size_t bytes)
{
    const struct agent_frame header = { .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };

    session_fini_work(session);
    session->state = SESSION_RESULT;
    if (session->out_bytes == 0) {
        session_frame(session, type, payload, bytes);
        return;
    }
    memcpy(session->out + session->out_bytes, &header, sizeof(header));
    memcpy(session->out + session->out_bytes + sizeof(header), payload, bytes);
    session->out_bytes += (uint32_t)(sizeof(header) + bytes);
}

void session_error(struct session *session, const struct fail *fail)
{
    uint8_t payload[sizeof(struct agent_error) + sizeof(fail->sentence)];
    struct agent_error error = { .error = (uint32_t)fail->code };
    size_t length = strlen(fail->sentence);

    memcpy(payload, &error, sizeof(error));
    memcpy(payload + sizeof(error), fail->sentence, length);
    session_result(session, AGENT_ERROR, payload, sizeof(error) + length);
}

static void session_close(struct session *session)
{
    session_fini_work(session);
    loop_remove(&session->socket);
    close(session->socket.fd);
    session->socket.fd = -1;
    loop_timer_stop(&session->timeout);
    session->more = false;
    session->state = SESSION_FREE;
}

static void linger_expired(struct loop_timer *timer)
{
    session_close((struct session *)((char *)timer - offsetof(struct session, timeout)));
}

/* The result is sent. Closing while something of the client's is unread would reset the connection,
 * and the result could be lost with it: say that no more comes, and wait for the client to close.
 */
static void session_linger(struct session *session)
{
    shutdown(session->socket.fd, SHUT_WR);
    session->state = SESSION_LINGER;
    session->timeout.expired = linger_expired;
    loop_timer_start(&session->timeout, LINGER_NS);
}

/* ---- Frames in ---- */

static int frame_begin(void *context, const struct agent_frame *frame, struct fail *fail)
{
    /* Which frames may come in which state, and the least and most payload they have. */
    static const struct {
        uint8_t type, state;
        uint32_t min, max;
    } rules[] = {
        { AGENT_PING, SESSION_REQUEST, 0, AGENT_PAYLOAD_MAX },
        { AGENT_EXEC, SESSION_REQUEST, sizeof(struct agent_exec), AGENT_PAYLOAD_MAX },
        { AGENT_PUT, SESSION_REQUEST, 1, TAR_PATH_BYTES - 1 },
        { AGENT_GET, SESSION_REQUEST, 1, TAR_PATH_BYTES - 1 },
        { AGENT_STDIN, SESSION_EXEC, 0, AGENT_PAYLOAD_MAX },
        { AGENT_EOF, SESSION_EXEC, 0, 0 },
        { AGENT_SIGNAL, SESSION_EXEC, sizeof(uint32_t), sizeof(uint32_t) },
        { AGENT_RESIZE, SESSION_EXEC, sizeof(struct agent_winsize), sizeof(struct agent_winsize) },
        { AGENT_PARK, SESSION_REQUEST, 0, 0 },
        { AGENT_DATA, SESSION_PUT, 0, AGENT_PAYLOAD_MAX },
        { AGENT_EOF, SESSION_PUT, 0, 0 },
    };
    struct session *session = context;

    /* The result is on its way already: what still comes is read and thrown away. */
    session->frame_type = session->state == SESSION_RESULT ? FRAME_IGNORED : frame->type;
    session->fill = 0;
    if (session->frame_type == FRAME_IGNORED)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].type == frame->type && rules[i].state == session->state &&
            frame->payload_bytes >= rules[i].min && frame->payload_bytes <= rules[i].max)
            return 0;
    return fail_set(fail, EPROTO, "the frame is out of place or of a wrong size", NULL, NULL);
}

static int frame_chunk(void *context, const uint8_t *data, size_t bytes, struct fail *fail)
{
    struct session *session = context;

    switch (session->frame_type) {
    case FRAME_IGNORED:
        return 0;
    case AGENT_STDIN:
        return session_exec_stdin(session, data, bytes, fail);
    case AGENT_DATA:
        return session_put_data(session, data, bytes, fail);
    case AGENT_SIGNAL:
    case AGENT_RESIZE:
        memcpy(session->small + session->fill, data, bytes);
        break;
    default:
        memcpy(session->request + session->fill, data, bytes);
        break;
    }
    session->fill += (uint32_t)bytes;
    return 0;
}

static void session_park(struct session *session)
{
    struct fail fail;

    if (!park_allowed) {
        fail_set(&fail, EPERM, "this VM was not woken to park again", NULL, NULL);
        session_error(session, &fail);
        return;
    }
    park_wanted = true;
    session_result(session, AGENT_DONE, NULL, 0);
}

static int frame_end(void *context, struct fail *fail)
{
    struct session *session = context;
    struct agent_winsize size;
    uint32_t number;

    (void)fail;
    switch (session->frame_type) {
    case AGENT_PING:
        session_result(session, AGENT_PONG, session->request, session->fill);
        break;
    case AGENT_EXEC:
        session_exec_start(session);
        break;
    case AGENT_PUT:
        session_put_start(session);
        break;
    case AGENT_GET:
        session_get_start(session);
        break;
    case AGENT_PARK:
        session_park(session);
        break;
    case AGENT_EOF:
        if (session->state == SESSION_PUT)
            session_put_eof(session);
        else
            session_exec_eof(session);
        break;
    case AGENT_SIGNAL:
        memcpy(&number, session->small, sizeof(number));
        session_exec_signal(session, number);
        break;
    case AGENT_RESIZE:
        memcpy(&size, session->small, sizeof(size));
        session_exec_resize(session, &size);
        break;
    }
    return 0;
}

/* One read from the socket. False when there is nothing to read now, or the session is gone. */
static bool session_receive(struct session *session)
{
    static const struct agent_frame_sink sink = { frame_begin, frame_chunk, frame_end };
    ssize_t count = read(session->socket.fd, scratch, sizeof(scratch));
    struct fail fail;

    if (count < 0 && errno == EINTR)
        return true;
    if (count < 0 && errno == EAGAIN) {
        session->socket_readable = false;
        return false;
    }
    if (count <= 0) { /* the client is gone: so is what it started */
        session_close(session);
        return false;
    }
    if ((size_t)count < sizeof(scratch) && !session->hangup)
        session->socket_readable = false;
    if (session->state < SESSION_RESULT &&
        agent_parser_feed(&session->parser, scratch, (size_t)count, &sink, session, &fail) < 0)
        session_error(session, &fail);
    return true;
}

/* ---- Frames out ---- */

/* Sends what is in `out`. False: it can't all be sent now, or the session is gone. */
static bool session_flush(struct session *session)
{
    while (session->out_sent < session->out_bytes) {
        ssize_t count = send(session->socket.fd, session->out + session->out_sent,
                             session->out_bytes - session->out_sent, MSG_NOSIGNAL);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN) {
            session->socket_writable = false;
            return false;
        }
        if (count < 0) {
            session_close(session);
            return false;
        }
        session->out_sent += (uint32_t)count;
    }
    session->out_bytes = session->out_sent = 0;
    if (session->state == SESSION_RESULT)
        session_linger(session);
    return true;
}

/* Makes the next frame to send. False: there is none. */
static bool session_produce(struct session *session)
{
    if (session->state == SESSION_EXEC)
        return session_exec_produce(session);
    if (session->state == SESSION_GET)
        return session_get_produce(session);
    return false;
}

void session_pump(struct session *session)
{
    session->more = false;
    for (int turn = 0; turn < FRAMES_PER_TURN; turn++) {
        bool progress = false;

        if (session->socket_readable)
            progress = session_receive(session);
        if (session->state == SESSION_EXEC)
            session_exec_feed(session);
        if (session->state == SESSION_FREE)
            return;
        if (session->socket_writable) {
            if (session->out_bytes == 0)
                progress |= session_produce(session);
            if (session->out_bytes > 0 && !session_flush(session))
                progress = progress && session->state != SESSION_FREE && session->socket_readable;
        }
        if (session->state == SESSION_FREE || !progress)
            return;
    }
    session->more = true;
}

static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct session *session = session_of_socket(source);

    if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP | EPOLLERR))
        session->socket_readable = true;
    if (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR))
        session->hangup = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        session->socket_writable = true;
    session_pump(session);
}

/* ---- Connections ---- */

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

    (void)send(fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void session_open(int fd)
{
    for (int i = 0; i < SESSION_COUNT; i++) {
        struct session *session = &sessions[i];

        if (session->state != SESSION_FREE)
            continue;
        memset(session, 0, offsetof(struct session, out));
        session->state = SESSION_REQUEST;
        session->socket = (struct loop_source){ .ready = socket_ready, .fd = fd };
        session->socket_writable = true;
        agent_parser_init(&session->parser);
        for (int j = 0; j < STREAM_COUNT; j++)
            session->streams[j].source.fd = -1;
        session->input.source.fd = -1;
        if (loop_add(&session->socket, EPOLLIN | EPOLLOUT | EPOLLRDHUP) == 0)
            return;
        session->state = SESSION_FREE;
        break;
    }
    refuse(fd);
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    for (;;) {
        int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
            return;
        if (fd >= 0)
            session_open(fd);
    }
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
    return loop_add(&listener, EPOLLIN);
}

bool agent_child_ended(pid_t pid, int wait_status)
{
    for (int i = 0; sessions && i < SESSION_COUNT; i++) {
        struct session *session = &sessions[i];

        if (session->state != SESSION_EXEC || session->pid != pid)
            continue;
        session->pid = 0;
        session->child_ended = true;
        session->wait_status = wait_status;
        /* What it wrote last may have come with no event yet. */
        for (int j = 0; j < STREAM_COUNT; j++)
            session->streams[j].readable = true;
        session_pump(session);
        return true;
    }
    return false;
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
    for (int i = 0; sessions && i < PREFAULT_SESSIONS; i++) {
        touch((uint8_t *)&sessions[i], offsetof(struct session, out) + PREFAULT_BYTES);
        touch(sessions[i].request, PREFAULT_BYTES);
    }
}
