/* SPDX-License-Identifier: Apache-2.0 */
/* The service in fake_vmm's VMs; see fake_function.h. */
#include "fake_function.h"

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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
    { "/forged", AGENT_STDOUT,
      "HTTP/1.1 200 OK\r\nX-Volt-Invocation: \xc2\x9b"
      "forged\r\nContent-Length: 2\r\n\r\nok" },
    { "/error", AGENT_ERROR, "\x6f???the service was ended by signal 9" },
    { "/garbage", AGENT_STDOUT, "no HTTP\r\n\r\n" },
    { "/early", AGENT_DONE, "" },
    { "/frame", AGENT_PONG, "" },
};

/* ---- What is long ---- */

#define BODY_BYTES (6u << 20)
#define LOG_BYTES 16384u
#define FLOOD_PIECES 2048u /* 64 MiB */

static void say_text(int fd, const char *text)
{
    say_frame(fd, AGENT_STDOUT, text, (uint32_t)strlen(text));
}

static void say_bytes(int fd, uint8_t type, char byte, size_t bytes)
{
    char block[AGENT_PAYLOAD_MAX];

    memset(block, byte, sizeof block);
    for (size_t take; bytes > 0; bytes -= take) {
        take = MIN_OF(bytes, sizeof block);
        say_frame(fd, type, block, (uint32_t)take);
    }
}

/* All but the last byte of the largest body. */
static void say_body(int fd)
{
    say_bytes(fd, AGENT_STDOUT, 'x', BODY_BYTES - 1);
}

static void say_large(int fd, size_t bytes)
{
    (void)bytes;
    say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6291456\r\n\r\n");
    say_body(fd);
}

static void say_lines(int fd, size_t bytes)
{
    say_bytes(fd, AGENT_STDERR, '\n', bytes);
    say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/* What it was asked, back. */
static void say_request(int fd, const char *request)
{
    char head[96];

    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(request));
    say_text(fd, head);
    say_text(fd, request);
}

static void say_head(int fd, size_t bytes)
{
    say_text(fd, "HTTP/1.1 200 OK\r\nX-Long: ");
    say_bytes(fd, AGENT_STDOUT, 'x', bytes);
    say_text(fd, "\r\nContent-Length: 2\r\n\r\nok");
}

/* Their number stands behind the path. */
static const struct {
    const char *path;
    void (*say)(int fd, size_t bytes);
} long_calls[] = {
    { "/large", say_large },
    { "/lines", say_lines },
    { "/head", say_head },
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
    if (strncmp(path, "/echo", 5) == 0)
        say_request(fd, request);
    for (unsigned i = 0; i < ARRAY_LEN(long_calls); i++) {
        if (strncmp(path, long_calls[i].path, strlen(long_calls[i].path)) == 0)
            long_calls[i].say(fd, (size_t)atoi(path + strlen(long_calls[i].path)));
    }
    for (unsigned i = 0; i < ARRAY_LEN(function_calls); i++) {
        if (strncmp(path, function_calls[i].path, strlen(function_calls[i].path)) == 0)
            say_frame(fd, function_calls[i].type, function_calls[i].payload,
                      (uint32_t)strlen(function_calls[i].payload));
    }
}

/* ---- A runtime that asks for its events ---- */

static int runtime_fd = -1; /* of its connection */
static int spare_fd = -1;   /* of the session that waits for another one */
static char posted_id[37];  /* of the event that is to be answered on both */

