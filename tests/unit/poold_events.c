/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: GET /v1/events tells what happens to leases and pools, in order, to those who may know of it;
 * who comes again with the number of the last one misses nothing, or is told so. Method:
 * poold_daemon.h. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define TEXT_BYTES 262144u

struct stream {
    int fd;
    size_t bytes;
    char text[TEXT_BYTES];
};

static struct stream stream;

static void stream_open_on(int fd, const char *query, const char *header)
{
    char request[256];

    stream = (struct stream){ .fd = fd };
    snprintf(request, sizeof request, "GET /v1/events%s HTTP/1.1\r\nHost: v\r\n%s\r\n", query,
             header);
    client_write(fd, request);
}

static void stream_open(const char *query, const char *header)
{
    stream_open_on(client_connect(), query, header);
}

/* Reads until the text is there. */
static void stream_await(const char *text)
{
    while (!strstr(stream.text, text)) {
        struct pollfd readable = { .fd = stream.fd, .events = POLLIN };

        ck_assert_msg(poll(&readable, 1, CLIENT_WAIT_MS) == 1, "no '%s' in: %s", text, stream.text);
        ssize_t n = read(stream.fd, stream.text + stream.bytes, TEXT_BYTES - 1 - stream.bytes);
        ck_assert_msg(n > 0, "its end, without '%s': %s", text, stream.text);
        stream.bytes += (size_t)n;
    }
}

static void expect_order(const char *const *texts, unsigned count)
{
    const char *at = stream.text;

    for (unsigned i = 0; i < count; i++) {
        at = strstr(at, texts[i]);
        ck_assert_msg(at != NULL, "no '%s' in its place: %s", texts[i], stream.text);
    }
}

static unsigned long long last_id(void)
{
    const char *at = NULL, *next = stream.text;

    while ((next = strstr(next, "\nid: ")))
        at = ++next;
    ck_assert_ptr_nonnull(at);
    return strtoull(at + 4, NULL, 10);
}

static void lease_life(const char *body)
{
    json_t *lease = client_json("POST", "/v1/leases", body);
    char path[64];

    snprintf(path, sizeof path, "/v1/leases/%s",
             json_string_value(json_object_get(lease, "lease")));
    json_decref(lease);
    client_expect(204, "DELETE", path, NULL);
}

static void pool_make(void)
{
    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":4}");
}

START_TEST(what_happens_is_told_in_order)
{
    static const char *const texts[] = {
        "200 OK",
        "text/event-stream",
        "event: pool_state\ndata: {\"id\":",
        "\"pool\":\"default\",\"state\":\"booting\"}\n\n",
        "\"state\":\"ready\"}",
        "event: lease_acquired",
        "\"labels\":{\"job\":\"17\"},\"tier\":\"",
        "event: lease_ended",
        "\"labels\":{\"job\":\"17\"},\"reason\":\"released\",\"detail\":null,\"age_ms\":",
        "\"state\":\"deleted\"}",
    };

    stream_open("", "");
    stream_await("\r\n\r\n");
    pool_make();
    lease_life("{\"labels\":{\"job\":\"17\"}}");
    client_expect(204, "DELETE", "/v1/pools/default?force=1", NULL);
    stream_await("\"state\":\"deleted\"");
    expect_order(texts, ARRAY_LEN(texts));
    ck_assert_ptr_null(strstr(stream.text, "poold_started")); /* before it was opened */
    close(stream.fd);
}
END_TEST

START_TEST(nothing_is_missed_between_two_streams)
{
    char header[64], query[64];

    pool_make();
    stream_open("?since=0", "");
    stream_await("poold_started");
    stream_await("\"state\":\"ready\"");
    unsigned long long seen = last_id();
    close(stream.fd);
    lease_life("{\"labels\":{\"n\":\"1\"}}");
    lease_life("{\"labels\":{\"n\":\"2\"},\"wait_ms\":60000}");
    snprintf(header, sizeof header, "Last-Event-ID: %llu\r\n", seen);
    stream_open("?since=0", header); /* the header decides */
    stream_await("\"n\":\"1\"},\"reason\"");
    ck_assert_ptr_null(strstr(stream.text, "\"state\":\"ready\""));
    snprintf(query, sizeof query, "id: %llu\n", seen + 1);
    ck_assert_ptr_nonnull(strstr(stream.text, query));
    stream_await("\"n\":\"2\"},\"reason\"");
    close(stream.fd);
    /* The next poold goes on with the numbers. */
    seen = last_id();
    daemon_restart("--log-level info");
    snprintf(query, sizeof query, "?since=%llu", seen);
    stream_open(query, "");
    stream_await("poold_stopped");
    stream_await("poold_started");
    ck_assert_ptr_null(strstr(stream.text, "event: gap"));
    close(stream.fd);
}
END_TEST

