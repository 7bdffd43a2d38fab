/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the process of a VM that is restored without a daemon: template and clone in one. */
#include <string.h>

#include "base/util.h"
#include "volt-vmm/clone_vm.h"
#include "volt-vmm/program.h"

int program_restore(struct options *options, struct err *err)
{
    static struct clone_source source;
    uint64_t start_ns = now_ns();
    struct control_msg msg = { .type = CONTROL_CLONE };
    struct control_clone_fds fds = CONTROL_CLONE_FDS_NONE;

    msg.u.clone.uid = msg.u.clone.gid = SANDBOX_KEEP_ID;
    memcpy(msg.u.clone.mac, options->net.network.mac, sizeof msg.u.clone.mac);
    fds.control = options->control_fd;
    fds.bell = options->bell_fd;
    fds.disk = options->disk_delta_fd;
    fds.tap = options->net.fd;
    fds.vhost = options->net.vhost_fd;
    clone_source_init(&source, options);
    return clone_vm_restore(&source, options, &msg, &fds, start_ns, err);
}
