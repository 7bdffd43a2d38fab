/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the polling, reading and closing of a link's fds; see link.h. */
#include "host/link.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/util.h"

#define LAST_WORDS_MAX 64
#ifndef SO_PASSRIGHTS /* Linux 6.16; glibc has it later */
#define SO_PASSRIGHTS 83
#endif

void link_init(struct link *link, uv_loop_t *loop, const struct link_ops *ops)
{
    *link = (struct link){ .ops = ops, .loop = loop, .fds = { -1, -1, -1, -1, -1 } };
}

static void last_words(struct link *link);

/* Reads one message and passes it on. False when there is none, or the channel is closed now. */
static bool read_one(struct link *link, enum link_channel channel)
{
    int fds[CONTROL_FDS_MAX];
    struct control_msg msg;
    unsigned fd_count;
    static uint8_t payload[FUNCTION_PAYLOAD_MAX]; /* of the loop's thread */
    int rc;

    if (link->fds[channel] < 0)
        return false;
    rc = control_recv_payload(link->fds[channel], &msg, fds, &fd_count, payload,
                              channel == LINK_BELL ? sizeof payload : 0);
    link->payload = payload;
    if (rc == 0 || rc == -EMFILE) {
        link->ops->message(link, channel, &msg, fds, rc == 0 ? fd_count : 0);
        return true;
    }
    /* A peer that ended with our message unread resets the connection: that is its end, too. */
    if (rc == -ECONNRESET)
        rc = -ENOTCONN;
    if (rc != -EAGAIN) {
        link_close_channel(link, channel);
        if (channel == LINK_BELL) /* why it ended is said on the other, which is polled later */
            last_words(link);
        if (!link->closing)
            link->ops->closed(link, channel, rc);
    }
    return false;
}

static void last_words(struct link *link)
{
    for (unsigned i = 0; i < LAST_WORDS_MAX && read_one(link, LINK_CONTROL); i++)
        ;
}

/* Reads one piece of text and passes its lines on. False when there is none, or no more is taken. */
static bool read_text(struct link *link)
{
    char piece[LINK_LINE_BYTES];
    ssize_t n = link->fds[LINK_TEXT] < 0 ? -1 : read(link->fds[LINK_TEXT], piece, sizeof piece - 1);
    char *rest = piece, *line;

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            link_close_channel(link, LINK_TEXT);
        return false;
    }
    piece[n] = '\0';
    while ((line = strsep(&rest, "\n"))) {
        if (*line)
            link->ops->text(link, line);
    }
    link->text_bytes += (uint32_t)n;
    if (link->text_bytes < LINK_TEXT_BYTES_MAX)
        return true;
    link_close_channel(link, LINK_TEXT);
    link->ops->text(link, "(more than that is not read)");
    return false;
}

static void read_console(struct link *link)
{
    char bytes[4096];
    ssize_t n = read(link->fds[LINK_CONSOLE], bytes, sizeof bytes);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        link_close_channel(link, LINK_CONSOLE);
    else if (n > 0 && !link->ops->console(link, bytes, (size_t)n))
        uv_poll_stop(&link->polls[LINK_CONSOLE]);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;
    enum link_channel channel = (enum link_channel)(poll - link->polls);

    (void)status; /* an error of the poll is one of the read, too */
    (void)events;
    if (channel == LINK_TEXT) {
        read_text(link);
        return;
    }
    if (channel == LINK_CONSOLE) {
        read_console(link);
        return;
    }
    if (channel != LINK_PIDFD) {
        /* One message a wake-up: the poll is level-triggered, a second read would mostly be EAGAIN.
         */
        read_one(link, channel);
        return;
    }
    /* Its last words come before the news of its death. */
    while (read_text(link))
        ;
    last_words(link);
    if (link->closing)
        return;
    link_close_channel(link, LINK_PIDFD);
    link->ops->exited(link);
}

int link_attach(struct link *link, enum link_channel channel, int fd)
{
    int rc = uv_poll_init(link->loop, &link->polls[channel], fd);

    link->fds[channel] = fd;
    if (rc == 0) {
        link->polls[channel].data = link;
        link->open_handles++;
        link->polling[channel] = true;
        rc = uv_poll_start(&link->polls[channel], UV_READABLE, on_poll);
    }
    if (rc < 0)
        link_close_channel(link, channel);
    return rc;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;

    link->open_handles--;
    if (link->closing && link->open_handles == 0)
        link->ops->released(link);
}

void link_close_channel(struct link *link, enum link_channel channel)
{
    if (link->polling[channel]) {
        link->polling[channel] = false;
        uv_close((uv_handle_t *)&link->polls[channel], on_handle_closed);
    }
    close_fd(&link->fds[channel]);
}

void link_close(struct link *link)
{
    if (link->closing)
        return;
    for (unsigned i = 0; i < LINK_CHANNEL_COUNT; i++)
        link_close_channel(link, (enum link_channel)i);
    link->closing = true;
    if (link->open_handles == 0)
        link->ops->released(link);
}

static int signal_send(const struct link *link, int number)
{
    if (link->fds[LINK_PIDFD] < 0)
        return -ESRCH;
    if (syscall(SYS_pidfd_send_signal, link->fds[LINK_PIDFD], number, NULL, 0) < 0)
        return -errno;
    return 0;
}

int link_freeze(struct link *link)
{
    return signal_send(link, SIGSTOP);
}

void link_thaw(struct link *link)
{
    signal_send(link, SIGCONT);
}

void link_kill(struct link *link)
{
    signal_send(link, SIGKILL);
}

int link_socketpair(int ret_pair[2], bool takes_fds)
{
    const int off = 0;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_pair) < 0)
        return -errno;
    if (!takes_fds)
        setsockopt(ret_pair[0], SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off);
    return 0;
}
