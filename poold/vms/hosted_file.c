/* SPDX-License-Identifier: Apache-2.0 */
/* Owns pools/NAME.json: one key table for reading, its formatting, and loading them all at start.
 */
#include "vms/hosted_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "http/json_keys.h"
#include "memory/guest_mem.h"
#include "snapshot/store.h"
#include "vms/hosted.h"
#include "vms/template.h"

#define FILE_NAME_BYTES (POOL_NAME_BYTES + 16)

struct saved_pool {
    struct pool_spec spec;
    char created[32];
    uint64_t cold_boot_ms, snapshot_ms;
    uint32_t min, max, shells;
    bool draining;
};

#define TEXT(member, name) JSON_TEXT_KEY(struct saved_pool, member, name, JSON_KEY_TEXT, true, 0)
#define COUNT(member, name, lo, hi)                                                                \
    JSON_NUMBER_KEY(struct saved_pool, member, name, JSON_KEY_COUNT, true, lo, hi)
#define LONG(member, name, lo, hi)                                                                 \
    JSON_NUMBER_KEY(struct saved_pool, member, name, JSON_KEY_LONG, true, lo, hi)

static const struct json_key keys[] = {
    LONG(spec.memory_bytes, "memory_bytes", GUEST_RAM_BYTES_MIN, GUEST_RAM_BYTES_MAX),
    COUNT(spec.vcpus, "vcpus", 1, 64),
    /* Absent in files of earlier versions. */
    JSON_NUMBER_KEY(struct saved_pool, spec.cpu_weight, "cpu_weight", JSON_KEY_COUNT, false, 0,
                    10000),
    JSON_NUMBER_KEY(struct saved_pool, spec.cpu_percent, "cpu_percent", JSON_KEY_COUNT, false, 0,
                    6400),
    TEXT(spec.kernel, "kernel"),
    TEXT(spec.initrd, "initrd"),
    TEXT(spec.cmdline, "cmdline"),
    TEXT(spec.warmup, "warmup"),
    TEXT(created, "created"),
    LONG(cold_boot_ms, "cold_boot_ms", 0, UINT32_MAX),
    LONG(snapshot_ms, "snapshot_ms", 0, UINT32_MAX),
    JSON_NUMBER_KEY(struct saved_pool, draining, "draining", JSON_KEY_BOOL, false, 0, 0),
    /* Not in the files of earlier versions. */
    JSON_TEXT_KEY(struct saved_pool, spec.image, "image", JSON_KEY_TEXT, false, 0),
    JSON_TEXT_KEY(struct saved_pool, spec.disk, "disk", JSON_KEY_TEXT, false, 0),
    JSON_NUMBER_KEY(struct saved_pool, spec.disk_read_only, "disk_read_only", JSON_KEY_BOOL, false,
                    0, 0),
    JSON_NUMBER_KEY(struct saved_pool, spec.disk_bandwidth, "disk_bandwidth", JSON_KEY_LONG, false,
                    0, INT64_MAX),
    JSON_TEXT_KEY(struct saved_pool, spec.net.kind, "net", JSON_KEY_TEXT, false, 0),
    JSON_TEXT_KEY(struct saved_pool, spec.net.address, "net_address", JSON_KEY_TEXT, false, 0),
    JSON_NUMBER_KEY(struct saved_pool, spec.net.bandwidth, "net_bandwidth", JSON_KEY_LONG, false, 0,
                    INT64_MAX),
    JSON_NUMBER_KEY(struct saved_pool, spec.net.pps, "net_pps", JSON_KEY_COUNT, false, 0,
                    UINT32_MAX),
    JSON_TEXT_KEY(struct saved_pool, spec.net.vhost, "net_vhost", JSON_KEY_TEXT, false, 0),
    JSON_TEXT_KEY(struct saved_pool, spec.net.allow, "net_allow", JSON_KEY_TEXT, false, 0),
    JSON_TEXT_KEY(struct saved_pool, spec.net.deny, "net_deny", JSON_KEY_TEXT, false, 0),
    JSON_NUMBER_KEY(struct saved_pool, spec.net.any_source, "net_any_source", JSON_KEY_BOOL, false,
                    0, 0),
    JSON_NUMBER_KEY(struct saved_pool, spec.balloon, "balloon", JSON_KEY_BOOL, false, 0, 0),
    JSON_NUMBER_KEY(struct saved_pool, spec.disk_iops, "disk_iops", JSON_KEY_COUNT, false, 0,
                    UINT32_MAX),
    COUNT(min, "min", 0, 100000),
    COUNT(max, "max", 1, 100000),
    COUNT(shells, "shells", 0, 100000),
};

