/* SPDX-License-Identifier: Apache-2.0 */
/* A runtime of Lambda's for the end-to-end tests, one connection and no library: it asks for events and
 * does what they say. Its path has two slashes, as some clients write it. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 8192
#define EVENT_BYTES (7u << 20)

static char head[HEAD_BYTES], event[EVENT_BYTES];
static unsigned events; /* of this VM */

static int api_connect(void)
{
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    struct sockaddr_in address = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1; /* pieces are small */

    if (!api || !strchr(api, ':'))
        exit(2);
    address.sin_port = htons((unsigned short)atoi(strchr(api, ':') + 1));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        exit(2);
    return fd;
}

static void send_all(int fd, const char *bytes, size_t count)
{
    for (size_t at = 0; at < count;) {
        ssize_t n = write(fd, bytes + at, count - at);

        if (n <= 0)
            exit(2);
        at += (size_t)n;
    }
}

/* An answer's head, and its body in `event`; its bytes. */
static size_t receive(int fd)
{
    size_t fill = 0, have, bytes;
    char *end = NULL, *length;

    while (!end) {
        ssize_t n = read(fd, head + fill, sizeof head - 1 - fill);

        if (n <= 0)
            exit(2);
        fill += (size_t)n;
        head[fill] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    length = strcasestr(head, "\r\nContent-Length:");
    bytes = length ? strtoul(strchr(length, ':') + 1, NULL, 10) : 0;
    have = fill - (size_t)(end + 4 - head);
    if (bytes >= sizeof event)
        exit(2);
    memcpy(event, end + 4, have);
    while (have < bytes) {
        ssize_t n = read(fd, event + have, bytes - have);

        if (n <= 0)
            exit(2);
        have += (size_t)n;
    }
    event[bytes] = '\0';
    return bytes;
}

static void post(int fd, const char *id, const char *what, const char *body, size_t bytes)
{
    char request[256];
    int n = snprintf(request, sizeof request,
                     "POST //2018-06-01/runtime/invocation/%s/%s HTTP/1.1\r\nHost: x\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     id, what, bytes);

    send_all(fd, request, (size_t)n);
    send_all(fd, body, bytes);
    receive(fd);
}

/* A response in pieces, 100,000 bytes and a half, which ends well or with an error. */
static void post_pieces(int fd, const char *id, const char *trailers)
{
    char text[1024];

    send_all(fd, text,
             (size_t)snprintf(text, sizeof text,
                              "POST //2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\n"
                              "Host: x\r\nTransfer-Encoding: chunked\r\n"
                              "Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n",
                              id));
    memcpy(text, "1f4\r\n", 5);
    memset(text + 5, 'x', 500);
    memcpy(text + 505, "\r\n", 2);
    for (unsigned i = 0; i < 201; i++)
        send_all(fd, text, 507);
    send_all(fd, text, (size_t)snprintf(text, sizeof text, "0\r\n%s\r\n", trailers));
    receive(fd);
}

static void serve(int fd, const char *id, size_t bytes)
{
    static const char error[] = "{\"errorType\":\"Odd\",\"errorMessage\":\"it is odd\"}";
    char text[256], name[64];

    fprintf(stderr, "event %u\n", ++events);
    if (strcmp(event, "\"error\"") == 0) {
        post(fd, id, "error", error, sizeof error - 1);
    } else if (strcmp(event, "\"exit\"") == 0) {
        exit(3);
    } else if (strcmp(event, "\"hang\"") == 0) {
        for (;;)
            pause();
    } else if (strcmp(event, "\"host\"") == 0) {
        gethostname(name, sizeof name);
        post(fd, id, "response", text,
             (size_t)snprintf(text, sizeof text, "\"%s %u\"", name, events));
    } else if (strcmp(event, "\"stream\"") == 0) {
        post_pieces(fd, id, "");
    } else if (strcmp(event, "\"stream error\"") == 0) {
        post_pieces(fd, id, "Lambda-Runtime-Function-Error-Type: Odd.Late\r\n");
    } else if (strcmp(event, "\"other id\"") == 0) {
        post(fd, "11111111-1111-4111-8111-111111111111", "response", "1", 1);
        post(fd, id, "response", head, strcspn(head, "\r"));
    } else {
        post(fd, id, "response", event, bytes);
    }
}

int main(int argc, char **argv)
{
    int fd = api_connect();

    (void)argv;
    if (argc > 1) {
        static const char request[] =
            "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\n"
            "Content-Length: 32\r\n\r\n{\"errorMessage\":\"no such module\"}";

        send_all(fd, request, sizeof request - 1);
        receive(fd);
        return 1;
    }
    for (;;) {
        static const char next[] =
            "GET //2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n"
            "\r\n";
        char id[64] = "", *found;
        size_t bytes;

        send_all(fd, next, sizeof next - 1);
        bytes = receive(fd);
        found = strcasestr(head, "\r\nLambda-Runtime-Aws-Request-Id:");
        if (!found || !strcasestr(head, "\r\nLambda-Runtime-Deadline-Ms:"))
            exit(2);
        sscanf(strchr(found + 2, ':') + 1, " %63s", id);
        serve(fd, id, bytes);
    }
}
