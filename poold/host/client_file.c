/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the taking of a client's rights, and the opening with them; see client_file.h. */
#include "host/client_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/util.h"

#define GROUPS_MAX 65536u /* NGROUPS_MAX: the kernel's */

/* ---- Whose ---- */

static struct client_ids *ids_create(uint32_t group_count)
{
    struct client_ids *ids = calloc(1, sizeof *ids + group_count * sizeof ids->groups[0]);

    if (ids)
        ids->group_count = group_count;
    return ids;
}

int client_ids_of_peer(int fd, struct client_ids **ret_ids)
{
    struct client_ids *ids;
    struct ucred cred;
    socklen_t bytes = sizeof cred, group_bytes = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0)
        return -errno;
    /* Without room it says how much it takes. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &group_bytes) < 0 && errno != ERANGE)
        return -errno;
    ids = ids_create((uint32_t)(group_bytes / sizeof(gid_t)));
    if (!ids)
        return -ENOMEM;
    ids->uid = cred.uid;
    ids->gid = cred.gid;
    if (group_bytes && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ids->groups, &group_bytes) < 0) {
        free(ids);
        return -errno;
    }
    *ret_ids = ids;
    return 0;
}

json_t *client_ids_format(const struct client_ids *ids)
{
    json_t *groups = json_array();

    for (uint32_t i = 0; i < ids->group_count; i++)
        json_array_append_new(groups, json_integer(ids->groups[i]));
    return json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)ids->uid, "gid", (json_int_t)ids->gid,
                     "groups", groups);
}

static bool id_read(const json_t *value, uint32_t *ret_id)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;

    if (id < 0 || id >= UINT32_MAX)
        return false;
    *ret_id = (uint32_t)id;
    return true;
}

int client_ids_parse(const json_t *object, struct client_ids **ret_ids, struct err *err)
{
    const json_t *groups = json_object_get(object, "groups");
    size_t count = json_array_size(groups);
    struct client_ids *ids;
    bool good;

    if (!json_is_array(groups) || count > GROUPS_MAX || json_object_size(object) != 3)
        return err_set(err, EINVAL, "it must have 'uid', 'gid' and 'groups', a list");
    ids = ids_create((uint32_t)count);
    if (!ids)
        return err_set(err, ENOMEM, "out of memory");
    good = id_read(json_object_get(object, "uid"), &ids->uid) &&
           id_read(json_object_get(object, "gid"), &ids->gid);
    for (size_t i = 0; i < count && good; i++)
        good = id_read(json_array_get(groups, i), &ids->groups[i]);
    if (!good) {
        free(ids);
        return err_set(err, EINVAL, "'uid', 'gid' and 'groups' must be numbers");
    }
    *ret_ids = ids;
    return 0;
}

/* ---- Taking rights ---- */

static int capabilities_drop(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* Of the calling thread alone, which has no way back. setfsuid and setfsgid tell no errors: asking
 * for an id that is none tells the one that is. */
static int rights_take(const struct client_ids *ids)
{
    if (syscall(SYS_setgroups, (size_t)ids->group_count, ids->groups) < 0)
        return -errno;
    syscall(SYS_setfsgid, ids->gid);
    syscall(SYS_setfsuid, ids->uid);
    if ((gid_t)syscall(SYS_setfsgid, -1) != ids->gid ||
        (uid_t)syscall(SYS_setfsuid, -1) != ids->uid)
        return -EPERM;
    return capabilities_drop();
}

/* ---- Opening ---- */

struct opening {
    const struct client_ids *ids;
    const char *path, *what;
    enum client_file_kind kind;
    int fd; /* -1 */
    struct err *err;
    int rc;
};

/* What is there, without opening it. */
static int look(const struct opening *opening, int *ret_fd)
{
    const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
    struct statfs fs;
    struct stat st;
    _cleanup_close_ int fd = (int)syscall(SYS_openat2, AT_FDCWD, opening->path, &how, sizeof how);

    if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return err_set_errno(opening->err, errno, "the %s %s", opening->what, opening->path);
    if (fs.f_type == PROC_SUPER_MAGIC)
        return err_set(opening->err, EINVAL, "the %s %s is in /proc, which poold does not use",
                       opening->what, opening->path);
    if (opening->kind == CLIENT_FILE_REGULAR && (!S_ISREG(st.st_mode) || st.st_size == 0))
        return err_set(opening->err, EINVAL, "the %s %s is not a regular file with something in it",
                       opening->what, opening->path);
    if (opening->kind == CLIENT_FILE_DISK && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return err_set(opening->err, EINVAL,
                       "the %s %s is neither a regular file nor a block device", opening->what,
                       opening->path);
    *ret_fd = take_fd(&fd);
    return 0;
}

/* The same file, whatever is at its path by now. */
static int open_looked_at(struct opening *opening, int looked_fd)
{
    char path[48];

    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", looked_fd);
    opening->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (opening->fd < 0)
        return err_set_errno(opening->err, errno, "the %s %s", opening->what, opening->path);
    return 0;
}

static void *open_run(void *data)
{
    struct opening *opening = data;
    _cleanup_close_ int looked_fd = -1;

    if (opening->ids && rights_take(opening->ids) < 0) {
        opening->rc = err_set(opening->err, EPERM,
                              "the %s %s can't be opened: poold runs without the right to open "
                              "files as another user, so only its own user (uid %u) may name files",
                              opening->what, opening->path, (unsigned)geteuid());
        return NULL;
    }
    opening->rc = look(opening, &looked_fd);
    if (opening->rc == 0)
        opening->rc = open_looked_at(opening, looked_fd);
    return NULL;
}

int client_file_open(const struct client_ids *ids, const char *path, enum client_file_kind kind,
                     const char *what, int *ret_fd, struct err *err)
{
    struct opening opening = {
        .ids = ids, .path = path, .what = what, .kind = kind, .fd = -1, .err = err
    };
    pthread_t thread;

    if (!ids) {
        open_run(&opening);
    } else {
        int rc = pthread_create(&thread, NULL, open_run, &opening);

        if (rc)
            return err_set_errno(err, rc, "can't start a thread");
        pthread_join(thread, NULL);
    }
    if (opening.rc == 0)
        *ret_fd = opening.fd;
    return opening.rc;
}
