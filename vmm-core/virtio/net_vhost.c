/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the vhost-net back end of virtio-net: the host's kernel moves the frames between a tap and
 * the guest's rings, on a thread of its own. What is left to do here is to tell it where the rings
 * are when they start, and to ask how far it got when they stop: so nothing of it is in a device's
 * saved state. The ioctls are those of linux/vhost.h. */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "memory/guest_mem.h"
#include "virtio/net_backend.h"
#include "virtio/virtq.h"

#define QUEUES 2u
/* What it has to know of the driver's choice; the offloads are the tap's matter. */
#define RING_FEATURES                                                                              \
    (VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_EVENT_IDX | 1ull << VIRTIO_NET_F_MRG_RXBUF)

struct net_vhost {
    struct net_backend backend; /* first; its fd is what both queues signal */
    struct net_backend *tap;
    int vhost_fd;
};

static int vhost_attach(struct net_backend *backend, const struct guest_mem *mem,
                        const int kick_fds[2], struct err *err)
{
    const struct net_vhost *vhost = (struct net_vhost *)backend;
    union {
        struct vhost_memory table;
        uint8_t bytes[sizeof(struct vhost_memory) +
                      ARRAY_LEN(mem->region) * sizeof(struct vhost_memory_region)];
    } memory = { .table.nregions = mem->region_count };

    for (unsigned i = 0; i < mem->region_count; i++) {
        const struct guest_region *region = &mem->region[i];

        memory.table.regions[i] = (struct vhost_memory_region){
            .guest_phys_addr = region->gpa,
            .memory_size = region->bytes,
            .userspace_addr = (uintptr_t)(mem->hva + region->file_offset),
        };
    }
    bool failed = ioctl(vhost->vhost_fd, VHOST_SET_OWNER) < 0 ||
                  ioctl(vhost->vhost_fd, VHOST_SET_MEM_TABLE, &memory) < 0;
    for (unsigned i = 0; i < QUEUES && !failed; i++) {
        struct vhost_vring_file kick = { .index = i, .fd = kick_fds[i] };
        struct vhost_vring_file call = { .index = i, .fd = backend->fd };

        failed = ioctl(vhost->vhost_fd, VHOST_SET_VRING_KICK, &kick) < 0 ||
                 ioctl(vhost->vhost_fd, VHOST_SET_VRING_CALL, &call) < 0;
    }
    return failed ? err_set_errno(err, errno, "vhost-net: setting it up for this VM") : 0;
}

static int start_queue(const struct net_vhost *vhost, unsigned i, const struct virtq *vq)
{
    struct vhost_vring_state num = { .index = i, .num = vq->num };
    struct vhost_vring_state base = { .index = i, .num = vq->next_avail };
    struct vhost_vring_addr at = { .index = i,
                                   .desc_user_addr = (uintptr_t)vq->desc,
                                   .avail_user_addr = (uintptr_t)vq->avail,
                                   .used_user_addr = (uintptr_t)vq->used };
    struct vhost_vring_file tap = { .index = i, .fd = vhost->tap->fd };

    return ioctl(vhost->vhost_fd, VHOST_SET_VRING_NUM, &num) < 0 ||
                   ioctl(vhost->vhost_fd, VHOST_SET_VRING_BASE, &base) < 0 ||
                   ioctl(vhost->vhost_fd, VHOST_SET_VRING_ADDR, &at) < 0 ||
                   ioctl(vhost->vhost_fd, VHOST_NET_SET_BACKEND, &tap) < 0
               ? -errno
               : 0;
}

static int vhost_start(struct net_backend *backend, const struct virtq *queues,
                       uint64_t driver_features)
{
    const struct net_vhost *vhost = (struct net_vhost *)backend;
    uint64_t features = driver_features & RING_FEATURES;
    int rc = ioctl(vhost->vhost_fd, VHOST_SET_FEATURES, &features) < 0 ? -errno : 0;

    for (unsigned i = 0; i < QUEUES && rc == 0; i++)
        rc = queues[i].ready ? start_queue(vhost, i, &queues[i]) : 0;
    return rc;
}

static void vhost_stop(struct net_backend *backend)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        struct vhost_vring_file none = { .index = i, .fd = -1 };

        ioctl(((struct net_vhost *)backend)->vhost_fd, VHOST_NET_SET_BACKEND, &none);
    }
}

static int vhost_next_avail(struct net_backend *backend, unsigned queue, uint16_t *ret_next_avail)
{
    struct vhost_vring_state base = { .index = queue };

    if (ioctl(((struct net_vhost *)backend)->vhost_fd, VHOST_GET_VRING_BASE, &base) < 0)
        return -errno;
    *ret_next_avail = (uint16_t)base.num;
    return 0;
}

static int vhost_set_offloads(struct net_backend *backend, uint32_t offloads)
{
    struct net_backend *tap = ((struct net_vhost *)backend)->tap;

    return tap->ops->set_offloads(tap, offloads);
}

static void vhost_destroy(struct net_backend *backend)
{
    struct net_vhost *vhost = (struct net_vhost *)backend;

    close_fd(&vhost->vhost_fd); /* ends its thread, which uses the tap */
    close_fd(&backend->fd);
    if (vhost->tap)
        vhost->tap->ops->destroy(vhost->tap);
    free(vhost);
}

static const struct net_ring_ops vhost_rings = {
    .attach = vhost_attach,
    .start = vhost_start,
    .stop = vhost_stop,
    .next_avail = vhost_next_avail,
};

static const struct net_backend_ops vhost_ops = {
    .name = "vhost",
    .rings = &vhost_rings,
    .offloads = NET_OFFLOAD_ALL,
    .set_offloads = vhost_set_offloads,
    .destroy = vhost_destroy,
};

int net_vhost_open(int tap_fd, int vhost_fd, struct net_backend **ret_backend, struct err *err)
{
    struct net_vhost *vhost = calloc(1, sizeof(*vhost));
    uint64_t features;
    int rc;

    if (!vhost) {
        close_fd(&tap_fd);
        close_fd(&vhost_fd);
        return err_set(err, ENOMEM, "no memory for vhost-net");
    }
    vhost->vhost_fd = vhost_fd;
    vhost->backend =
        (struct net_backend){ .ops = &vhost_ops, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    rc = net_tap_open(tap_fd, &vhost->tap, err);
    if (rc == 0 && vhost->backend.fd < 0)
        rc = err_set_errno(err, errno, "making an eventfd for vhost-net");
    if (rc == 0 && ioctl(vhost_fd, VHOST_GET_FEATURES, &features) < 0)
        rc = err_set_errno(err, errno, "vhost-net: this is no /dev/vhost-net");
    if (rc == 0 && (features & RING_FEATURES) != RING_FEATURES)
        rc = err_set(err, ENOTSUP, "vhost-net: the host's lacks features of 0x%llx",
                     (unsigned long long)(RING_FEATURES & ~features));
    if (rc < 0)
        vhost_destroy(&vhost->backend);
    else
        *ret_backend = &vhost->backend;
    return rc;
}
