/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what is read of an image: its manifest, and the map that a VM gets. Input: a byte that
 * chooses between them (bit 0), the manifest's format version (bit 1) and its configuration alone (bit
 * 2), then the manifest's bytes up to its digest, which is made right, or the map's, or the
 * configuration's. A map that is accepted is read from end to end. */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/util.h"
#include "fuzz.h"
#include "seal.h"
#include "snapshot/image/image_config.h"
#include "snapshot/image/image_manifest.h"
#include "virtio/disk.h"

#define V1 0x2u
#define CONFIG 0x4u
#define READ_BYTES 65536u

/* Accepted: it can be written, and comes back the same. */
static void check_again(struct image_manifest *manifest)
{
    struct image_manifest again;
    struct err err = { 0 };
    char *text;
    size_t len;

    manifest->id = image_manifest_id(manifest); /* of version 1: it gets its own */
    if (image_manifest_format(manifest, &text, &len, &err) < 0 ||
        image_manifest_parse("fuzz", text, len, &again, &err) < 0 ||
        again.chunk_count != manifest->chunk_count || !digest_equal(&again.id, &manifest->id))
        abort();
    free(text);
    image_manifest_fini(&again);
}

static void manifest_try(const uint8_t *data, size_t len, bool v1)
{
    char *text = malloc(len + SEAL_ROOM);
    struct image_manifest manifest;
    struct err err = { 0 };

    if (!text)
        return;
    memcpy(text, data, len);
    len = seal(text, len, v1);
    int rc = v1 ? image_manifest_parse_v1("fuzz", text, len, &manifest, &err)
                : image_manifest_parse("fuzz", text, len, &manifest, &err);
    if (rc == 0) {
        check_again(&manifest);
        image_manifest_fini(&manifest);
    } else if (err.msg[0] == '\0') {
        abort();
    }
    free(text);
}

static void read_all(struct disk *disk)
{
    static uint8_t buffer[READ_BYTES];

    /* Large disks in steps that still meet every chunk. */
    uint64_t step = disk->bytes > MIB(64) ? MIB(2) - READ_BYTES / 2 : READ_BYTES;

    for (uint64_t at = 0; at < disk->bytes; at += step) {
        uint32_t bytes = (uint32_t)MIN_OF(READ_BYTES, disk->bytes - at);
        struct iovec iov = { buffer, bytes };

        if (disk_read(disk, &iov, 1, at, bytes) < 0)
            abort(); /* every slot was checked when it was opened */
    }
}

static void map_try(const uint8_t *data, size_t len)
{
    int map_fd = memfd_create("map", MFD_CLOEXEC), file_fd = memfd_create("file", MFD_CLOEXEC);
    struct disk_map map;
    struct disk disk;
    struct err err = { 0 };

    if (map_fd < 0 || file_fd < 0 || ftruncate(file_fd, 2 * DISK_MAP_CHUNK_BYTES) < 0 ||
        pwrite_all(map_fd, data, len, 0) < 0)
        abort();
    if (disk_map_open(&map, map_fd, &file_fd, 1, &err) == 0) {
        const struct disk_config config = { .base_fd = -1, .map = &map, .read_only = true };

        if (disk_open(&disk, &config, &err) < 0)
            abort();
        read_all(&disk);
        disk_close(&disk);
        disk_map_close(&map);
    } else if (err.msg[0] == '\0') {
        abort();
    }
    close(map_fd);
}

/* Accepted: it is its own only text. */
static void config_try(const uint8_t *data, size_t len)
{
    char *text, *again;
    struct err err = { 0 };

    if (image_config_parse((const char *)data, len, &text, &err) < 0) {
        if (err.msg[0] == '\0')
            abort();
        return;
    }
    if (strlen(text) > IMAGE_CONFIG_BYTES_MAX ||
        image_config_parse(text, strlen(text), &again, &err) < 0 || strcmp(text, again) != 0)
        abort();
    free(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    if (data[0] & 1)
        map_try(data + 1, bytes - 1);
    else if (data[0] & CONFIG)
        config_try(data + 1, bytes - 1);
    else
        manifest_try(data + 1, bytes - 1, data[0] & V1);
    return 0;
}
