/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the claimed uids of VMs; see vm_uids.h. */
#include "host/vm_uids.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define FREE_MIN (VM_UIDS_BLOCK / 4) /* fewer: another block is claimed */
#define HOLDERS_MAX 255u

static uint32_t free_count(const struct vm_uids *uids)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < uids->block_count; i++)
        count += VM_UIDS_BLOCK - uids->blocks[i]->used;
    return count;
}

/* Takes their fds, as far as it comes. */
static int locks_add(struct vm_uids *uids, const struct vm_uid_lock *locks, struct err *err)
{
    for (uint32_t i = 0; i < uids->inherited; i++) {
        struct vm_uid_block *block = calloc(1, sizeof *block);

        if (!block)
            return err_set(err, ENOMEM, "out of memory");
        block->first = locks[i].first;
        block->lock_fd = locks[i].fd;
        vm_uids_add(uids, block);
    }
    return 0;
}

int vm_uids_init(struct vm_uids *uids, const struct vm_uids_host *host, uint32_t base,
                 uint32_t count, const struct vm_uid_lock *locks, uint32_t lock_count,
                 struct err *err)
{
    struct vm_uid_block *block;
    int rc;

    *uids = (struct vm_uids){ .host = *host, .count = count, .inherited = lock_count };
    if ((base == 0 || geteuid() != 0) && lock_count == 0)
        return 0;
    if (count == 0 || count % VM_UIDS_BLOCK || base > UINT32_MAX - 1 - count)
        return err_set(err, EINVAL,
                       "--uid-count %u: expected a multiple of %u, and no uid beyond %u", count,
                       VM_UIDS_BLOCK, UINT32_MAX - 2);
    uids->blocks = calloc(count / VM_UIDS_BLOCK + lock_count, sizeof(struct vm_uid_block *));
    if (!uids->blocks)
        return err_set(err, ENOMEM, "out of memory");
    if (lock_count > 0) {
        uids->base = base;
        return locks_add(uids, locks, err);
    }
    rc = vm_uids_claim(host, base, count, &block, err);
    if (rc < 0)
        return rc;
    uids->base = base;
    vm_uids_add(uids, block);
    return 0;
}

void vm_uids_fini(struct vm_uids *uids)
{
    for (uint32_t i = 0; i < uids->block_count; i++) {
        close_fd(&uids->blocks[i]->lock_fd);
        free(uids->blocks[i]);
    }
    free(uids->blocks);
    *uids = (struct vm_uids){ 0 };
}

bool vm_uids_low(const struct vm_uids *uids)
{
    return uids->base && uids->block_count < uids->count / VM_UIDS_BLOCK &&
           free_count(uids) < FREE_MIN;
}

void vm_uids_add(struct vm_uids *uids, struct vm_uid_block *block)
{
    assert(uids->block_count < uids->count / VM_UIDS_BLOCK + uids->inherited);
    uids->blocks[uids->block_count++] = block;
}

int vm_uids_take(struct vm_uids *uids, uint32_t *ret_uid)
{
    const uint32_t claimed = uids->block_count * VM_UIDS_BLOCK;

    *ret_uid = VM_UIDS_NONE;
    if (!uids->base)
        return 0;
    for (uint32_t i = 0; i < claimed; i++) {
        const uint32_t n = (uids->next + i) % claimed;
        struct vm_uid_block *block = uids->blocks[n / VM_UIDS_BLOCK];

        if (block->holders[n % VM_UIDS_BLOCK])
            continue;
        block->holders[n % VM_UIDS_BLOCK] = 1;
        block->used++;
        uids->next = n + 1;
        *ret_uid = block->first + n % VM_UIDS_BLOCK;
        return 0;
    }
    return -EUSERS;
}

bool vm_uids_retake(struct vm_uids *uids, uint32_t uid)
{
    for (uint32_t i = 0; i < uids->block_count; i++) {
        struct vm_uid_block *block = uids->blocks[i];

        if (uid - block->first >= VM_UIDS_BLOCK)
            continue;
        if (block->holders[uid - block->first])
            return false;
        block->holders[uid - block->first] = 1;
        block->used++;
        return true;
    }
    return uid == VM_UIDS_NONE;
}

/* The block of a uid that is held; NULL for VM_UIDS_NONE. */
static struct vm_uid_block *block_of(const struct vm_uids *uids, uint32_t uid)
{
    for (uint32_t i = 0; i < uids->block_count; i++) {
        struct vm_uid_block *block = uids->blocks[i];

        if (uid - block->first < VM_UIDS_BLOCK) {
            assert(block->holders[uid - block->first]);
            return block;
        }
    }
    assert(uid == VM_UIDS_NONE);
    return NULL;
}

void vm_uids_hold(struct vm_uids *uids, uint32_t uid)
{
    struct vm_uid_block *block = block_of(uids, uid);

    if (!block)
        return;
    assert(block->holders[uid - block->first] < HOLDERS_MAX);
    block->holders[uid - block->first]++;
}

void vm_uids_drop(struct vm_uids *uids, uint32_t uid)
{
    struct vm_uid_block *block = block_of(uids, uid);

    if (block && --block->holders[uid - block->first] == 0)
        block->used--;
}
