/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the folder of volumes; see volume_files.h. */
#include "vms/volume_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "snapshot/image/filesystem.h"
#include "snapshot/unique_id.h"

#define PAGE_BYTES 4096u
#define SECTOR_BYTES 512u
#define COPY_BYTES MIB(1)

static const struct json_key record_keys[] = {
    JSON_TEXT_KEY(struct volume_record, created, "created", JSON_KEY_TEXT, true, 0),
    JSON_TEXT_KEY(struct volume_record, filesystem, "filesystem", JSON_KEY_TEXT, true, 1),
    JSON_TEXT_KEY(struct volume_record, data, "data", JSON_KEY_TEXT, true, VOLUME_DATA_BYTES - 1),
    JSON_NUMBER_KEY(struct volume_record, owner, "owner", JSON_KEY_LONG, true, 0, UINT32_MAX),
    JSON_NUMBER_KEY(struct volume_record, bytes, "bytes", JSON_KEY_LONG, true, SECTOR_BYTES,
                    INT64_MAX),
    JSON_NUMBER_KEY(struct volume_record, folder, "folder", JSON_KEY_BOOL, false, 0, 0),
};
const struct json_table volume_record_table = JSON_TABLE(record_keys);

bool volume_id(const char *name, uint32_t owner, char ret_id[STATE_NAME_BYTES])
{
    if (strlen(name) > VOLUME_NAME_MAX || !pool_name_valid(name))
        return false;
    snprintf(ret_id, STATE_NAME_BYTES, "%s~%" PRIu32, name, owner);
    return true;
}

/* ---- Folders ---- */

static int open_sub(int dir_fd, const char *name, int *ret_fd, struct err *err)
{
    if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "volumes: making %s", name);
    *ret_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? err_set_errno(err, errno, "volumes: opening %s", name) : 0;
}

int volume_dirs_open(struct volume_dirs *dirs, int dir_fd, struct err *err)
{
    *dirs = (struct volume_dirs){ .fd = dir_fd, .data_fd = -1, .leases_fd = -1 };
    int rc = open_sub(dir_fd, "data", &dirs->data_fd, err);

    return rc == 0 ? open_sub(dir_fd, "leases", &dirs->leases_fd, err) : rc;
}

void volume_dirs_close(struct volume_dirs *dirs)
{
    close_fd(&dirs->fd);
    close_fd(&dirs->data_fd);
    close_fd(&dirs->leases_fd);
}

