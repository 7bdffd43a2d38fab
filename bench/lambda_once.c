/* SPDX-License-Identifier: Apache-2.0 */
/* In a guest: starts a runtime of Lambda's, gives it one event and ends with its answer; see bench/lambda.
 * What a function's VM has done before it is parked is done here while the clock runs.
 *
 * usage: lambda-once EVENT PROGRAM [ARGUMENT...]
 * Prints two lines: microseconds from its own start until it was asked for the event, and until the
 * answer was there, which follows. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 9001
#define CLIENTS_MAX 8u
#define PATIENCE_MS 300000 /* a runtime on a busy machine */
#define REQUEST_BYTES 65536u

struct client {
    int fd;
    size_t used;
    char request[REQUEST_BYTES];
};

static struct client clients[CLIENTS_MAX];
static unsigned client_count;
static struct timespec began;
static int given;

static long since_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - began.tv_sec) * 1000000 + (now.tv_nsec - began.tv_nsec) / 1000;
}

static int listen_here(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(PORT),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 8) < 0)
        exit(2);
    return fd;
}

static void runtime_start(char **argv)
{
    if (fork() != 0)
        return;
    setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001", 1);
    setenv("AWS_LAMBDA_FUNCTION_NAME", "once", 1);
    setenv("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST", 1);
    setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256", 1);
    setenv("AWS_REGION", "local", 1);
    setenv("LAMBDA_TASK_ROOT", "/var/task", 1);
    execvp(argv[0], argv);
    _exit(127);
}

/* A whole request of the runtime's: the event, or the end of all. */
static void answer(struct client *client, const char *event, const char *body)
{
    char text[4096];
    int n;

    if (strncmp(client->request, "POST ", 5) == 0) {
        printf("%ld\n%s\n", since_us(), body);
        exit(strstr(client->request, "/response ") ? 0 : 1);
    }
    if (given++ > 0)
        return;
    printf("%ld\n", since_us());
    n = snprintf(
        text, sizeof text,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        "Lambda-Runtime-Aws-Request-Id: 11111111-1111-4111-8111-111111111111\r\n"
        "Lambda-Runtime-Deadline-Ms: %lld\r\n"
        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:volt:000000000000:function:once\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        (long long)(time(NULL) + 30) * 1000, strlen(event), event);
    if (write(client->fd, text, (size_t)n) != n)
        exit(2);
}

/* False: the runtime has closed it. */
static bool take(struct client *client, const char *event)
{
    ssize_t n = read(client->fd, client->request + client->used, REQUEST_BYTES - 1 - client->used);
    const char *length, *body;

    if (n <= 0)
        return false;
    client->used += (size_t)n;
    client->request[client->used] = '\0';
    body = strstr(client->request, "\r\n\r\n");
    if (!body)
        return true;
    length = strcasestr(client->request, "content-length: ");
    if (length && strlen(body + 4) < strtoul(length + 16, NULL, 10))
        return true;
    answer(client, event, body + 4);
    client->used = 0;
    return true;
}

int main(int argc, char **argv)
{
    struct pollfd polled[CLIENTS_MAX + 1];

    if (argc < 3)
        return 64;
    clock_gettime(CLOCK_MONOTONIC, &began);
    polled[0] = (struct pollfd){ .fd = listen_here(), .events = POLLIN };
    runtime_start(argv + 2);
    for (;;) {
        if (poll(polled, client_count + 1, PATIENCE_MS) <= 0)
            return 2;
        if (polled[0].revents && client_count < CLIENTS_MAX) {
            const int fd = accept(polled[0].fd, NULL, NULL);

            clients[client_count++].fd = fd;
            polled[client_count] = (struct pollfd){ .fd = fd, .events = POLLIN };
            continue;
        }
        for (unsigned i = 0; i < client_count; i++) {
            if (polled[i + 1].revents && !take(&clients[i], argv[1])) {
                close(clients[i].fd);
                polled[i + 1].fd = -1;
            }
        }
    }
}
