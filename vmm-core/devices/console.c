/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the console's ring, its client and its log; see console.h. */
#include "devices/console.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"

#define COPY_BYTES 4096u
#define CONTAINER(poll, member)                                                                    \
    ((struct console *)(void *)((char *)(poll)-offsetof(struct console, member)))

static void kick(struct console *console)
{
    uint64_t one = 1;
    ssize_t n = write(console->kick.fd, &one, sizeof(one));

    (void)n; /* a full counter has woken the thread as well */
}

void console_put(struct console *console, uint8_t byte)
{
    bool wake = false;

    pthread_mutex_lock(&console->lock);
    if (!console->ring)
        console->ring = malloc(UART_BACKLOG_BYTES);
    if (console->ring) /* out of memory: the byte is lost, the guest goes on */
        console->ring[console->written++ % UART_BACKLOG_BYTES] = byte;
    if (console->has_reader && !console->kicked)
        wake = console->kicked = true;
    pthread_mutex_unlock(&console->lock);
    if (wake)
        kick(console);
}

void console_input_wanted(struct console *console)
{
    bool wake = false;

    pthread_mutex_lock(&console->lock);
    if (console->input_paused && !console->kicked)
        wake = console->kicked = true;
    pthread_mutex_unlock(&console->lock);
    if (wake)
        kick(console);
}

/* Copies output from *at on, which is moved up past what has fallen out of the ring. */
static uint32_t copy_output(struct console *console, uint64_t *at, uint64_t end,
                            uint8_t buffer[COPY_BYTES])
{
    uint32_t count = 0;

    pthread_mutex_lock(&console->lock);
    if (console->written > *at + UART_BACKLOG_BYTES)
        *at = console->written - UART_BACKLOG_BYTES;
    end = MIN_OF(end, console->written);
    for (uint64_t i = *at; i < end && count < COPY_BYTES; i++)
        buffer[count++] = console->ring[i % UART_BACKLOG_BYTES];
    pthread_mutex_unlock(&console->lock);
    return count;
}

static void update_readers(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    console->has_reader = console->client.fd >= 0 || console->log_fd >= 0;
    pthread_mutex_unlock(&console->lock);
}

static void set_input_paused(struct console *console, bool paused)
{
    pthread_mutex_lock(&console->lock);
    console->input_paused = paused;
    pthread_mutex_unlock(&console->lock);
}

static void detach(struct console *console)
{
    if (console->client.fd < 0)
        return;
    vm_poll_del(console->vm, &console->client);
    close_fd(&console->client.fd);
    set_input_paused(console, false);
    update_readers(console);
}

static ssize_t write_client(int fd, const void *buffer, size_t bytes)
{
    ssize_t n = send(fd, buffer, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

    return n < 0 && errno == ENOTSOCK ? write(fd, buffer, bytes) : n;
}

/* Sends what the client has not got yet; detaches it when it is gone or has all it asked for. */
static void feed_client(struct console *console)
{
    uint8_t buffer[COPY_BYTES];
    uint32_t count;

    console->client_full = false;
    while (console->client.fd >= 0 &&
           (count = copy_output(console, &console->client_at, console->client_end, buffer)) > 0) {
        ssize_t n = write_client(console->client.fd, buffer, count);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            console->client_full = true;
            return;
        }
        if (n < 0) {
            detach(console);
            return;
        }
        console->client_at += (uint64_t)n;
    }
    if (console->client.fd >= 0 && console->client_at >= console->client_end)
        detach(console);
}

static void feed_log(struct console *console)
{
    uint8_t buffer[COPY_BYTES];
    uint32_t count;

    while (console->log_fd >= 0 &&
           (count = copy_output(console, &console->log_at, UINT64_MAX, buffer)) > 0) {
        ssize_t n = write(console->log_fd, buffer, MIN_OF(count, console->log_room));

        if (n < 0 && errno == EAGAIN)
            return; /* a pipe that is full: what falls out of the ring meanwhile is not logged */
        if (n > 0) {
            console->log_at += (uint64_t)n;
            console->log_room -= (uint64_t)n;
        }
        if (n < 0 || console->log_room == 0) {
            close_fd(&console->log_fd);
            update_readers(console);
        }
    }
}

/* Types what the client has sent, as much as there is room for. */
static void take_from_client(struct console *console)
{
    uint8_t buffer[COPY_BYTES];
    uint32_t space = MIN_OF(console->input_space(console->owner), COPY_BYTES);

    if (space == 0) {
        set_input_paused(console, true);
        /* Room made between the look above and the flag would never be told. */
        space = MIN_OF(console->input_space(console->owner), COPY_BYTES);
        if (space == 0)
            return;
        set_input_paused(console, false);
    }
    ssize_t n = read(console->client.fd, buffer, space);
    if (n > 0)
        console->take_input(console->owner, buffer, (uint32_t)n);
    else if (n == 0)
        console->client_mute = true;
    else if (errno != EAGAIN && errno != EINTR)
        detach(console);
}

