/* SPDX-License-Identifier: Apache-2.0 */
/* What poold's configuration says of VMs (settings.c). */
#ifndef VOLT_POOLD_VMS_SETTINGS_H
#define VOLT_POOLD_VMS_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct vms_settings {
    char volt_vmm[PATH_MAX];
    /* What pools get for "auto". Hardware KVM: the stock kernel that guest-init/stock-kernel found,
     * with its own initramfs; software-only KVM, or no stock kernel: the project's. "": none. */
    char kernel[PATH_MAX];
    char initrd[PATH_MAX];
    char plain_initrd[PATH_MAX]; /* without modules: for a kernel that a pool names itself */
    uint64_t boot_timeout_ms;
    const char
        *keeper;      /* the program with the command `keeper` (keep/keeper.h); NULL: there is none,
                             and VMs end with this poold */
    uint64_t keep_ms; /* how long the keeper waits for another poold */
    bool stop_only;   /* VMs of an earlier poold are ended, and nothing is started */
    /* Of all pools together; 0: no limit but descriptors; no limit. */
    uint32_t vms_max;
    uint64_t memory_max_mib;
    uint32_t boots_max;   /* cold boots at a time */
    bool skip_guest_work; /* clones are not made unique: for measuring only */
};

#endif
