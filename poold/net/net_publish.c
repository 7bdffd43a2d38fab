/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of published ports; see net_publish.h. */
#include "net/net_publish.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"

#define HOST_PORT_LEAST 1024u
#define WORD_BYTES 64u

/* ---- What is asked for ---- */

struct port_range {
    uint16_t first, last;
};

/* A number at the beginning of *text, which it takes. */
static bool parse_port(const char **text, unsigned least, uint16_t *ret_port)
{
    char *rest;

    if (**text < '0' || **text > '9')
        return false;
    unsigned long number = strtoul(*text, &rest, 10);
    if (number < least || number > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)number;
    *text = rest;
    return true;
}

/* PORT or FIRST-LAST. */
static bool parse_range(const char **text, unsigned least, struct port_range *ret_range)
{
    if (!parse_port(text, least, &ret_range->first))
        return false;
    ret_range->last = ret_range->first;
    if (**text != '-')
        return true;
    ++*text;
    return parse_port(text, least, &ret_range->last) && ret_range->first <= ret_range->last;
}

/* The address at the beginning of *text, if there is one. */
static bool parse_address(const char **text, uint32_t *ret_address)
{
    size_t bytes = strcspn(*text, ":");
    char address[INET_ADDRSTRLEN];

    if (!memchr(*text, '.', bytes))
        return true;
    if (bytes >= sizeof address || (*text)[bytes] != ':')
        return false;
    snprintf(address, sizeof address, "%.*s", (int)bytes, *text);
    *text += bytes + 1;
    return inet_pton(AF_INET, address, ret_address) == 1;
}

static bool parse_protocol(const char *text, bool *ret_udp)
{
    *ret_udp = strcmp(text, "/udp") == 0;
    return *ret_udp || *text == '\0' || strcmp(text, "/tcp") == 0;
}

/* Adds what one word says, a range port by port. */
static bool parse_word(const char *word, struct net_publish *publish)
{
    struct net_port port = { 0 };
    struct port_range host, guest;
    const char *at = word;

    if (!parse_address(&at, &port.address) || !parse_range(&at, HOST_PORT_LEAST, &host) ||
        *at++ != ':' || !parse_range(&at, 1, &guest) || !parse_protocol(at, &port.udp))
        return false;
    unsigned count = host.last - host.first + 1u;
    if (count != guest.last - guest.first + 1u || count > NET_PUBLISH_MAX - publish->count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        port.host = (uint16_t)(host.first + i);
        port.guest = (uint16_t)(guest.first + i);
        publish->port[publish->count++] = port;
    }
    return true;
}

int net_publish_parse(const char *text, struct net_publish *ret_publish, struct err *err)
{
    struct net_publish publish = { .count = 0 };
    const char *at = text;

    for (bool more = *text != '\0'; more;) {
        char word[WORD_BYTES];
        size_t bytes = strcspn(at, ",");

        snprintf(word, sizeof word, "%.*s", (int)MIN_OF(bytes, sizeof word), at);
        if (bytes >= sizeof word || !parse_word(word, &publish))
            return err_set(err, EINVAL,
                           "'publish' is HOST:GUEST, each a port or FIRST-LAST, with ADDRESS: "
                           "before it or not, with /tcp or /udp behind it or not, or several of "
                           "them with commas between, at most %u ports in all, with HOST from %u "
                           "on; not '%s'",
                           NET_PUBLISH_MAX, HOST_PORT_LEAST, text);
        at += bytes;
        more = *at == ',';
        at += more;
    }
    *ret_publish = publish;
    list_init(&ret_publish->node);
    return 0;
}

/* ---- What is given ---- */

void net_ports_init(struct net_ports *ports)
{
    list_init(&ports->taken);
}

static const char *port_text(const struct net_port *port, char text[WORD_BYTES])
{
    char address[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &port->address, address, sizeof address);
    snprintf(text, WORD_BYTES, "%s port %u of %s", port->udp ? "UDP" : "TCP", port->host,
             port->address ? address : "the host");
    return text;
}

static bool overlap(const struct net_port *a, const struct net_port *b)
{
    return a->host == b->host && a->udp == b->udp &&
           (!a->address || !b->address || a->address == b->address);
}

static bool is_taken(const struct net_ports *ports, const struct net_port *port)
{
    LIST_FOR_EACH(at, &ports->taken)
    {
        const struct net_publish *other = list_entry(at, struct net_publish, node);

        for (unsigned i = 0; i < other->count; i++) {
            if (overlap(&other->port[i], port))
                return true;
        }
    }
    return false;
}

/* Whether another program has it. */
static int probe(const struct net_port *port)
{
    _cleanup_close_ int fd =
        socket(AF_INET, (port->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port->host),
                              .sin_addr.s_addr = port->address };
    int one = 1;

    if (fd < 0)
        return -errno;
    if (!port->udp) /* of UDP it would let two have the port */
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0)
        return -errno;
    return !port->udp && listen(fd, 1) < 0 ? -errno : 0;
}

int net_publish_reserve(struct net_publish *publish, struct net_ports *ports, struct err *err)
{
    char text[WORD_BYTES];

    for (unsigned i = 0; i < publish->count; i++) {
        const struct net_port *port = &publish->port[i];

        for (unsigned j = 0; j < i; j++) {
            if (overlap(&publish->port[j], port))
                return err_set(err, EADDRINUSE, "%s is asked for twice", port_text(port, text));
        }
        if (is_taken(ports, port))
            return err_set(err, EADDRINUSE, "%s is published by another lease",
                           port_text(port, text));
        int rc = probe(port);
        if (rc < 0)
            return err_set_errno(err, -rc, "%s can't be published", port_text(port, text));
    }
    if (publish->count)
        list_append(&ports->taken, &publish->node);
    return 0;
}

void net_publish_retake(struct net_publish *publish, struct net_ports *ports)
{
    list_init(&publish->node);
    if (publish->count)
        list_append(&ports->taken, &publish->node);
}

void net_publish_release(struct net_publish *publish)
{
    list_remove(&publish->node);
    publish->count = 0;
}

void net_publish_move(struct net_publish *from, struct net_publish *to)
{
    *to = *from;
    list_init(&to->node);
    if (!list_empty(&from->node)) {
        list_append(&from->node, &to->node); /* beside it, in the same list */
        list_remove(&from->node);
    }
    from->count = 0;
}
