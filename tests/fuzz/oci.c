/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the reading of OCI layouts: index, manifest and configuration of any contents, with the
 * digests made right. Input: a byte that says how far the layout is honest and the length of the
 * manifest, then the manifest, then the configuration or the whole index. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "fuzz.h"
#include "oci/layout.h"

static char base[64];

static void clean_up(void)
{
    char command[96];

    snprintf(command, sizeof command, "rm -rf %s", base);
    if (system(command) != 0)
        abort();
}

static void layout_make(void)
{
    char path[96];

    snprintf(base, sizeof base, "%s/volt-fuzz-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(base))
        abort();
    atexit(clean_up);
    static const char *const folders[] = { "blobs", "blobs/sha256" };
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", base, folders[i]);
        if (mkdir(path, 0700) < 0)
            abort();
    }
}

static void file_write(const char *name, const void *data, size_t bytes)
{
    char path[192];

    snprintf(path, sizeof path, "%s/%s", base, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
        abort();
    close(fd);
}

/* Writes a blob; *name is its path, *descriptor what a manifest would say of it. */
static void blob_put(const void *data, size_t bytes, char name[96], char descriptor[160])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char hex[65];

    SHA256(data, bytes, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(name, 96, "blobs/sha256/%s", hex);
    snprintf(descriptor, 160, "{\"digest\":\"sha256:%s\",\"size\":%zu}", hex, bytes);
    file_write(name, data, bytes);
}

static void layout_try(void)
{
    struct oci_layout layout;
    struct err err = { 0 };
    char path[96];

    snprintf(path, sizeof path, "%s:tag", base);
    for (int i = 0; i < 2; i++) {
        if (oci_layout_open(&layout, i ? path : base, &err) < 0 && err.msg[0] == '\0')
            abort();
        oci_layout_close(&layout);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    uint8_t how = fuzz_u8(&input);
    size_t first = (size_t)(how >> 1) * 16;
    static char index[400], names[2][96], descriptors[2][160], manifest[8192];

    if (!base[0])
        layout_make();
    file_write("oci-layout", "{}", 2);
    first = first < input.bytes ? first : input.bytes;
    const uint8_t *second = input.data + first;
    size_t second_bytes = input.bytes - first;
    blob_put(second, second_bytes, names[1], descriptors[1]);
    /* The manifest's text, with what it may want to say of the second blob behind it. */
    int manifest_bytes =
        snprintf(manifest, sizeof manifest, "{\"config\":%s,\"layers\":[%s],%.*s", descriptors[1],
                 descriptors[1], (int)first, (const char *)input.data);
    if (how & 1)
        blob_put(input.data, first, names[0], descriptors[0]);
    else
        blob_put(manifest, (size_t)manifest_bytes < sizeof manifest ? (size_t)manifest_bytes : 0,
                 names[0], descriptors[0]);
    snprintf(index, sizeof index, "{\"manifests\":[%s]}", descriptors[0]);
    file_write("index.json", index, strlen(index));
    layout_try();
    file_write("index.json", second, second_bytes);
    layout_try();
    for (int i = 0; i < 2; i++) {
        char path[192];

        snprintf(path, sizeof path, "%s/%s", base, names[i]);
        unlink(path);
    }
    return 0;
}
