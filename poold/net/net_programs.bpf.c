/* SPDX-License-Identifier: Apache-2.0 */
/* The programs that the host's kernel runs on what VMs' taps and passt processes send and get, in
 * the kernel's own instruction set (built by clang, loaded by net_kernel.c). They gather what
 * net_judge.h asks for, and do what it says.
 *
 * How it works
 *   volt_tap_out, volt_tap_in   frames that a VM sends and gets, at its tap's or macvtap's hooks for
 *                 traffic control. Whatever writes them, volt-vmm or vhost-net, they pass here. The
 *                 VM is known by the index of its tap. What passes goes on to the filters that the
 *                 operator may have put there.
 *   volt_passt_out, volt_passt_in   packets of passt processes, at their control group's hooks: the
 *                 second wall of a network `user`, behind volt-gate. The VM is known by its uid.
 *   volt_passt_bind, volt_passt_bind6   which of the host's ports they get for datagrams: those that
 *                 are published for the VM, else any that is free. passt asks for the port that its
 *                 guest sends from; two sockets may have one, and the last one gets what comes: so a
 *                 guest would choose whose datagrams it gets. Of TCP two can't, and passt learns
 *                 from bind what is local: it gets what it asks for, and volt_passt_in lets nobody
 *                 connect.
 *   What is not known passes nowhere.
 *
 * A frame of a tap says where the kernel is to write its checksum, later, when it leaves the host:
 * so it could rewrite its own address or port behind this place. Only the kernel's own struct
 * sk_buff tells; struct net_kernel_layout says where. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stdint.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "net/net_judge.h"
#include "net/net_programs.h"

#define VMS_MAX 262144
#define POLICIES_MAX 65536
#define PREFIXES_MAX 65536
#define RESOLVERS_MAX 64
#define FLOW_SETS_MAX 262144
#define CHECKSUM_PARTIAL 3 /* enum of linux/skbuff.h, as old as virtio */
#define DNS_PORT 53
#define ETH_P_IP 0x0800
#define PACKET_HOST 0 /* linux/if_packet.h */

#define MAP(name, kind, entries, flags, key_type, value_type)                                      \
    struct {                                                                                       \
        __uint(type, kind);                                                                        \
        __uint(max_entries, entries);                                                              \
        __uint(map_flags, flags);                                                                  \
        __type(key, key_type);                                                                     \
        __type(value, value_type);                                                                 \
    } name SEC(".maps")

MAP(vms, BPF_MAP_TYPE_HASH, VMS_MAX, BPF_F_NO_PREALLOC, uint32_t, struct net_kernel_vm);
MAP(passts, BPF_MAP_TYPE_HASH, VMS_MAX, BPF_F_NO_PREALLOC, uint32_t, struct net_kernel_passt);
MAP(policies, BPF_MAP_TYPE_HASH, POLICIES_MAX, BPF_F_NO_PREALLOC, uint32_t, struct net_rules);
MAP(host, BPF_MAP_TYPE_LPM_TRIE, PREFIXES_MAX, BPF_F_NO_PREALLOC, struct net_kernel_prefix,
    uint8_t);
MAP(resolvers, BPF_MAP_TYPE_HASH, RESOLVERS_MAX, BPF_F_NO_PREALLOC, uint32_t, uint8_t);
MAP(flows, BPF_MAP_TYPE_HASH, FLOW_SETS_MAX, BPF_F_NO_PREALLOC, struct net_kernel_set,
    struct net_flow_set);
MAP(layout, BPF_MAP_TYPE_ARRAY, 1, 0, uint32_t, struct net_kernel_layout);

static const uint8_t no_flows[sizeof(struct net_flow_set)];

/* ---- The judge's world: `remembers` of the VM's entry ---- */

NET_INLINE bool net_world_is_host(void *world, uint32_t address)
{
    struct net_kernel_prefix prefix = { .bits = 32 };

    (void)world;
    prefix.address[0] = (uint8_t)(address >> 24);
    prefix.address[1] = (uint8_t)(address >> 16);
    prefix.address[2] = (uint8_t)(address >> 8);
    prefix.address[3] = (uint8_t)address;
    return bpf_map_lookup_elem(&host, &prefix) != NULL;
}

