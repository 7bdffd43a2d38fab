/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the fake poold of the client's tests; see cli_fake.h. */
#include "cli_fake.h"

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap_main.h"

void fake_check_at(int holds, const char *text, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "fake poold: %s:%d: %s does not hold\n", file, line, text);
        _exit(1);
    }
}

void fake_start(struct fake *fake, fake_serve serve, const void *context, unsigned connections)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char dir[] = "/tmp/volt-unit-XXXXXX";

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(fake->path, sizeof fake->path, "%s/sock", dir);
    strcpy(address.sun_path, fake->path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    fake->pid = fork();
    ck_assert_int_ge(fake->pid, 0);
    if (fake->pid == 0) {
        signal(SIGPIPE, SIG_IGN);
        alarm(TAP_TIMEOUT_S);
        for (unsigned n = 0; n < connections; n++) {
            int fd = accept(listener, NULL, NULL);

            fake_check(fd >= 0);
            serve(fd, n, context);
            close(fd);
        }
        _exit(0);
    }
    close(listener);
}

void fake_stop(struct fake *fake)
{
    int status;

    ck_assert_int_eq(waitpid(fake->pid, &status, 0), fake->pid);
    unlink(fake->path);
    *strrchr(fake->path, '/') = '\0';
    rmdir(fake->path);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the fake poold's checks failed");
}

void fake_write(int fd, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);

        if (n < 0)
            return; /* the client has had enough; its own verdict is what is tested */
        at += n;
        bytes -= (size_t)n;
    }
}

void fake_print(int fd, const char *text)
{
    fake_write(fd, text, strlen(text));
}

static bool read_all(int fd, void *data, size_t bytes)
{
    uint8_t *at = data;

    while (bytes > 0) {
        ssize_t n = read(fd, at, bytes);

        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

size_t fake_read_request(int fd, char *request, size_t request_bytes)
{
    size_t have = 0;

    while (have < 4 || memcmp(request + have - 4, "\r\n\r\n", 4) != 0) {
        fake_check(have + 1 < request_bytes);
        if (!read_all(fd, request + have, 1))
            return 0;
        have++;
    }
    request[have] = '\0';
    const char *length = strstr(request, "Content-Length: ");
    fake_check(length != NULL);
    size_t body = strtoul(length + 16, NULL, 10);
    fake_check(have + body < request_bytes);
    fake_check(read_all(fd, request + have, body));
    request[have + body] = '\0';
    return have + body;
}

void fake_answer(int fd, const char *status, const char *body)
{
    char head[256];

    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, strlen(body));
    fake_print(fd, head);
    fake_print(fd, body);
}

void fake_accept_agent(int fd)
{
    char request[4096];

    fake_check(fake_read_request(fd, request, sizeof request) > 0);
    fake_check(strstr(request, "/vsock?port=1024 HTTP/1.1\r\n") != NULL);
    fake_check(strstr(request, "Upgrade: volt-vsock\r\n") != NULL);
    fake_print(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                   "Upgrade: volt-vsock\r\n\r\nOK 1024\n");
}

void fake_frame(int fd, unsigned type, const void *payload, size_t bytes)
{
    struct agent_frame frame = { .payload_bytes = (uint32_t)bytes, .type = (uint8_t)type };

    fake_write(fd, &frame, sizeof frame);
    fake_write(fd, payload, bytes);
}

unsigned fake_read_frame(int fd, uint8_t *payload, size_t *ret_bytes)
{
    struct agent_frame frame;

    if (!read_all(fd, &frame, sizeof frame))
        return 0;
    fake_check(frame.payload_bytes <= AGENT_PAYLOAD_MAX);
    fake_check(read_all(fd, payload, frame.payload_bytes));
    *ret_bytes = frame.payload_bytes;
    return frame.type;
}
