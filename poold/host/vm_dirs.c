/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the stock of VM folders and their removal; see vm_dirs.h. */
#include "host/vm_dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "base/work.h"
#include "host/cleanup.h"
#include "host/vm_groups.h"
#include "virtio/vsock_listen.h"

#define BATCH_MAX 64
#define CLAIM_RETRY_NS (10 * NS_PER_S)
#define RETRY_NS (500 * NS_PER_MS)

struct garbage {
    struct list node;
    struct vm_dir dir;
};

struct batch {
    struct vm_dirs *dirs;
    int base_fd;
    struct vm_dir make[BATCH_MAX];
    unsigned make_count;
    unsigned made_count; /* of them: the rest was not begun, as one before it failed */
    int made_rc;         /* 0, or why the last one of them failed */
    struct vm_dir drop[BATCH_MAX];
    int dropped[BATCH_MAX]; /* 0 or -errno */
    unsigned drop_count;
    bool last;                      /* begun when poold ends */
    bool claim;                     /* more uids */
    struct vm_uid_block *uid_block; /* NULL: none could be had */
    struct err claim_err;
};

static int dir_prepare(struct vm_dirs *dirs, struct vm_dir *dir)
{
    uint64_t random;

    dir->fd = dir->listen_fd = -1;
    int rc = vm_uids_take(&dirs->uids, &dir->uid);
    if (rc < 0)
        return rc;
    random_bytes(&random, sizeof random);
    snprintf(dir->id, sizeof dir->id, "%016llx", (unsigned long long)random);
    return 0;
}

