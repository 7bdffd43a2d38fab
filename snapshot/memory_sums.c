/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the footer of memory.img and the checking of guest RAM against it; see memory.h. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "snapshot/manifest.h"
#include "snapshot/memory.h"

_Static_assert(offsetof(struct memory_footer, table) == 40, "on-disk layout");

static size_t table_bytes(uint64_t ram_bytes)
{
    return (size_t)(ram_bytes / MEMORY_CHUNK_BYTES) * sizeof(struct digest);
}

/* Of footer and table with their padding. */
static size_t tail_bytes(uint64_t ram_bytes)
{
    return align_up(sizeof(struct memory_footer) + table_bytes(ram_bytes), HOST_PAGE_BYTES);
}

uint64_t snapshot_memory_file_bytes(uint64_t ram_bytes)
{
    return ram_bytes + tail_bytes(ram_bytes);
}

/* Bytes of data extents in [at, end); a file system that can't tell says all of it. */
static uint64_t data_bytes_in(int fd, uint64_t at, uint64_t end)
{
    uint64_t bytes = 0;

    while (at < end) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO ? bytes : bytes + (end - at);
        off_t hole = lseek(fd, data, SEEK_HOLE);
        uint64_t stop = hole < 0 ? end : MIN_OF((uint64_t)hole, end);
        if ((uint64_t)data >= stop)
            break;
        bytes += stop - (uint64_t)data;
        at = stop;
    }
    return bytes;
}

/* What hashing goes through: one buffer, and the digest that all chunks of zeroes share. */
struct hasher {
    int fd;
    uint8_t *buffer; /* MEMORY_CHUNK_BYTES */
    struct digest zero;
};

static int hasher_init(struct hasher *h, int fd, struct err *err)
{
    h->fd = fd;
    h->buffer = calloc(1, MEMORY_CHUNK_BYTES);
    if (!h->buffer)
        return err_set_errno(err, ENOMEM, "memory.img: a buffer of %u bytes", MEMORY_CHUNK_BYTES);
    h->zero = digest_of(h->buffer, MEMORY_CHUNK_BYTES);
    return 0;
}

/* Digest of chunk number i; *ret_data_bytes are those of its bytes that are no hole. */
static int hash_chunk(struct hasher *h, uint32_t i, struct digest *ret_digest,
                      uint64_t *ret_data_bytes, struct err *err)
{
    uint64_t at = (uint64_t)i * MEMORY_CHUNK_BYTES;

    *ret_data_bytes = data_bytes_in(h->fd, at, at + MEMORY_CHUNK_BYTES);
    if (*ret_data_bytes == 0) {
        *ret_digest = h->zero;
        return 0;
    }
    int rc = pread_all(h->fd, h->buffer, MEMORY_CHUNK_BYTES, at);
    if (rc < 0)
        return err_set_errno(err, -rc, "memory.img: reading chunk %u at offset %llu", i,
                             (unsigned long long)at);
    *ret_digest = digest_of(h->buffer, MEMORY_CHUNK_BYTES);
    return 0;
}

static struct digest footer_digest(const struct memory_footer *footer)
{
    return digest_of(footer, offsetof(struct memory_footer, footer));
}

/* table: room for chunk_count digests. */
static int hash_all(int fd, uint32_t chunk_count, uint8_t *table, uint64_t *ret_data_bytes,
                    struct err *err)
{
    struct hasher h = { 0 };
    struct digest digest;
    uint64_t data_bytes = 0, total = 0;
    int rc = hasher_init(&h, fd, err);

    for (uint32_t i = 0; i < chunk_count && rc == 0; i++) {
        rc = hash_chunk(&h, i, &digest, &data_bytes, err);
        if (rc < 0)
            break;
        memcpy(table + i * sizeof digest, &digest, sizeof digest);
        total += data_bytes;
    }
    free(h.buffer);
    *ret_data_bytes = total;
    return rc;
}

