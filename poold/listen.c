/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how poold's sockets come about; see listen.h. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "service.h"

/* Whether fd is the socket that is at path. */
static bool is_at(int fd, const char *path, struct unix_listener *ret_listener)
{
    struct sockaddr_un address;
    socklen_t bytes = sizeof address;
    struct stat st;

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &bytes) < 0 ||
        strlen(path) >= sizeof address.sun_path || strcmp(address.sun_path, path) != 0 ||
        lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    *ret_listener = (struct unix_listener){ .fd = fd, .device = st.st_dev, .inode = st.st_ino };
    memcpy(ret_listener->path, path, strlen(path) + 1);
    return true;
}

int listen_open(struct unix_listener *ret_listener, const char *path, const char *group,
                int *inherited_fd, struct err *err)
{
    gid_t gid = UNIX_KEEP_GROUP;

    if (service_socket_take(ret_listener))
        return 0;
    if (inherited_fd && is_at(*inherited_fd, path, ret_listener)) {
        take_fd(inherited_fd);
        return 0;
    }
    if (inherited_fd)
        close_fd(inherited_fd); /* nobody listens with it any more */
    if (*group) {
        const struct group *entry = getgrnam(group);

        if (!entry)
            return err_set(err, EINVAL, "--group: there is no group '%s'", group);
        gid = entry->gr_gid;
    }
    return unix_listen(ret_listener, path, LISTEN_MODE, gid, LISTEN_BACKLOG, err);
}

/* ---- TCP ---- */

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;
    const struct in_addr *four = &((const struct sockaddr_in *)address)->sin_addr;

    if (address->ss_family == AF_INET)
        return ntohl(four->s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(six) ||
           (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET);
}

int listen_address_parse(const char *text, struct sockaddr_storage *ret_address,
                         socklen_t *ret_bytes, bool *ret_loopback, struct err *err)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                    .ai_socktype = SOCK_STREAM };
    const char *colon = strrchr(text, ':');
    struct addrinfo *found = NULL;
    char host[INET6_ADDRSTRLEN + 2];
    size_t bytes = colon ? (size_t)(colon - text) : 0;
    bool bracket = bytes > 2 && text[0] == '[' && text[bytes - 1] == ']';

    text += bracket;
    bytes -= bracket ? 2 : 0;
    snprintf(host, sizeof host, "%.*s", (int)bytes, text);
    if (!bytes || bytes >= sizeof host || (strchr(host, ':') && !bracket) ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5 ||
        !colon[1] || strtoul(colon + 1, NULL, 10) > UINT16_MAX ||
        getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return err_set(err, EINVAL,
                       "listen is an address and a port in numbers, as 127.0.0.1:9000 or "
                       "[::1]:9000, not '%s'",
                       text - bracket);
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_bytes = found->ai_addrlen;
    *ret_loopback = is_loopback(ret_address);
    freeaddrinfo(found);
    return 0;
}

/* Where it listens now. */
static void name_of(int fd, char ret_text[64])
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";

    if (getsockname(fd, (struct sockaddr *)&address, &bytes) == 0)
        getnameinfo((struct sockaddr *)&address, bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(ret_text, 64, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int listen_tcp(struct unix_listener *ret_listener, const char *text, char ret_text[64],
               struct err *err)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    bool loopback;
    const int on = 1;

    if (listen_address_parse(text, &address, &bytes, &loopback, err) < 0)
        return -EINVAL;
    _cleanup_close_ int fd =
        socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* A name of IPv6 is of IPv6 alone: what is reached is what is said. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (address.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
        bind(fd, (struct sockaddr *)&address, bytes) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        return err_set_errno(err, errno, "can't listen at %s", text);
    name_of(fd, ret_text);
    *ret_listener = (struct unix_listener){ .fd = take_fd(&fd) };
    return 0;
}
