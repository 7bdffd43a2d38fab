/* SPDX-License-Identifier: Apache-2.0 */
/* A tar_sink that creates files below one directory and nowhere else. */
#ifndef GUEST_TAR_EXTRACT_H
#define GUEST_TAR_EXTRACT_H

#include <sys/types.h>
#include <time.h>

#include "tar.h"

#define EXTRACT_DEPTH_MAX 200u /* directories inside one another whose times are put right */
#define EXTRACT_NAME_BYTES 256u

/* What is done with a stream's members, and where links on the way may lead. */
struct extract_rules {
    bool owners;       /* members keep owners, groups and set-id bits; else all is root's */
    bool capabilities; /* security.capability is kept; user.* always is */
    bool in_root;      /* the directory is the root of all links; else none leads out of it */
};

/* A directory that is being filled; its time is set when the stream has left it. */
struct extract_dir {
    size_t path_bytes; /* its path is that much of extract.dir_path */
    struct timespec mtime;
};

/* Whether a file that is made in a directory gets the mode that it is made with, less the process's
 * mask. An ACL of the directory may say otherwise. */
enum extract_modes { EXTRACT_MODES_UNKNOWN, EXTRACT_MODES_KEPT, EXTRACT_MODES_OTHERS };

struct extract {
    struct extract_rules rules;
    int root_fd;   /* borrowed */
    mode_t mask;   /* of the process: what a file is not made with */
    int file_fd;   /* the file being written, or -1 */
    int parent_fd; /* the directory of the last member, or -1 */
    enum extract_modes parent_modes;
    uint32_t depth;
    uint64_t members;  /* unpacked */
    uint64_t left_out; /* attributes that could not be set, devices and FIFOs */
    struct extract_dir dirs[EXTRACT_DEPTH_MAX];
    uint64_t file_end;                  /* of what was written to it */
    bool file_has_mode;                 /* it was made with its own */
    bool file_replaces;                 /* until it is whole it has a name of its own: */
    char file_name[EXTRACT_NAME_BYTES]; /* what the file is called by now */
    char parent_path[TAR_PATH_BYTES];
    char dir_path[TAR_PATH_BYTES];
};

/* root_fd stays the caller's and must outlive the extract. */
void extract_init(struct extract *extract, int root_fd, const struct extract_rules *rules);

/* A file that is not whole goes; the one that it was to replace stays. */
void extract_fini(struct extract *extract);

/* The sink that unpacks into it. Members with absolute names or "..", names that lead out of the
 * root through symbolic links, and members of unknown kinds end with an error; so does what would
 * replace a device, FIFO or socket. Members that are devices or FIFOs are left out and counted. */
struct tar_sink extract_sink(struct extract *extract);

#endif
