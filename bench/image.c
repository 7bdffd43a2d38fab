/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of snapshots to measure with, and their page cache; see image.h. */
#include "image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/digest.h"
#include "snapshot/store.h"
#include "snapshot/workingset.h"

/* ---- Booting and snapshotting ---- */

int image_boot(struct bench *bench, struct vmm *vmm, uint64_t ram_bytes,
               struct control_msg *ret_banner, struct err *err)
{
    struct control_msg msg;
    char what[64];
    int rc = vmm_boot(vmm, bench, ram_bytes, NULL, err);

    if (rc < 0)
        return rc;
    snprintf(what, sizeof what, "booting a guest with %" PRIu64 " MiB", ram_bytes >> 20);
    progress_show(what, 0, 0);
    rc = vmm_expect(vmm->bell, CONTROL_BANNER, VMM_BOOT_TIMEOUT_MS, ret_banner, NULL, err);
    if (rc == 0)
        rc = vmm_expect(vmm->bell, CONTROL_PARKED, VMM_BOOT_TIMEOUT_MS, &msg, NULL, err);
    if (rc < 0) {
        struct err why = { 0 };

        if (vmm_expect(vmm->control, CONTROL_EXITED, 1000, &msg, NULL, &why) == 0)
            err_set(err, ECHILD, "it ended (%s): %.200s",
                    control_exit_reason_name(msg.u.exited.reason), msg.u.exited.detail);
        vmm_end(vmm);
        return err_wrap(err, "booting a guest with %" PRIu64 " MiB", ram_bytes >> 20);
    }
    return 0;
}

static int open_store(const struct bench *bench, int *ret_fd, struct err *err)
{
    char path[512];

    snprintf(path, sizeof path, "%s/store", bench->options.work_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "making '%s'", path);
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? err_set_errno(err, errno, "opening '%s'", path) : 0;
}

static uint64_t disk_bytes(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t bytes = 0;
    struct stat st;

    while (dir && (entry = readdir(dir))) {
        if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            bytes += (uint64_t)st.st_blocks * 512;
    }
    if (dir)
        closedir(dir);
    return bytes;
}

static int save(struct vmm *vmm, const struct snapshot_txn *txn, struct image_times *times,
                struct err *err)
{
    struct control_msg msg = { .type = CONTROL_SNAPSHOT };
    uint64_t start_ns = now_ns();
    int rc = control_send(vmm->control, &msg, (int[]){ txn->state_fd, txn->memory_fd }, 2);

    if (rc < 0)
        return err_set_errno(err, -rc, "asking for a snapshot");
    rc = vmm_expect(vmm->control, CONTROL_SNAPSHOT_DONE, VMM_ANSWER_TIMEOUT_MS, &msg, NULL, err);
    if (rc == 0 && msg.u.snapshot_done.error)
        rc = err_set(err, msg.u.snapshot_done.error, "%.*s", (int)sizeof msg.u.snapshot_done.detail,
                     msg.u.snapshot_done.detail);
    if (rc < 0)
        return err_wrap(err, "taking a snapshot");
    times->save_ns = now_ns() - start_ns;
    times->stopped_ns = msg.u.snapshot_done.stopped_ns;
    return 0;
}

int image_snapshot(struct bench *bench, struct vmm *vmm, uint64_t ram_bytes, const char *name,
                   struct image_times *ret_times, struct err *err)
{
    _cleanup_free_ struct manifest *manifest = calloc(1, sizeof *manifest);
    _cleanup_close_ int store_fd = -1;
    _cleanup_close_ int dir_fd = -1;
    struct snapshot_txn txn;

    if (!manifest)
        return err_set_errno(err, ENOMEM, "taking a snapshot");
    int rc = manifest_describe(manifest,
                               &(struct manifest_machine){ .kernel = bench->options.kernel,
                                                           .initrd = bench->options.initrd,
                                                           .kernel_fd = -1,
                                                           .initrd_fd = -1,
                                                           .memory_bytes = ram_bytes,
                                                           .vcpus = vmm_vcpus(ram_bytes) },
                               err);
    if (rc == 0)
        rc = open_store(bench, &store_fd, err);
    if (rc == 0)
        rc = snapshot_create_begin(store_fd, name, &txn, err);
    if (rc < 0)
        return rc;
    rc = save(vmm, &txn, ret_times, err);
    if (rc < 0) {
        snapshot_create_abort(&txn);
        return rc;
    }
    uint64_t start_ns = now_ns();
    rc = snapshot_create_commit(&txn, manifest, err);
    ret_times->commit_ns = now_ns() - start_ns;
    if (rc == 0)
        rc = snapshot_dir_open(store_fd, name, &dir_fd, err);
    if (rc == 0)
        ret_times->disk_bytes = disk_bytes(dir_fd);
    return rc;
}

