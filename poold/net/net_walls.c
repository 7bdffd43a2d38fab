/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what all VMs' networks are held by; see net_walls.h. */
#include "net/net_walls.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "host/cgroup.h"
#include "net/gate/gate.h"
#include "net/net_kernel.h"

#define INDEX_LEAST (1u << 24) /* those that the kernel gives out are small */
#define INDEX_COUNT (1u << 30)

void net_walls_init(struct net_walls *walls, uv_loop_t *loop, const char *gate_path,
                    struct vm_uids *uids, const char *name)
{
    *walls = (struct net_walls){ .loop = loop,
                                 .gate_path = gate_path,
                                 .uids = uids,
                                 .host_fd = -1,
                                 .group_fd = -1,
                                 .procs_fd = -1 };
    snprintf(walls->name, sizeof walls->name, "%s-passt", name);
    net_ports_init(&walls->ports);
    pthread_mutex_init(&walls->lock, NULL);
    random_bytes(&walls->next_index, sizeof walls->next_index);
    random_bytes(&walls->next_key, sizeof walls->next_key);
    for (unsigned i = 0; i < NET_WALLS_FDS; i++)
        walls->inherited[i] = -1;
}

static_assert(NET_WALLS_FDS == 1 + NET_KERNEL_FDS, "one of the host, and the kernel's");

void net_walls_inherit(struct net_walls *walls, int fds[NET_WALLS_FDS], uint32_t next_policy)
{
    for (unsigned i = 0; i < NET_WALLS_FDS; i++)
        walls->inherited[i] = take_fd(&fds[i]);
    walls->next_policy = next_policy;
}

void net_walls_fds(struct net_walls *walls, int ret_fds[NET_WALLS_FDS])
{
    for (unsigned i = 0; i < NET_WALLS_FDS; i++)
        ret_fds[i] = -1;
    ret_fds[0] = walls->host_fd;
    pthread_mutex_lock(&walls->lock);
    if (walls->kernel)
        net_kernel_fds(walls->kernel, ret_fds + 1);
    pthread_mutex_unlock(&walls->lock);
}

void net_walls_fini(struct net_walls *walls)
{
    if (!walls->loop)
        return;
    net_host_fini(&walls->host);
    net_kernel_close(walls->kernel);
    free(walls->known.prefix);
    if (walls->shared)
        munmap(walls->shared, sizeof *walls->shared);
    close_fd(&walls->host_fd);
    for (unsigned i = 0; i < NET_WALLS_FDS; i++)
        close_fd(&walls->inherited[i]);
    close_fd(&walls->procs_fd);
    if (walls->group_fd >= 0)
        cgroup_v2_close(&walls->group_fd, walls->name);
    pthread_mutex_destroy(&walls->lock);
}

/* ---- The host's addresses ---- */

/* Sorted prefixes to ranges that don't touch; when there are too many, the last one is all the
 * rest. */
static uint32_t ranges_fill(const struct net_prefixes *prefixes, struct gate_range *ret_range)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < prefixes->count; i++) {
        const struct net_prefix *prefix = &prefixes->prefix[i];
        uint32_t last = prefix->network | (prefix->bits < 32 ? ~0u >> prefix->bits : 0);

        if (count > 0 && prefix->network <= ret_range[count - 1].last) {
            ret_range[count - 1].last = MAX_OF(ret_range[count - 1].last, last);
        } else if (count == GATE_HOST_RANGES_MAX) {
            ret_range[count - 1].last = UINT32_MAX;
            log_error("the host has more than %u addresses: VMs reach nothing from the last on",
                      GATE_HOST_RANGES_MAX);
            break;
        } else {
            ret_range[count++] = (struct gate_range){ prefix->network, last };
        }
    }
    return count;
}

