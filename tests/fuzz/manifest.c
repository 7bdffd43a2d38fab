/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes manifest.json and the file `working-set`: what poold and the template read of a snapshot
 * beside its state. Input: a byte that chooses the file and, by bit 1, a manifest's format version,
 * then its bytes; their digest or checksum is made right unless bit 7 of that byte is set. */
#include <stdlib.h>

#include "base/util.h"
#include "fuzz.h"
#include "seal.h"
#include "snapshot/manifest.h"
#include "snapshot/workingset.h"

#define V1 0x2u
#define AS_IS 0x80u
#define RAM_BYTES (128ull << 20)

/* Of the file's header: see docs/snapshot-format.md. */
#define SET_HEADER_BYTES 48u
#define SET_CHECKSUM_AT 32u

/* What was accepted can be written, and comes back the same. */
static void check_again(const struct manifest *manifest)
{
    static struct manifest again;
    struct err err = { 0 };
    char *formatted;
    size_t len;

    if (manifest_format(manifest, &formatted, &len, &err) < 0 ||
        manifest_parse(formatted, len, &again, &err) < 0)
        abort();
    free(formatted);
    if (memcmp(manifest->cmdline, again.cmdline, strlen(manifest->cmdline) + 1) != 0 ||
        manifest->memory_bytes != again.memory_bytes || manifest->vcpus != again.vcpus ||
        manifest->device_count != again.device_count)
        abort();
}

static void manifest_try(const uint8_t *data, size_t len, bool v1, bool as_is)
{
    char *text = malloc(len + SEAL_ROOM);
    static struct manifest manifest;
    struct err err = { 0 };

    if (!text)
        return;
    memcpy(text, data, len);
    if (!as_is)
        len = seal(text, len, v1);
    int rc = v1 ? manifest_parse_v1(text, len, &manifest, &err)
                : manifest_parse(text, len, &manifest, &err);
    if (rc == 0)
        check_again(&manifest);
    else if (err.msg[0] == '\0')
        abort();
    free(text);
}

static void working_set_try(const uint8_t *data, size_t len, bool as_is)
{
    struct unique_id id = { { 0 } };
    struct working_set set = { 0 };
    struct err err = { 0 };
    uint8_t *file = malloc(MAX_OF(len, SET_HEADER_BYTES));

    if (!file)
        return;
    memcpy(file, data, len);
    if (!as_is && len >= SET_HEADER_BYTES) {
        uint32_t count = (uint32_t)((len - SET_HEADER_BYTES) / sizeof(struct working_set_range));
        uint32_t version = WORKING_SET_VERSION;
        struct checksum sum;

        len = SET_HEADER_BYTES + count * sizeof(struct working_set_range);
        memcpy(file, WORKING_SET_MAGIC, 8);
        memcpy(file + 8, &version, sizeof(version));
        memcpy(file + 12, &count, sizeof(count));
        memset(file + 16, 0, sizeof(id) + sizeof(sum));
        sum = checksum_of(file, len);
        memcpy(file + SET_CHECKSUM_AT, &sum, sizeof(sum));
    }
    if (working_set_decode(file, len, &id, RAM_BYTES, &set, &err) == 0) {
        if (working_set_bytes(&set) > RAM_BYTES)
            abort();
        working_set_fini(&set);
    } else if (err.msg[0] == '\0') {
        abort();
    }
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    if (data[0] & 1)
        working_set_try(data + 1, bytes - 1, data[0] & AS_IS);
    else
        manifest_try(data + 1, bytes - 1, data[0] & V1, data[0] & AS_IS);
    return 0;
}
