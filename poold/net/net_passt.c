/* SPDX-License-Identifier: Apache-2.0 */
/* Owns passt's command line; see net_passt.h. */
#include "net/net_passt.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static void put_port(const struct net_port *port, char *text, size_t bytes)
{
    char address[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &port->address, address, sizeof address);
    snprintf(text, bytes, "%s%s%u:%u", port->address ? address : "", port->address ? "/" : "",
             port->host, port->guest);
}

static bool publishes_tcp(const struct net_publish *publish)
{
    bool found = false;

    for (unsigned i = 0; i < publish->count; i++)
        found |= !publish->port[i].udp;
    return found;
}

void net_passt_args(const struct net_passt *passt, struct net_passt_args *ret_args)
{
    const char *const fixed[] = {
        passt->gate_path,
        "run",
        ret_args->uid,
        passt->grouped ? "4" : "-",
        passt->grouped || publishes_tcp(passt->publish) ? "shares" : "-",
        NET_PASST,
        "-f",
        "-q",
        "-4",
        "--fd",
        "3",
        "-a",
        ret_args->address,
        "-n",
        ret_args->bits,
        "-g",
        ret_args->gateway,
        "--mtu",
        "1500",
        "--no-map-gw",
        "--dns-forward",
        ret_args->gateway,
    };
    unsigned n = 0;

    snprintf(ret_args->uid, sizeof ret_args->uid, "-");
    if (passt->uid != UINT32_MAX)
        snprintf(ret_args->uid, sizeof ret_args->uid, "%u", passt->uid);
    inet_ntop(AF_INET, &passt->address, ret_args->address, sizeof ret_args->address);
    inet_ntop(AF_INET, &passt->gateway, ret_args->gateway, sizeof ret_args->gateway);
    snprintf(ret_args->bits, sizeof ret_args->bits, "%u", passt->prefix_bits);
    for (unsigned i = 0; i < ARRAY_LEN(fixed); i++)
        ret_args->argv[n++] = (char *)(uintptr_t)fixed[i];
    for (unsigned i = 0; i < passt->publish->count; i++) {
        const struct net_port *port = &passt->publish->port[i];

        put_port(port, ret_args->ports[i], sizeof ret_args->ports[i]);
        ret_args->argv[n++] = (char *)(uintptr_t)(port->udp ? "-u" : "-t");
        ret_args->argv[n++] = ret_args->ports[i];
    }
    ret_args->argv[n] = NULL;
}

void net_passt_resolvers(void (*each)(void *data, uint32_t address), void *data)
{
    FILE *file = fopen("/etc/resolv.conf", "re");
    char line[256], address[INET_ADDRSTRLEN];
    struct in_addr in;

    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "nameserver %15s", address) == 1 && inet_pton(AF_INET, address, &in) == 1)
            each(data, ntohl(in.s_addr));
    }
    if (file)
        fclose(file);
}
