/* SPDX-License-Identifier: Apache-2.0 */
/* File bytes that are still on their way into guest memory while the guest already runs: a kernel
 * and an initramfs of 10 MB take longer to copy than all the rest of a VM's set-up.
 *
 * Linux's userfaultfd holds whoever touches a page that is not there yet, the guest too, until
 * guest_fill_run has copied it; so nobody ever sees a page half filled. Where the host has no
 * /dev/userfaultfd (before Linux 6.1), or does not let this process open it, guest_fill_add says
 * no, and the caller copies at once.
 *
 * States: closed; open (guest_fill_open); active (guest_fill_begin), in which pieces may be added;
 * done (guest_fill_run or guest_fill_fini). If the run fails, pages are missing for ever, and the
 * VM has to end.
 *
 * Threads: everything on one, but guest_fill_run, which may be on another when all has been added.
 */
#ifndef VOLT_MEMORY_GUEST_FILL_H
#define VOLT_MEMORY_GUEST_FILL_H

#include <stdint.h>

#include "base/err.h"

#define GUEST_FILL_PIECES_MAX 8u
#define GUEST_FILL_BYTES_MIN (256u << 10) /* less is copied as fast as it is arranged for */

struct guest_fill {
    int device_fd; /* /dev/userfaultfd, owned; -1 none */
    int fault_fd;  /* of this process's memory, owned; -1 unless active */
    unsigned count;
    struct guest_fill_piece {
        uint8_t *to;         /* the first page that was not there */
        uint64_t bytes;      /* whole pages */
        void *map;           /* the file, mapped privately, owned */
        uint64_t skip_bytes; /* where in it the piece begins */
    } piece[GUEST_FILL_PIECES_MAX];
};

#define GUEST_FILL_INIT                                                                            \
    {                                                                                              \
        .device_fd = -1, .fault_fd = -1                                                            \
    }

/* Before the process gives up its right to open files. It may stay closed, which is no error. */
void guest_fill_open(struct guest_fill *fill);

/* In the process whose memory it is (a fork has its own). It may stay inactive. */
void guest_fill_begin(struct guest_fill *fill);

/* Takes on as much of bytes [offset, offset + bytes) of file fd (borrowed) as are whole pages of
 * the memory at `to`, which must be mapped from a memory file and not have been touched. Returns
 * how much: *ret_skip_bytes from `to` on; the caller copies what is before and behind. 0 when it
 * takes nothing on. */
uint64_t guest_fill_add(struct guest_fill *fill, int fd, uint64_t offset, uint8_t *to,
                        uint64_t bytes, uint64_t *ret_skip_bytes);

/* Copies all that has been taken on, in the order in which it was, and is done. -ENODATA with a
 * sentence when a file is shorter than it was, or -errno. Nothing to do is a success. */
int guest_fill_run(struct guest_fill *fill, struct err *err);

/* Lets go of everything; of waiting threads too, which then see zeros. */
void guest_fill_fini(struct guest_fill *fill);

#endif