char *hosted_file_format(const struct hosted_pool *hosted)
{
    const struct pool_spec *spec = &hosted->spec;
    json_t *root = json_pack(
        "{s:I, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:s, s:s, s:b, "
        "s:I, s:I}",
        "memory_bytes", (json_int_t)spec->memory_bytes, "vcpus", (int)spec->vcpus, "cpu_weight",
        (int)spec->cpu_weight, "cpu_percent", (int)spec->cpu_percent, "kernel", spec->kernel,
        "initrd", spec->initrd, "cmdline", spec->cmdline, "warmup", spec->warmup, "created",
        hosted->created, "cold_boot_ms", (json_int_t)hosted->cold_boot_ms, "snapshot_ms",
        (json_int_t)hosted->snapshot_ms, "min", (int)hosted->pool.min, "max", (int)hosted->pool.max,
        "shells", (int)hosted->pool.shells, "image", spec->image, "disk", spec->disk,
        "disk_read_only", (int)spec->disk_read_only, "disk_bandwidth",
        (json_int_t)spec->disk_bandwidth, "disk_iops", (json_int_t)spec->disk_iops);
    if (root && spec->net.kind[0])
        json_object_update_new(
            root, json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:b}", "net", spec->net.kind,
                            "net_vhost", spec->net.vhost, "net_address", spec->net.address,
                            "net_bandwidth", (json_int_t)spec->net.bandwidth, "net_pps",
                            (json_int_t)spec->net.pps, "net_allow", spec->net.allow, "net_deny",
                            spec->net.deny, "net_any_source", (int)spec->net.any_source));
    if (root)
        json_object_set_new(root, "maker",
                            hosted->maker ? client_ids_format(hosted->maker) : json_null());
    if (root && spec->balloon)
        json_object_set_new(root, "balloon", json_true());
    if (root && hosted->pool.state == POOL_DRAINING)
        json_object_set_new(root, "draining", json_true());
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;

    json_decref(root);
    return text;
}

int hosted_file_write(int dir_fd, const char *name, const char *text, struct err *err)
{
    char file[FILE_NAME_BYTES], temporary[FILE_NAME_BYTES];
    _cleanup_close_ int fd = -1;
    int rc;

    snprintf(file, sizeof file, "%s.json", name);
    snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    rc = fd < 0 ? -errno : pwrite_all(fd, text, strlen(text), 0);
    if (rc == 0 &&
        (fsync(fd) < 0 || renameat(dir_fd, temporary, dir_fd, file) < 0 || fsync(dir_fd) < 0))
        rc = -errno;
    if (rc < 0)
        unlinkat(dir_fd, temporary, 0);
    return rc < 0 ? err_set_errno(err, -rc, "can't write pools/%s", file) : 0;
}

int hosted_file_delete(int dir_fd, const char *name, struct err *err)
{
    char file[FILE_NAME_BYTES];

    snprintf(file, sizeof file, "%s.json", name);
    if (unlinkat(dir_fd, file, 0) < 0 && errno != ENOENT)
        return err_set_errno(err, errno, "can't remove pools/%s", file);
    /* Should a crash bring it back: a pool without a snapshot fails to load and can be deleted. */
    fsync(dir_fd);
    return 0;
}

