/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: an answer that is made in pieces reaches its client as it is made, in AWS' event stream, and a
 * client that does not read holds the function up and nothing else. Method: poold_daemon.h; the runtime
 * is fake_function.c's. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define STREAM "/2021-11-15/functions/f/response-streaming-invocations"
#define ROOM (96u << 20)

struct stream {
    int fd;
    char *bytes; /* what has come, without the chunks' lengths */
    size_t count, raw_count;
    char *raw;
};

/* Where `text` is in so many bytes, which may have NULs; NULL: nowhere. */
static const char *find(const char *bytes, size_t count, const char *text)
{
    const size_t length = strlen(text);

    for (size_t i = 0; i + length <= count; i++) {
        if (strncmp(bytes + i, text, length) == 0)
            return bytes + i;
    }
    return NULL;
}

static void function_make(const char *more)
{
    char body[512];

    snprintf(
        body, sizeof body,
        "{\"name\":\"f\",\"handler\":\"x\",\"runtime\":\"lambda\",\"memory\":\"64M\",\"min\":1,"
        "\"max\":2,\"timeout_ms\":120000%s}",
        more);
    client_expect(201, "POST", "/v1/functions", body);
    client_await("/v1/functions/f", "state", "ready");
}

static void stream_open(struct stream *stream, const char *event)
{
    char head[512];

    *stream = (struct stream){ .fd = client_connect(), .raw = malloc(ROOM), .bytes = malloc(ROOM) };
    ck_assert(stream->raw && stream->bytes);
    snprintf(head, sizeof head,
             "POST " STREAM " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
             "%zu\r\n\r\n%s",
             strlen(event), event);
    client_write(stream->fd, head);
}

/* Takes the chunks of what has come. */
static void stream_cut(struct stream *stream)
{
    const char *at = find(stream->raw, stream->raw_count, "\r\n\r\n"),
               *end = stream->raw + stream->raw_count;

    if (!stream->raw || !stream->bytes)
        ck_abort();
    stream->count = 0;
    for (at = at ? at + 4 : end; at < end;) {
        const char *line = find(at, (size_t)(end - at), "\r\n");
        size_t bytes = line ? strtoul(at, NULL, 16) : 0;

        if (!line || bytes == 0)
            break;
        bytes = MIN_OF(bytes, (size_t)(end - line - 2));
        memcpy(stream->bytes + stream->count, line + 2, bytes);
        stream->count += bytes;
        at = line + 2 + bytes + 2;
    }
}

/* Reads until `text` has come, or (NULL) its end. */
static void stream_await(struct stream *stream, const char *text)
{
    for (;;) {
        struct pollfd poll_fd = { .fd = stream->fd, .events = POLLIN };
        ssize_t n;

        ck_assert_int_eq(poll(&poll_fd, 1, CLIENT_WAIT_MS), 1);
        n = recv(stream->fd, stream->raw + stream->raw_count, ROOM - 1 - stream->raw_count, 0);
        ck_assert_msg(n > 0 || !text, "'%s' does not come", text);
        if (n <= 0)
            break;
        stream->raw_count += (size_t)n;
        if (text && find(stream->raw, stream->raw_count, text))
            break;
    }
    stream->raw[stream->raw_count] = '\0';
    stream_cut(stream);
}

static void stream_close(struct stream *stream)
{
    close(stream->fd);
    free(stream->raw);
    free(stream->bytes);
}

static uint32_t number_at(const char *at)
{
    uint32_t number;

    memcpy(&number, at, sizeof number);
    return be32toh(number);
}

/* The payloads of the chunks, one behind the other, and that of the last message, in ret_end. Each message's
 * lengths are right. */
static size_t messages_cut(const struct stream *stream, char *ret_payload, char ret_end[512])
{
    size_t at = 0, bytes = 0;

    if (!stream->bytes)
        ck_abort();
    ret_end[0] = '\0';
    while (at < stream->count) {
        const char *message = stream->bytes + at;
        const size_t total = number_at(message), headers = number_at(message + 4);
        const size_t payload = total - headers - 16;

        ck_assert_uint_le(at + total, stream->count);
        ck_assert_uint_eq((unsigned char)ret_end[0], 0);
        if (find(message, 12 + headers, "InvokeComplete")) {
            snprintf(ret_end, 512, "%.*s", (int)payload, message + 12 + headers);
        } else {
            ck_assert_ptr_nonnull(find(message, 12 + headers, "PayloadChunk"));
            memcpy(ret_payload + bytes, message + 12 + headers, payload);
            bytes += payload;
        }
        at += total;
    }
    return bytes;
}

static json_int_t calls_on(void)
{
    json_t *function = client_json("GET", "/v1/functions/f", NULL);
    const json_int_t on = json_integer_value(json_object_get(function, "on"));

    json_decref(function);
    return on;
}

