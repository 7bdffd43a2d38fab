/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: a domain that allows nothing. Raw system calls and
 * constants of the kernel's documentation (userspace-api/landlock), for whichever ABI is there.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "sandbox/sandbox_internal.h"

/* linux/landlock.h as of ABI 7; the build machine's may be older. */
struct ruleset_attr {
    uint64_t handled_access_fs;  /* ABI 1 */
    uint64_t handled_access_net; /* ABI 4 */
    uint64_t scoped;             /* ABI 6 */
};

#define RULESET_VERSION 1u /* LANDLOCK_CREATE_RULESET_VERSION */

/* What each ABI added; a right that is handled and not granted is denied. */
static const struct {
    uint32_t since_abi;
    uint64_t fs, net, scoped;
    uint32_t attr_bytes;
} rights[] = {
    { 1, 0x1fff, 0, 0, 8 },   /* EXECUTE to MAKE_SYM */
    { 2, 1 << 13, 0, 0, 8 },  /* REFER */
    { 3, 1 << 14, 0, 0, 8 },  /* TRUNCATE */
    { 4, 0, 0x3, 0, 16 },     /* TCP bind and connect */
    { 5, 1 << 15, 0, 0, 16 }, /* IOCTL_DEV: on devices opened from here on, not on KVM's fds */
    { 6, 0, 0, 0x3, 24 },     /* scopes: abstract Unix sockets, signals */
};

int sandbox_landlock_restrict(uint32_t *ret_abi, struct err *err)
{
    struct ruleset_attr attr = { 0 };
    _cleanup_close_ int ruleset = -1;
    size_t attr_bytes = 0;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);

    if (abi <= 0) { /* not in this kernel, or switched off at boot */
        *ret_abi = 0;
        return 0;
    }
    for (unsigned i = 0; i < ARRAY_LEN(rights) && rights[i].since_abi <= (uint64_t)abi; i++) {
        attr.handled_access_fs |= rights[i].fs;
        attr.handled_access_net |= rights[i].net;
        attr.scoped |= rights[i].scoped;
        attr_bytes = rights[i].attr_bytes;
    }
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, attr_bytes, 0);
    if (ruleset < 0)
        return err_set_errno(err, errno, "making a Landlock ruleset");
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return err_set_errno(err, errno, "enforcing Landlock");
    *ret_abi = (uint32_t)abi;
    return 0;
}
