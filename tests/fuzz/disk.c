/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes disks over forged delta files. Input: a byte whose bit 0 leaves the delta's header as it
 * is (else magic, version and sizes are made right), 8 bytes that choose transfers, then the delta.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "fuzz.h"
#include "virtio/disk.h"

#define DISK_BYTES 65536u
#define AS_IS 0x1u

static int file_make(const char *name, const void *data, size_t bytes, size_t file_bytes)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)file_bytes) < 0 || pwrite_all(fd, data, bytes, 0) < 0)
        abort();
    return fd;
}

static void header_repair(uint8_t *delta, size_t bytes)
{
    struct disk_delta_header header;

    if (bytes < sizeof(header))
        return;
    memcpy(&header, delta, sizeof(header));
    header.magic = DISK_DELTA_MAGIC;
    header.version = DISK_DELTA_VERSION;
    header.cluster_bytes = DISK_CLUSTER_BYTES;
    header.disk_bytes = DISK_BYTES;
    memcpy(delta, &header, sizeof(header));
}

static void transfers_make(struct disk *disk, const uint8_t choice[8])
{
    static uint8_t buffer[DISK_BYTES];
    uint64_t offset = (uint64_t)(choice[0] % 128) * DISK_SECTOR_BYTES;
    uint32_t bytes = (uint32_t)MIN_OF((1u + choice[1]) * DISK_SECTOR_BYTES, DISK_BYTES - offset);
    struct iovec iov[2];

    for (unsigned i = 0; i < 4; i++) {
        uint32_t first = choice[2 + i] % bytes;

        iov[0] = (struct iovec){ buffer, first };
        iov[1] = (struct iovec){ buffer + first, bytes - first };
        if (choice[6] >> i & 1)
            (void)disk_write(disk, iov, 2, offset, bytes);
        else if (choice[7] >> i & 1)
            (void)disk_zero(disk, offset, bytes, choice[6] & 0x80, &(uint64_t){ 0 });
        else
            (void)disk_read(disk, iov, 2, offset, bytes);
    }
    (void)disk_flush(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    uint8_t mode = fuzz_u8(&input), choice[8], *delta;
    struct disk_config config = { .delta_count = 1 };
    size_t delta_bytes;
    struct disk disk;
    struct err err = { 0 };

    fuzz_take(&input, choice, sizeof(choice));
    delta_bytes = input.bytes;
    delta = malloc(delta_bytes + 1);
    if (!delta)
        return 0;
    fuzz_take(&input, delta, delta_bytes);
    if (!(mode & AS_IS))
        header_repair(delta, delta_bytes);
    config.base_fd = file_make("base", "base", 4, DISK_BYTES);
    /* Some are longer than their content, as sparse files are. */
    config.delta_fd[0] = file_make("delta", delta, delta_bytes,
                                   mode & 2 ? MAX_OF(delta_bytes, 4 * DISK_BYTES) : delta_bytes);
    if (disk_open(&disk, &config, &err) == 0) {
        transfers_make(&disk, choice);
        disk_close(&disk);
    } else if (err.msg[0] == '\0') {
        abort();
    }
    free(delta);
    return 0;
}