NET_INLINE struct net_flow_set *net_world_lock(void *world, const struct net_vm *vm,
                                               uint32_t number, bool make)
{
    const struct net_kernel_set key = { vm->key, number };
    struct net_flow_set *set = bpf_map_lookup_elem(&flows, &key);

    if (!set && make) {
        *(uint32_t *)world = 1;
        bpf_map_update_elem(&flows, &key, no_flows, BPF_NOEXIST);
        set = bpf_map_lookup_elem(&flows, &key);
    }
    if (set)
        bpf_spin_lock(&set->lock);
    return set;
}

NET_INLINE void net_world_unlock(void *world, struct net_flow_set *set)
{
    (void)world;
    bpf_spin_unlock(&set->lock);
}

NET_INLINE uint64_t net_world_now(void *world)
{
    (void)world;
    return bpf_ktime_get_ns();
}

/* ---- Frames ---- */

/* Reads a frame's (skip 0) or a packet's (skip NET_ETHERNET_BYTES) beginning: of the lengths that
 * headers have the longest that is there. *ret_head is zeroes. */
NET_INLINE void read_head(struct __sk_buff *skb, uint32_t skip, struct net_head *ret_head)
{
    const uint32_t most = NET_HEAD_BYTES - skip;
    const uint32_t arp_or_udp = NET_ETHERNET_BYTES + NET_ARP_BYTES - skip;
    const uint32_t ipv4 = NET_ETHERNET_BYTES + NET_IPV4_BYTES - skip;
    uint8_t *to = ret_head->byte + skip;

    ret_head->frame_bytes = skb->len + skip;
    if (bpf_skb_load_bytes(skb, 0, to, most) == 0)
        ret_head->have = skip + most;
    else if (bpf_skb_load_bytes(skb, 0, to, arp_or_udp) == 0)
        ret_head->have = skip + arp_or_udp;
    else if (bpf_skb_load_bytes(skb, 0, to, ipv4) == 0)
        ret_head->have = skip + ipv4;
}

/* Whether the checksum that the kernel is still to write, if there is one, goes where TCP or UDP
 * has it. */
NET_INLINE bool checksum_in_place(struct __sk_buff *skb, const struct net_packet *packet)
{
    uint32_t zero = 0;
    const struct net_kernel_layout *at = bpf_map_lookup_elem(&layout, &zero);
    const uint8_t *raw = (const uint8_t *)skb;
    uint64_t head = 0, data = 0;
    uint16_t start = 0, offset = 0;
    uint8_t summed = 0;

    if (!at || bpf_probe_read_kernel(&summed, sizeof summed, raw + at->summed) < 0)
        return false;
    if ((summed >> (at->summed_shift & 7) & 3) != CHECKSUM_PARTIAL)
        return true;
    if (bpf_probe_read_kernel(&start, sizeof start, raw + at->start) < 0 ||
        bpf_probe_read_kernel(&offset, sizeof offset, raw + at->offset) < 0 ||
        bpf_probe_read_kernel(&head, sizeof head, raw + at->head) < 0 ||
        bpf_probe_read_kernel(&data, sizeof data, raw + at->data) < 0)
        return false;
    if (packet->more || packet->later || head + start != data + NET_ETHERNET_BYTES + NET_IPV4_BYTES)
        return false;
    return packet->protocol == NET_TCP ? offset == 16 : packet->protocol == NET_UDP && offset == 6;
}

NET_INLINE const struct net_rules *rules_of(const struct net_vm *vm)
{
    uint32_t policy = vm->policy;

    return bpf_map_lookup_elem(&policies, &policy);
}