static int give_to(int at_fd, const char *name, uint32_t uid)
{
    if (uid == VM_UIDS_NONE || fchownat(at_fd, name, uid, uid, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    return -errno;
}

/* The folder is there: opens it, makes the socket in it, and only then gives it away. */
static int dir_fill(int base_fd, struct vm_dir *dir)
{
    int rc;

    dir->fd = openat(base_fd, dir->id, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir->fd < 0)
        return -errno;
    rc = vsock_listen(dir->fd, &dir->listen_fd, NULL);
    if (rc == 0)
        rc = give_to(dir->fd, VSOCK_LISTEN_NAME, dir->uid);
    if (rc == 0)
        rc = give_to(base_fd, dir->id, dir->uid);
    return rc;
}

/* Any thread. What failed is to be given back. */
static int dir_make(int base_fd, struct vm_dir *dir)
{
    if (mkdirat(base_fd, dir->id, 0700) < 0)
        return -errno;
    return dir_fill(base_fd, dir);
}

/* What a poold that was killed has left goes the way of what VMs leave: nobody waits for that. */
static void stale_give_back(struct vm_dirs *dirs)
{
    int fd = openat(dirs->base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    unsigned count = 0;

    if (!dir) {
        close_fd(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct vm_dir stale = { .uid = VM_UIDS_NONE, .fd = -1, .listen_fd = -1 };

        if (entry->d_name[0] == '.' || dirs->keeps(dirs->keeps_data, entry->d_name))
            continue;
        count++;
        if (strlen(entry->d_name) == sizeof stale.id - 1) {
            memcpy(stale.id, entry->d_name, sizeof stale.id);
            vm_dirs_give_back(dirs, &stale);
        } else {
            cleanup_remove_tree(dirs->base_fd, entry->d_name);
        }
    }
    closedir(dir);
    if (count)
        log_info("the folders of %u VMs of an earlier run are removed", count);
}

int vm_dirs_init(struct vm_dirs *dirs, uv_loop_t *loop, const struct vm_dirs_config *config,
                 struct err *err)
{
    struct vm_uids_host host = { .etc = "/etc", .proc = "/proc" };
    char path[PATH_MAX + 8];

    list_init(&dirs->garbage);
    dirs->loop = loop;
    snprintf(host.locks, sizeof host.locks, "%s", config->uid_locks);
    if (vm_uids_init(&dirs->uids, &host, config->uid_base, config->uid_count, dirs->locks,
                     dirs->lock_count, err) < 0)
        return -err->code;
    snprintf(path, sizeof path, "%s/vms", config->run_dir);
    /* Clients reach a VM's socket through it, VMs with a uid of their own make theirs in theirs. */
    if (mkdir(path, 0711) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "can't make %s", path);
    dirs->base_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dirs->base_fd < 0)
        return err_set_errno(err, errno, "can't open %s", path);
    stale_give_back(dirs);
    return 0;
}

int vm_dirs_take(struct vm_dirs *dirs, struct vm_dir *ret_dir)
{
    int rc;

    if (dirs->stock_count) {
        *ret_dir = dirs->stock[--dirs->stock_count];
        return 0;
    }
    rc = dir_prepare(dirs, ret_dir);
    if (rc < 0)
        return rc;
    rc = dir_make(dirs->base_fd, ret_dir);
    if (rc < 0)
        vm_dirs_give_back(dirs, ret_dir);
    return rc;
}

void vm_dirs_give_back(struct vm_dirs *dirs, struct vm_dir *dir)
{
    struct garbage *garbage = malloc(sizeof *garbage);

    close_fd(&dir->fd);
    close_fd(&dir->listen_fd);
    if (!garbage)
        return; /* the next start removes it */
    garbage->dir = *dir;
    list_append(&dirs->garbage, &garbage->node);
}

static int dir_remove(const struct vm_dirs *dirs, const struct vm_dir *dir)
{
    int rc = cleanup_remove_tree(dirs->base_fd, dir->id);

    if (dirs->groups)
        vm_groups_remove(dirs->groups, dir->id);
    return rc;
}

static void batch_run(void *data)
{
    struct batch *batch = data;

    for (unsigned i = 0; i < batch->drop_count; i++)
        batch->dropped[i] = dir_remove(batch->dirs, &batch->drop[i]);
    while (batch->made_count < batch->make_count && batch->made_rc == 0)
        batch->made_rc = dir_make(batch->base_fd, &batch->make[batch->made_count++]);
    if (batch->claim)
        vm_uids_claim(&batch->dirs->uids.host, batch->dirs->uids.base, batch->dirs->uids.count,
                      &batch->uid_block, &batch->claim_err);
}

static uint32_t batch_least(const struct vm_dirs *dirs)
{
    return MIN_OF(VM_DIRS_BATCH, dirs->stock_max / 2);
}

static bool may_drop(const struct vm_dirs *dirs, uint64_t now)
{
    return !list_empty(&dirs->garbage) && (dirs->closing || now >= dirs->drop_after_ns);
}

static bool stock_low(const struct vm_dirs *dirs)
{
    return !dirs->closing && dirs->stock_count + batch_least(dirs) <= dirs->stock_max;
}

static void claim_done(struct vm_dirs *dirs, const struct batch *batch)
{
    if (batch->uid_block) {
        vm_uids_add(&dirs->uids, batch->uid_block);
        return;
    }
    log_warn("%s", batch->claim_err.msg);
    dirs->claim_after_ns = now_ns() + CLAIM_RETRY_NS;
}

/* What is short now may not be later; an end waits for one more try. */
static bool is_to_try_again(const struct batch *batch, int rc)
{
    return !batch->last && (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM);
}

static void dropped_take(struct vm_dirs *dirs, struct batch *batch)
{
    for (unsigned i = 0; i < batch->drop_count; i++) {
        if (!is_to_try_again(batch, batch->dropped[i])) {
            vm_uids_drop(&dirs->uids, batch->drop[i].uid);
            continue;
        }
        vm_dirs_give_back(dirs, &batch->drop[i]);
        dirs->drop_after_ns = now_ns() + RETRY_NS;
    }
}

static void made_take(struct vm_dirs *dirs, struct batch *batch)
{
    const uint32_t before = dirs->stock_count;
    const unsigned good = batch->made_count - (batch->made_rc < 0);

    for (unsigned i = 0; i < batch->make_count; i++) {
        if (i < good && dirs->stock_count < dirs->stock_max && !dirs->closing)
            dirs->stock[dirs->stock_count++] = batch->make[i];
        else if (i < batch->made_count)
            vm_dirs_give_back(dirs, &batch->make[i]);
        else
            vm_uids_drop(&dirs->uids, batch->make[i].uid);
    }
    if (batch->made_rc < 0 || (dirs->stock_count == before && stock_low(dirs))) /* no uids left */
        dirs->refill_after_ns = now_ns() + RETRY_NS;
}

static void batch_done(void *data)
{
    struct batch *batch = data;
    struct vm_dirs *dirs = batch->dirs;

    dirs->busy = false;
    dropped_take(dirs, batch);
    made_take(dirs, batch);
    if (batch->claim)
        claim_done(dirs, batch);
    free(batch);
    vm_dirs_pump(dirs);
    dirs->changed(dirs->changed_data);
}

static void batch_fill(struct batch *batch, struct vm_dirs *dirs, uint64_t now)
{
    const bool may_make = !dirs->closing && now >= dirs->refill_after_ns;
    const unsigned wanted = may_make ? dirs->stock_max - dirs->stock_count : 0;

    while (batch->make_count < MIN_OF(wanted, BATCH_MAX) &&
           dir_prepare(dirs, &batch->make[batch->make_count]) == 0)
        batch->make_count++;
    while (batch->drop_count < BATCH_MAX && may_drop(dirs, now)) {
        struct garbage *garbage = list_entry(dirs->garbage.next, struct garbage, node);

        batch->drop[batch->drop_count++] = garbage->dir;
        list_remove(&garbage->node);
        free(garbage);
    }
}

static uint64_t next_try_ns(const struct vm_dirs *dirs)
{
    uint64_t next = UINT64_MAX;

    if (!list_empty(&dirs->garbage))
        next = MIN_OF(next, dirs->drop_after_ns);
    if (stock_low(dirs))
        next = MIN_OF(next, dirs->refill_after_ns);
    if (!dirs->closing && vm_uids_low(&dirs->uids))
        next = MIN_OF(next, dirs->claim_after_ns);
    return next;
}

uint64_t vm_dirs_pump(struct vm_dirs *dirs)
{
    const uint64_t now = now_ns();
    bool low = stock_low(dirs) && now >= dirs->refill_after_ns;
    bool claim = !dirs->closing && vm_uids_low(&dirs->uids) && now >= dirs->claim_after_ns;
    struct batch *batch;

    if (dirs->busy)
        return UINT64_MAX;
    if (!low && !claim && !may_drop(dirs, now))
        return next_try_ns(dirs);
    if (dirs->pressed && !dirs->closing && dirs->stock_count >= batch_least(dirs))
        return UINT64_MAX;
    batch = calloc(1, sizeof *batch);
    if (!batch)
        return now + RETRY_NS;
    batch->dirs = dirs;
    batch->base_fd = dirs->base_fd;
    batch->claim = claim;
    batch->last = dirs->closing;
    batch_fill(batch, dirs, now);
    dirs->busy = work_start(dirs->loop, batch_run, batch_done, batch) == 0;
    if (!dirs->busy)
        free(batch);
    return UINT64_MAX;
}

bool vm_dirs_finish(struct vm_dirs *dirs)
{
    dirs->closing = true;
    while (dirs->stock_count)
        vm_dirs_give_back(dirs, &dirs->stock[--dirs->stock_count]);
    vm_dirs_pump(dirs);
    return !dirs->busy && list_empty(&dirs->garbage);
}

void vm_dirs_fini(struct vm_dirs *dirs)
{
    close_fd(&dirs->base_fd);
    vm_uids_fini(&dirs->uids);
    free(dirs->locks);
    dirs->locks = NULL;
}
