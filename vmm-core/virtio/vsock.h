/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock (virtio 1.2 section 5.10), stream sockets between the guest and Unix sockets of the
 * host, by the conventions that Firecracker's users know:
 *
 *   host to guest   connect to the Unix socket "vsock", send "CONNECT <port>\n", read
 *                   "OK <host port>\n", then the stream; or hand over a connected stream with
 *                   vsock_connect_fd. A refused connection is closed.
 *   guest to host   a connection to CID 2, port P is dialed to the Unix socket "vsock_P".
 *
 * Both names are in the VM's vsock directory, which is held by fd: in the sandbox it is the root.
 */
#ifndef VOLT_VIRTIO_VSOCK_H
#define VOLT_VIRTIO_VSOCK_H

#include <stdint.h>

#include "devices/device.h"

#define VSOCK_HOST_CID 2u
#define VSOCK_GUEST_CID_DEFAULT 3u
#define VSOCK_CONNECTIONS_MAX 1024u

struct vsock;

struct vsock_config {
    uint32_t guest_cid; /* at least 3 */
    int dir_fd;         /* vsock directory, O_PATH will do; -1: guest connections are refused */
    int listen_fd;      /* from vsock_listen (vsock_listen.h); -1: no CONNECT socket */
};

struct vsock_stats {
    uint64_t connections; /* open now */
    uint64_t refused;     /* over the limit, nobody there, or malformed packets */
};

/* Makes the device in virtio-mmio slot `slot` (virtio_layout.h). The config's fds are transferred,
 * also on failure. Before vm_run. 0 or -errno with a sentence. */
int vsock_create(struct vm *vm, unsigned slot, const struct vsock_config *config,
                 struct vsock **ret_vsock, struct err *err);

/* The device for the machine's array; its ops->destroy frees the vsock. */
struct device *vsock_device(struct vsock *vsock);

/* Connects client_fd, a connected stream socket (transferred, also on failure),
 * to guest_port: "OK <host port>\n" is written to it when the guest accepts, and it is closed when
 * the guest refuses. Device thread. 0, or -errno: -EMFILE at VSOCK_CONNECTIONS_MAX, -ENOTCONN while
 * the guest's driver is not up. */
int vsock_connect_fd(struct vsock *vsock, uint32_t guest_port, int client_fd);

/* Any thread. */
void vsock_query_stats(struct vsock *vsock, struct vsock_stats *ret_stats);

#endif