SEC("tc") int volt_tap_out(struct __sk_buff *skb)
{
    uint32_t index = skb->ifindex;
    struct net_kernel_vm *vm = bpf_map_lookup_elem(&vms, &index);
    const struct net_rules *rules = vm ? rules_of(&vm->vm) : NULL;
    struct net_head head = { 0 };
    struct net_packet packet = { 0 };
    enum net_verdict verdict = NET_NOT_IPV4;

    if (!vm || !rules)
        return TC_ACT_SHOT;
    read_head(skb, 0, &head);
    if (!skb->vlan_present) {
        verdict = net_judge(&vm->remembers, &vm->vm, rules, &head, &packet);
        if (verdict == NET_PASSED && !checksum_in_place(skb, &packet))
            verdict = NET_MALFORMED;
    }
    net_count(&vm->drops, verdict, &packet);
    return verdict == NET_PASSED ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

/* Whether it comes from another port of the VM's bridge: the host's kernel has received it, and not to
 * route it, for what it routes was sent to its own MAC. */
NET_INLINE bool is_bridged(const struct __sk_buff *skb, const struct net_vm *vm)
{
    return vm->on_bridge && skb->ingress_ifindex && skb->pkt_type != PACKET_HOST;
}

SEC("tc") int volt_tap_in(struct __sk_buff *skb)
{
    uint32_t index = skb->ifindex;
    struct net_kernel_vm *vm = bpf_map_lookup_elem(&vms, &index);
    const struct net_rules *rules = vm ? rules_of(&vm->vm) : NULL;
    struct net_head head = { 0 };

    if (!vm || !rules)
        return TC_ACT_SHOT;
    read_head(skb, 0, &head);
    net_note(&vm->remembers, &vm->vm, rules, &head, is_bridged(skb, &vm->vm));
    return TC_ACT_UNSPEC;
}

/* ---- passt's packets ---- */

NET_INLINE struct net_kernel_passt *passt_of(uint32_t uid)
{
    return bpf_map_lookup_elem(&passts, &uid);
}

NET_INLINE bool is_opened(const struct net_kernel_passt *passt, uint32_t protocol, uint32_t address,
                          uint32_t port)
{
    bool found = false;

    for (uint32_t i = 0; i < NET_OPENED_MAX; i++) {
        const struct net_opened *opened = &passt->opened[i];

        found |= port && opened->port == port && opened->protocol == protocol &&
                 (!opened->address || opened->address == address);
    }
    return found;
}

NET_INLINE bool is_resolver(const struct net_packet *packet)
{
    uint32_t address = packet->destination;

    return packet->has_ports && packet->destination_port == DNS_PORT &&
           bpf_map_lookup_elem(&resolvers, &address) != NULL;
}

SEC("cgroup_skb/egress") int volt_passt_out(struct __sk_buff *skb)
{
    struct net_kernel_passt *passt = passt_of(bpf_get_socket_uid(skb));
    const struct net_rules *rules = passt ? rules_of(&passt->vm) : NULL;
    struct net_head head = { 0 };
    struct net_packet packet = { 0 };

    if (!rules || skb->protocol != bpf_htons(ETH_P_IP))
        return 0;
    read_head(skb, NET_ETHERNET_BYTES, &head);
    if (net_parse(&head, &packet) != NET_PASSED)
        return 0;
    return is_resolver(&packet) ||
           net_judge_packet(&passt->remembers, &passt->vm, rules, &packet) == NET_PASSED;
}

/* Whether it would open a connection to a port that is not published. */
NET_INLINE bool is_unwanted(const struct net_kernel_passt *passt, const struct net_head *head)
{
    struct net_packet packet = { 0 };

    if (net_parse(head, &packet) != NET_PASSED)
        return true;
    return packet.protocol == NET_TCP &&
           (packet.tcp_flags & (NET_TCP_SYN | NET_TCP_ACK)) == NET_TCP_SYN &&
           !is_opened(passt, NET_TCP, packet.destination, packet.destination_port);
}

SEC("cgroup_skb/ingress") int volt_passt_in(struct __sk_buff *skb)
{
    struct net_kernel_passt *passt = passt_of(bpf_get_socket_uid(skb));
    const struct net_rules *rules = passt ? rules_of(&passt->vm) : NULL;
    struct net_head head = { .byte[12] = ETH_P_IP >> 8 };

    if (!rules || skb->protocol != bpf_htons(ETH_P_IP))
        return 0;
    read_head(skb, NET_ETHERNET_BYTES, &head);
    if (is_unwanted(passt, &head))
        return 0;
    net_note(&passt->remembers, &passt->vm, rules, &head, false);
    return 1;
}

SEC("cgroup/bind4") int volt_passt_bind(struct bpf_sock_addr *wanted)
{
    const struct net_kernel_passt *passt = passt_of((uint32_t)bpf_get_current_uid_gid());

    if (!passt)
        return 0;
    if (wanted->protocol != NET_TCP &&
        !is_opened(passt, wanted->protocol, bpf_ntohl(wanted->user_ip4),
                   bpf_ntohs((uint16_t)wanted->user_port)))
        wanted->user_port = 0;
    return 1;
}

/* A socket of both kinds would get IPv4's datagrams, too. */
SEC("cgroup/bind6") int volt_passt_bind6(struct bpf_sock_addr *wanted)
{
    (void)wanted;
    return 0;
}

/* Of bpf_probe_read_kernel, to the kernel. */
char volt_license[] SEC("license") = "Dual MIT/GPL";