/* Footer and table of the file's RAM, into a zeroed tail. */
static int tail_make(int fd, uint64_t ram_bytes, const uint8_t snapshot_id[16], uint8_t *tail,
                     struct digest *ret_table, uint64_t *ret_data_bytes, struct err *err)
{
    struct memory_footer footer = { .magic = MEMORY_FOOTER_MAGIC,
                                    .chunk_bytes = MEMORY_CHUNK_BYTES,
                                    .chunk_count = (uint32_t)(ram_bytes / MEMORY_CHUNK_BYTES),
                                    .ram_bytes = ram_bytes };
    uint8_t *table = tail + sizeof footer;
    int rc = hash_all(fd, footer.chunk_count, table, ret_data_bytes, err);

    if (rc < 0)
        return rc;
    memcpy(footer.snapshot_id, snapshot_id, sizeof footer.snapshot_id);
    footer.table = digest_of(table, table_bytes(ram_bytes));
    footer.footer = footer_digest(&footer);
    memcpy(tail, &footer, sizeof footer);
    *ret_table = footer.table;
    return 0;
}

int snapshot_memory_seal(int fd, uint64_t ram_bytes, const uint8_t snapshot_id[16],
                         struct digest *ret_table, uint64_t *ret_data_bytes, struct err *err)
{
    size_t len = tail_bytes(ram_bytes);
    struct stat st;

    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != ram_bytes || ram_bytes % MEMORY_CHUNK_BYTES)
        return err_set(err, EINVAL,
                       "memory.img: not %llu bytes long, or not of whole chunks of 2 MiB: the VM "
                       "did not finish it",
                       (unsigned long long)ram_bytes);
    uint8_t *tail = calloc(1, len);
    if (!tail)
        return err_set_errno(err, ENOMEM, "memory.img: the table of digests");
    int rc = tail_make(fd, ram_bytes, snapshot_id, tail, ret_table, ret_data_bytes, err);
    if (rc == 0) {
        rc = pwrite_all(fd, tail, len, ram_bytes);
        if (rc < 0)
            err_set_errno(err, -rc, "memory.img: writing the table of digests");
    }
    free(tail);
    return rc;
}

struct snapshot_memory_expect snapshot_memory_expect_of(const struct manifest *manifest)
{
    struct snapshot_memory_expect expect = { .ram_bytes = manifest->memory_bytes,
                                             .table = manifest->memory_digest };

    memcpy(expect.snapshot_id, manifest->id.byte, sizeof expect.snapshot_id);
    return expect;
}

static int check_footer(const struct memory_footer *footer,
                        const struct snapshot_memory_expect *expect, struct err *err)
{
    struct digest digest = footer_digest(footer);
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];

    if (memcmp(footer->magic, MEMORY_FOOTER_MAGIC, sizeof footer->magic) != 0)
        return err_set(err, EINVAL,
                       "memory.img: no footer at offset %llu, expected " MEMORY_FOOTER_MAGIC,
                       (unsigned long long)expect->ram_bytes);
    if (!digest_equal(&digest, &footer->footer))
        return err_set(err, EINVAL, "memory.img: footer: digest is %s, expected %s",
                       digest_to_hex(&digest, found), digest_to_hex(&footer->footer, expected));
    if (memcmp(footer->snapshot_id, expect->snapshot_id, sizeof footer->snapshot_id) != 0 ||
        !digest_equal(&footer->table, &expect->table))
        return err_set(err, EINVAL,
                       "memory.img: belongs to another snapshot: its table of digests "
                       "is %s, the manifest's %s",
                       digest_to_hex(&footer->table, found),
                       digest_to_hex(&expect->table, expected));
    if (footer->chunk_bytes != MEMORY_CHUNK_BYTES || footer->ram_bytes != expect->ram_bytes ||
        footer->chunk_count != expect->ram_bytes / MEMORY_CHUNK_BYTES)
        return err_set(
            err, EINVAL, "memory.img: footer: %u chunks of %u bytes, expected %llu of %u",
            footer->chunk_count, footer->chunk_bytes,
            (unsigned long long)(expect->ram_bytes / MEMORY_CHUNK_BYTES), MEMORY_CHUNK_BYTES);
    return 0;
}