START_TEST(a_gap_is_told)
{
    stream_open("?since=1", "");
    stream_await("event: gap\ndata: {\"id\":");
    stream_await("\"type\":\"gap\",\"from\":2,\"to\":");
    stream_await("poold_started");
    close(stream.fd);
    stream_open("?since=18446744073709551000", "");
    stream_await("event: gap");
    pool_make();
    stream_await("\"state\":\"ready\"");
    close(stream.fd);
    client_expect(400, "GET", "/v1/events?since=x", NULL);
    client_expect(400, "GET", "/v1/events?since=18446744073709551616", NULL);
}
END_TEST

START_TEST(more_events_than_are_kept_are_a_gap)
{
    stream_open("?since=0", "");
    stream_await("poold_started");
    unsigned long long seen = last_id();
    char query[64];

    close(stream.fd);
    daemon_pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":4}");
    for (unsigned i = 0; i < 4200; i++)
        lease_life("{\"wait_ms\":60000}");
    snprintf(query, sizeof query, "?since=%llu", seen);
    stream_open(query, "");
    stream_await("event: gap");
    stream_await("lease_ended");
    close(stream.fd);
    /* Who does not read what is there is closed. */
    daemon_restart("--transfer-timeout-ms 300");
    stream_open("?since=0", "");
    struct pollfd hung_up = { .fd = stream.fd, .events = POLLRDHUP };
    ck_assert_int_eq(poll(&hung_up, 1, CLIENT_WAIT_MS), 1);
    close(stream.fd);
}
END_TEST

START_TEST(others_see_their_own)
{
    struct client_reply reply;

    if (geteuid() != 0)
        return;
    pool_make();
    daemon_open_to_all();
    stream_open_on(client_connect_as(12345, 12345), "", "");
    stream_await("\r\n\r\n");
    lease_life("{\"labels\":{\"whose\":\"root\"}}");
    int fd = client_connect_as(12345, 12345);
    client_send_on(fd, "POST", "/v1/leases",
                   "{\"wait_ms\":60000,\"labels\":{\"whose\":\"other\"}}");
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 201);
    stream_await("other");
    ck_assert_ptr_null(strstr(stream.text, "root"));
    client_expect(200, "DELETE", "/v1/leases", NULL);
    close(fd);
    close(stream.fd);
}
END_TEST

START_TEST(streams_end_with_poold_and_with_their_clients)
{
    struct client_reply reply;
    int fds[8];

    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = client_send("GET", "/v1/events", NULL);
    client_call("GET", "/v1/events", NULL, &reply);
    ck_assert_uint_eq(reply.status, 429);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    for (unsigned i = 0; i < CLIENT_LOOKS && reply.status == 429; i++) {
        int fd = client_send("HEAD", "/v1/events", NULL);

        stream = (struct stream){ .fd = fd };
        stream_await("\r\n\r\n");
        reply.status = (unsigned)atoi(stream.text + 9);
        close(fd);
        usleep(CLIENT_LOOK_US);
    }
    ck_assert_uint_eq(reply.status, 200);
    stream_open("", "");
    stream_await("\r\n\r\n");
    client_expect(202, "POST", "/v1/shutdown", NULL);
    stream_await("poold_stopped");
    stream_await("0\r\n\r\n"); /* whole */
    close(stream.fd);
    daemon_wait_exit(0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold-events");
    TCase *tcase = daemon_case(suite, argc, argv);

    tcase_add_test(tcase, what_happens_is_told_in_order);
    tcase_add_test(tcase, nothing_is_missed_between_two_streams);
    tcase_add_test(tcase, a_gap_is_told);
    tcase_add_test(tcase, more_events_than_are_kept_are_a_gap);
    tcase_add_test(tcase, others_see_their_own);
    tcase_add_test(tcase, streams_end_with_poold_and_with_their_clients);
    return tap_main(suite);
}
