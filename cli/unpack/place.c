/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of members; see place.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/util.h"
#include "inode_set.h"
#include "place_internal.h"
#include "tree_remove.h"

void place_init(struct place *place, int root_fd, const struct place_rules *rules)
{
    memset(place, 0, sizeof *place);
    place->rules = *rules;
    place->root_fd = root_fd;
    place->parent_fd = place->file_fd = -1;
}

static int member_fails(int rc, const struct member *member, struct err *err)
{
    char shown[200];
    const char *path = name_printable(*member->path ? member->path : ".", shown, sizeof shown);

    switch (-rc) {
    case EXDEV:
    case ELOOP:
        return err_set(err, -rc, "%s: a link in this path leads out of the target, or nowhere",
                       path);
    case EISDIR:
        return err_set(err, -rc, "%s: there is a folder in its place", path);
    case ENOTSUP:
        return err_set(
            err, -rc,
            "%s: links out of a VM are marked by their time, which this file system does "
            "not keep; 'voltctl cp LEASE:PATH -' gives a tar stream",
            path);
    case EEXIST:
        return err_set(err, -rc, "%s: there is a device, FIFO or socket, which is not replaced",
                       path);
    default:
        return err_set_errno(err, -rc, "%s", path);
    }
}

/* ---- What is there already ---- */

/* Takes away what has the member's name. 0; -EISDIR and -EEXIST where the rules keep it. */
static int existing_remove(struct place *place, int parent_fd, const char *name)
{
    struct stat st;

    if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    place->parent_stale = true;
    if (place->rules.replaces)
        return tree_remove(parent_fd, name, NULL);
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return -EEXIST;
    return unlinkat(parent_fd, name, 0) < 0 ? -errno : 0;
}

/* ---- One function for each type ---- */

typedef int (*member_create)(struct place *place, const struct member *member, int parent_fd,
                             const char *name);

static int file_open(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : fd;
}

/* A file takes another's place when it is whole: until then it has a name of its own. */
static int file_create(struct place *place, const struct member *member, int parent_fd,
                       const char *name)
{
    struct stat st;

    (void)member;
    place->file_name[0] = '\0';
    int fd = file_open(parent_fd, name);
    if (fd == -EEXIST && !place->rules.replaces &&
        fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
        for (unsigned i = 0; fd == -EEXIST && i < 1000; i++) {
            snprintf(place->file_name, sizeof place->file_name, ".volt-cp-%u", i);
            fd = file_open(parent_fd, place->file_name);
        }
    }
    if (fd < 0)
        return fd;
    place->file_fd = fd;
    return 0;
}

static int folder_create(struct place *place, const struct member *member, int parent_fd,
                         const char *name)
{
    struct stat st;
    bool made = mkdirat(parent_fd, name, 0700) == 0;

    if (!made && errno != EEXIST)
        return -errno;
    if (!made && fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!made && S_ISLNK(st.st_mode) && !place->rules.replaces) {
        /* Somebody's link to a folder in the target is that folder; its metadata is not ours. */
        _cleanup_close_ int fd = place_open(place, member->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? fd : 0;
    }
    if (!made && !S_ISDIR(st.st_mode))
        return place->rules.replaces ? -EEXIST : -ENOTDIR;
    if (place->rules.owners || member->xattr_count > 0) {
        _cleanup_close_ int fd =
            openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
            return -errno;
        if (place->rules.owners && fchown(fd, member->uid, member->gid) < 0)
            return -errno;
        place_xattrs_set(place, fd, member);
    }
    return place_dir_remember(place, member, made || place->rules.replaces);
}

/* Not every file system keeps nanoseconds. A link that is not known again must not stay. */
static bool is_marked(int parent_fd, const char *name)
{
    struct stat st;

    if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_mtim.tv_nsec == PLACE_LINK_MARK_NS)
        return true;
    (void)unlinkat(parent_fd, name, 0);
    return false;
}

static int link_finish(const struct place *place, const struct member *member, int parent_fd,
                       const char *name)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, member->mtime };

    if (place->rules.mark_links)
        times[1].tv_nsec = PLACE_LINK_MARK_NS;
    if (place->rules.owners &&
        fchownat(parent_fd, name, member->uid, member->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    (void)utimensat(parent_fd, name, times, AT_SYMLINK_NOFOLLOW);
    return !place->rules.mark_links || is_marked(parent_fd, name) ? 0 : -ENOTSUP;
}

static int symlink_create(struct place *place, const struct member *member, int parent_fd,
                          const char *name)
{
    if (symlinkat(member->link, parent_fd, name) < 0)
        return -errno;
    return link_finish(place, member, parent_fd, name);
}

/* Only files and links get second names: a device keeps the one it has. */
static int hardlink_create(struct place *place, const struct member *member, int parent_fd,
                           const char *name)
{
    const char *slash = strrchr(member->link, '/');
    const char *from = slash ? slash + 1 : member->link;
    char folder[NAME_PATH_BYTES];
    struct stat st;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - member->link) : 0, member->link);
    _cleanup_close_ int from_fd = place_open(place, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (from_fd < 0)
        return from_fd;
    if (fstatat(from_fd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode) && !place->rules.replaces)
        return -EPERM;
    return linkat(from_fd, from, parent_fd, name, 0) < 0 ? -errno : 0;
}