static int check_tail(const uint8_t *tail, size_t len, const struct snapshot_memory_expect *expect,
                      struct err *err)
{
    struct memory_footer footer;
    size_t used = sizeof footer + table_bytes(expect->ram_bytes);

    memcpy(&footer, tail, sizeof footer);
    int rc = check_footer(&footer, expect, err);
    if (rc < 0)
        return rc;
    struct digest digest = digest_of(tail + sizeof footer, table_bytes(expect->ram_bytes));
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];
    if (!digest_equal(&digest, &footer.table))
        return err_set(err, EINVAL, "memory.img: table of digests: digest is %s, expected %s",
                       digest_to_hex(&digest, found), digest_to_hex(&footer.table, expected));
    for (size_t i = used; i < len; i++) {
        if (tail[i])
            return err_set(err, EINVAL, "memory.img: the padding behind its table is not zero");
    }
    return 0;
}

int snapshot_memory_check(int fd, const struct snapshot_memory_expect *expect,
                          struct digest **ret_chunks, struct err *err)
{
    uint64_t file_bytes = snapshot_memory_file_bytes(expect->ram_bytes);
    size_t len = tail_bytes(expect->ram_bytes);
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "memory.img");
    if ((uint64_t)st.st_size != file_bytes)
        return err_set(err, EINVAL, "memory.img: %llu bytes long, expected %llu",
                       (unsigned long long)st.st_size, (unsigned long long)file_bytes);
    _cleanup_free_ uint8_t *tail = malloc(len);
    if (!tail)
        return err_set_errno(err, ENOMEM, "memory.img: the table of digests");
    int rc = pread_all(fd, tail, len, expect->ram_bytes);
    if (rc < 0)
        return err_set_errno(err, -rc, "memory.img: reading its footer");
    rc = check_tail(tail, len, expect, err);
    if (rc == 0 && ret_chunks) {
        memmove(tail, tail + sizeof(struct memory_footer), table_bytes(expect->ram_bytes));
        *ret_chunks = (struct digest *)take_pointer(&tail);
    }
    return rc;
}

int snapshot_memory_verify(int fd, const struct snapshot_memory_expect *expect,
                           snapshot_progress_fn progress, void *data, uint32_t *ret_chunk,
                           struct err *err)
{
    _cleanup_free_ struct digest *chunk = NULL;
    uint32_t count = (uint32_t)(expect->ram_bytes / MEMORY_CHUNK_BYTES);
    struct hasher h = { 0 };
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];

    if (ret_chunk)
        *ret_chunk = UINT32_MAX;
    int rc = snapshot_memory_check(fd, expect, &chunk, err);
    if (rc == 0)
        rc = hasher_init(&h, fd, err);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        uint64_t at = (uint64_t)i * MEMORY_CHUNK_BYTES, data_bytes;
        struct digest digest;

        if (progress && !progress(data, at, expect->ram_bytes)) {
            rc = err_set(err, ECANCELED, "memory.img: checking was cancelled");
            break;
        }
        rc = hash_chunk(&h, i, &digest, &data_bytes, err);
        if (rc == 0 && !digest_equal(&digest, &chunk[i]))
            rc = err_set(err, EINVAL,
                         "memory.img: chunk %u at offset %llu: digest is %s, expected %s", i,
                         (unsigned long long)at, digest_to_hex(&digest, found),
                         digest_to_hex(&chunk[i], expected));
        if (rc < 0 && ret_chunk)
            *ret_chunk = i;
    }
    free(h.buffer);
    return rc;
}
