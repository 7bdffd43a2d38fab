/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes: disks that a lease is given beside its VM's own, each lease others. Loop thread only.
 *
 * How it works
 *   A pool's VMs have slots for volumes (pool_spec.volumes): block devices that are empty in the
 *   snapshot. Nothing of a volume is in a VM before it is leased, so an acquire costs what it did, and no
 *   guest has pages of one in its cache that are old. When a lease is given one
 *   (volume_attach), its VM's process gets the files (CONTROL_VOLUME) and the guest's agent mounts it
 *   (AGENT_MOUNT).
 *
 *     mode  the VM gets                                   at the lease's end
 *     ro    the contents, which it may not write          nothing
 *     copy  the contents, and a file without a name       what it wrote is gone
 *           for what it writes
 *     rw    a copy of the contents, as the only one       after volumes_release: the copy takes the
 *                                                         contents' place; else it is gone
 *
 *   So contents that a volume has are never written: any number of leases read them while one writes
 *   the next, and a VM that ends in the middle leaves the volume as it was.
 *
 * The end of a lease that writes (volumes_release)
 *   the guest unmounts (AGENT_UNMOUNT) -> the copy is synced, and the lease's file says `saved` ->
 *   the lease ends -> its process is gone, so nobody can write the copy any more -> the volume's record
 *   names the copy, in one rename (volume_files.h).
 *   A lease that ends in any other way (TTL, kill, a lost client) is not asked.
 *
 * The next poold finds in leases/LEASE.json what each lease has, and goes on. */
#ifndef VOLT_POOLD_VOLUMES_H
#define VOLT_POOLD_VOLUMES_H

#include <uv.h>

#include "base/list.h"
#include "control/control.h"
#include "guest_abi.h"
#include "pool/slot.h"
#include "vms/volume_files.h"

struct vms;
struct agent_stream;

struct volumes {
    struct volume_dirs dirs;
    uv_loop_t *loop;
    struct list list;        /* volume.node */
    struct list attachments; /* attachment.node, in the order in which they came */
    struct list releases;    /* volumes_release's that are under way */
    uint32_t works;          /* on the thread pool */
    /* A file could not be read: what it names is not known, so all contents stay. */
    bool unread;
    /* That was a lease's: it may have saved for any volume, so none is written. */
    bool lease_unread;
};

struct volume {
    struct list node;
    char id[STATE_NAME_BYTES]; /* NAME~UID */
    struct volume_record record;
    uint32_t users; /* attachments */
    bool written;   /* one of them writes it */
    bool making;    /* its contents are on their way: it has no record yet */
    bool deleting;
    uint64_t used_ns; /* when a lease had it last, since poold's start */
};

struct attachment {
    struct list node;
    struct vms *vms;
    struct volume *volume;
    char lease[SLOT_ID_BYTES];
    uint32_t slot;
    enum control_volume_mode mode;
    char path[AGENT_MOUNT_PATH_BYTES];
    char data[VOLUME_DATA_BYTES]; /* the volume's contents, as they were when it was asked for */
    char work[VOLUME_DATA_BYTES]; /* rw: the copy; "" */
    bool mounted, saved;
    /* While it is attached. */
    bool working; /* a work opens its files */
    bool over;    /* the lease ended meanwhile */
    int fds[2];
    char *lease_text;   /* of the lease's file */
    char *lease_before; /* and without this; NULL: there was none */
    struct err err;
    struct agent_stream *stream;
    void (*done)(void *data, const struct attachment *attachment, const struct err *err);
    void *done_data;
};

void volumes_init(struct volumes *volumes, uv_loop_t *loop);
/* Reads what is there; dir_fd is transferred, also on failure. Blocks. 0 or -errno. */
int volumes_open(struct volumes *volumes, int dir_fd, struct err *err);
/* The leases of an earlier poold are there: those that have volumes go on with them, and what nobody
 * has any more is removed. Blocks. */
void volumes_adopt(struct vms *vms);
void volumes_fini(struct volumes *volumes);
/* Whether nothing is under way. */
bool volumes_idle(const struct volumes *volumes);

/* ---- The volumes ---- */

/* NULL: there is none. */
struct volume *volume_find(const struct volumes *volumes, const char *id);
/* What a user's volumes come to; how many there are. */
uint64_t volumes_bytes_of(const struct volumes *volumes, uint32_t owner, uint32_t *ret_count);
/* One that is about to be made (`making`): record has owner, bytes and folder, and gets a name of its
 * contents and its time. Of a user's folders that no lease has, the oldest are deleted for it, but for
 * a few. NULL without memory. */
struct volume *volume_reserve(struct volumes *volumes, const char *id,
                              struct volume_record *record);
/* It won't be made. */
void volume_forget(struct volume *volume);
/* Deletes one that nobody has and that is not being made. */
typedef void volume_deleted_fn(void *data, const struct err *err);
void volume_delete(struct volumes *volumes, struct volume *volume, volume_deleted_fn *done,
                   void *data);

/* ---- Leases ---- */

const char *volume_mode_name(enum control_volume_mode mode);
/* False: it is none of "ro", "copy" and "rw". */
bool volume_mode_parse(const char *name, enum control_volume_mode *ret_mode);
/* Whether a guest may mount a volume there: absolute, no ".." and no empty component, none of the
 * folders that the guest cannot do without, and nothing in the kernel's. */
bool volume_path_valid(const char *path);

struct volume_request {
    struct volume *volume;
    enum control_volume_mode mode; /* an erofs can't be written: `copy` is ro then */
    char path[AGENT_MOUNT_PATH_BYTES];
    /* Once: it is mounted (err NULL), or why not. May be called from within. */
    void (*done)(void *data, const struct attachment *attachment, const struct err *err);
    void *data;
};

/* Gives it to a lease, in its next free slot. err.code: EBUSY (somebody else writes it, another one is
 * under way, or the lease is being released), ENOSPC, ENOSR (no free slot), EINVAL, EIO (the guest's
 * words). One that got as far as the VM stays with the lease, mounted or not; of any other nothing does. */
void volume_attach(struct vms *vms, struct slot *slot, const struct volume_request *request);

/* Whether the lease has written to a volume what would be lost with it. */
bool volumes_unsaved(const struct vms *vms, const struct slot *slot);
/* Ends such a lease, and keeps what it has written: done when that is in the volumes (err NULL). Else the
 * lease goes on, if it has not ended by itself, and the volumes are as they were. */
void volumes_release(struct vms *vms, struct slot *slot, uint32_t end,
                     void (*done)(void *data, const struct err *err), void *data);
/* Its VM's process is gone. */
void volumes_lease_over(struct vms *vms, const char *lease);

#endif
