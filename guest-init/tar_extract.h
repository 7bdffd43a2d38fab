/* SPDX-License-Identifier: Apache-2.0 */
/* A tar_sink that creates files below one directory and nowhere else. */
#ifndef GUEST_TAR_EXTRACT_H
#define GUEST_TAR_EXTRACT_H

#include "tar.h"

#define EXTRACT_DEPTH_MAX 64u /* directories inside one another whose times are put right */

/* A directory that is being filled; its time is set when the stream has left it. */
struct extract_dir {
    size_t path_bytes; /* its path is that much of extract.dir_path */
    int64_t mtime_s;
};

struct extract {
    int root_fd;   /* borrowed */
    int file_fd;   /* the file being written, or -1 */
    int parent_fd; /* the directory of the last member, or -1 */
    uint32_t depth;
    struct extract_dir dirs[EXTRACT_DEPTH_MAX];
    char parent_path[TAR_PATH_BYTES];
    char dir_path[TAR_PATH_BYTES];
};

/* root_fd stays the caller's and must outlive the extract. */
void extract_init(struct extract *extract, int root_fd);
void extract_fini(struct extract *extract);

/* The sink that unpacks into it. Members with absolute names or "..", names that lead out of the
 * root through symbolic links, and members that are no files, directories or links end with an
 * error. Files belong to the caller, modes are kept but for setuid, setgid and sticky. */
struct tar_sink extract_sink(struct extract *extract);

#endif
