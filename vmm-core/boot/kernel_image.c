/* SPDX-License-Identifier: Apache-2.0 */
/* Owns getting file bytes into guest memory, and telling kernel formats apart.
 *
 * A 10 MB kernel would be most of what a cold boot's set-up costs, so it is copied while the guest
 * runs (guest_fill.h). Where that can't be, the way it is copied was measured: sendfile into the
 * memory file (1.5 ms) beats pread into the mapping (2.9 ms, one fault for each page), mmap and
 * pwrite (1.8 ms) and a bounce buffer (1.8 ms). pread is what is left when there is no memory file
 * or sendfile refuses the source. */
#include "boot/kernel_image.h"

#include <elf.h>
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/util.h"

#define BZIMAGE_MAGIC_OFFSET 0x202u

int boot_file_bytes(int fd, const char *what, uint64_t *ret_bytes, struct err *err)
{
    struct stat st;
    uint64_t bytes = 0;

    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "looking at the %s", what);
    if (S_ISREG(st.st_mode))
        bytes = (uint64_t)st.st_size;
    else if (!S_ISBLK(st.st_mode))
        return err_set(err, EINVAL, "the %s is not a regular file", what);
    else if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
        return err_set_errno(err, errno, "asking for the size of the %s", what);
    if (bytes == 0)
        return err_set(err, EINVAL, "the %s is empty", what);
    *ret_bytes = bytes;
    return 0;
}

/* Offset of a guest address in the memory file. The caller has checked that it is RAM. */
static uint64_t memory_file_offset(const struct guest_mem *mem, gpa_t gpa)
{
    return (uint64_t)((uint8_t *)guest_mem_at(mem, gpa, 1) - mem->hva);
}

/* sendfile as far as it goes; returns the bytes copied, fewer when it stopped for any reason. */
static uint64_t send_to_memory_file(int fd, uint64_t file_offset, const struct guest_mem *mem,
                                    gpa_t gpa, uint64_t bytes)
{
    off_t from = (off_t)file_offset;
    uint64_t copied = 0;

    if (mem->fd < 0 || lseek(mem->fd, (off_t)memory_file_offset(mem, gpa), SEEK_SET) < 0)
        return 0;
    while (copied < bytes) {
        ssize_t n = sendfile(mem->fd, fd, &from, bytes - copied);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        copied += (uint64_t)n;
    }
    return copied;
}

static int copy_now(int fd, uint64_t file_offset, struct guest_mem *mem, gpa_t gpa, uint64_t bytes)
{
    if (bytes == 0)
        return 0;
    uint64_t copied = send_to_memory_file(fd, file_offset, mem, gpa, bytes);
    /* What is left, if anything; a real error shows itself here. */
    return pread_all(fd, (uint8_t *)guest_mem_at(mem, gpa, bytes) + copied, bytes - copied,
                     file_offset + copied);
}

int boot_load_file(int fd, uint64_t file_offset, struct guest_mem *mem, gpa_t gpa, uint64_t bytes)
{
    uint8_t *to = guest_mem_at(mem, gpa, bytes);
    uint64_t head = 0, later = 0;

    if (!to)
        return -EFAULT;
    if (mem->fill)
        later = guest_fill_add(mem->fill, fd, file_offset, to, bytes, &head);
    if (later == 0)
        return copy_now(fd, file_offset, mem, gpa, bytes);
    int rc = copy_now(fd, file_offset, mem, gpa, head);
    head += later;
    return rc == 0 ? copy_now(fd, file_offset + head, mem, gpa + head, bytes - head) : rc;
}

int kernel_image_read(int fd, const struct guest_mem *mem, struct kernel_image *ret_image,
                      struct err *err)
{
    struct kernel_image image = { 0 };
    uint8_t magic[4];
    uint64_t file_bytes;
    int rc = boot_file_bytes(fd, "kernel", &file_bytes, err);

    if (rc < 0)
        return rc;
    if (file_bytes >= sizeof magic && pread_all(fd, magic, sizeof magic, 0) == 0 &&
        memcmp(magic, ELFMAG, SELFMAG) == 0)
        rc = kernel_image_read_elf(fd, file_bytes, mem, &image, err);
    else if (file_bytes >= BZIMAGE_MAGIC_OFFSET + sizeof magic &&
             pread_all(fd, magic, sizeof magic, BZIMAGE_MAGIC_OFFSET) == 0 &&
             memcmp(magic, "HdrS", sizeof magic) == 0)
        rc = kernel_image_read_bzimage(fd, file_bytes, mem, &image, err);
    else
        rc = err_set(err, EINVAL,
                     "the kernel is neither ELF (magic 7f 45 4c 46 at offset 0) nor bzImage "
                     "(\"HdrS\" at offset 0x202)");
    if (rc < 0)
        return rc;
    *ret_image = image;
    return 0;
}

int kernel_image_load(int fd, const struct kernel_image *image, struct guest_mem *mem,
                      struct err *err)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct kernel_segment *s = &image->segment[i];
        int rc = boot_load_file(fd, s->file_offset, mem, s->gpa, s->file_bytes);

        if (rc < 0)
            return err_set_errno(err, -rc, "reading %llu bytes of the %s kernel at offset 0x%llx",
                                 (unsigned long long)s->file_bytes, image->format,
                                 (unsigned long long)s->file_offset);
    }
    return 0;
}
