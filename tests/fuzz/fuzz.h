/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share: a cursor over the input, from which values are taken until it is
 * used up; then every value is 0. One input makes one run, without any state kept between runs. */
#ifndef VOLT_TESTS_FUZZ_H
#define VOLT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What libFuzzer, or replay.c, calls. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct fuzz_input {
    const uint8_t *data;
    size_t bytes; /* left */
};

static inline size_t fuzz_take(struct fuzz_input *input, void *buffer, size_t bytes)
{
    size_t there = bytes < input->bytes ? bytes : input->bytes;

    memset(buffer, 0, bytes);
    if (there > 0)
        memcpy(buffer, input->data, there);
    input->data += there;
    input->bytes -= there;
    return there;
}

static inline uint8_t fuzz_u8(struct fuzz_input *input)
{
    uint8_t value;

    fuzz_take(input, &value, sizeof(value));
    return value;
}

static inline uint16_t fuzz_u16(struct fuzz_input *input)
{
    uint16_t value;

    fuzz_take(input, &value, sizeof(value));
    return value;
}

static inline uint32_t fuzz_u32(struct fuzz_input *input)
{
    uint32_t value;

    fuzz_take(input, &value, sizeof(value));
    return value;
}

static inline uint64_t fuzz_u64(struct fuzz_input *input)
{
    uint64_t value;

    fuzz_take(input, &value, sizeof(value));
    return value;
}

#endif
