/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the user page faults of a guest that boots; see guest_fill.h and ioctl_userfaultfd(2). */
#include "memory/guest_fill.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/util.h"

/* Waiting threads are let go after each: the guest's first steps need the first of them. */
#define STEP_BYTES KIB(256)

void guest_fill_open(struct guest_fill *fill)
{
    fill->device_fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
}

void guest_fill_begin(struct guest_fill *fill)
{
    struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM };

    if (fill->device_fd < 0)
        return;
    fill->fault_fd = ioctl(fill->device_fd, USERFAULTFD_IOC_NEW, O_CLOEXEC);
    close_fd(&fill->device_fd);
    if (fill->fault_fd >= 0 && ioctl(fill->fault_fd, UFFDIO_API, &api) < 0)
        close_fd(&fill->fault_fd);
}

/* The whole pages of it, at *ret_skip_bytes from its beginning. */
static uint64_t whole_pages(const uint8_t *to, uint64_t bytes, uint64_t *ret_skip_bytes)
{
    uint64_t skip = align_up((uintptr_t)to, HOST_PAGE_BYTES) - (uintptr_t)to;

    *ret_skip_bytes = skip;
    return bytes > skip ? (bytes - skip) / HOST_PAGE_BYTES * HOST_PAGE_BYTES : 0;
}

uint64_t guest_fill_add(struct guest_fill *fill, int fd, uint64_t offset, uint8_t *to,
                        uint64_t bytes, uint64_t *ret_skip_bytes)
{
    uint64_t whole = whole_pages(to, bytes, ret_skip_bytes);

    if (fill->fault_fd < 0 || fill->count == GUEST_FILL_PIECES_MAX || whole < GUEST_FILL_BYTES_MIN)
        return 0;
    struct guest_fill_piece piece = { .to = to + *ret_skip_bytes, .bytes = whole };
    offset += *ret_skip_bytes;
    piece.skip_bytes = offset % HOST_PAGE_BYTES;
    piece.map = mmap(NULL, piece.skip_bytes + whole, PROT_READ, MAP_PRIVATE, fd,
                     (off_t)(offset - piece.skip_bytes));
    if (piece.map == MAP_FAILED)
        return 0;
    struct uffdio_register registration = {
        .range = { .start = (uintptr_t)piece.to, .len = whole },
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    if (ioctl(fill->fault_fd, UFFDIO_REGISTER, &registration) < 0) {
        munmap(piece.map, piece.skip_bytes + whole);
        return 0;
    }
    fill->piece[fill->count++] = piece;
    return whole;
}

static int fill_piece(const struct guest_fill *fill, const struct guest_fill_piece *piece)
{
    for (uint64_t done = 0; done < piece->bytes;) {
        struct uffdio_copy copy = {
            .dst = (uintptr_t)piece->to + done,
            .src = (uintptr_t)piece->map + piece->skip_bytes + done,
            .len = MIN_OF(piece->bytes - done, STEP_BYTES),
        };
        /* EAGAIN: some of it, or the mappings were being changed. */
        if (ioctl(fill->fault_fd, UFFDIO_COPY, &copy) < 0 && errno != EAGAIN)
            return errno == EFAULT ? -ENODATA : -errno;
        done += copy.copy > 0 ? (uint64_t)copy.copy : 0;
    }
    return 0;
}

int guest_fill_run(struct guest_fill *fill, struct err *err)
{
    int rc = 0;

    for (unsigned i = 0; i < fill->count && rc == 0; i++)
        rc = fill_piece(fill, &fill->piece[i]);
    /* The caller ends the VM: a thread that was let go now would see zeros. */
    if (rc == -ENODATA)
        return err_set(err, ENODATA,
                       "the kernel or the initramfs has become shorter while the VM was starting; "
                       "replace such files by renaming");
    if (rc < 0)
        return err_set_errno(err, -rc, "loading the kernel and the initramfs");
    guest_fill_fini(fill);
    return 0;
}

void guest_fill_fini(struct guest_fill *fill)
{
    for (unsigned i = 0; i < fill->count; i++)
        munmap(fill->piece[i].map, fill->piece[i].skip_bytes + fill->piece[i].bytes);
    fill->count = 0;
    close_fd(&fill->device_fd);
    close_fd(&fill->fault_fd);
}