static void update_client_events(struct console *console)
{
    uint32_t events = 0;

    if (console->client.fd < 0)
        return;
    if (!console->client_mute && !console->input_paused)
        events |= EPOLLIN;
    if (console->client_full)
        events |= EPOLLOUT;
    if (events != console->client_events) {
        vm_poll_mod(console->vm, &console->client, events);
        console->client_events = events;
    }
}

static void client_ready(struct vm_poll *poll, uint32_t events)
{
    struct console *console = CONTAINER(poll, client);

    if (events & EPOLLIN)
        take_from_client(console);
    if (console->client.fd >= 0 && (events & EPOLLOUT))
        feed_client(console);
    /* With EPOLLIN there may be more to read before the hang-up. */
    if (console->client.fd >= 0 && (events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLIN))
        detach(console);
    update_client_events(console);
}

static void kick_ready(struct vm_poll *poll, uint32_t events)
{
    struct console *console = CONTAINER(poll, kick);
    uint64_t count;
    ssize_t n = read(poll->fd, &count, sizeof(count));

    (void)n;
    (void)events;
    pthread_mutex_lock(&console->lock);
    console->kicked = false;
    pthread_mutex_unlock(&console->lock);
    feed_client(console);
    feed_log(console);
    if (console->client.fd >= 0 && console->input_paused &&
        console->input_space(console->owner) > 0)
        set_input_paused(console, false);
    update_client_events(console);
}

int console_attach(struct console *console, int client_fd, bool backlog_only, struct err *err)
{
    _cleanup_close_ int fd = client_fd;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "making the console client's stream non-blocking");
    detach(console);
    pthread_mutex_lock(&console->lock);
    console->client_at = 0; /* moved up to what the ring still has */
    console->client_end = backlog_only ? console->written : UINT64_MAX;
    pthread_mutex_unlock(&console->lock);
    console->client_mute = backlog_only;
    console->client_full = false;
    console->client_events = backlog_only ? 0 : EPOLLIN;
    console->client = (struct vm_poll){ .ready = client_ready, .fd = fd };
    int rc = vm_poll_add(console->vm, &console->client, console->client_events);
    if (rc < 0) {
        console->client.fd = -1;
        return err_set_errno(err, -rc, "watching the console client's stream");
    }
    take_fd(&fd);
    update_readers(console);
    feed_client(console);
    update_client_events(console);
    return 0;
}

void console_set_log(struct console *console, int log_fd)
{
    struct stat st = { 0 };
    uint64_t bytes = log_fd >= 0 && fstat(log_fd, &st) == 0 ? (uint64_t)st.st_size : 0;

    close_fd(&console->log_fd);
    if (bytes >= UART_LOG_BYTES_MAX)
        close_fd(&log_fd);
    console->log_fd = log_fd;
    console->log_room = UART_LOG_BYTES_MAX - MIN_OF(bytes, UART_LOG_BYTES_MAX);
    pthread_mutex_lock(&console->lock);
    console->log_at = console->written;
    pthread_mutex_unlock(&console->lock);
    update_readers(console);
}

uint64_t console_dropped_bytes(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    uint64_t written = console->written;
    pthread_mutex_unlock(&console->lock);
    return written > UART_BACKLOG_BYTES ? written - UART_BACKLOG_BYTES : 0;
}

int console_init(struct console *console, struct vm *vm, struct err *err)
{
    console->vm = vm;
    console->client.fd = console->log_fd = -1;
    pthread_mutex_init(&console->lock, NULL);
    console->kick.ready = kick_ready;
    console->kick.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (console->kick.fd < 0)
        return err_set_errno(err, errno, "making the console's eventfd");
    int rc = vm_poll_add(vm, &console->kick, EPOLLIN);
    if (rc < 0) {
        close_fd(&console->kick.fd);
        return err_set_errno(err, -rc, "watching the console's eventfd");
    }
    return 0;
}

void console_fini(struct console *console)
{
    detach(console);
    if (console->kick.fd >= 0)
        vm_poll_del(console->vm, &console->kick);
    close_fd(&console->kick.fd);
    close_fd(&console->log_fd);
    free(console->ring);
    pthread_mutex_destroy(&console->lock);
}

bool console_is_attached(const struct console *console)
{
    return console->client.fd >= 0 && console->client_end == UINT64_MAX;
}
