/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the reader of snapshot state files and the decoders of what is in them.
 *
 * Input: one byte of mode, then a state file. Bit 0 of mode: the file is taken as it is; without
 * it, its magic, length, payload offsets and checksums are made right first: a forger can do that
 * too, and without it no input would get past the checksums.
 */
#include <stdlib.h>

#include "base/util.h"
#include "fuzz.h"
#include "snapshot/sections.h"
#include "snapshot/vm_codec.h"

#define MODE_AS_IS 0x1u

static struct checksum header_checksum(uint8_t *bytes, size_t table_bytes)
{
    memset(bytes + offsetof(struct state_header, checksum), 0, sizeof(struct checksum));
    return checksum_of(bytes, sizeof(struct state_header) + table_bytes);
}

/* Makes right what a checksum or an offset guards, and leaves all else to the fuzzer. */
static void file_repair(uint8_t *bytes, size_t len)
{
    struct state_header header;
    uint64_t at;

    if (len < sizeof(header))
        return;
    memcpy(&header, bytes, sizeof(header));
    memcpy(header.magic, STATE_MAGIC, sizeof(header.magic));
    header.format_version = STATE_FORMAT_VERSION;
    header.total_bytes = len;
    header.section_count %= 64;
    if (header.section_count > (len - sizeof(header)) / sizeof(struct state_entry))
        header.section_count = (uint32_t)((len - sizeof(header)) / sizeof(struct state_entry));
    at = sizeof(header) + header.section_count * sizeof(struct state_entry);
    for (uint32_t i = 0; i < header.section_count; i++) {
        uint8_t *place = bytes + sizeof(header) + i * sizeof(struct state_entry);
        struct state_entry entry;

        memcpy(&entry, place, sizeof(entry));
        entry.flags &= STATE_FLAG_OPTIONAL;
        entry.offset = at;
        if (entry.bytes > len - at || i + 1 == header.section_count)
            entry.bytes = (len - at) & ~7ull;
        for (uint64_t pad = at + entry.bytes; pad < len && pad % STATE_ALIGN; pad++)
            bytes[pad] = 0;
        entry.checksum = checksum_of(bytes + at, entry.bytes);
        memcpy(place, &entry, sizeof(entry));
        at = MIN_OF(at + align_up(entry.bytes, STATE_ALIGN), len);
    }
    memcpy(bytes, &header, sizeof(header));
    header.checksum = header_checksum(bytes, header.section_count * sizeof(struct state_entry));
    memcpy(bytes, &header, sizeof(header));
}

static void everything_read(struct state_reader *reader)
{
    struct vm_state state = { 0 };
    struct err err = { 0 };

    for (uint32_t i = 0; i < reader->section_count; i++) {
        struct state_section section = state_reader_at(reader, i), found;
        volatile uint8_t sum = 0;

        for (size_t b = 0; b < section.len; b++)
            sum = (uint8_t)(sum + section.bytes[b]);
        if (state_reader_find(reader, section.name, &found, &err) < 0 || found.len != section.len)
            abort(); /* what is listed must be found */
    }
    if (vm_state_decode(reader, &state, &err) == 0) {
        if (state.vcpu_count == 0 || state.vcpu_count > VM_VCPUS_MAX)
            abort();
        for (uint32_t i = 0; i < state.vcpu_count; i++) {
            if (state.vcpu[i].msr_count > VM_MSRS_MAX || state.vcpu[i].cpuid_count > VM_CPUID_MAX ||
                state.vcpu[i].xsave_bytes > VM_XSAVE_BYTES_MAX)
                abort();
        }
        vm_state_fini(&state);
    } else if (err.msg[0] == '\0') {
        abort(); /* a refusal says why */
    }
    (void)state_reader_check_used(reader, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    uint8_t mode = fuzz_u8(&input);
    uint8_t *file = malloc(input.bytes ? input.bytes : 1);
    size_t len = input.bytes;
    struct state_reader reader;
    struct err err = { 0 };

    if (!file)
        return 0;
    fuzz_take(&input, file, len);
    if (!(mode & MODE_AS_IS)) {
        len &= ~(size_t)7;
        file_repair(file, len);
    }
    if (state_reader_open(&reader, file, len, &err) == 0) {
        everything_read(&reader);
        state_reader_fini(&reader);
        return 0;
    }
    if (err.msg[0] == '\0')
        abort();
    free(file);
    return 0;
}