static int node_create(struct place *place, const struct member *member, int parent_fd,
                       const char *name)
{
    static const mode_t kinds[MEMBER_TYPE_COUNT] = {
        [MEMBER_CHAR_DEVICE] = S_IFCHR, [MEMBER_BLOCK_DEVICE] = S_IFBLK, [MEMBER_FIFO] = S_IFIFO
    };
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, member->mtime };

    if (mknodat(parent_fd, name, kinds[member->type] | 0600, member->device) < 0)
        return -errno;
    if (place->rules.owners && fchownat(parent_fd, name, member->uid, member->gid, 0) < 0)
        return -errno;
    (void)utimensat(parent_fd, name, times, 0);
    return fchmodat(parent_fd, name, member->mode & place->rules.mode_mask, 0) < 0 ? -errno : 0;
}

static const member_create creators[MEMBER_TYPE_COUNT] = {
    [MEMBER_FILE] = file_create,        [MEMBER_FOLDER] = folder_create,
    [MEMBER_SYMLINK] = symlink_create,  [MEMBER_HARDLINK] = hardlink_create,
    [MEMBER_CHAR_DEVICE] = node_create, [MEMBER_BLOCK_DEVICE] = node_create,
    [MEMBER_FIFO] = node_create,
};

/* ---- All of it ---- */

/* 1: the member is left out; 0: it is made; or -errno. */
static int left_out(struct place *place, const struct member *member, struct err *err)
{
    bool node = member->type == MEMBER_CHAR_DEVICE || member->type == MEMBER_BLOCK_DEVICE;
    bool fifo = member->type == MEMBER_FIFO;
    char shown[200];

    if ((node || fifo) && place->rules.foreign)
        return err_set(err, EPERM, "%s: a %s, which is not copied",
                       name_printable(member->path, shown, sizeof shown), node ? "device" : "FIFO");
    place->tally.nodes += node && !place->rules.nodes;
    place->tally.fifos += fifo && !place->rules.fifos;
    return (node && !place->rules.nodes) || (fifo && !place->rules.fifos);
}

/* The target itself is there; it gets what the archive has to say of it. */
static int top_take(struct place *place, const struct member *member)
{
    if (member->type != MEMBER_FOLDER)
        return -EISDIR;
    if (place->rules.keeps_top)
        return 0;
    _cleanup_close_ int fd = place_open(place, "", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    if (place->rules.owners && fchown(fd, member->uid, member->gid) < 0)
        return -errno;
    place_xattrs_set(place, fd, member);
    return place_dir_remember(place, member, true);
}

static int member_make(struct place *place, const struct member *member)
{
    const char *name;
    int parent_fd = place_parent(place, member->path, &name);

    if (parent_fd < 0)
        return parent_fd;
    int rc = creators[member->type](place, member, parent_fd, name);
    if (rc == -EEXIST) {
        rc = existing_remove(place, parent_fd, name);
        if (rc == 0)
            rc = creators[member->type](place, member, parent_fd, name);
    }
    return rc < 0 || member->type == MEMBER_FILE ? rc : place_made_note(place, parent_fd, name);
}

int place_begin(struct place *place, const struct member *member, struct err *err)
{
    int rc = left_out(place, member, err);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    name_printable(*member->path ? member->path : ".", place->tally.last, sizeof place->tally.last);
    rc = *member->path ? member_make(place, member) : top_take(place, member);
    if (rc < 0)
        return member_fails(rc, member, err);
    place->tally.members += member->type != MEMBER_FILE;
    return 0;
}

int place_data(struct place *place, const void *data, size_t bytes, uint64_t offset,
               struct err *err)
{
    if (place->file_fd < 0)
        return 0;
    int rc = pwrite_all(place->file_fd, data, bytes, offset);
    place->tally.bytes += bytes;
    return rc < 0 ? err_set_errno(err, -rc, "writing %s", place->tally.last) : 0;
}

void place_xattrs_set(struct place *place, int fd, const struct member *member)
{
    for (size_t i = 0; i < member->xattr_count; i++) {
        const struct member_xattr *xattr = &member->xattrs[i];

        if (fsetxattr(fd, xattr->name, xattr->value, xattr->bytes, 0) < 0)
            place->tally.xattrs++;
    }
}

/* In this order: a new owner takes set-id bits and capabilities away, and a mode without the right to
 * write that to set attributes. */
static int file_finish(struct place *place, const struct member *member)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, member->mtime };
    int fd = place->file_fd;
    struct stat st;

    if (fstat(fd, &st) < 0 ||
        ((uint64_t)st.st_size < member->bytes && ftruncate(fd, (off_t)member->bytes) < 0) ||
        (place->rules.owners && fchown(fd, member->uid, member->gid) < 0))
        return -errno;
    place_xattrs_set(place, fd, member);
    if (fchmod(fd, member->mode & place->rules.mode_mask) < 0)
        return -errno;
    (void)futimens(fd, times);
    place->file_fd = -1;
    if (close(fd) < 0)
        return -errno;
    const char *slash = strrchr(member->path, '/'), *name = slash ? slash + 1 : member->path;
    if (place->file_name[0] &&
        renameat(place->parent_fd, place->file_name, place->parent_fd, name) < 0)
        return -errno;
    place->file_name[0] = '\0';
    return place_made_note(place, place->parent_fd, name);
}

int place_end(struct place *place, const struct member *member, struct err *err)
{
    if (place->file_fd < 0)
        return 0;
    int rc = file_finish(place, member);
    place->tally.members += rc == 0;
    return rc < 0 ? member_fails(rc, member, err) : 0;
}

void place_abandon(struct place *place, const struct member *member)
{
    const char *slash = strrchr(member->path, '/'), *name = slash ? slash + 1 : member->path;

    if (place->file_fd < 0 && !place->file_name[0])
        return;
    close_fd(&place->file_fd);
    (void)unlinkat(place->parent_fd, place->file_name[0] ? place->file_name : name, 0);
    place->file_name[0] = '\0';
}
