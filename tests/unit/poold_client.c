/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the HTTP client of the API tests; see poold_client.h. */
#include "poold_client.h"

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

char client_socket[256];

static int try_connect(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, client_socket, strlen(client_socket) + 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        close_fd(&fd);
    return fd;
}

int client_connect(void)
{
    int fd = try_connect();

    ck_assert_msg(fd >= 0, "poold does not listen on %s", client_socket);
    return fd;
}

/* In a process of its own: connects as another user, and passes the socket on. */
_Noreturn static void connect_and_pass(int to_fd, uid_t uid, gid_t gid, gid_t group)
{
    char control[CMSG_SPACE(sizeof(int))] = "", byte = 0;
    struct iovec part = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
    int fd;

    if (setgroups(group ? 1 : 0, &group) < 0 || setresgid(gid, gid, gid) < 0 ||
        setresuid(uid, uid, uid) < 0 || (fd = try_connect()) < 0)
        _exit(errno);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    _exit(sendmsg(to_fd, &msg, MSG_NOSIGNAL) < 0 ? errno : 0);
}

int client_connect_as(uid_t uid, gid_t gid)
{
    return client_connect_in(uid, gid, 0);
}

int client_connect_in(uid_t uid, gid_t gid, gid_t group)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec part = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    int pair[2], fd = -1, status = -1;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0)
        connect_and_pass(pair[1], uid, gid, group);
    close(pair[1]);
    ssize_t n = recvmsg(pair[0], &msg, MSG_CMSG_CLOEXEC);
    waitpid(pid, &status, 0);
    ck_assert_msg(n == 1 && CMSG_FIRSTHDR(&msg), "uid %u can't connect to %s: %s", (unsigned)uid,
                  client_socket, strerror(WEXITSTATUS(status)));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
    close(pair[0]);
    return fd;
}

void client_await_end(int fd, char *ret_text, size_t bytes)
{
    size_t used = 0;

    for (;;) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        char data[4096];

        ck_assert_msg(poll(&poll_fd, 1, CLIENT_WAIT_MS) == 1, "it is not closed");
        ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);
        if (n <= 0)
            break;
        for (ssize_t i = 0; ret_text && i < n && used + 1 < bytes; i++)
            ret_text[used++] = data[i];
    }
    if (ret_text)
        ret_text[used] = '\0';
}

void client_wait_for_socket(void)
{
    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        int fd = try_connect();

        if (fd >= 0) {
            close(fd);
            return;
        }
        usleep(CLIENT_LOOK_US);
    }
    ck_abort_msg("poold did not start");
}

void client_wait_for_silence(void)
{
    int fd;

    for (unsigned i = 0; i < CLIENT_LOOKS && (fd = try_connect()) >= 0; i++) {
        close(fd);
        usleep(CLIENT_LOOK_US);
    }
}

static void send_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);

        if (n < 0)
            return; /* refused early: the reply tells */
        text += n;
        bytes -= (size_t)n;
    }
}

void client_write(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

void client_send_on(int fd, const char *method, const char *path, const char *body)
{
    char head[512];

    snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: volt\r\nContent-Length: %zu\r\n\r\n",
             method, path, body ? strlen(body) : 0);
    send_all(fd, head, strlen(head));
    if (body)
        send_all(fd, body, strlen(body));
}

int client_send(const char *method, const char *path, const char *body)
{
    int fd = client_connect();

    client_send_on(fd, method, path, body);
    return fd;
}

bool client_readable(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) == 1;
}

/* Reads up to the blank line; at most `room` bytes. */
static void receive_head(int fd, char *head, size_t room)
{
    size_t bytes = 0;

    while (bytes < 4 || memcmp(head + bytes - 4, "\r\n\r\n", 4) != 0) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

        ck_assert_msg(poll(&poll_fd, 1, CLIENT_WAIT_MS) == 1, "no reply in %d ms", CLIENT_WAIT_MS);
        ck_assert_uint_lt(bytes, room - 1);
        ssize_t n = read(fd, head + bytes, 1);
        ck_assert_msg(n == 1, "the connection ended in the head of a reply");
        bytes++;
    }
    head[bytes] = '\0';
}

void client_receive(int fd, struct client_reply *ret_reply)
{
    char head[2048];
    size_t length = 0, bytes = 0;
    const char *field;

    receive_head(fd, head, sizeof head);
    ck_assert_int_eq(sscanf(head, "HTTP/1.1 %u", &ret_reply->status), 1);
    field = strstr(head, "Content-Length: ");
    if (field)
        length = strtoul(field + 16, NULL, 10);
    ck_assert_uint_lt(length, sizeof ret_reply->body);
    while (bytes < length) {
        ssize_t n = read(fd, ret_reply->body + bytes, length - bytes);

        ck_assert_msg(n > 0, "the connection ended in the body of a reply");
        bytes += (size_t)n;
    }
    ret_reply->body[bytes] = '\0';
}

void client_call(const char *method, const char *path, const char *body,
                 struct client_reply *ret_reply)
{
    int fd = client_send(method, path, body);

    client_receive(fd, ret_reply);
    close(fd);
}

void client_expect(unsigned status, const char *method, const char *path, const char *body)
{
    struct client_reply reply;

    client_call(method, path, body, &reply);
    ck_assert_msg(reply.status == status, "%s %s: %u, not %u: %s", method, path, reply.status,
                  status, reply.body);
}

json_t *client_json(const char *method, const char *path, const char *body)
{
    struct client_reply reply;
    json_t *object;

    client_call(method, path, body, &reply);
    ck_assert_msg(reply.status < 300, "%s %s: %u: %s", method, path, reply.status, reply.body);
    object = json_loads(reply.body, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(object != NULL, "not JSON: %s", reply.body);
    return object;
}

void client_await(const char *path, const char *key, const char *value)
{
    char last[128] = "";

    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        json_t *object = client_json("GET", path, NULL);
        bool there = strcmp(json_string_value(json_object_get(object, key)), value) == 0;

        snprintf(last, sizeof last, "%s", json_string_value(json_object_get(object, key)));
        json_decref(object);
        if (there)
            return;
        usleep(CLIENT_LOOK_US);
    }
    ck_abort_msg("%s of %s stays %s", key, path, last);
}

int client_upgrade(const char *path, const char *protocol)
{
    int fd = client_connect();
    char head[1024];

    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: volt\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", path,
             protocol);
    send_all(fd, head, strlen(head));
    receive_head(fd, head, sizeof head);
    ck_assert_msg(strncmp(head, "HTTP/1.1 101 ", 13) == 0, "%s", head);
    return fd;
}
