/* SPDX-License-Identifier: Apache-2.0 */
/* The uids (and gids of the same numbers) that VMs and their helpers run as, where poold is root.
 *
 * How it works
 *   The range of --uid-base and --uid-count is cut into blocks. A poold claims one by a lock (flock)
 *   on a file in --uid-locks, named after the block's first uid, and keeps the file open: two poolds
 *   of one host never have a uid in common, whatever else they share, and the kernel gives up the
 *   lock of one that is killed. More blocks are claimed ahead of need, on the thread pool.
 *   What is locked is not claimed yet: a block is left alone if a process runs with one of its uids
 *   or gids (what a killed poold has left may take a moment to end), if /etc/passwd, group, subuid or
 *   subgid give one to somebody, or if this user namespace does not map all of it.
 *
 * Poolds that see different folders at --uid-locks (containers, each with its own /run) but share a
 * user namespace don't see each other's locks: give each a range of its own, or one folder to all.
 *
 * Loop thread, but vm_uids_claim. */
#ifndef VOLT_POOLD_VM_UIDS_H
#define VOLT_POOLD_VM_UIDS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define VM_UIDS_BLOCK 1024u
#define VM_UIDS_NONE UINT32_MAX /* poold's own: VMs have none of theirs */

/* Where it looks; tests have folders of their own. */
struct vm_uids_host {
    char locks[PATH_MAX];
    const char *etc, *proc;
};

struct vm_uid_block {
    uint32_t first;
    int lock_fd;
    uint32_t used;
    uint8_t holders[VM_UIDS_BLOCK]; /* of each uid: the VM, and helpers that outlive it */
};

struct vm_uids {
    struct vm_uids_host host;
    uint32_t base, count;         /* base 0: VMs have no uids of their own */
    struct vm_uid_block **blocks; /* room for all of the range, and for what was inherited */
    uint32_t block_count, inherited;
    uint32_t next; /* where to look first, counted through all blocks: reuse comes late */
};

/* A block that the poold before had claimed, by its lock. */
struct vm_uid_lock {
    uint32_t first;
    int fd;
};

/* Claims the first block, if no locks (taken) are inherited. count is a multiple of VM_UIDS_BLOCK; base 0, or not root: none, and
 * vm_uids_take gives VM_UIDS_NONE. 0 or -errno with a sentence; vm_uids_fini is fine either way. */
int vm_uids_init(struct vm_uids *uids, const struct vm_uids_host *host, uint32_t base,
                 uint32_t count, const struct vm_uid_lock *locks, uint32_t lock_count,
                 struct err *err);
void vm_uids_fini(struct vm_uids *uids);

/* A uid that nobody has, held once; 0, or -EUSERS when no claimed one is left. */
int vm_uids_take(struct vm_uids *uids, uint32_t *ret_uid);
/* The uid of a VM that was taken over. False: it is in no block, or is held already. */
bool vm_uids_retake(struct vm_uids *uids, uint32_t uid);
/* One more process that runs with it, and one less: with the last it may be taken again.
 * VM_UIDS_NONE is fine. */
void vm_uids_hold(struct vm_uids *uids, uint32_t uid);
void vm_uids_drop(struct vm_uids *uids, uint32_t uid);

/* Whether it is time to claim another block. */
bool vm_uids_low(const struct vm_uids *uids);
/* Claims one; *ret_block is the caller's. Any thread, with a copy of host, base and count; takes
 * milliseconds, as it looks at all processes. 0, or -EUSERS with a sentence that says why. */
int vm_uids_claim(const struct vm_uids_host *host, uint32_t base, uint32_t count,
                  struct vm_uid_block **ret_block, struct err *err);
void vm_uids_add(struct vm_uids *uids, struct vm_uid_block *block);

#endif
