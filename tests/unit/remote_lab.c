/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the poold of tests that call it by TCP, and their clients; see remote_lab.h. */
#include "remote_lab.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTEN "--log-level debug --listen 127.0.0.1:0 --listen-callers "

const char remote_callers[] =
    "{\"callers\": [{\"name\": \"ci\", \"token\": \"" TOKEN "\"},"
    " {\"name\": \"one\", \"token\": \"" LIMITED "\", \"functions\": [\"other\"]},"
    " {\"name\": \"sdk\", \"access_key_id\": \"" KEY "\", \"secret_access_key\": \"" SECRET
    "\", \"functions\": [\"f\"]}]}";

unsigned remote_port;
char remote_answer[1 << 16];

/* ---- poold ---- */

void callers_write(const char *text, mode_t mode)
{
    char path[256];

    daemon_path("callers", path);
    FILE *out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static unsigned port_of_log(void)
{
    static const char mark[] = "called by TCP at 127.0.0.1:";
    _cleanup_free_ char *log = malloc(1 << 20);
    char path[256];
    unsigned found = 0;

    daemon_await_log(mark, 1);
    daemon_path("log", path);
    FILE *in = fopen(path, "re");
    log[fread(log, 1, (1 << 20) - 1, in)] = '\0';
    fclose(in);
    for (const char *at = log; (at = strstr(at, mark)); at++)
        found = (unsigned)atoi(at + strlen(mark));
    ck_assert_uint_gt(found, 0);
    return found;
}

void listen_with(const char *more)
{
    char path[256], options[512];

    callers_write(remote_callers, 0600);
    daemon_path("callers", path);
    snprintf(options, sizeof options, LISTEN "%s%s", path, more);
    daemon_restart(options);
    remote_port = port_of_log();
    client_expect(201, "POST", "/v1/functions",
                  "{\"name\":\"f\",\"handler\":\"x\",\"memory\":\"64M\",\"min\":1,\"max\":4}");
    client_await("/v1/functions/f", "state", "ready");
}

/* How many calls of f have come to anything. */
json_int_t calls(void)
{
    json_t *function = client_json("GET", "/v1/functions/f", NULL);
    json_int_t sum = json_integer_value(json_object_get(function, "queued")) +
                     json_integer_value(json_object_get(function, "on"));
    const char *name;
    json_t *count;

    json_object_foreach(json_object_get(function, "results"), name, count)
    {
        sum += json_integer_value(count);
    }
    json_decref(function);
    return sum;
}

/* ---- Clients ---- */

int tcp_connect_from(const char *address)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)remote_port) };
    struct sockaddr_in from = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    inet_pton(AF_INET, address, &from.sin_addr);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* The status of what comes back; the whole is in `remote_answer`. The connection ends with it. */
unsigned finish(int fd)
{
    client_await_end(fd, remote_answer, sizeof remote_answer);
    close(fd);
    return strncmp(remote_answer, "HTTP/1.1 ", 9) == 0 ? (unsigned)atoi(remote_answer + 9) : 0;
}

unsigned ask_from(const char *address, const char *method, const char *path, const char *headers,
                  const char *body)
{
    const int fd = tcp_connect_from(address);
    char head[4096];

    snprintf(head, sizeof head,
             "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n",
             method, path, headers, strlen(body));
    client_write(fd, head);
    client_write(fd, body);
    return finish(fd);
}

unsigned ask(const char *method, const char *path, const char *headers, const char *body)
{
    return ask_from("127.0.0.1", method, path, headers, body);
}

void await_ends(int *fds, unsigned count, unsigned every)
{
    unsigned open = count;

    for (unsigned looks = 0; looks < CLIENT_LOOKS && open; looks++) {
        open = 0;
        for (unsigned i = 0; i < count; i++) {
            if (fds[i] < 0)
                continue;
            if (client_readable(fds[i]) &&
                recv(fds[i], remote_answer, sizeof remote_answer, 0) <= 0)
                close_fd(&fds[i]);
            else if (i % every == 1)
                send(fds[i], "x", 1, MSG_NOSIGNAL);
            open += fds[i] >= 0;
        }
        if (open)
            usleep(CLIENT_LOOK_US);
    }
    ck_assert_uint_eq(open, 0);
}

/* ---- The configuration ---- */

void check_says(const char *options, int status, const char *says)
{
    char command[1024], line[1024] = "";

    snprintf(command, sizeof command, "VOLT_CONFIG=/dev/null %s --check-config %s 2>&1",
             daemon_program, options);
    FILE *in = popen(command, "re");
    (void)!fgets(line, sizeof line, in);
    const int rc = pclose(in);
    ck_assert_msg(WIFEXITED(rc) && WEXITSTATUS(rc) == status && strstr(line, says), "%s: 0x%x %s",
                  options, rc, line);
    ck_assert_ptr_null(strstr(line, TOKEN));
}
