/* SPDX-License-Identifier: Apache-2.0 */
/* A guest program: what a guest's root can make of the agent. As init of an image it kills the agent
 * that volt-init left running, takes its place on vsock port 1024, and answers a GET of
 * /N/VICTIM/top with the N-th hostile archive, aimed at the folder VICTIM of the host; to one of
 * /Nd/VICTIM/top it says first that top is a folder. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_abi.h"
#include "hostile_write.h"

static uint8_t archive[HOSTILE_BYTES_MAX + 65536];

static int read_all(int fd, void *data, size_t bytes)
{
    char *at = data;

    while (bytes > 0) {
        ssize_t n = read(fd, at, bytes);

        if (n <= 0)
            return -1;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int write_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);

        if (n <= 0)
            return -1;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int frame_send(int fd, unsigned type, const void *payload, size_t bytes)
{
    const struct agent_frame frame = { .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };

    return write_all(fd, &frame, sizeof frame) < 0 ? -1 : write_all(fd, payload, bytes);
}

/* "/12/tmp/x/in/victim/top": archive 12, /tmp/x/in/victim, "top". With a final "/." the top is ".".
 */
static void get_answer(int fd, char *path)
{
    char *rest, *top = strrchr(path, '/');
    size_t index = strtoul(path + 1, &rest, 10);
    bool folder = *rest == 'd';

    rest += folder;
    if (!top || *rest != '/' || index >= hostile_count)
        return;
    *top++ = '\0';
    const struct hostile_place place = { top, rest };
    const struct hostile_member first = { .name = "@", .type = '5', .mode = 0755 };
    struct hostile_writer writer = { &place, archive, 0 };
    if (folder)
        hostile_put(&writer, &first);
    size_t bytes = writer.bytes + hostile_build(index, &place, archive + writer.bytes);
    for (size_t at = 0; at < bytes; at += AGENT_PAYLOAD_MAX) {
        size_t part = bytes - at < AGENT_PAYLOAD_MAX ? bytes - at : AGENT_PAYLOAD_MAX;

        if (frame_send(fd, AGENT_DATA, archive + at, part) < 0)
            return;
    }
    frame_send(fd, AGENT_DONE, NULL, 0);
}

static void session_serve(int fd)
{
    static char payload[AGENT_PAYLOAD_MAX + 1];
    struct agent_frame frame;

    if (read_all(fd, &frame, sizeof frame) < 0 || frame.payload_bytes > AGENT_PAYLOAD_MAX ||
        read_all(fd, payload, frame.payload_bytes) < 0)
        return;
    payload[frame.payload_bytes] = '\0';
    if (frame.type == AGENT_PING)
        frame_send(fd, AGENT_PONG, payload, frame.payload_bytes);
    else if (frame.type == AGENT_GET)
        get_answer(fd, payload);
    shutdown(fd, SHUT_WR);
    while (read(fd, payload, sizeof payload) > 0)
        ;
}

/* The agent's port is free as soon as the kernel is done with the agent. */
static int listen_instead(void)
{
    const struct sockaddr_vm address = { .svm_family = AF_VSOCK,
                                         .svm_cid = VMADDR_CID_ANY,
                                         .svm_port = AGENT_VSOCK_PORT };
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    while (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        if (errno != EADDRINUSE) {
            perror("evil agent: bind");
            return -1;
        }
        usleep(10000);
    }
    return listen(fd, 8) < 0 ? -1 : fd;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    int listener = listen_instead();

    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            continue;
        session_serve(fd);
        close(fd);
    }
}
