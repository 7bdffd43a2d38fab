/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: passt gets no port of the host's but those that are published for its VM, whatever it, or its
 * guest through it, asks for. Method: that of net_passt_wall.c.
 */
#include "passt_lab.h"

struct binding {
    int domain, kind;
    const char *address; /* NULL: IPv6, all */
    uint16_t port;
};

/* The port that it gets; 0: none. */
static uint16_t port_got(const struct binding *binding)
{
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(binding->port) };
    int fd = socket(binding->domain, binding->kind, 0), one = 1;
    socklen_t bytes = sizeof in6;
    int rc;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (binding->domain == AF_INET) {
        struct sockaddr_in in = at(binding->address, binding->port);

        rc = bind(fd, (struct sockaddr *)&in, sizeof in);
    } else {
        rc = bind(fd, (struct sockaddr *)&in6, sizeof in6);
    }
    if (rc == 0 && getsockname(fd, (struct sockaddr *)&in6, &bytes) == 0)
        rc = 1;
    close(fd);
    return rc == 1 ? ntohs(in6.sin6_port) : 0; /* at one place in both */
}

static bool gets_it(void *data)
{
    const struct binding *binding = data;

    return port_got(binding) == binding->port;
}

static bool gets_none(void *data)
{
    return port_got(data) == 0;
}

/* Of two UDP sockets with one port the last one gets what comes: so passt, which asks for the port
 * that its guest sends from, gets those alone that are its VM's. */
START_TEST(it_has_no_udp_port_but_the_published)
{
    struct {
        struct binding binding;
        bool gets;
    } rows[] = {
        { { AF_INET, SOCK_DGRAM, "0.0.0.0", PORT }, true },
        { { AF_INET, SOCK_STREAM, "0.0.0.0", PORT }, true },
        { { AF_INET, SOCK_DGRAM, HOST, PORT + 1 }, true },
        { { AF_INET, SOCK_DGRAM, "0.0.0.0", PORT + 1 }, false },
        { { AF_INET, SOCK_DGRAM, WORLD, PORT + 1 }, false },
        { { AF_INET, SOCK_DGRAM, "0.0.0.0", PORT + 2 }, false },
        { { AF_INET, SOCK_STREAM, HOST, PORT + 1 }, true }, /* passt learns what is local from it */
    };
    struct binding both = { AF_INET6, SOCK_DGRAM, NULL, PORT };

    if (!open_lab())
        return;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_msg(as(UID, true, gets_it, &rows[i].binding) == rows[i].gets, "row %u", i);
        ck_assert_msg(!as(UID, true, gets_none, &rows[i].binding), "row %u: no port at all", i);
        ck_assert_msg(as(UID, false, gets_it, &rows[i].binding), "row %u, not held", i);
        ck_assert_msg(as(STRANGER, true, gets_none, &rows[i].binding), "row %u, unknown", i);
    }
    ck_assert(as(UID, true, gets_none, &both));
    close_lab();
}
END_TEST

struct secret {
    int told_fd;
    int limit_ms;  /* for somebody to come */
    uint16_t port; /* 0: any */
};

/* It listens, and tells a fellow on which port. */
static bool serve_secretly(void *data)
{
    const struct secret *secret = data;
    struct sockaddr_in in;
    socklen_t bytes = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    in = at("0.0.0.0", secret->port);
    return bind(fd, (struct sockaddr *)&in, sizeof in) == 0 && listen(fd, 4) == 0 &&
           getsockname(fd, (struct sockaddr *)&in, &bytes) == 0 &&
           write(secret->told_fd, &in.sin_port, sizeof in.sin_port) == sizeof in.sin_port &&
           ready(fd, POLLIN, secret->limit_ms) &&
           ready(accept(fd, NULL, NULL), POLLIN,
                 secret->limit_ms); /* until the other has seen it */
}

START_TEST(nobody_connects_to_another_port)
{
    for (unsigned i = 0; i < 4; i++) {
        bool held = i % 2;
        int pipe[2], status;
        uint16_t port;

        if (!open_lab())
            return;
        ck_assert_int_eq(pipe2(pipe, O_CLOEXEC), 0);
        struct secret secret = { pipe[1], held ? QUIET_MS : LOUD_MS, i < 2 ? 0 : PORT + 3 };
        pid_t pid = fork();
        if (pid == 0)
            _exit(as(UID, held, serve_secretly, &secret) ? 1 : 0);
        ck_assert_int_eq(read(pipe[0], &port, sizeof port), sizeof port);
        const struct attempt attempt = { BY_TCP, WORLD, ntohs(port), secret.limit_ms };
        ck_assert_int_eq(by_tcp(&attempt), !held);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(WEXITSTATUS(status), !held);
        close(pipe[0]);
        close(pipe[1]);
        close_lab();
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_passt_ports");
    TCase *tests = tap_case(suite, "ports");

    tcase_add_test(tests, it_has_no_udp_port_but_the_published);
    tcase_add_test(tests, nobody_connects_to_another_port);
    return tap_main(suite);
}
