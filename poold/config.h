/* SPDX-License-Identifier: Apache-2.0 */
/* What poold is told: its options, where its directories are, its limits and timeouts. */
#ifndef VOLT_POOLD_CONFIG_H
#define VOLT_POOLD_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "log.h"

#define VMS_UID_BASE 900000u
#define VMS_UID_COUNT 65536u

struct config {
    char run_dir[PATH_MAX];   /* vms/ID/, the socket */
    char state_dir[PATH_MAX]; /* pools/NAME.json, snapshots/NAME/, the lock */
    char socket[PATH_MAX];
    char volt_vmm[PATH_MAX];
    /* What pools get for "auto". Hardware KVM: the stock kernel that guest-init/stock-kernel found,
     * with its own initramfs; software-only KVM, or no stock kernel: the project's. "": none. */
    char kernel[PATH_MAX];
    char initrd[PATH_MAX];
    char plain_initrd[PATH_MAX]; /* without modules: for a kernel that a pool names itself */
    char policy[PATH_MAX];       /* "": the built-in one */
    char group[64];              /* of the socket; "": unchanged */
    enum log_level log_level;
    uint32_t uid_base; /* of VMs, when root; 0: none of their own */
    uint64_t setup_timeout_ms, awake_timeout_ms, ready_timeout_ms, boot_timeout_ms;
    uint64_t surplus_ms;
    uint32_t leases_per_client, acquires_per_client, connections_per_client;
    bool skip_guest_work; /* clones are not made unique: for measuring only */
    bool show_help, show_version;
};

/* Reads environment and command line. 0; -EINVAL with a sentence. */
int config_parse(struct config *config, int argc, char **argv, struct err *err);
void config_print_help(void);

#endif
