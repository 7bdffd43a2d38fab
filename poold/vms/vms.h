/* SPDX-License-Identifier: Apache-2.0 */
/* All VMs of a poold: its pools, and what they are made with. Loop thread only.
 *
 * Who owns what
 *   vms            the pools, and the stocks of folders, taps, files and groups that VMs take from
 *   hosted_pool    a pool (pool.h) with its specification, its boot sequence and its template
 *   boot, template, clone   one volt-vmm process each, by its link (link.h)
 *
 * Which calls which: hosted.h starts boot and template, which tell it by hosted_ops what came of it;
 * the pool asks clones by vm_ops (pool.h), which tell it by pool_vm_*. Nothing here knows the API. */
#ifndef VOLT_POOLD_VMS_H
#define VOLT_POOLD_VMS_H

#include <uv.h>

#include "base/random_stock.h"
#include "base/turn.h"
#include "host/fd_budget.h"
#include "host/stock.h"
#include "host/vm_dirs.h"
#include "host/vm_groups.h"
#include "keep/keep.h"
#include "net/pool_net.h"
#include "pool/pool.h"
#include "vms/pool_files.h"
#include "vms/pool_spec.h"
#include "vms/vms_settings.h"
#include "vms/volumes.h"

struct boot;
struct template;
struct hosted_pool;

/* What the processes of a pool tell of it. */
struct hosted_ops {
    /* The boot VM writes its snapshot now. */
    void (*snapshotting)(struct hosted_pool *hosted);
    /* The boot is over, hosted->boot NULL again: one of the two, unless it was cancelled. */
    void (*snapshotted)(struct hosted_pool *hosted, uint64_t cold_boot_ms, uint64_t snapshot_ms);
    void (*boot_failed)(struct hosted_pool *hosted, const char *detail);
    void (*template_ready)(struct hosted_pool *hosted, bool has_working_set);
    /* A clone has got READY (trouble is NULL), or the pool can't make one: why. */
    void (*proved)(struct hosted_pool *hosted, const char *trouble);
    /* It was killed: its end follows. */
    void (*template_dying)(struct hosted_pool *hosted);
    /* hosted->template is NULL again. final: a new one would end the same way. */
    void (*template_ended)(struct hosted_pool *hosted, bool was_ready, bool final,
                           const char *detail);
};

struct vms {
    const struct vms_settings *settings; /* may change between turns */
    uv_loop_t *loop;
    struct turn *turn; /* whose pump calls vms_pump, and whose tick vms_tick */
    struct pool_env env;
    const struct hosted_ops *hosted_ops;
    const struct fd_budget *fds;
    struct list pools;   /* hosted_pool.pool.node */
    uint32_t pool_count; /* in pools */
    uint32_t pool_makes; /* pool_make's, on their way */
    struct random_stock random;
    struct vm_dirs vm_dirs;
    struct vm_groups vm_groups;
    bool ledger_full; /* there are more VMs than the next poold can take over, which was said */
    int clone_error;  /* why the last VM that was asked for can't be made, which was said; 0 */
    struct image_store images;
    struct volumes volumes;
    struct stock deltas; /* what clones write to their disks */
    struct stock taps;
    struct net_walls walls;
    int pools_fd, snapshots_fd, consoles_fd;
    struct keep keep;
    uint32_t blocks_kept, walls_kept; /* uids' blocks, roles of the walls, that the keeper has */
    bool groups_kept;
    struct takeover_connection *takeover_connections; /* while VMs are taken over */
    uint32_t takeover_connection_count;
    /* A VM has said what a client may wait for. */
    void (*told)(void *data);
    /* A lease that was given has ended; and its slot is about to be freed. */
    void (*lease_ended)(void *data, struct slot *slot);
    void (*lease_forgotten)(void *data, struct slot *slot);
    /* One of an earlier poold's ended before this one was there. */
    void (*lease_lost)(void *data, const struct ledger_vm *entry);
    /* A pool is in another state, or deleted. */
    void (*pool_changed)(void *data, const struct pool *pool, bool deleted);
    /* A client's connection that an earlier poold had (fd is taken), with leases that are bound to it;
     * NULL: it is over. */
    void *(*connection_adopt)(void *data, int fd);
    /* The keeper is a new one, and has nothing yet. */
    void (*keep_anew)(void *data);
    void *told_data;
};

/* hosted_replace.h */
enum hosted_role {
    HOSTED_CURRENT, /* the pool of that name */
    HOSTED_COMING,  /* is to take its place */
    HOSTED_GOING,   /* has been replaced */
};

struct hosted_pool {
    struct pool pool; /* pool.owner is this */
    struct vms *vms;
    enum hosted_role role;
    uint32_t generation;                  /* of those of its name */
    char id[POOL_NAME_BYTES];             /* of its file, snapshot and console */
    struct hosted_pool *coming;           /* of a CURRENT one; NULL: none */
    char replace_error[POOL_ERROR_BYTES]; /* why its last replacement failed; "": it did not */
    struct pool_spec spec;
    struct client_ids *maker; /* whose rights its files are opened with; NULL: poold's own */
    struct pool_files files;
    struct pool_net net;
    char *image_config; /* how its image's programs are started (JSON); NULL: nothing is said */
    char created[32];
    struct boot *boot;         /* while booting and snapshotting */
    struct template *template; /* from loading on */
    struct list retired;       /* templates of an earlier volt-vmm, until their last VM is gone */
    struct backoff template_backoff;
    uint64_t template_restarts;
    bool was_ready; /* once, since poold started */
    uint64_t phase_began_ns;
    uint64_t cold_boot_ms, snapshot_ms; /* 0: not known */
    uint32_t works;                     /* on the thread pool */
    struct list changes;                /* of hosted_change, in order */
    bool saving;                        /* the first of them is being written */
    bool booted, saved;                 /* its snapshot is there; and its file says so */
    bool boot_wanted;                   /* as soon as it is its turn */
    bool broken;                        /* its file can't be read: it can only be deleted */
    bool deleting;                      /* freed once its last VM and process are gone */
    /* Told then, or why some of it is still there; may be NULL. */
    void (*deleted)(void *data, const struct err *err);
    void *deleted_data;
    struct err delete_err; /* the work's, read when it is done */
};

/* The file in consoles_fd with what the VM that booted last of a hosted_pool.id has printed. Returns
 * ret. */
#define HOSTED_CONSOLE_BYTES 80
const char *hosted_console_name(const char *id, char ret[HOSTED_CONSOLE_BYTES]);

/* Whether a VM could be asked for, 0 or -errno: why none can be is said once, until one could. */
void vms_clone_told(struct vms *vms, const struct pool *pool, int rc);

/* Sets what there is room for: after a change of the settings or of the number of pools. */
void vms_room_set(struct vms *vms);

/* A name that is no longer leaves room for any generation. */
#define HOSTED_REPLACEABLE_MAX 52u

/* Whether it is the pool of its name, and what clients know. */
bool hosted_is_current(const struct pool *pool);
/* The pool of that name, NULL for none. */
struct hosted_pool *hosted_find(const struct vms *vms, const char *name);

#endif
