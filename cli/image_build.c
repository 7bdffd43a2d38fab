/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the making of root filesystems from folders, tar files and OCI layouts; see image_build.h.
 *
 * How it works: everything happens in one temporary folder: what has to be unpacked goes to its
 * `root`, the file system to its `image`, which is opened, and the folder removed. Without root's
 * rights, files can't be given to their owners: then the image says that all belong to root. */
#include "image_build.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "image_archive.h"
#include "image_unpack.h"
#include "program.h"
#include "unpack/tree_remove.h"

#define EXT4_ROOM MIB(64)
#define EXT4_INODE_BYTES 512u /* of the table, and of folders that name it */
#define EXT4_BYTES_PER_NEW_INODE 16384u
/* No copies of the superblock. */
#define COMPACT_FEATURES "^has_journal,^resize_inode,sparse_super2"
#define OPTIONS "root_owner=0:0,hash_seed=00000000-0000-0000-0000-000000000001"
#define COMPACT_OPTIONS OPTIONS ",num_backup_sb=0"

/* Runs a program that may write in the temporary folder only. */
#define RUN(build, package, err, ...)                                                              \
    program_run(&(const struct program){ package, (build)->work,                                   \
                                         (const char *const[]){ __VA_ARGS__ },                     \
                                         ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })) },      \
                err)

struct build {
    const struct image_source *source;
    char work[PATH_MAX]; /* the temporary folder */
    char root[PATH_MAX]; /* what goes into the image */
    char image[PATH_MAX];
    json_t *config; /* of an OCI image */
};

static bool is_root(void)
{
    return geteuid() == 0;
}

/* ---- Sources ---- */

static int source_dir(struct build *build, struct err *err)
{
    struct stat st;

    if (!realpath(build->source->dir, build->root) || stat(build->root, &st) < 0)
        return err_set_errno(err, errno, "--from-dir %s", build->source->dir);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ENOTDIR, "--from-dir %s: not a folder", build->source->dir);
    if (build->source->whatever)
        return 0;
    _cleanup_close_ int fd = open(build->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set_errno(err, errno, "--from-dir %s", build->source->dir)
                  : image_archive_refuse(fd, build->source->dir, err);
}

static int source_oci(struct build *build, int root_fd, struct err *err)
{
    char layout[PATH_MAX];
    int rc = image_archive_open(build->source->oci, build->work, layout, err);

    if (rc < 0)
        return rc == -EINTR ? rc : err_wrap(err, "--from-oci %s", build->source->oci);
    return image_unpack_oci(rc > 0 ? layout : build->source->oci, root_fd, &build->config, err);
}

/* Unpacks what is not a folder yet into one. */
static int source_unpack(struct build *build, struct err *err)
{
    snprintf(build->root, sizeof build->root, "%.*s/root", PATH_MAX - 16, build->work);
    if (mkdir(build->root, 0700) < 0 || chmod(build->root, build->source->empty ? 01777 : 0755) < 0)
        return err_set_errno(err, errno, "making %s", build->root);
    if (build->source->empty)
        return 0;
    _cleanup_close_ int fd = open(build->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "opening %s", build->root);
    return build->source->tar ? image_unpack_tar(build->source->tar, fd, err)
                              : source_oci(build, fd, err);
}

/* ---- File systems ---- */

static int make_erofs(struct build *build, struct err *err)
{
    return RUN(build, "erofs-utils", err, "mkfs.erofs", is_root() ? NULL : "--all-root", "--quiet",
               "--preserve-mtime", "-U00000000-0000-0000-0000-000000000000", build->image,
               build->root);
}

/* What mke2fs must make room for. */
static struct {
    uint64_t bytes, inodes;
} tree;

static int tree_add(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)path;
    (void)kind;
    (void)ftw;
    tree.bytes += align_up((uint64_t)st->st_size, 4096) + EXT4_INODE_BYTES;
    tree.inodes++;
    return 0;
}

/* An inode for each file there is and for as many new ones as mke2fs would have room for; a small
 * file has a block of its own. */
static int make_ext4(struct build *build, struct err *err)
{
    uint64_t bytes = build->source->bytes;
    char blocks[24], inodes[24];

    tree.bytes = tree.inodes = 0;
    if (nftw(build->root, tree_add, 32, FTW_PHYS) < 0)
        return err_set_errno(err, errno, "measuring %s", build->root);
    if (!bytes)
        bytes = tree.bytes + tree.bytes / 8 + EXT4_ROOM;
    snprintf(blocks, sizeof blocks, "%llu", (unsigned long long)bytes / 4096);
    snprintf(inodes, sizeof inodes, "%llu",
             (unsigned long long)tree.inodes + bytes / EXT4_BYTES_PER_NEW_INODE);
    /* No journal: what a VM writes is gone with it, or kept when it is unmounted. */
    const bool compact = build->source->compact;
    /* A file that it makes itself it tells of, quiet or not. */
    _cleanup_close_ int fd = open(build->image, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "making %s", build->image);
    return RUN(build, "e2fsprogs", err, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0",
               "-O", compact ? COMPACT_FEATURES : "^has_journal", "-G", compact ? "4096" : "16",
               "-N", inodes, "-E", compact ? COMPACT_OPTIONS : OPTIONS, "-U",
               "00000000-0000-0000-0000-000000000000", "-d", build->root, build->image, blocks);
}

static const struct {
    const char *filesystem;
    int (*make)(struct build *build, struct err *err);
} makers[] = {
    { "erofs", make_erofs },
    { "ext4", make_ext4 },
};

/* ---- All of it ---- */

static int steps(struct build *build, struct err *err)
{
    const struct image_source *source = build->source;
    int rc = source->dir ? source_dir(build, err) : source_unpack(build, err);

    for (size_t i = 0; i < ARRAY_LEN(makers) && rc == 0; i++) {
        if (strcmp(makers[i].filesystem, source->filesystem) == 0)
            return makers[i].make(build, err);
    }
    return rc < 0 ? rc
                  : err_set(err, EINVAL, "--fs %s: expected erofs or ext4", source->filesystem);
}

int image_build(const struct image_source *source, struct image_built *ret_built, struct err *err)
{
    struct build build = { .source = source };
    const char *tmp = getenv("TMPDIR");
    struct stat st;

    snprintf(build.work, sizeof build.work, "%s/volt-image.XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
    if (!mkdtemp(build.work))
        return err_set_errno(err, errno, "making a temporary folder %s", build.work);
    snprintf(build.image, sizeof build.image, "%.*s/image", PATH_MAX - 16, build.work);
    int rc = steps(&build, err);
    _cleanup_close_ int fd = rc == 0 ? open(build.image, O_RDONLY | O_CLOEXEC) : -1;
    if (rc == 0 && (fd < 0 || fstat(fd, &st) < 0))
        rc = err_set_errno(err, errno, "opening the file system");
    (void)tree_remove(AT_FDCWD, build.work, NULL);
    if (rc < 0) {
        json_decref(build.config);
        return rc;
    }
    *ret_built = (struct image_built){ take_fd(&fd), (uint64_t)st.st_size, build.config };
    return 0;
}

void image_built_fini(struct image_built *built)
{
    close_fd(&built->fd);
    json_decref(built->config);
    built->config = NULL;
}
