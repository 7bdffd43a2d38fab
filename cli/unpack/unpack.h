/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking of what is not trusted: an archive from a guest, a file or an image's layers, into one
 * folder, by a child process that can write nowhere else.
 *
 * Two walls, each of which must hold alone: every name is checked, and resolved beneath the folder
 * by the kernel (names.h, place.h); and the process has no way out of the folder (confine.h).
 *
 *     unpack_start -> unpack_feed ... -> unpack_finish
 *
 * One thread; the caller ignores SIGPIPE.
 */
#ifndef VOLT_CLI_UNPACK_UNPACK_H
#define VOLT_CLI_UNPACK_UNPACK_H

#include "confine.h"
#include "place.h"

enum unpack_what {
    UNPACK_COPY,   /* a plain tar from a guest's agent: no devices, no set-id bits */
    UNPACK_ROOT,   /* a tar of a root filesystem, maybe compressed: as root, all that it has */
    UNPACK_LAYERS, /* several of these, one over the other, with whiteouts */
};

struct unpack_spec {
    enum unpack_what what;
    int target_fd;  /* borrowed; O_PATH will do */
    unsigned walls; /* CONFINE_ALL */
    /* UNPACK_COPY */
    struct name_rules names;
    bool keeps_top; /* the folder was there: its own mode and time stay */
    bool owners;    /* as root: members keep their owners */
    /* UNPACK_LAYERS: how long each is in the stream, one behind the other; borrowed */
    const uint64_t *layer_bytes;
    size_t layer_count;
    const char *const *folders; /* of the image: made if the layers have them not, as is what is
                                   above them */
    size_t folder_count;
};

struct unpack {
    pid_t pid; /* 0: none */
    int fd;    /* takes the stream */
    int report_fd;
};

struct unpack_result {
    unsigned walls; /* CONFINE_*: what was in force */
    struct place_tally tally;
};

/* Most that the files of one image may hold: what its file system may. */
#define UNPACK_IMAGE_BYTES_MAX (64ull << 30)

/* Starts the child. The spec is not needed afterwards. 0 or -errno. */
int unpack_start(struct unpack *unpack, const struct unpack_spec *spec, struct err *err);

/* Gives it the next bytes; blocks while it works. -EPIPE when it has ended early: unpack_finish
 * tells why. */
int unpack_feed(struct unpack *unpack, const void *data, size_t bytes);

/* The stream is over: waits for the child. 0, or -errno with the child's sentence; *ret_result says
 * either way how far it came. */
int unpack_finish(struct unpack *unpack, struct unpack_result *ret_result, struct err *err);

/* Ends the child at once, whatever it is doing. */
void unpack_kill(struct unpack *unpack);

/* One sentence for the user when a wall is missing on this host, else NULL. */
const char *unpack_walls_note(unsigned walls);

#endif
