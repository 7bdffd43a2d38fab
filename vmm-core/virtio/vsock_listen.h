/* SPDX-License-Identifier: Apache-2.0 */
/* The Unix socket through which the host connects to a VM's vsock ports. It is made by whoever
 * starts the VM, ahead of need: the VM only accepts on it. */
#ifndef VOLT_VIRTIO_VSOCK_LISTEN_H
#define VOLT_VIRTIO_VSOCK_LISTEN_H

#include "base/err.h"

#define VSOCK_LISTEN_NAME "vsock"

/* Binds "vsock" (mode 0600, whatever the umask) in dir_fd (borrowed, O_PATH will do), where there
 * is none yet, and listens. *ret_listen_fd, non-blocking and close-on-exec, is the caller's. Needs
 * /proc. Any thread. 0 or -errno with a sentence. */
int vsock_listen(int dir_fd, int *ret_listen_fd, struct err *err);

#endif
