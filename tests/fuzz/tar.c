/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes unpacking of a tar stream in the guest, into a real directory: whatever the stream says,
 * nothing beside that directory may change. Input: a byte that says how the stream is cut and
 * whether header checksums are made right first, then the stream. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "canary.h"
#include "fuzz.h"
#include "tar.h"
#include "tar_extract.h"

#define AS_IS 0x80u

static void checksums_repair(uint8_t *stream, size_t bytes)
{
    for (size_t at = 0; at + TAR_BLOCK_BYTES <= bytes; at += TAR_BLOCK_BYTES) {
        struct tar_header header;

        memcpy(&header, stream + at, sizeof(header));
        if (header.name[0] == '\0')
            continue; /* end marker or data */
        snprintf(header.checksum, sizeof(header.checksum), "%06o",
                 tar_header_sum(&header) & 0777777);
        memcpy(stream + at, &header, sizeof(header));
    }
}

static void stream_unpack(const uint8_t *stream, size_t bytes, size_t step)
{
    static struct tar_reader reader;
    static struct extract extract;
    struct fail fail = { 0 };
    int root_fd = canary_open(), r = 0;
    struct tar_sink sink;

    extract_init(&extract, root_fd,
                 &(struct extract_rules){ .owners = true, .capabilities = true });
    sink = extract_sink(&extract);
    tar_reader_init(&reader, &sink);
    for (size_t at = 0; r == 0 && at < bytes; at += step)
        r = tar_reader_feed(&reader, stream + at, step < bytes - at ? step : bytes - at, &fail);
    if (r == 0)
        r = tar_reader_finish(&reader, &fail);
    if (r < 0 && fail.sentence[0] == '\0')
        abort();
    tar_reader_fini(&reader);
    extract_fini(&extract);
    close(root_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    uint8_t mode = fuzz_u8(&input);
    uint8_t *stream = malloc(input.bytes ? input.bytes : 1);
    size_t stream_bytes = input.bytes;

    if (!stream)
        return 0;
    fuzz_take(&input, stream, stream_bytes);
    if (!(mode & AS_IS))
        checksums_repair(stream, stream_bytes);
    stream_unpack(stream, stream_bytes, 1 + (mode & 0x7f) * 17);
    canary_check();
    free(stream);
    return 0;
}