static void calls_end(void)
{
    for (unsigned i = 0; calls_on() > 0; i++) {
        ck_assert_uint_lt(i, CLIENT_LOOKS);
        usleep(CLIENT_LOOK_US);
    }
}

static const struct row {
    const char *event, *payload, *end;
} rows[] = {
    { "stream", "firstsecond", "{}" },
    { "streamerror", "firstsecond", "{\"ErrorCode\":\"Odd.Late\"}" },
    { "ok", "\"done\"", "{}" },
    { "error", "", "{\"ErrorCode\":\"Unhandled\",\"ErrorDetails\":\"\\\"done\\\"\"}" },
};

/* Of VMs that serve more than one call, too. */
START_TEST(answers)
{
    char payload[4096], end[512];
    struct stream stream;

    function_make(_i ? ",\"reuse\":4" : "");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        stream_open(&stream, rows[i].event);
        stream_await(&stream, NULL);
        ck_assert_ptr_nonnull(strstr(stream.raw, "application/vnd.amazon.eventstream"));
        const size_t bytes = messages_cut(&stream, payload, end);
        ck_assert_msg(bytes == strlen(rows[i].payload) &&
                          memcmp(payload, rows[i].payload, bytes) == 0,
                      "%s: %.*s", rows[i].event, (int)bytes, payload);
        ck_assert_str_eq(end, rows[i].end);
        stream_close(&stream);
        calls_end();
    }
}
END_TEST

START_TEST(pieces_come_as_they_are_made)
{
    struct stream stream;

    function_make("");
    stream_open(&stream, "streamhang");
    stream_await(&stream, "first");
    ck_assert_int_eq(calls_on(), 1);
    stream_close(&stream); /* and takes its call with it */
    calls_end();
    client_expect(404, "POST", "/2021-11-15/functions/g/response-streaming-invocations", "{}");
}
END_TEST

START_TEST(a_function_that_takes_too_long)
{
    char payload[4096], end[512];
    struct stream stream;

    function_make(",\"reuse\":1");
    client_expect(204, "DELETE", "/v1/functions/f", NULL);
    client_expect(201, "POST", "/v1/functions",
                  "{\"name\":\"f\",\"handler\":\"x\",\"runtime\":\"lambda\",\"memory\":\"64M\","
                  "\"min\":1,\"max\":2,\"timeout_ms\":500}");
    client_await("/v1/functions/f", "state", "ready");
    stream_open(&stream, "streamhang");
    stream_await(&stream, NULL);
    ck_assert_uint_eq(messages_cut(&stream, payload, end), strlen("first"));
    ck_assert_ptr_nonnull(strstr(end, "Sandbox.Timedout"));
    stream_close(&stream);
}
END_TEST

static unsigned daemon_kib(void)
{
    char path[64], line[256];
    unsigned kib = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)daemon_pid);
    FILE *in = fopen(path, "re");
    while (fgets(line, sizeof line, in))
        sscanf(line, "VmRSS: %u", &kib);
    fclose(in);
    return kib;
}

/* 64 MiB, of which nothing is read at first; then all is there. */
START_TEST(who_does_not_read_holds_the_function_up)
{
    enum { waits = 100, flood = 2048 * 0x8000 };
    char *payload = malloc(ROOM), end[512];
    struct stream stream;
    unsigned before, most = 0;

    function_make("");
    before = daemon_kib();
    stream_open(&stream, "streamflood");
    for (unsigned i = 0; i < waits; i++) {
        usleep(CLIENT_LOOK_US);
        most = MAX_OF(most, daemon_kib());
    }
#ifndef __SANITIZE_ADDRESS__
    ck_assert_uint_lt(most, before + 4096);
#else
    (void)before;
#endif
    ck_assert_int_eq(calls_on(), 1);
    client_expect(200, "GET", "/v1/status", NULL);
    stream_await(&stream, NULL);
    ck_assert_uint_eq(messages_cut(&stream, payload, end), strlen("firstsecond") + flood);
    ck_assert_str_eq(end, "{}");
    ck_assert_int_eq(memcmp(payload, "firstxxx", 8), 0);
    stream_close(&stream);
    free(payload);
    calls_end();
    /* One that hangs up in the middle. */
    stream_open(&stream, "streamflood");
    stream_await(&stream, "first");
    stream_close(&stream);
    calls_end();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold-streamed");
    TCase *tcase = daemon_case(suite, argc, argv);

    tcase_add_loop_test(tcase, answers, 0, 2);
    tcase_add_test(tcase, pieces_come_as_they_are_made);
    tcase_add_test(tcase, a_function_that_takes_too_long);
    tcase_add_test(tcase, who_does_not_read_holds_the_function_up);
    return tap_main(suite);
}