static void say_next(int fd)
{
    say_text(fd, "GET //2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void say_result(const char *id, const char *what)
{
    char text[256];

    snprintf(text, sizeof text,
             "POST /2018-06-01/runtime/invocation/%.36s/%s HTTP/1.1\r\nContent-Length: 6\r\n\r\n"
             "\"done\"",
             id, what);
    say_text(runtime_fd, text);
}

static void post_body(int fd, const char *id)
{
    char text[256];

    snprintf(text, sizeof text,
             "POST /2018-06-01/runtime/invocation/%.36s/response HTTP/1.1\r\n"
             "Content-Length: 6291456\r\n\r\n",
             id);
    say_text(fd, text);
    say_body(fd);
}

/* What was posted once, on the other connection, as soon as that is there. */
static void post_again(void)
{
    if (posted_id[0] && spare_fd >= 0)
        post_body(spare_fd, posted_id);
}

/* A response in pieces: two and its end, by which it may tell an error; one and no more; or no end of
 * them. */
static void take_stream(const char *id, const char *how)
{
    char text[512];

    snprintf(text, sizeof text,
             "POST /2018-06-01/runtime/invocation/%.36s/response HTTP/1.1\r\n"
             "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
             "Trailer: Lambda-Runtime-Function-Error-Type\r\n\r\n5\r\nfirst\r\n",
             id);
    say_text(runtime_fd, text);
    if (strncmp(how, "hang", 4) == 0)
        return;
    for (unsigned i = 0; strncmp(how, "flood", 5) == 0 && i < FLOOD_PIECES; i++) {
        say_text(runtime_fd, "8000\r\n");
        say_bytes(runtime_fd, AGENT_STDOUT, 'x', 0x8000);
        say_text(runtime_fd, "\r\n");
    }
    say_text(runtime_fd, "6\r\nsecond\r\n");
    say_text(runtime_fd, strncmp(how, "error", 5) == 0
                             ? "0\r\nLambda-Runtime-Function-Error-Type: Odd.Late\r\n\r\n"
                             : "0\r\n\r\n");
    say_next(runtime_fd);
}

static void take_event(const char *id, const char *event)
{
    if (strncmp(event, "stream", 6) == 0) {
        take_stream(id, event + 6);
    } else if (strncmp(event, "ok", 2) == 0) {
        say_result(id, "response");
        say_next(runtime_fd);
    } else if (strncmp(event, "error", 5) == 0) {
        say_result(id, "error");
    } else if (strncmp(event, "other", 5) == 0) {
        say_result("11111111-1111-4111-8111-111111111111", "response");
        say_result(id, "nonsense");
        say_result(id, "response");
        say_result(id, "response");
    } else if (strncmp(event, "garbage", 7) == 0) {
        say_text(runtime_fd, "no HTTP\r\n\r\n");
    } else if (strncmp(event, "restore", 7) == 0) {
        say_text(runtime_fd, "POST /2018-06-01/runtime/restore/error HTTP/1.1\r\n\r\n");
    } else if (strncmp(event, "lines", 5) == 0) {
        say_bytes(runtime_fd, AGENT_STDERR, '\n', LOG_BYTES);
        say_result(id, "response");
    } else if (strncmp(event, "large", 5) == 0) {
        post_body(runtime_fd, id);
    } else if (strncmp(event, "both", 4) == 0) {
        post_body(runtime_fd, id);
        memcpy(posted_id, id, 36);
        post_again();
    } else if (strncmp(event, "again", 5) == 0) { /* it hangs up whenever it may connect */
        say_frame(runtime_fd, AGENT_DONE, "", 0);
        runtime_fd = -2;
        if (spare_fd >= 0)
            say_frame(spare_fd, AGENT_DONE, "", 0);
    }
}

/* What comes is kept until an event is whole in it: its head in one frame, its body in the next. */
void fake_input(int fd, const char *data, size_t bytes)
{
    static const char name[] = "Lambda-Runtime-Aws-Request-Id: ";
    static char text[8192];
    static size_t fill;
    const char *id, *end;

    if (fd != runtime_fd || bytes >= sizeof text - fill)
        return;
    memcpy(text + fill, data, bytes);
    fill += bytes;
    text[fill] = '\0';
    id = memmem(text, fill, name, sizeof name - 1);
    end = id ? memmem(id, fill - (size_t)(id - text), "\r\n\r\n", 4) : NULL;
    if (!end || end + 4 + sizeof(struct agent_frame) >= text + fill)
        return;
    fill = 0;
    take_event(id + sizeof name - 1, end + 4 + sizeof(struct agent_frame));
}

/* The first connection is the runtime's; those that follow are never made. */
static void take_gate(int fd)
{
    if (runtime_fd == -2) {
        say_frame(fd, AGENT_DONE, "", 0);
    } else if (runtime_fd < 0) {
        runtime_fd = fd;
        say_frame(fd, AGENT_STDERR, "an event\n", 9);
        say_next(fd);
    } else {
        spare_fd = fd;
        post_again();
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
    if (call.flags & AGENT_CALL_ACCEPT) {
        take_gate(fd);
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

void fake_bell(int bell_fd, const struct control_msg *call, const char *request)
{
    const uint32_t bytes = call->u.call.payload_bytes;
    const char *const sentence = "the service ended \033[31mbadly";
    static unsigned calls;
    struct control_msg answer;
    char number[16];

    memset(&answer, 0, sizeof answer);
    answer.type = CONTROL_ANSWER;
    answer.u.answer.call = call->u.call.call;
    calls++;
#define IS(word) (bytes == strlen(word) && memcmp(request, word, bytes) == 0)
    if (IS("hang"))
        return;
    if (IS("gone"))
        _exit(0);
    if (IS("count")) {
        snprintf(number, sizeof number, "%u", calls);
        control_send_payload(bell_fd, &answer, number, (uint32_t)strlen(number));
        return;
    }
    if (IS("ended")) {
        answer.u.answer.kind = FUNCTION_ANSWER_ENDED;
        control_send_payload(bell_fd, &answer, sentence, (uint32_t)strlen(sentence));
        return;
    }
    if (bytes == FUNCTION_PAYLOAD_MAX) {
        control_send_payload(bell_fd, &answer, "all of it", 9);
        return;
    }
    if (IS("error"))
        answer.u.answer.kind = FUNCTION_ANSWER_ERROR;
    if (IS("odd"))
        answer.u.answer.kind = UINT32_MAX;
    if (IS("another"))
        answer.u.answer.call++;
    control_send_payload(bell_fd, &answer, request, bytes);
    if (IS("twice"))
        control_send_payload(bell_fd, &answer, request, bytes);
#undef IS
}
