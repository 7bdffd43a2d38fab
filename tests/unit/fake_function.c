/* SPDX-License-Identifier: Apache-2.0 */
/* The service in fake_vmm's VMs; see fake_function.h. */
#include "fake_function.h"

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "guest_abi.h"

void say_frame(int fd, uint8_t type, const void *payload, uint32_t bytes)
{
    struct agent_frame frame = { .type = type, .payload_bytes = bytes };

    if (write(fd, &frame, sizeof frame) < 0 || write(fd, payload, bytes) < 0)
        fprintf(stderr, "fake_vmm: the agent's client hung up\n");
}

void fake_service(int fd, bool ends)
{
    static const char sentence[] = "\x6f\0\0\0the service ended with exit code 3";

    if (!ends) {
        say_frame(fd, AGENT_DONE, NULL, 0);
        return;
    }
    say_frame(fd, AGENT_STDERR, "no luck\n", 8);
    say_frame(fd, AGENT_ERROR, sentence, sizeof sentence - 1);
}

/* What a function answers, and how it does not, by the first letters of the request's path. */
static const struct {
    const char *path;
    uint8_t type;
    const char *payload;
} function_calls[] = {
    { "/ok", AGENT_STDOUT, "HTTP/1.1 200 OK\r\nX-Own: yes\r\nContent-Length: 2\r\n\r\nok" },
    { "/error", AGENT_ERROR, "\x6f???the service was ended by signal 9" },
    { "/garbage", AGENT_STDOUT, "no HTTP\r\n\r\n" },
    { "/early", AGENT_DONE, "" },
    { "/frame", AGENT_PONG, "" },
};

static void say_call(int fd, const char *request)
{
    const struct agent_frame oversized = { .payload_bytes = 1u << 30, .type = AGENT_STDOUT };
    const uint32_t credit = UINT32_MAX;
    const char *path = strchr(request, ' ') + 1;

    say_frame(fd, AGENT_STDERR, "a line\n", 7);
    say_frame(fd, AGENT_CREDIT, &credit, sizeof credit);
    if (strncmp(path, "/oversized", 10) == 0 && write(fd, &oversized, sizeof oversized) < 0)
        _exit(1);
    if (strncmp(path, "/gone", 5) == 0)
        _exit(0);
    for (unsigned i = 0; i < ARRAY_LEN(function_calls); i++) {
        if (strncmp(path, function_calls[i].path, strlen(function_calls[i].path)) == 0)
            say_frame(fd, function_calls[i].type, function_calls[i].payload,
                      (uint32_t)strlen(function_calls[i].payload));
    }
}

void fake_call(int fd, char *data, size_t room, size_t bytes, bool ends)
{
    const size_t head = 2 * sizeof(struct agent_frame) + sizeof(struct agent_call);
    struct agent_call call;

    memcpy(&call, data + sizeof(struct agent_frame), sizeof call);
    if (call.wait_ms) {
        fake_service(fd, ends);
        return;
    }
    while (!memmem(data, bytes, "\r\n\r\n", 4) && bytes < room - 1) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        ssize_t n = poll(&poll_fd, 1, -1) > 0 ? read(fd, data + bytes, room - 1 - bytes) : -1;

        if (n <= 0)
            return;
        bytes += (size_t)n;
    }
    data[bytes] = '\0';
    say_call(fd, data + head);
}
