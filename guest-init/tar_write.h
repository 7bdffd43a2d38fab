/* SPDX-License-Identifier: Apache-2.0 */
/* Packs a file or folder as a tar stream that is pulled in portions. */
#ifndef GUEST_TAR_WRITE_H
#define GUEST_TAR_WRITE_H

#include <dirent.h>
#include <sys/types.h>

#include "tar.h"
#include "tar_links.h"
#include "tar_write_holes.h"
#include "tar_write_kernel.h"

#define TAR_WRITER_DEPTH_MAX 200u
#define TAR_WRITER_PAX_BYTES 40960u /* two long names, and attributes */

struct tar_writer_dir {
    DIR *dir;
    size_t path_bytes; /* of writer->path; and where the member's name begins in it is fixed */
    dev_t device;
};

struct tar_writer {
    char path[TAR_PATH_BYTES]; /* of the file at hand */
    size_t name_at;            /* members are named from here on */
    bool follow;               /* a link that the path itself is */
    int file_fd;               /* the file whose data is being sent, or -1 */
    uint64_t remaining;        /* bytes of it to come */
    uint32_t padding;          /* zero bytes to come behind it */
    uint32_t header_bytes;     /* in `headers`, of which header_sent are out */
    uint32_t header_sent;
    uint32_t left_out; /* special files, and attributes for which there was no room */
    uint32_t depth;
    bool started, ended;
    bool kernels;                  /* the path is of /proc, /sys and their like... */
    dev_t kernels_device;          /* ...and so is what is on this device */
    struct tar_kernel_file kernel; /* the file at hand, if it is such a one */
    struct tar_holes holes;        /* of the file at hand */
    struct tar_links links;
    struct tar_writer_dir dirs[TAR_WRITER_DEPTH_MAX];
    /* A pax header and its block, and the member's own header. */
    uint8_t headers[TAR_BLOCK_BYTES + TAR_WRITER_PAX_BYTES + TAR_BLOCK_BYTES];
};

/* Members are named from the last component of `path` on. 0, or -errno with fail set. */
int tar_writer_init(struct tar_writer *writer, const char *path, bool follow, struct fail *fail);
void tar_writer_fini(struct tar_writer *writer);

/* The next bytes of the stream, at most `room`. Their count; 0 at the end; -errno with fail set.
 * Sockets, FIFOs and devices are left out; of the kernel's own file systems (/proc, /sys) that are
 * mounted within it only the folder is there; is `path` in one, what can't be read of it is left out,
 * but an error if it is `path` itself. Elsewhere a file that shrinks meanwhile ends in zeros, one that
 * grows is cut. */
ssize_t tar_writer_read(struct tar_writer *writer, uint8_t *buffer, size_t room, struct fail *fail);

#endif