/* Calls for every entry but those that begin with a dot. 0 or -errno. */
static int entries_each(int dir_fd, void (*each)(void *data, const char *name), void *data)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!dir) {
        const int rc = -errno;

        close_fd(&fd);
        return rc;
    }
    while ((errno = 0, entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            each(data, entry->d_name);
    const int rc = -errno;
    closedir(dir);
    return rc;
}

struct named {
    void (*each)(void *data, const char *name);
    void *data;
};

static void name_tell(void *data, const char *file)
{
    const struct named *named = data;
    char name[STATE_NAME_BYTES];

    if (state_file_name(file, name))
        named->each(named->data, name);
}

int volume_files_each(int dir_fd, void (*each)(void *data, const char *name), void *data)
{
    struct named named = { each, data };

    return entries_each(dir_fd, name_tell, &named);
}

/* ---- Records ---- */

int volume_record_read(const struct volume_dirs *dirs, const char *id,
                       struct volume_record *ret_record, struct err *err)
{
    json_t *root = state_file_read(dirs->fd, id, err);

    if (!root)
        return -EINVAL;
    *ret_record = (struct volume_record){ 0 };
    int rc = json_keys_read(root, volume_record_table.keys, volume_record_table.key_count,
                            ret_record, err);
    json_decref(root);
    if (rc == 0 && strspn(ret_record->data, "0123456789abcdef") != (size_t)(VOLUME_DATA_BYTES - 1))
        rc = err_set(err, EINVAL, "'data' is not 32 hex digits");
    return rc;
}

bool volume_record_there(const struct volume_dirs *dirs, const char *id)
{
    char file[STATE_NAME_BYTES + 16];

    snprintf(file, sizeof file, "%s.json", id);
    return faccessat(dirs->fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int volume_record_write(const struct volume_dirs *dirs, const char *id,
                        const struct volume_record *record, struct err *err)
{
    json_t *root = json_keys_write(&volume_record_table, record);
    _cleanup_free_ char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;

    json_decref(root);
    if (!text)
        return err_set(err, ENOMEM, "out of memory");
    return state_file_write(dirs->fd, id, text, err) < 0 ? err_wrap(err, "volumes") : 0;
}

/* ---- Contents ---- */

void volume_data_name(char ret_data[VOLUME_DATA_BYTES])
{
    struct unique_id id = unique_id_make();

    unique_id_to_hex(&id, ret_data);
}

int volume_data_make(const struct volume_dirs *dirs, const char *data, int *ret_fd, struct err *err)
{
    *ret_fd = openat(dirs->data_fd, data,
                     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    return *ret_fd < 0 ? err_set_errno(err, errno, "making a volume's file") : 0;
}

int volume_scratch_make(const struct volume_dirs *dirs)
{
    const int fd = openat(dirs->data_fd, ".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : fd;
}

int volume_data_write(int fd, const uint8_t *bytes, size_t count, uint64_t offset)
{
    static const uint8_t zeroes[PAGE_BYTES];
    int rc = 0;

    for (size_t at = 0, take; rc == 0 && at < count; at += take) {
        take = MIN_OF(count - at, (size_t)PAGE_BYTES);
        if (memcmp(bytes + at, zeroes, take) != 0)
            rc = pwrite_all(fd, bytes + at, take, offset + at);
    }
    return rc;
}

/* For file systems that copy nothing by themselves. */
static ssize_t copy_by_hand(int from, int to, off_t at, off_t end)
{
    _cleanup_free_ uint8_t *buffer = malloc(COPY_BYTES);
    ssize_t n = buffer ? pread(from, buffer, (size_t)MIN_OF(end - at, (off_t)COPY_BYTES), at) : -1;
    int rc = n > 0 ? pwrite_all(to, buffer, (size_t)n, (uint64_t)at) : 0;

    if (rc == 0)
        return n;
    errno = -rc;
    return -1;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
    while (at < end) {
        off_t in = at, out = at;
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

        if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == EXDEV || errno == ENOSYS))
            n = copy_by_hand(from, to, at, end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
    }
    return 0;
}

static int copy_data(int from, int to, off_t bytes)
{
    off_t at = 0;
    int rc = ftruncate(to, bytes) < 0 ? -errno : 0;

    while (rc == 0 && (at = lseek(from, at, SEEK_DATA)) >= 0 && at < bytes) {
        const off_t end = lseek(from, at, SEEK_HOLE);

        rc = end < 0 ? -errno : copy_range(from, to, at, MIN_OF(end, bytes));
        at = end;
    }
    return rc == 0 && at < 0 && errno != ENXIO ? -errno : rc;
}

int volume_data_copy(const struct volume_dirs *dirs, const char *data, const char *new_data,
                     int *ret_fd, struct err *err)
{
    _cleanup_close_ int from = volume_file_open(dirs, data, false), to = -1;
    struct stat st;
    int rc;

    if (from < 0 || fstat(from, &st) < 0)
        return err_set_errno(err, from < 0 ? -from : errno, "the volume's file");
    rc = volume_data_make(dirs, new_data, &to, err);
    if (rc < 0)
        return rc;
    rc = ioctl(to, FICLONE, from) == 0 ? 0 : copy_data(from, to, st.st_size);
    if (rc < 0) {
        volume_data_remove(dirs, new_data);
        return err_set_errno(err, -rc, "copying the volume");
    }
    *ret_fd = take_fd(&to);
    return 0;
}

int volume_data_check(int fd, struct volume_record *record, struct err *err)
{
    uint8_t head[FILESYSTEM_HEAD_BYTES] = { 0 };
    uint64_t says = 0;
    const char *kind = pread(fd, head, sizeof head, 0) < 0 ? NULL : filesystem_kind(head, &says);

    if (!kind)
        return err_set(err, EINVAL,
                       "a volume holds an ext4 or an erofs file system: no such magic "
                       "number at byte 1024");
    if (record->bytes % SECTOR_BYTES || says == 0 || says > record->bytes)
        return err_set(err, EINVAL,
                       "cut off: its %s superblock says %" PRIu64 " bytes, but there are %" PRIu64,
                       kind, says, record->bytes);
    snprintf(record->filesystem, sizeof record->filesystem, "%s", kind);
    return 0;
}

int volume_data_settle(const struct volume_dirs *dirs, const char *data, uint64_t bytes,
                       struct err *err)
{
    _cleanup_close_ int fd = volume_file_open(dirs, data, true);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, fd < 0 ? -fd : errno, "the volume's file");
    if ((uint64_t)st.st_size != bytes)
        return err_set(err, EINVAL, "the VM has made the volume's file another size");
    return fsync(fd) < 0 || fsync(dirs->data_fd) < 0
               ? err_set_errno(err, errno, "writing the volume to disk")
               : 0;
}

void volume_data_remove(const struct volume_dirs *dirs, const char *data)
{
    if (*data)
        unlinkat(dirs->data_fd, data, 0);
}

struct cleaning {
    const struct volume_dirs *dirs;
    bool (*used)(void *context, const char *data);
    void *context;
};

static void clean_one(void *data, const char *name)
{
    const struct cleaning *cleaning = data;

    if (!cleaning->used(cleaning->context, name))
        volume_data_remove(cleaning->dirs, name);
}

void volume_data_clean(const struct volume_dirs *dirs,
                       bool (*used)(void *context, const char *data), void *context)
{
    struct cleaning cleaning = { dirs, used, context };

    (void)entries_each(dirs->data_fd, clean_one, &cleaning); /* the next poold does what is left */
}

int volume_file_open(const struct volume_dirs *dirs, const char *data, bool writable)
{
    const int fd = openat(dirs->data_fd, data,
                          (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}