static json_t *file_parse(int dir_fd, const char *file, struct err *err)
{
    _cleanup_close_ int fd = openat(dir_fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    json_error_t error;
    json_t *root;

    if (fd < 0) {
        err_set_errno(err, errno, "can't open it");
        return NULL;
    }
    root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        err_set(err, EINVAL, "line %d: %s", error.line, error.text);
    return root;
}

/* Takes who made it out of the file's object. Earlier versions did not note that, and opened all
 * files as poold. */
static int maker_take(json_t *root, const char *name, struct client_ids **ret_maker,
                      struct err *err)
{
    const json_t *maker = json_object_get(root, "maker");
    const char *disk = json_string_value(json_object_get(root, "disk"));
    int rc = 0;

    if (maker && !json_is_null(maker))
        rc = client_ids_parse(maker, ret_maker, err);
    if (!maker && disk && *disk)
        log_pool(LOG_LEVEL_WARN, name,
                 "pool '%s' was made by an earlier poold, which did not note for whom: its disk %s "
                 "is opened with poold's own rights; make the pool anew if that should not be",
                 name, disk);
    json_object_del(root, "maker");
    return rc < 0 ? err_wrap(err, "'maker'") : 0;
}

static int file_read(struct vms *vms, const char *name, const char *file,
                     struct saved_pool *ret_saved, struct client_ids **ret_maker, struct err *err)
{
    json_t *root = file_parse(vms->pools_fd, file, err);
    int rc;

    if (!root)
        return -EINVAL;
    rc = maker_take(root, name, ret_maker, err);
    if (rc == 0)
        rc = json_keys_read(root, keys, ARRAY_LEN(keys), ret_saved, err);
    json_decref(root);
    return rc;
}

static int pool_load(struct vms *vms, const char *name, const char *file, struct err *err)
{
    _cleanup_free_ struct client_ids *maker = NULL;
    struct saved_pool saved = { 0 };
    struct hosted_pool *hosted;
    int rc = file_read(vms, name, file, &saved, &maker, err);

    if (rc < 0)
        return rc;
    hosted = hosted_add(vms, name);
    if (!hosted)
        return err_set(err, ENOMEM, "out of memory");
    hosted->spec = saved.spec;
    hosted->maker = take_pointer(&maker);
    memcpy(hosted->created, saved.created, sizeof hosted->created);
    hosted->cold_boot_ms = saved.cold_boot_ms;
    hosted->snapshot_ms = saved.snapshot_ms;
    hosted->pool.vm_bytes = hosted->spec.memory_bytes;
    pool_set_limits(&hosted->pool, saved.min, saved.max, saved.shells);
    hosted_set_state(hosted, saved.draining ? POOL_DRAINING : POOL_LOADING, NULL);
    if (!saved.draining)
        template_start(hosted);
    return 0;
}

/* The name in "NAME.json"; false for other files. */
static bool name_of_file(const char *file, char ret_name[POOL_NAME_BYTES])
{
    size_t len = strlen(file);

    if (len < 6 || len - 5 >= POOL_NAME_BYTES || strcmp(file + len - 5, ".json") != 0)
        return false;
    memcpy(ret_name, file, len - 5);
    ret_name[len - 5] = '\0';
    return pool_name_valid(ret_name);
}

/* A kill between a snapshot's commit and the writing of its pool's file, or in a deletion, leaves a
 * snapshot that nobody can use or delete. */
static void orphans_delete(struct vms *vms)
{
    struct snapshot_info *infos = NULL;
    size_t count = 0;
    struct err err = { 0 };

    if (snapshot_list(vms->snapshots_fd, &infos, &count, &err) < 0)
        log_warn("snapshots without a pool were not looked for: %s", err.msg);
    for (size_t i = 0; i < count; i++) {
        char file[FILE_NAME_BYTES];
        struct stat st;

        snprintf(file, sizeof file, "%s.json", infos[i].name);
        if (fstatat(vms->pools_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
            continue;
        if (snapshot_delete(vms->snapshots_fd, infos[i].name, &err) < 0)
            log_warn("a snapshot without a pool was not deleted: %s", err.msg);
        else
            log_warn("snapshot '%s' had no pool and is deleted: an earlier poold was killed while "
                     "it made or deleted it",
                     infos[i].name);
    }
    free(infos);
}

void hosted_load_all(struct vms *vms)
{
    int fd = openat(vms->pools_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char name[POOL_NAME_BYTES];
        struct err err = { 0 };

        if (name_of_file(entry->d_name, name) && pool_load(vms, name, entry->d_name, &err) < 0)
            log_pool(LOG_LEVEL_ERROR, name, "pool '%s' was not loaded: pools/%s: %s", name,
                     entry->d_name, err.msg);
    }
    if (dir)
        closedir(dir);
    else
        close_fd(&fd);
    orphans_delete(vms);
}
