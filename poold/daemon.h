/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: everything of one poold hangs off struct daemon. Loop thread only.
 *
 * Who owns what
 *   daemon         loop, pools, VM folders, HTTP server, the one deadline timer
 *   hosted_pool    a pool (pool.h) with its specification, its boot sequence and its template
 *   boot, template, clone   one volt-vmm process each, by its link (link.h)
 */
#ifndef VOLT_POOLD_DAEMON_H
#define VOLT_POOLD_DAEMON_H

#include <uv.h>

#include "base/random_stock.h"
#include "config.h"
#include "declare.h"
#include "host/stock.h"
#include "host/vm_dirs.h"
#include "host/vm_groups.h"
#include "http/access.h"
#include "net/pool_net.h"
#include "pool/metrics.h"
#include "pool/pool.h"
#include "service.h"
#include "snapshot/image/image_store.h"
#include "vms/pool_files.h"

#define CMDLINE_BYTES 1024
#define WARMUP_BYTES 1024

struct http;
struct boot;
struct template;

struct pool_spec {
    uint64_t memory_bytes;
    uint32_t vcpus;
    uint32_t cpu_weight, cpu_percent; /* of each VM's control group (cgroup.h); 0: not limited */
    char kernel[PATH_MAX], initrd[PATH_MAX];
    bool kernel_is_own, initrd_is_own; /* chosen by poold, not named by whoever made the pool */
    char cmdline[CMDLINE_BYTES];       /* added to volt-vmm's default */
    char warmup[WARMUP_BYTES];         /* "": none */
    /* Its disk: an image of the store, or a file or block device; "": none. */
    char image[IMAGE_NAME_BYTES], disk[PATH_MAX];
    bool disk_read_only;     /* of `disk`; an image's file system decides for itself */
    uint64_t disk_bandwidth; /* bytes a second for each VM; 0: no limit */
    uint32_t disk_iops;
    struct pool_net_spec net;
    bool balloon;
};

struct hosted_pool {
    struct pool pool; /* pool.owner is this */
    struct daemon *daemon;
    struct pool_spec spec;
    struct client_ids *maker; /* whose rights its files are opened with; NULL: poold's own */
    struct pool_files files;
    struct pool_net net;
    char created[32];
    struct boot *boot;         /* while booting and snapshotting */
    struct template *template; /* from loading on */
    struct backoff template_backoff;
    uint64_t template_restarts;
    uint64_t phase_began_ns;
    uint64_t cold_boot_ms, snapshot_ms; /* 0: not known */
    uint32_t works;                     /* on the thread pool */
    bool saving, save_again;            /* pools/NAME.json is being written; and is old already */
    bool deleting;                      /* freed once its last VM and process are gone */
    /* Told then, or why some of it is still there; may be NULL. */
    void (*deleted)(void *data, const struct err *err);
    void *deleted_data;
    struct err delete_err; /* the work's, read when it is done */
};

struct daemon {
    struct config config;
    int argc; /* what the configuration was read with, and is again */
    char *const *argv;
    struct declarations declared;
    uint32_t pool_makes; /* pool_make's, on their way */
    struct list reload_wishes;
    bool reloading, reload_failed; /* one is under way; the last one was refused */
    struct service service;
    struct access access;
    uv_loop_t loop;
    uv_timer_t deadline_timer;
    uint64_t deadline_ns; /* the timer's; UINT64_MAX: off */
    uv_idle_t pump;
    uv_signal_t signals[3];
    struct pool_env env;
    struct random_stock random;
    struct list pools; /* hosted_pool.pool.node */
    uint32_t pool_count;
    struct vm_dirs vm_dirs;
    struct vm_groups vm_groups;
    struct image_store images;
    struct stock deltas; /* what clones write to their disks */
    struct stock taps;
    struct net_walls walls;
    uint32_t image_works; /* on the thread pool, for imports */
    struct http *http;
    int pools_fd, snapshots_fd, consoles_fd, lock_fd, run_lock_fd;
    uint64_t started_ns;
    const char *kvm_kind;     /* "hardware", "pvm", "none" */
    bool stopping, signalled; /* the end has begun; a signal asked for it */
};

/* Starts everything. Takes the declarations; argv lives as long as the daemon. On failure
 * daemon_fini cleans up. */
int daemon_init(struct daemon *daemon, const struct config *config,
                struct declarations *declarations, int argc, char *const *argv, struct err *err);
/* Runs until the shutdown is complete. */
void daemon_run(struct daemon *daemon);
void daemon_fini(struct daemon *daemon);

/* No new leases, all VMs stopped, then the loop ends. */
void daemon_shutdown(struct daemon *daemon);
/* Settings that may change while it runs (settings.h) have: has them hold. */
void daemon_settings_changed(struct daemon *daemon);
/* Have pool_tick called at deadline_ns or earlier. */
void daemon_arm(struct daemon *daemon, uint64_t deadline_ns);
/* Have pools pumped, replies written and, when stopping, the end looked for, soon. */
void daemon_schedule(struct daemon *daemon);

struct hosted_pool *daemon_pool_find(struct daemon *daemon, const char *name);

#endif
