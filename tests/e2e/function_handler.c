/* SPDX-License-Identifier: Apache-2.0 */
/* A function for the end-to-end tests: an HTTP server of one process, which does by the path what
 * functions do, and what they should not. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 16384

static unsigned calls; /* of this VM */

static void answer(int fd, const char *body, size_t bytes)
{
    char head[128];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Calls: %u\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     calls, bytes);

    (void)!write(fd, head, (size_t)n);
    for (size_t at = 0; at < bytes;) {
        ssize_t wrote = write(fd, body + at, bytes - at);

        if (wrote <= 0)
            return;
        at += (size_t)wrote;
    }
}

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
}

/* The request's body, of which `have` bytes have come already. */
static char *body_read(int fd, const char *head, const char *have, size_t have_bytes,
                       size_t *ret_bytes)
{
    const char *length = strcasestr(head, "\r\nContent-Length:");
    size_t bytes = length ? strtoul(strchr(length, ':') + 1, NULL, 10) : 0;
    char *body = malloc(bytes + 1);

    memcpy(body, have, have_bytes < bytes ? have_bytes : bytes);
    for (size_t at = have_bytes; at < bytes;) {
        ssize_t n = read(fd, body + at, bytes - at);

        if (n <= 0)
            break;
        at += (size_t)n;
    }
    *ret_bytes = bytes;
    return body;
}

static void on_host(int fd)
{
    char text[128], name[64];

    gethostname(name, sizeof name);
    answer(fd, text, (size_t)snprintf(text, sizeof text, "%s %u\n", name, calls));
}

static void on_log(int fd)
{
    fprintf(stderr, "a line on stderr\n");
    printf("a line on stdout\n");
    fflush(stdout);
    answer(fd, "logged\n", 7);
}

static void on_hang(int fd)
{
    (void)fd;
    fprintf(stderr, "before it hangs\n");
    for (;;)
        pause();
}

static void on_die(int fd)
{
    (void)fd;
    fprintf(stderr, "last words\n");
    exit(3);
}

static void on_garbage(int fd)
{
    say(fd, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
}

static void on_half(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
}

static void on_early(int fd)
{
    (void)fd;
}

/* Until the other end has had enough. */
static void forever(int fd, const char *first, const char *more)
{
    say(fd, first);
    while (write(fd, more, strlen(more)) > 0)
        ;
}

static void on_long(int fd)
{
    static char more[65537];

    memset(more, 'x', sizeof more - 1);
    forever(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6291457\r\n\r\n", more);
}

static void on_heads(int fd)
{
    forever(fd, "HTTP/1.1 200 OK\r\n", "X-Another: header\r\n");
}

static void on_steer(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nX-A: b\x1b[2Jc\r\nContent-Length: 0\r\n\r\n");
}

static void on_teapot(int fd)
{
    say(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 418 Teapot\r\nTransfer-Encoding: chunked\r\n\r\n"
            "5\r\nshort\r\n6\r\n stout\r\n0\r\nX-Trailer: no\r\n\r\n");
}

static void on_poweroff(int fd)
{
    (void)fd;
    kill(1, SIGTERM);
    pause();
}

static const struct {
    const char *path;
    void (*serve)(int fd);
} paths[] = {
    { "/host", on_host },       { "/log", on_log },       { "/hang", on_hang },
    { "/die", on_die },         { "/long", on_long },     { "/half", on_half },
    { "/garbage", on_garbage }, { "/early", on_early },   { "/heads", on_heads },
    { "/steer", on_steer },     { "/teapot", on_teapot }, { "/off", on_poweroff },
};

/* All else: /request answers with the request's head, others with its body. */
static void serve(int fd)
{
    static char head[HEAD_BYTES];
    char path[256] = "", *end = NULL, *body;
    size_t fill = 0, bytes;

    while (fill < sizeof head - 1 && !end) {
        ssize_t n = read(fd, head + fill, sizeof head - 1 - fill);

        if (n <= 0)
            return; /* poold has looked whether we accept */
        fill += (size_t)n;
        head[fill] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    calls++;
    sscanf(head, "%*s %255s", path);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (strcmp(paths[i].path, path) == 0) {
            paths[i].serve(fd);
            return;
        }
    }
    body = body_read(fd, head, end + 4, fill - (size_t)(end + 4 - head), &bytes);
    if (strncmp(path, "/request", 8) == 0)
        answer(fd, head, (size_t)(end + 4 - head));
    else
        answer(fd, body, bytes);
    free(body);
}

int main(void)
{
    const char *port = getenv("PORT");
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((unsigned short)atoi(port ? port : "0")),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    signal(SIGPIPE, SIG_IGN);
    fprintf(stderr, "starting\n");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 8) < 0)
        return 1;
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            continue;
        serve(fd);
        close(fd);
    }
}
