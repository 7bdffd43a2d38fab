/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the programs in the host's kernel and their maps; see net_kernel.h. */
#include "net/net_kernel.h"

#include <arpa/inet.h>
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "net/net_programs.h"
#include "net_programs_object.h" /* net_programs_object[]: the programs as clang built them */

enum program {
    PROGRAM_TAP_OUT,
    PROGRAM_TAP_IN,
    PROGRAM_PASST_OUT,
    PROGRAM_PASST_IN,
    PROGRAM_PASST_BIND,
    PROGRAM_PASST_BIND6,
    PROGRAM_COUNT
};
enum map {
    MAP_VMS,
    MAP_PASSTS,
    MAP_POLICIES,
    MAP_HOST,
    MAP_RESOLVERS,
    MAP_FLOWS,
    MAP_LAYOUT,
    MAP_COUNT
};

static const char *const program_names[PROGRAM_COUNT] = {
    [PROGRAM_TAP_OUT] = "volt_tap_out",       [PROGRAM_TAP_IN] = "volt_tap_in",
    [PROGRAM_PASST_OUT] = "volt_passt_out",   [PROGRAM_PASST_IN] = "volt_passt_in",
    [PROGRAM_PASST_BIND] = "volt_passt_bind", [PROGRAM_PASST_BIND6] = "volt_passt_bind6",
};
static const char *const map_names[MAP_COUNT] = {
    [MAP_VMS] = "vms",       [MAP_PASSTS] = "passts",       [MAP_POLICIES] = "policies",
    [MAP_HOST] = "host",     [MAP_RESOLVERS] = "resolvers", [MAP_FLOWS] = "flows",
    [MAP_LAYOUT] = "layout",
};

struct net_kernel {
    struct bpf_object *object; /* the fds below are its */
    int programs[PROGRAM_COUNT];
    int maps[MAP_COUNT];
    struct bpf_link *links[PROGRAM_COUNT]; /* of those for passt, once they are attached */
};

/* ---- Where struct sk_buff has its fields ---- */

/* Finds a member by name, in unnamed ones too. The bit it is at, counted from the beginning of
 * `type`; -1: there is none. */
static long member_bit(const struct btf *btf, const struct btf_type *type, const char *name)
{
    const struct btf_member *member = btf_members(type);

    for (unsigned i = 0; i < btf_vlen(type); i++, member++) {
        const char *text = btf__name_by_offset(btf, member->name_off);
        long bit = btf_member_bit_offset(type, i), inner = -1;

        if (text && strcmp(text, name) == 0)
            return bit;
        if (text && *text)
            continue;
        const struct btf_type *unnamed = btf__type_by_id(btf, member->type);
        if (unnamed && btf_is_composite(unnamed))
            inner = member_bit(btf, unnamed, name);
        if (inner >= 0)
            return bit + inner;
    }
    return -1;
}

static int layout_find(const struct btf *btf, struct net_kernel_layout *ret_layout)
{
    static const char *const names[] = { "ip_summed", "csum_start", "csum_offset", "head", "data" };
    int id = btf__find_by_name_kind(btf, "sk_buff", BTF_KIND_STRUCT);
    const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t)id);
    long bit[ARRAY_LEN(names)];

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        bit[i] = type ? member_bit(btf, type, names[i]) : -1;
        if (bit[i] < 0 || (i > 0 && bit[i] % 8) || bit[0] % 8 > 6)
            return -ENOTSUP;
    }
    *ret_layout = (struct net_kernel_layout){ .summed = (uint32_t)bit[0] / 8,
                                              .summed_shift = (uint32_t)bit[0] % 8,
                                              .start = (uint32_t)bit[1] / 8,
                                              .offset = (uint32_t)bit[2] / 8,
                                              .head = (uint32_t)bit[3] / 8,
                                              .data = (uint32_t)bit[4] / 8 };
    return 0;
}

static int layout_set(const struct net_kernel *kernel, struct err *err)
{
    struct btf *btf = btf__load_vmlinux_btf();
    struct net_kernel_layout layout;
    uint32_t zero = 0;
    int rc = btf ? layout_find(btf, &layout) : -errno;

    btf__free(btf);
    if (rc == 0)
        rc = bpf_map_update_elem(kernel->maps[MAP_LAYOUT], &zero, &layout, BPF_ANY);
    return rc < 0 ? err_set_errno(err, -rc,
                                  "the host's kernel does not describe itself in "
                                  "/sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)")
                  : 0;
}

/* ---- Loading ---- */

/* What it would write to stderr is in the error that it returns. */
static int be_silent(enum libbpf_print_level level, const char *format, va_list args)
{
    (void)level;
    (void)format;
    (void)args;
    return 0;
}

