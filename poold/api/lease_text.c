/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the text of a LEASE. Nothing in it needs escaping: names, ids and the run directory's path
 * are checked when they come in. */
#include "api/lease_text.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "control/control.h"
#include "vms/clone.h"

/* In the order of docs/api.md. */
static const struct layer_row {
    uint32_t bit;
    const char *name;
} layer_rows[] = {
    { CONTROL_LAYER_CPUID, "cpuid" },
    { CONTROL_LAYER_SECCOMP, "seccomp" },
    { CONTROL_LAYER_CAPABILITIES, "capabilities" },
    { CONTROL_LAYER_LANDLOCK, "landlock" },
    { CONTROL_LAYER_NAMESPACES, "namespaces" },
    { CONTROL_LAYER_UID, "uid" },
    { CONTROL_LAYER_CGROUP, "cgroup" },
};

struct text {
    char *at, *end;
};

static void put(struct text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *text, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text->at, (size_t)(text->end - text->at), fmt, args);
    va_end(args);
    text->at += MIN_OF((ptrdiff_t)n, text->end - text->at - 1);
}

static void put_layers(struct text *text, const struct slot *slot)
{
    const char *comma = "";

    put(text, ",\"layers\":[");
    for (unsigned i = 0; i < ARRAY_LEN(layer_rows); i++) {
        if (!(slot->layers & layer_rows[i].bit))
            continue;
        if (layer_rows[i].bit == CONTROL_LAYER_LANDLOCK)
            put(text, "%s\"landlock:%u\"", comma, slot->landlock_abi);
        else
            put(text, "%s\"%s\"", comma, layer_rows[i].name);
        comma = ",";
    }
    put(text, "]");
}

size_t wall_text(uint64_t wall_ns, char ret_text[WALL_TEXT_BYTES])
{
    time_t second = (time_t)(wall_ns / NS_PER_S);
    struct tm tm;

    gmtime_r(&second, &tm);
    size_t bytes = strftime(ret_text, WALL_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    return bytes + (size_t)snprintf(ret_text + bytes, WALL_TEXT_BYTES - bytes, ".%03uZ",
                                    (unsigned)(wall_ns % NS_PER_S / NS_PER_MS));
}

static void put_identity(struct text *text, const struct slot *slot)
{
    char hex[33], stamp[WALL_TEXT_BYTES];

    for (unsigned i = 0; i < 16; i++) {
        static const char digits[] = "0123456789abcdef";

        hex[2 * i] = digits[slot->generation_id[i] >> 4];
        hex[2 * i + 1] = digits[slot->generation_id[i] & 15];
    }
    hex[32] = '\0';
    wall_text(slot->leased_wall_ns, stamp);
    put(text,
        "{\"lease\":\"%s\",\"pool\":\"%s\",\"tier\":\"%s\",\"hostname\":\"%s\","
        "\"generation_id\":\"%s\",\"owner_uid\":%u,\"labels\":%s,\"ttl_ms\":%" PRIu64
        ",\"kept_by_streams\":%s,\"acquired\":\"%s\"",
        slot->id, slot->pool->name, tier_name(slot->tier), slot->hostname, hex, slot->owner_uid,
        *slot->labels ? slot->labels : "{}", slot->ttl_ms, slot->kept_by_streams ? "true" : "false",
        stamp);
}

/* What of the VM's frames was dropped, and what the last one was that its policy denies. */
static void put_drops(struct text *text, const struct vm_net *net, const struct net_walls *walls)
{
    struct net_drops drops;
    char address[INET_ADDRSTRLEN];
    const char *comma = "";

    vm_net_drops(net, walls, &drops);
    put(text, ",\"dropped\":{");
    for (unsigned i = NET_DENIED; i < NET_VERDICT_COUNT; i++, comma = ",")
        put(text, "%s\"%s\":%" PRIu64, comma, net_verdict_name((enum net_verdict)i),
            drops.count[i]);
    put(text, "},\"last_denied\":");
    if (!drops.count[NET_DENIED]) {
        put(text, "null");
        return;
    }
    drops.denied_address = htonl(drops.denied_address);
    inet_ntop(AF_INET, &drops.denied_address, address, sizeof address);
    put(text, "{\"address\":\"%s\",\"port\":%u,\"protocol\":%u}", address, drops.denied_port,
        drops.denied_protocol);
}

/* Nothing of it is the guest's or passt's own text. */
static void put_passt(struct text *text, const struct net_gate *gate)
{
    struct net_gate_state state = net_gate_state(gate);

    put(text, ",\"passt\":{\"running\":%s,\"restarts\":%u}", state.error ? "false" : "true",
        state.restarts);
}

static void put_network(struct text *text, const struct vm_net *net, const struct net_walls *walls)
{
    char address[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
    const uint8_t *mac = net->mac;
    const char *quote = net->link[0] ? "\"" : "";

    if (!net->on)
        return;
    inet_ntop(AF_INET, &net->address, address, sizeof address);
    inet_ntop(AF_INET, &net->gateway, gateway, sizeof gateway);
    put(text,
        ",\"network\":{\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\",\"address\":\"%s/%u\","
        "\"gateway\":\"%s\",\"netns\":",
        mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], address, net->prefix_bits, gateway);
    if (net->netns_fd >= 0)
        put(text, "\"/proc/%d/fd/%d\"", (int)getpid(), net->netns_fd);
    else
        put(text, "null");
    put(text, ",\"link\":%s%s%s,\"vhost\":%s", quote, net->link[0] ? net->link : "null", quote,
        net->vhost ? "true" : "false");
    put_drops(text, net, walls);
    if (net->gate)
        put_passt(text, net->gate);
    put(text, "}");
}

size_t lease_text(const struct api *api, const struct slot *slot, uint64_t now,
                  char ret_text[LEASE_TEXT_BYTES])
{
    const struct timings *t = &slot->timings;
    uint64_t queue = t->queue_ns / 1000, load = t->load_ns / 1000, awake = t->awake_ns / 1000,
             ready = t->ready_ns / 1000;
    struct text text = { ret_text, ret_text + LEASE_TEXT_BYTES };

    put_identity(&text, slot);
    put(&text,
        ",\"timings_us\":{\"queue\":%" PRIu64 ",\"load\":%" PRIu64 ",\"awake\":%" PRIu64
        ",\"ready\":%" PRIu64 ",\"total\":%" PRIu64 "}",
        queue, load, awake, ready, queue + load + awake + ready);
    put_layers(&text, slot);
    put_network(&text, clone_net(slot), &api->vms->walls);
    put(&text, ",\"vsock\":\"%s/vms/%s/vsock\"", api->run_dir, slot->id);
    if (now) {
        uint64_t age = (now - slot->leased_ns) / NS_PER_MS;
        uint64_t left = slot->deadline_ns > now ? (slot->deadline_ns - now) / NS_PER_MS : 0;

        put(&text, ",\"age_ms\":%" PRIu64, age);
        if (slot->deadline_ns)
            put(&text, ",\"expires_in_ms\":%" PRIu64, left);
        else
            put(&text, ",\"expires_in_ms\":null");
        put(&text, ",\"pid\":%d", clone_pid(slot));
    }
    put(&text, "}");
    return (size_t)(text.at - ret_text);
}