static void share(struct gate_host *shared, const struct net_prefixes *prefixes)
{
    __atomic_store_n(&shared->turn, shared->turn + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    shared->count = ranges_fill(prefixes, shared->range);
    __atomic_store_n(&shared->turn, shared->turn + 1, __ATOMIC_RELEASE);
}

/* What is new comes before what is old goes: nothing is open in between. */
static int tell_kernel(const struct net_kernel *kernel, const struct net_prefixes *before,
                       const struct net_prefixes *now)
{
    int rc = 0;

    for (uint32_t i = 0; i < now->count; i++) {
        const struct net_prefix *prefix = &now->prefix[i];
        int put = net_kernel_put_host(kernel, prefix->network, prefix->bits);

        rc = rc < 0 ? rc : put;
    }
    for (uint32_t i = 0; i < before->count; i++) {
        const struct net_prefix *prefix = &before->prefix[i];

        if (!now->count ||
            !bsearch(prefix, now->prefix, now->count, sizeof now->prefix[0], net_prefix_compare))
            net_kernel_remove_host(kernel, prefix->network, prefix->bits);
    }
    return rc;
}

static int copy(const struct net_prefixes *from, struct net_prefixes *ret_to)
{
    struct net_prefixes to = { .prefix = calloc(MAX_OF(from->count, 1u), sizeof *from->prefix),
                               .count = from->count };

    if (!to.prefix)
        return -ENOMEM;
    if (from->count)
        memcpy(to.prefix, from->prefix, from->count * sizeof *from->prefix);
    *ret_to = to;
    return 0;
}

static void on_host_changed(struct net_host *host, const struct net_prefixes *before)
{
    struct net_walls *walls = (struct net_walls *)((char *)host - offsetof(struct net_walls, host));
    struct net_prefixes known;
    int rc = copy(&host->now, &known);

    (void)before;
    share(walls->shared, &host->now);
    if (rc == 0) {
        pthread_mutex_lock(&walls->lock);
        if (walls->kernel)
            rc = tell_kernel(walls->kernel, &walls->known, &known);
        free(walls->known.prefix);
        walls->known = known;
        pthread_mutex_unlock(&walls->lock);
    }
    if (rc < 0)
        log_error("VMs may reach some of the host's own addresses: the kernel was not told: %s",
                  strerror(-rc));
}

static int shared_make(struct net_walls *walls)
{
    walls->host_fd = take_fd(&walls->inherited[0]);
    if (walls->host_fd < 0)
        walls->host_fd = memfd_create("volt-host-addresses", MFD_CLOEXEC);
    if (walls->host_fd < 0 || ftruncate(walls->host_fd, sizeof *walls->shared) < 0)
        return -errno;
    void *shared =
        mmap(NULL, sizeof *walls->shared, PROT_READ | PROT_WRITE, MAP_SHARED, walls->host_fd, 0);
    if (shared == MAP_FAILED)
        return -errno;
    walls->shared = shared;
    return 0;
}

int net_walls_watch(struct net_walls *walls, struct err *err)
{
    int rc;

    if (walls->host.watch)
        return 0;
    rc = walls->shared ? 0 : shared_make(walls);
    if (rc < 0)
        return err_set_errno(err, -rc, "making a file that gates share");
    rc = net_host_start(&walls->host, walls->loop, on_host_changed, err);
    if (rc == 0)
        on_host_changed(&walls->host, NULL);
    return rc;
}

int net_walls_open_host(const struct net_walls *walls)
{
    return fd_reopen(walls->host_fd, O_RDONLY);
}

/* ---- Loading ---- */

static int kernel_load(struct net_walls *walls, struct err *err)
{
    static const struct net_prefixes none = { .count = 0 };
    const int *maps = walls->inherited[1] >= 0 ? walls->inherited + 1 : NULL;
    struct net_kernel *kernel;
    int rc = net_kernel_open(&kernel, maps, err);

    walls->reused = rc == 0 && maps;
    if (rc < 0 && maps) {
        log_warn("VMs of the poold before are held to the policies of their time: the maps of this "
                 "one are others");
        rc = net_kernel_open(&kernel, NULL, err);
    }
    if (rc < 0)
        return rc;
    rc = tell_kernel(kernel, &none, &walls->known);
    if (rc < 0) {
        net_kernel_close(kernel);
        return err_set_errno(err, -rc, "telling the kernel the host's own addresses");
    }
    walls->kernel = kernel;
    return 0;
}

static int group_make(struct net_walls *walls, struct err *err)
{
    int rc = cgroup_v2_open(walls->name, &walls->group_fd, &walls->procs_fd, err);

    if (rc == 0)
        rc = net_kernel_attach_cgroup(walls->kernel, walls->group_fd, err);
    if (rc == 0) {
        /* No packet was without a judge: those of the poold before end now. */
        for (unsigned i = 1 + NET_KERNEL_MAPS; i < NET_WALLS_FDS; i++)
            close_fd(&walls->inherited[i]);
        return 0;
    }
    close_fd(&walls->procs_fd);
    if (walls->group_fd >= 0)
        cgroup_v2_close(&walls->group_fd, walls->name);
    return rc;
}

int net_walls_load(struct net_walls *walls, bool passt, struct err *err)
{
    int rc = 0;

    if (passt && geteuid() != 0)
        return 0; /* what passt may do then is what this user may */
    pthread_mutex_lock(&walls->lock);
    if (!walls->kernel)
        rc = kernel_load(walls, err);
    if (rc == 0 && passt && walls->group_fd < 0)
        rc = group_make(walls, err);
    pthread_mutex_unlock(&walls->lock);
    return rc;
}

uint32_t net_walls_policy_number(struct net_walls *walls)
{
    pthread_mutex_lock(&walls->lock);
    uint32_t number = ++walls->next_policy;
    pthread_mutex_unlock(&walls->lock);
    return number;
}

uint32_t net_walls_link_index(struct net_walls *walls)
{
    return INDEX_LEAST + __atomic_add_fetch(&walls->next_index, 1, __ATOMIC_RELAXED) % INDEX_COUNT;
}

uint32_t net_walls_flow_key(struct net_walls *walls)
{
    return __atomic_add_fetch(&walls->next_key, 1, __ATOMIC_RELAXED);
}
