/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the host's unpacker without its second wall, into a real folder: whatever an archive says,
 * nothing beside that folder may change. Input: a byte that says what the archive is taken for, one
 * that says where a second layer begins, then the archive. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "canary.h"
#include "fuzz.h"
#include "hostile_write.h"
#include "unpack_work.h"

#define BLOCK 512u

/* Wherever there is "ustar", the checksum before it is made right. */
static void checksums_repair(uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at + BLOCK <= bytes; at += BLOCK) {
        if (memcmp(data + at + 257, "ustar", 5) == 0)
            hostile_checksum(data + at);
    }
}

static int stream_make(const uint8_t *data, size_t bytes)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    uint8_t *copy = malloc(bytes ? bytes : 1);

    if (fd < 0 || !copy)
        abort();
    memcpy(copy, data, bytes);
    checksums_repair(copy, bytes);
    if (write(fd, copy, bytes) != (ssize_t)bytes || lseek(fd, 0, SEEK_SET) < 0)
        abort();
    free(copy);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    uint8_t what = fuzz_u8(&input);
    uint64_t cut = (uint64_t)fuzz_u8(&input) * BLOCK;
    const uint64_t layers[2] = { cut, UINT64_MAX };
    const struct unpack_spec spec = {
        .what = (enum unpack_what)(what % 3),
        .names = { .top = what & 4 ? "." : "top",
                   .as = what & 8 ? "as" : "",
                   .only_top = what & 16 },
        .keeps_top = what & 32,
        .layer_bytes = layers,
        .layer_count = 2,
    };
    int stream_fd = stream_make(input.data, input.bytes), target_fd = canary_open();
    struct place_tally tally;
    struct err err = { 0 };

    if (unpack_work(&spec, CONFINE_CHROOT, stream_fd, target_fd, &tally, &err) < 0 &&
        err.msg[0] == '\0')
        abort();
    close(target_fd);
    close(stream_fd);
    canary_check();
    return 0;
}
