/* SPDX-License-Identifier: Apache-2.0 */
/* Puts an archive's members in their place beneath one folder.
 *
 * How it works
 *   1. A member's path (names.h) is cut into parent and last component. The parent is opened by
 *      openat2 beneath the target: the kernel refuses every link on the way that leads out, whoever
 *      put it there and when (RESOLVE_BENEATH), or takes the target for the root of all names
 *      (RESOLVE_IN_ROOT, for roots of images, whose links are absolute with good reason).
 *   2. The last component is made anew, never opened: a file with O_EXCL, the others by calls that
 *      fail when something is there. What was there is removed first, as far as the rules allow.
 *   3. Modes and times of folders are set at the end (place_dirs.c): until then they can be written.
 *
 * One thread. Paths are trusted to have passed name_confine; nothing else of a member is.
 */
#ifndef VOLT_CLI_UNPACK_PLACE_H
#define VOLT_CLI_UNPACK_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "names.h"

#define PLACE_XATTRS_MAX 64u

enum member_type {
    MEMBER_FILE,
    MEMBER_FOLDER,
    MEMBER_SYMLINK,
    MEMBER_HARDLINK,
    MEMBER_CHAR_DEVICE,
    MEMBER_BLOCK_DEVICE,
    MEMBER_FIFO,
    MEMBER_TYPE_COUNT,
};

struct member_xattr {
    const char *name;
    const void *value;
    size_t bytes;
};

struct member {
    char path[NAME_PATH_BYTES];
    char link[NAME_PATH_BYTES]; /* hard link: a path like the above; symlink: its text */
    enum member_type type;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    dev_t device;
    uint64_t bytes; /* of a file */
    struct timespec mtime;
    struct member_xattr xattrs[PLACE_XATTRS_MAX]; /* borrowed */
    size_t xattr_count;
};

/* What is taken over of members, and what may become of that which is there. */
struct place_rules {
    mode_t mode_mask; /* of the permission bits */
    bool in_root;     /* links are followed as if the target were the root */
    bool owners;      /* members' owners and groups */
    bool nodes;       /* device nodes are made; else they are left out and counted */
    bool fifos;       /* the same for FIFOs */
    bool foreign;     /* device nodes and FIFOs are an error: who packed this makes none */
    bool replaces;    /* anything takes the place of anything: the layers of an image */
    bool keeps_top;   /* mode, owner and time of the target itself stay */
    bool mark_links;  /* links get PLACE_LINK_MARK_NS */
};

/* The nanoseconds in the time of a link that a VM sent. By it voltctl knows one again, and does not
 * follow it when it is in the path of a later copy's target. */
#define PLACE_LINK_MARK_NS 564786884

/* What has been made, and what was left out. */
struct place_tally {
    uint64_t members, bytes;
    uint64_t nodes, fifos, xattrs; /* left out */
    char last[128];                /* the last member that was begun, printable */
};

struct place_dir;
struct inode_set;

struct place {
    struct place_rules rules;
    int root_fd;             /* borrowed */
    int parent_fd;           /* the folder of the last member, or -1 */
    bool parent_stale;       /* something was removed: it may not be what its path leads to now */
    int file_fd;             /* the file being written, or -1 */
    char file_name[24];      /* its name for the time being; "": its own */
    struct inode_set *layer; /* what the layer at hand has made; NULL: nobody asks */
    struct place_dir *dirs;  /* whose metadata is to come */
    size_t dir_count, dir_room;
    size_t path_bytes; /* of all their paths */
    struct place_tally tally;
    char parent_path[NAME_PATH_BYTES];
};

void place_init(struct place *place, int root_fd, const struct place_rules *rules);

/* Frees what it holds; what was made stays. */
void place_fini(struct place *place);

/* Makes a member. For a file, place_data and then place_end must follow; they do nothing for others
 * and for what was left out. 0 or -errno with a sentence. */
int place_begin(struct place *place, const struct member *member, struct err *err);
int place_data(struct place *place, const void *data, size_t bytes, uint64_t offset,
               struct err *err);
int place_end(struct place *place, const struct member *member, struct err *err);

/* A file that has no place_end goes away again. */
void place_abandon(struct place *place, const struct member *member);

/* Sets what folders were to get at last. */
int place_finish(struct place *place, struct err *err);

/* Makes a folder of the target, and what is missing above it. 0, also if it is there, or -errno. */
int place_make_folder(const struct place *place, const char *path);

/* Opens the folder at `path` in the target as O_PATH; 0 or -errno. */
int place_open_folder(const struct place *place, const char *path, int *ret_fd);

#endif
