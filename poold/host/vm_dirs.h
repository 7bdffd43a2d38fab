/* SPDX-License-Identifier: Apache-2.0 */
/* The folders RUN_DIR/vms/ID, one for each VM, with its listening vsock socket, and the ids and
 * uids that go with them. They are made ahead of need and removed afterwards on the thread pool, so
 * that no acquire waits for them. Loop thread only. */
#ifndef VOLT_POOLD_VM_DIRS_H
#define VOLT_POOLD_VM_DIRS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "host/vm_uids.h"
#include "pool/slot.h"

/* Enough for a burst of 100 VMs; two fds each. */
#define VM_DIRS_STOCK 160u
#define VM_DIRS_BATCH 32u /* at least so many are made in one go, or half of a smaller stock */

struct vm_dir {
    char id[SLOT_ID_BYTES]; /* random; its hostname and lease id too */
    uint32_t uid;           /* uid and gid of the VM, VM_UIDS_NONE: poold's own */
    int fd;                 /* O_PATH; -1 once it was handed to the VM, as is the next */
    int listen_fd;          /* of the socket `vsock` in it */
};

struct vm_groups;

struct vm_dirs {
    uv_loop_t *loop;
    int base_fd;                    /* RUN_DIR/vms */
    const struct vm_groups *groups; /* whose group of the same id goes with a folder; NULL: none */
    struct vm_uids uids;
    struct vm_uid_lock *locks; /* inherited: the caller sets them, malloc'ed, before vm_dirs_init */
    uint32_t lock_count;
    /* Not before, as it failed the last time: more uids; more folders; removal. */
    uint64_t claim_after_ns, refill_after_ns, drop_after_ns;
    struct vm_dir stock[VM_DIRS_STOCK];
    uint32_t stock_count, stock_max; /* the latter by the caller, who knows of descriptors */
    struct list garbage;             /* folders to remove */
    bool busy;                       /* a work is out */
    bool pressed;                    /* acquires wait for VMs: what can wait does */
    bool closing;
    /* Whether a folder that is there at the start is of a VM that is taken over. */
    bool (*keeps)(void *data, const char *id);
    void *keeps_data;
    void (*changed)(void *data); /* a work is done: called on the loop */
    void *changed_data;
};

/* Opens (makes) run_dir/vms and claims uids, uid_count of them from uid_base on, by locks in
 * uid_locks (vm_uids.h); has the folders removed that an earlier poold has left. The caller sets
 * `changed`, `keeps` and `stock_max` before. The first pump is the caller's: by then the uids of VMs that are taken
 * over must be held. */
struct vm_dirs_config {
    const char *run_dir, *uid_locks;
    uint32_t uid_base, uid_count;
};
int vm_dirs_init(struct vm_dirs *dirs, uv_loop_t *loop, const struct vm_dirs_config *config,
                 struct err *err);
/* 0 and a folder of the caller's, or -errno. Makes one on the spot only when the stock is empty. */
int vm_dirs_take(struct vm_dirs *dirs, struct vm_dir *ret_dir);
/* Has the folder removed, with what is in it. Its VM is gone. */
void vm_dirs_give_back(struct vm_dirs *dirs, struct vm_dir *dir);
/* Starts what is to be done: refill and removal. When to call it again for what failed; UINT64_MAX: when
 * `changed` is called, or something else happens. */
uint64_t vm_dirs_pump(struct vm_dirs *dirs);
/* No more refills; true when nothing is left to remove. */
bool vm_dirs_finish(struct vm_dirs *dirs);
void vm_dirs_fini(struct vm_dirs *dirs);

#endif
