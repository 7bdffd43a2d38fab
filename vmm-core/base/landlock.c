/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of Landlock domains; see landlock.h. */
#include "base/landlock.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

struct ruleset_attr {
    uint64_t handled_access_fs;  /* ABI 1 */
    uint64_t handled_access_net; /* ABI 4 */
    uint64_t scoped;             /* ABI 6 */
};

struct path_beneath_attr {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

#define RULESET_VERSION 1u   /* LANDLOCK_CREATE_RULESET_VERSION */
#define RULE_PATH_BENEATH 1u /* LANDLOCK_RULE_PATH_BENEATH */

/* What each ABI added; a right that is handled and not granted is denied. */
static const struct {
    uint32_t since_abi;
    uint64_t fs, net, scoped;
    uint32_t attr_bytes;
} rights[] = {
    { 1, 0x1fff, 0, 0, 8 }, /* EXECUTE to MAKE_SYM */
    { 2, LANDLOCK_FS_REFER, 0, 0, 8 },
    { 3, LANDLOCK_FS_TRUNCATE, 0, 0, 8 },
    { 4, 0, 0x3, 0, 16 },     /* TCP bind and connect */
    { 5, 1 << 15, 0, 0, 16 }, /* IOCTL_DEV: on devices opened from here on, not on KVM's fds */
    { 6, 0, 0, 0x3, 24 },     /* scopes: abstract Unix sockets, signals */
};

uint32_t landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);

    return abi > 0 ? (uint32_t)abi : 0;
}

static int rules_add(int ruleset, const struct landlock_rule *rules, size_t rule_count,
                     uint64_t handled, struct err *err)
{
    for (size_t i = 0; i < rule_count; i++) {
        struct path_beneath_attr attr = { rules[i].rights & handled, rules[i].fd };

        if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &attr, 0) < 0)
            return err_set_errno(err, errno, "adding a Landlock rule");
    }
    return 0;
}

int landlock_restrict(const struct landlock_rule *rules, size_t rule_count, uint32_t *ret_abi,
                      struct err *err)
{
    struct ruleset_attr attr = { 0 };
    _cleanup_close_ int ruleset = -1;
    size_t attr_bytes = 0;
    uint32_t abi = landlock_abi();

    *ret_abi = 0;
    if (abi == 0)
        return 0;
    for (unsigned i = 0; i < ARRAY_LEN(rights) && rights[i].since_abi <= abi; i++) {
        attr.handled_access_fs |= rights[i].fs;
        attr.handled_access_net |= rights[i].net;
        attr.scoped |= rights[i].scoped;
        attr_bytes = rights[i].attr_bytes;
    }
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, attr_bytes, 0);
    if (ruleset < 0)
        return err_set_errno(err, errno, "making a Landlock ruleset");
    int r = rules_add(ruleset, rules, rule_count, attr.handled_access_fs, err);
    if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        r = err_set_errno(err, errno, "enforcing Landlock");
    if (r == 0)
        *ret_abi = abi;
    return r;
}
