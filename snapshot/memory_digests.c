/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the file memory.digests, and the checking of memory.img against it; see memory.h. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/memory.h"

/* The file as it is in memory. */
struct table {
    struct memory_table_header header;
    struct digest chunk[];
};

static uint32_t chunk_count(uint64_t ram_bytes)
{
    return (uint32_t)(ram_bytes / MEMORY_CHUNK_BYTES);
}

static size_t table_bytes(uint64_t ram_bytes)
{
    return sizeof(struct table) + chunk_count(ram_bytes) * sizeof(struct digest);
}

static struct memory_table_header header_for(uint64_t ram_bytes)
{
    return (struct memory_table_header){ .magic = MEMORY_TABLE_MAGIC,
                                         .chunk_bytes = MEMORY_CHUNK_BYTES,
                                         .chunk_count = chunk_count(ram_bytes),
                                         .ram_bytes = ram_bytes };
}

/* ---- Making it ---- */

int snapshot_memory_digest(int dirfd, int fd, uint64_t ram_bytes, struct digest *ret_table,
                           uint64_t *ret_data_bytes, struct err *err)
{
    size_t len = table_bytes(ram_bytes);
    struct memory_hash hash = { .fd = fd, .ram_bytes = ram_bytes };

    _cleanup_free_ struct table *table = malloc(len);
    if (!table)
        return err_set_errno(err, ENOMEM, SNAPSHOT_FILE_MEMORY_DIGESTS);
    table->header = header_for(ram_bytes);
    hash.chunk = table->chunk;
    int rc = memory_hash_start(&hash, err);
    if (rc == 0)
        rc = memory_hash_finish(&hash, NULL, NULL, err);
    if (rc < 0)
        return rc;
    *ret_table = digest_of(table, len);
    *ret_data_bytes = hash.data_bytes;
    return snapshot_file_create(dirfd, SNAPSHOT_FILE_MEMORY_DIGESTS, table, len, err);
}

int snapshot_memory_seal(int dirfd, int fd, uint64_t ram_bytes, struct digest *ret_table,
                         uint64_t *ret_data_bytes, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != ram_bytes || ram_bytes % MEMORY_CHUNK_BYTES)
        return err_set(err, EINVAL,
                       "memory.img: not %llu bytes long, or not of whole chunks of 256 KiB: the VM "
                       "did not finish it",
                       (unsigned long long)ram_bytes);
    return snapshot_memory_digest(dirfd, fd, ram_bytes, ret_table, ret_data_bytes, err);
}

/* ---- Checking against it ---- */

static int table_load(int dirfd, const struct manifest *m, struct digest **ret_chunk,
                      struct err *err)
{
    static const char file[] = SNAPSHOT_FILE_MEMORY_DIGESTS;
    size_t expected_len = table_bytes(m->memory_bytes), len;
    struct memory_table_header expected_header = header_for(m->memory_bytes);
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];
    _cleanup_free_ uint8_t *bytes = NULL;
    int rc = snapshot_file_read(dirfd, file, expected_len, &bytes, &len, err);

    if (rc < 0)
        return rc;
    if (len != expected_len)
        return err_set(err, EINVAL, "%s: %zu bytes long, expected %zu", file, len, expected_len);
    struct digest digest = digest_of(bytes, len);
    if (!digest_equal(&digest, &m->memory_digest))
        return err_set(err, EINVAL,
                       "%s: digest is %s, manifest.json says %s: damaged, or another snapshot's "
                       "file",
                       file, digest_to_hex(&digest, found),
                       digest_to_hex(&m->memory_digest, expected));
    if (memcmp(bytes, &expected_header, sizeof expected_header) != 0)
        return err_set(err, EINVAL,
                       "%s: it does not begin with " MEMORY_TABLE_MAGIC
                       ", chunks of %u bytes and a memory of %llu",
                       file, MEMORY_CHUNK_BYTES, (unsigned long long)m->memory_bytes);
    memmove(bytes, bytes + sizeof expected_header, len - sizeof expected_header);
    *ret_chunk = (struct digest *)take_pointer(&bytes);
    return 0;
}

int snapshot_memory_open(int dirfd, const struct manifest *manifest,
                         struct snapshot_memory *ret_memory, struct err *err)
{
    uint64_t size = manifest->memory_bytes;
    struct snapshot_memory *m = ret_memory;

    *m = SNAPSHOT_MEMORY_INIT;
    m->file = SNAPSHOT_FILE_MEMORY_DIGESTS;
    int rc = table_load(dirfd, manifest, &m->chunk, err);
    if (rc < 0)
        return rc;
    m->file = SNAPSHOT_FILE_MEMORY;
    rc = snapshot_file_open(dirfd, SNAPSHOT_FILE_MEMORY, size, size, &m->fd, &size, err);
    m->hash = (struct memory_hash){
        .fd = m->fd, .ram_bytes = manifest->memory_bytes, .chunk = m->chunk, .compare = true
    };
    if (rc < 0)
        snapshot_memory_close(m);
    return rc;
}

int snapshot_memory_begin(struct snapshot_memory *memory, struct err *err)
{
    return memory->known ? 0 : memory_hash_start(&memory->hash, err);
}

int snapshot_memory_verify(struct snapshot_memory *memory, memory_progress_fn progress, void *data,
                           uint32_t *ret_chunk, struct err *err)
{
    int rc = memory->hash.room ? 0 : snapshot_memory_begin(memory, err);

    if (rc == 0 && !memory->known)
        rc = memory_hash_finish(&memory->hash, progress, data, err);
    if (ret_chunk)
        *ret_chunk = memory->known ? UINT32_MAX : memory->hash.fault;
    free_pointer(&memory->chunk);
    return rc;
}

void snapshot_memory_close(struct snapshot_memory *memory)
{
    memory_hash_abort(&memory->hash);
    free_pointer(&memory->chunk);
    close_fd(&memory->fd);
}