static int fds_find(struct net_kernel *kernel)
{
    for (unsigned i = 0; i < PROGRAM_COUNT; i++) {
        const struct bpf_program *program =
            bpf_object__find_program_by_name(kernel->object, program_names[i]);

        kernel->programs[i] = program ? bpf_program__fd(program) : -ENOENT;
        if (kernel->programs[i] < 0)
            return kernel->programs[i];
    }
    for (unsigned i = 0; i < MAP_COUNT; i++) {
        kernel->maps[i] = bpf_object__find_map_fd_by_name(kernel->object, map_names[i]);
        if (kernel->maps[i] < 0)
            return kernel->maps[i];
    }
    return 0;
}

static_assert(MAP_COUNT == NET_KERNEL_MAPS &&
                  MAP_COUNT + PROGRAM_COUNT - PROGRAM_PASST_OUT == NET_KERNEL_FDS,
              "all of them outlive a poold");

static int maps_reuse(const struct net_kernel *kernel, const int maps[NET_KERNEL_MAPS])
{
    for (unsigned i = 0; i < MAP_COUNT; i++) {
        struct bpf_map *map = bpf_object__find_map_by_name(kernel->object, map_names[i]);
        struct bpf_map_info info = { 0 };
        uint32_t bytes = sizeof info;

        if (!map || bpf_obj_get_info_by_fd(maps[i], &info, &bytes) < 0 ||
            info.type != (uint32_t)bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
            info.value_size != bpf_map__value_size(map) || bpf_map__reuse_fd(map, maps[i]) < 0)
            return -ESTALE;
    }
    return 0;
}

static int load(struct net_kernel *kernel, const int maps[NET_KERNEL_MAPS])
{
    int rc = maps ? maps_reuse(kernel, maps) : 0;

    if (rc == 0)
        rc = bpf_object__load(kernel->object);
    return rc == 0 ? fds_find(kernel) : rc;
}

int net_kernel_open(struct net_kernel **ret_kernel, const int maps[NET_KERNEL_MAPS],
                    struct err *err)
{
    struct net_kernel *kernel = calloc(1, sizeof *kernel);
    int rc;

    if (!kernel)
        return err_set(err, ENOMEM, "out of memory");
    libbpf_set_print(be_silent);
    kernel->object = bpf_object__open_mem(net_programs_object, sizeof net_programs_object, NULL);
    rc = kernel->object ? load(kernel, maps) : -errno;
    if (rc < 0)
        rc = err_set_errno(err, -rc,
                           "the host's kernel does not take the programs that hold VMs to their "
                           "policy (it takes CONFIG_BPF_SYSCALL, and root or CAP_BPF, CAP_PERFMON "
                           "and CAP_NET_ADMIN)");
    else
        rc = layout_set(kernel, err);
    if (rc < 0)
        net_kernel_close(kernel);
    else
        *ret_kernel = kernel;
    return rc;
}

void net_kernel_fds(const struct net_kernel *kernel, int ret_fds[NET_KERNEL_FDS])
{
    memcpy(ret_fds, kernel->maps, sizeof kernel->maps);
    for (unsigned i = PROGRAM_PASST_OUT; i < PROGRAM_COUNT; i++) {
        const struct bpf_link *link = kernel->links[i];

        ret_fds[MAP_COUNT + i - PROGRAM_PASST_OUT] = link ? bpf_link__fd(link) : -1;
    }
}

static void links_destroy(struct net_kernel *kernel)
{
    for (unsigned i = 0; i < PROGRAM_COUNT; i++) {
        bpf_link__destroy(kernel->links[i]);
        kernel->links[i] = NULL;
    }
}

void net_kernel_close(struct net_kernel *kernel)
{
    if (kernel) {
        links_destroy(kernel);
        bpf_object__close(kernel->object);
    }
    free(kernel);
}

/* ---- Attaching ---- */

static int attach_filter(const struct bpf_tc_hook *hook, int program)
{
    LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program, .handle = 1, .priority = 1);

    return bpf_tc_attach(hook, &opts);
}

/* By the classifier of all kernels that have BPF: 0.15 ms. What Linux 6.6 has instead (tcx) waits
 * 28 ms for all CPUs. A tap receives what its VM sends; a macvtap, a card of this host, sends it. */
