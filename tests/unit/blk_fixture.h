/* SPDX-License-Identifier: Apache-2.0 */
/* A block device over a fake machine, with a driver that asks it for one thing at a time. */
#ifndef VOLT_TESTS_BLK_FIXTURE_H
#define VOLT_TESTS_BLK_FIXTURE_H

#include "virtio/blk.h"
#include "virtio_driver.h"

#define DISK_BYTES (1u << 20)
#define DATA_BYTES 65536u

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK, IOERR, UNSUPPORTED };

struct fixture {
    struct vm *vm;
    struct device *dev;
    struct virtio_driver driver;
    gpa_t header_gpa, data_gpa, status_gpa;
    uint32_t used_bytes; /* of the last request */
    int base_fd, delta_fd;
};

/* A memfd of that size, of zeroes or of another byte. */
int blk_disk_fd(uint64_t bytes, uint8_t fill);
/* Makes the device, and brings its driver up. */
void blk_start(struct fixture *f, const struct blk_config *config);
/* Ends all of it. */
void blk_tear_down(struct fixture *f);
/* Queues a request with `bytes` of data, written by the device if in. */
void blk_submit(struct fixture *f, uint32_t type, uint64_t sector, uint32_t bytes, bool in);
/* The status of the request, or -1 while it is not done. */
int blk_finish(struct fixture *f);
/* Both. */
int blk_request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t bytes, bool in);
/* A request's data. */
uint8_t *blk_data(struct fixture *f);
/* Writes a byte all over a range; the status. */
int blk_write_fill(struct fixture *f, uint64_t sector, uint32_t bytes, uint8_t fill);
/* It is what is read there. */
void blk_expect_fill(struct fixture *f, uint64_t sector, uint32_t bytes, uint8_t fill);

#endif
