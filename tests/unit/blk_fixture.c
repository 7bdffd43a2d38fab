/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the driver of block devices; see blk_fixture.h. */
#include "blk_fixture.h"

#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"

int blk_disk_fd(uint64_t bytes, uint8_t fill)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);
    uint8_t sector[512];

    memset(sector, fill, sizeof sector);
    ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
    for (uint64_t at = 0; fill && at < bytes; at += sizeof sector)
        ck_assert_int_eq(pwrite_all(fd, sector, MIN_OF(sizeof sector, bytes - at), at), 0);
    return fd;
}

void blk_start(struct fixture *f, const struct blk_config *config)
{
    struct err err = { 0 };

    ck_assert_msg(blk_create(f->vm, 2, "blk0", config, &f->dev, &err) == 0, "%s", err.msg);
    ck_assert(driver_start(&f->driver, f->vm, f->dev, UINT64_MAX, 1, 128));
    f->header_gpa = driver_alloc(&f->driver, 16);
    f->data_gpa = driver_alloc(&f->driver, DATA_BYTES);
    f->status_gpa = driver_alloc(&f->driver, 1);
    fake_vm_run(f->vm, 10);
}

void blk_tear_down(struct fixture *f)
{
    f->dev->ops->destroy(f->dev);
    ck_assert_uint_eq(f->vm->polls, 0);
    fake_vm_destroy(f->vm);
    close_fd(&f->base_fd);
    close_fd(&f->delta_fd);
}

void blk_submit(struct fixture *f, uint32_t type, uint64_t sector, uint32_t bytes, bool in)
{
    uint8_t *header = driver_at(&f->driver, f->header_gpa);
    uint32_t half = bytes / 2;
    struct driver_buffer buffers[4] = { { f->header_gpa, 16 } };
    unsigned count = 1;

    memset(header, 0, 16);
    memcpy(header, &type, 4);
    memcpy(header + 8, &sector, 8);
    *(uint8_t *)driver_at(&f->driver, f->status_gpa) = 0xee;
    if (half)
        buffers[count++] = (struct driver_buffer){ f->data_gpa, half };
    if (bytes)
        buffers[count++] = (struct driver_buffer){ f->data_gpa + half, bytes - half };
    buffers[count] = (struct driver_buffer){ f->status_gpa, 1 };
    if (in)
        driver_add(&f->driver, 0, buffers, 1, count);
    else
        driver_add(&f->driver, 0, buffers, count, 1);
    driver_notify(&f->driver, 0);
}

int blk_finish(struct fixture *f)
{
    uint16_t head;

    fake_vm_run(f->vm, 100);
    if (!driver_used(&f->driver, 0, &head, &f->used_bytes))
        return -1;
    return *(uint8_t *)driver_at(&f->driver, f->status_gpa);
}

int blk_request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t bytes, bool in)
{
    blk_submit(f, type, sector, bytes, in);
    return blk_finish(f);
}

uint8_t *blk_data(struct fixture *f)
{
    return driver_at(&f->driver, f->data_gpa);
}

int blk_write_fill(struct fixture *f, uint64_t sector, uint32_t bytes, uint8_t fill)
{
    memset(blk_data(f), fill, bytes);
    return blk_request(f, OUT, sector, bytes, false);
}

void blk_expect_fill(struct fixture *f, uint64_t sector, uint32_t bytes, uint8_t fill)
{
    memset(blk_data(f), ~fill, bytes);
    ck_assert_int_eq(blk_request(f, IN, sector, bytes, true), OK);
    ck_assert_uint_eq(f->used_bytes, bytes + 1);
    for (uint32_t i = 0; i < bytes; i++)
        ck_assert_msg(blk_data(f)[i] == fill, "sector %u byte %u is %u, not %u", (unsigned)sector,
                      i, blk_data(f)[i], fill);
}