int net_kernel_attach(const struct net_kernel *kernel, uint32_t index, bool macvtap,
                      struct err *err)
{
    LIBBPF_OPTS(bpf_tc_hook, out, .ifindex = (int)index,
                .attach_point = macvtap ? BPF_TC_EGRESS : BPF_TC_INGRESS);
    LIBBPF_OPTS(bpf_tc_hook, in, .ifindex = (int)index,
                .attach_point = macvtap ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    int rc = bpf_tc_hook_create(&out);

    if (rc == 0)
        rc = attach_filter(&out, kernel->programs[PROGRAM_TAP_OUT]);
    if (rc == 0)
        rc = attach_filter(&in, kernel->programs[PROGRAM_TAP_IN]);
    return rc < 0 ? err_set_errno(err, -rc,
                                  "the host's kernel can't hold a tap to its pool's policy "
                                  "(modprobe sch_ingress cls_bpf)")
                  : 0;
}

int net_kernel_attach_cgroup(struct net_kernel *kernel, int cgroup_fd, struct err *err)
{
    for (enum program i = PROGRAM_PASST_OUT; i < PROGRAM_COUNT; i++) {
        const struct bpf_program *program =
            bpf_object__find_program_by_name(kernel->object, program_names[i]);

        kernel->links[i] = bpf_program__attach_cgroup(program, cgroup_fd);
        if (kernel->links[i])
            continue;
        int error = errno;
        links_destroy(kernel);
        return err_set_errno(err, error,
                             "the control group of passt can't be held to policies "
                             "(CONFIG_CGROUP_BPF)");
    }
    return 0;
}

/* ---- Maps ---- */

int net_kernel_put_policy(const struct net_kernel *kernel, uint32_t policy,
                          const struct net_rules *rules)
{
    return bpf_map_update_elem(kernel->maps[MAP_POLICIES], &policy, rules, BPF_ANY);
}

void net_kernel_remove_policy(const struct net_kernel *kernel, uint32_t policy)
{
    bpf_map_delete_elem(kernel->maps[MAP_POLICIES], &policy);
}

int net_kernel_put_vm(const struct net_kernel *kernel, uint32_t index, const struct net_vm *vm)
{
    const struct net_kernel_vm entry = { .vm = *vm };

    return bpf_map_update_elem(kernel->maps[MAP_VMS], &index, &entry, BPF_NOEXIST);
}

void net_kernel_drops(const struct net_kernel *kernel, uint32_t index, struct net_drops *ret_drops)
{
    struct net_kernel_vm entry = { 0 };

    bpf_map_lookup_elem(kernel->maps[MAP_VMS], &index, &entry);
    *ret_drops = entry.drops;
}

/* Its programs know the VM no more, so that none is made again. */
static void remove_flows(const struct net_kernel *kernel, uint32_t key)
{
    struct net_kernel_set set = { .key = key };

    for (set.number = 0; set.number < NET_FLOW_SETS; set.number++)
        bpf_map_delete_elem(kernel->maps[MAP_FLOWS], &set);
}

void net_kernel_remove_vm(const struct net_kernel *kernel, uint32_t index)
{
    struct net_kernel_vm entry = { 0 };

    bpf_map_lookup_elem(kernel->maps[MAP_VMS], &index, &entry);
    bpf_map_delete_elem(kernel->maps[MAP_VMS], &index);
    if (entry.remembers)
        remove_flows(kernel, entry.vm.key);
}

int net_kernel_put_passt(const struct net_kernel *kernel, uint32_t uid, const struct net_vm *vm,
                         const struct net_opened *opened, unsigned count)
{
    struct net_kernel_passt entry = { .vm = *vm };

    memcpy(entry.opened, opened, MIN_OF(count, NET_OPENED_MAX) * sizeof *opened);
    return bpf_map_update_elem(kernel->maps[MAP_PASSTS], &uid, &entry, BPF_ANY);
}

void net_kernel_remove_passt(const struct net_kernel *kernel, uint32_t uid)
{
    struct net_kernel_passt entry = { 0 };

    bpf_map_lookup_elem(kernel->maps[MAP_PASSTS], &uid, &entry);
    bpf_map_delete_elem(kernel->maps[MAP_PASSTS], &uid);
    if (entry.remembers)
        remove_flows(kernel, entry.vm.key);
}

static struct net_kernel_prefix prefix_of(uint32_t network, uint32_t bits)
{
    struct net_kernel_prefix prefix = { .bits = bits };

    network = htonl(network);
    memcpy(prefix.address, &network, sizeof prefix.address);
    return prefix;
}

int net_kernel_put_host(const struct net_kernel *kernel, uint32_t network, uint32_t bits)
{
    const struct net_kernel_prefix prefix = prefix_of(network, bits);

    return bpf_map_update_elem(kernel->maps[MAP_HOST], &prefix, &(uint8_t){ 1 }, BPF_ANY);
}

void net_kernel_remove_host(const struct net_kernel *kernel, uint32_t network, uint32_t bits)
{
    const struct net_kernel_prefix prefix = prefix_of(network, bits);

    bpf_map_delete_elem(kernel->maps[MAP_HOST], &prefix);
}

/* Those of passt processes that are there may be among them; they ask for others then. */
static void forget_resolvers(int map)
{
    uint32_t address;

    while (bpf_map_get_next_key(map, NULL, &address) == 0 &&
           bpf_map_delete_elem(map, &address) == 0)
        ;
}

int net_kernel_put_resolver(const struct net_kernel *kernel, uint32_t address)
{
    int map = kernel->maps[MAP_RESOLVERS];
    int rc = bpf_map_update_elem(map, &address, &(uint8_t){ 1 }, BPF_ANY);

    if (rc != -E2BIG)
        return rc;
    forget_resolvers(map);
    return bpf_map_update_elem(map, &address, &(uint8_t){ 1 }, BPF_ANY);
}