/* A trial clone runs until it is parked again; what it has touched is the working set. */
static int record_from(struct image *image, struct vmm *template, struct err *err)
{
    _cleanup_free_ struct manifest *manifest = calloc(1, sizeof *manifest);
    _cleanup_close_ int memory_fd = openat(image->dir_fd, "memory.img", O_RDONLY | O_CLOEXEC);
    struct working_set set = { 0 };
    struct control_msg wake, msg;
    struct vmm_clone clone;
    struct err ignored;

    if (!manifest || memory_fd < 0)
        return err_set_errno(err, manifest ? errno : ENOMEM, "opening memory.img");
    vmm_wake_init(&wake, DOORBELL_OP_RESTORE, DOORBELL_FLAG_PARK_AGAIN);
    int rc = vmm_clone_start(&clone, template, &wake, err);
    if (rc == 0)
        rc = vmm_clone_hello(&clone, err);
    if (rc == 0)
        rc = vmm_clone_expect(&clone, CONTROL_PARKED, &msg, err);
    if (rc == 0)
        rc = manifest_load(image->dir_fd, manifest, err);
    if (rc == 0) {
        rc = working_set_record(vmm_clone_pid(&clone), memory_fd, image->ram_bytes, &set, err);
        if (rc == 0)
            rc = working_set_store(image->dir_fd, &manifest->id, &set, err);
        image->recorded = rc == 0;
        /* Without the right to look there is just no working set, as with poold. */
        if (rc == -EACCES || rc == -EPERM)
            rc = 0;
        working_set_fini(&set);
    }
    vmm_clone_end(&clone, &ignored);
    return rc;
}

static int image_record(struct bench *bench, struct image *image, struct err *err)
{
    struct vmm template;
    int rc = vmm_template(&template, bench, image->dir_fd, NULL, err);

    if (rc < 0)
        return rc;
    rc = record_from(image, &template, err);
    vmm_end(&template);
    return rc < 0 ? err_wrap(err, "recording a working set") : 0;
}

static int image_create(struct bench *bench, struct image *image, struct err *err)
{
    _cleanup_close_ int store_fd = -1;
    struct control_msg banner;
    struct image_times times;
    struct vmm vmm;
    char name[32], plain_name[40];

    snprintf(name, sizeof name, "mem%" PRIu64, image->ram_bytes >> 20);
    snprintf(plain_name, sizeof plain_name, "%s-plain", name);
    snprintf(image->path, sizeof image->path, "%s/store/%s", bench->options.work_dir, name);
    int rc = image_boot(bench, &vmm, image->ram_bytes, &banner, err);
    if (rc < 0)
        return rc;
    image->boot_ns = banner.u.progress.at_ns - vmm.process.start_ns;
    rc = image_snapshot(bench, &vmm, image->ram_bytes, name, &times, err);
    if (rc == 0)
        rc = image_snapshot(bench, &vmm, image->ram_bytes, plain_name, &times, err);
    vmm_end(&vmm);
    if (rc == 0)
        rc = open_store(bench, &store_fd, err);
    if (rc == 0)
        rc = snapshot_dir_open(store_fd, name, &image->dir_fd, err);
    if (rc == 0)
        rc = snapshot_dir_open(store_fd, plain_name, &image->plain_dir_fd, err);
    return rc == 0 ? image_record(bench, image, err) : rc;
}

int image_get(struct bench *bench, uint64_t ram_bytes, struct image **ret_image, struct err *err)
{
    for (struct image *image = bench->images; image; image = image->next) {
        if (image->ram_bytes == ram_bytes) {
            *ret_image = image;
            return 0;
        }
    }
    if (!bench->options.kernel)
        return bench_skip(err, "no guest kernel: see guest-init/kernel/build-kernel");
    struct image *image = calloc(1, sizeof *image);
    if (!image)
        return err_set_errno(err, ENOMEM, "making a snapshot");
    image->ram_bytes = ram_bytes;
    image->dir_fd = image->plain_dir_fd = -1;
    int rc = image_create(bench, image, err);
    if (rc < 0) {
        close_fd(&image->dir_fd);
        close_fd(&image->plain_dir_fd);
        free(image);
        return rc;
    }
    image->next = bench->images;
    bench->images = image;
    *ret_image = image;
    return 0;
}

void image_free_all(struct bench *bench)
{
    while (bench->images) {
        struct image *image = bench->images;

        bench->images = image->next;
        close_fd(&image->dir_fd);
        close_fd(&image->plain_dir_fd);
        free(image);
    }
}

/* ---- The page cache ---- */

static uint64_t resident_bytes(int fd, uint64_t bytes)
{
    size_t pages = (size_t)((bytes + HOST_PAGE_BYTES - 1) / HOST_PAGE_BYTES);
    _cleanup_free_ unsigned char *vec = calloc(pages ? pages : 1, 1);
    void *map = bytes ? mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    uint64_t resident = 0;

    if (map == MAP_FAILED)
        return 0;
    if (vec && mincore(map, (size_t)bytes, vec) == 0) {
        for (size_t i = 0; i < pages; i++)
            resident += (vec[i] & 1) * (uint64_t)HOST_PAGE_BYTES;
    }
    munmap(map, (size_t)bytes);
    return resident;
}

int image_evict(int dir_fd, uint64_t *ret_resident_bytes, struct err *err)
{
    static const char *const files[] = { "manifest.json", "state", "memory.img", "memory.digests",
                                         "working-set" };
    uint64_t resident = 0;
    struct stat st;

    for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
        _cleanup_close_ int fd = openat(dir_fd, files[i], O_RDONLY | O_CLOEXEC);

        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || fstat(fd, &st) < 0 || fdatasync(fd) < 0)
            return err_set_errno(err, errno, "evicting %s from the page cache", files[i]);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        resident += resident_bytes(fd, (uint64_t)st.st_size);
    }
    *ret_resident_bytes = resident;
    return 0;
}
