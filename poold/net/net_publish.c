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

/* The number that ends at `end`. */
static bool parse_port(const char **text, char end, unsigned least, uint16_t *ret_port)
{
    char *rest;

    if (**text < '0' || **text > '9')
        return false;
    unsigned long number = strtoul(*text, &rest, 10);
    if (number < least || number > UINT16_MAX || *rest != end)
        return false;
    *ret_port = (uint16_t)number;
    *text = rest + (end != '\0');
    return true;
}

static bool parse_port_pair(char *word, struct net_port *ret_port)
{
    struct net_port port = { 0 };
    const char *at = word;
    char *slash = strchr(word, '/');
    size_t address_bytes = strcspn(word, ":");
    char address[INET_ADDRSTRLEN];

    if (slash) {
        *slash = '\0';
        port.udp = true;
    }
    if (memchr(word, '.', address_bytes)) {
        snprintf(address, sizeof address, "%.*s", (int)address_bytes, word);
        if (address_bytes >= sizeof address || inet_pton(AF_INET, address, &port.address) != 1 ||
            word[address_bytes] != ':')
            return false;
        at += address_bytes + 1;
    }
    if ((slash && strcmp(slash + 1, "udp") != 0) ||
        !parse_port(&at, ':', HOST_PORT_LEAST, &port.host) ||
        !parse_port(&at, '\0', 1, &port.guest))
        return false;
    *ret_port = port;
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
        if (bytes >= sizeof word || publish.count == NET_PUBLISH_MAX ||
            !parse_port_pair(word, &publish.port[publish.count]))
            return err_set(err, EINVAL,
                           "'publish' is HOST:GUEST, with ADDRESS: before it or not, with /udp "
                           "behind it or not, or up to %u of them with commas between, with HOST "
                           "from %u on; not '%s'",
                           NET_PUBLISH_MAX, HOST_PORT_LEAST, text);
        publish.count++;
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
