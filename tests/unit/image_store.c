/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: images share chunks, nothing is freed that is in use, and bad or damaged images are told in
 * one sentence. Method: small ext4-like images with chunks of one byte value each, in a temporary
 * store; damage is done to its files by hand. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "snapshot/image/image_store.h"
#include "tap_main.h"
#include "virtio/disk.h"

static struct image_store store;
static struct err err, notice;
static char store_path[64];
static uint8_t chunk[IMAGE_CHUNK_BYTES];

static void store_reopen(void)
{
    ck_assert_int_eq(
        image_store_open(&store, open(store_path, O_RDONLY | O_DIRECTORY), NULL, &notice, &err), 0);
}

static void setup(void)
{
    snprintf(store_path, sizeof store_path, "/tmp/volt-image-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(store_path));
    store_reopen();
}

static void teardown(void)
{
    char command[128];

    image_store_close(&store);
    snprintf(command, sizeof command, "rm -rf '%s'", store_path);
    ck_assert_int_eq(system(command), 0);
}

/* A superblock that says `blocks` of 4 KiB. */
static void put_superblock(uint32_t blocks)
{
    const uint16_t magic = 0xef53;
    const uint32_t log_block = 2;

    memcpy(chunk + 1024 + 4, &blocks, 4);
    memcpy(chunk + 1024 + 0x18, &log_block, 4);
    memcpy(chunk + 1024 + 0x38, &magic, 2);
}

/* One chunk for each letter: ' ' is zeroes. The first one carries the superblock. */
static int import(const char *name, const char *letters, size_t last_bytes)
{
    struct image_import *import;
    size_t count = strlen(letters);
    int rc = image_import_begin(&store, name, &import, &err);

    for (size_t i = 0; i < count && rc == 0; i++) {
        size_t bytes = i + 1 == count ? last_bytes : IMAGE_CHUNK_BYTES;

        memset(chunk, letters[i] == ' ' ? 0 : letters[i], bytes);
        if (i == 0)
            put_superblock((uint32_t)(((count - 1) * IMAGE_CHUNK_BYTES + last_bytes) / 4096));
        rc = image_import_add(import, chunk, bytes, &err);
        if (rc < 0)
            image_import_abort(import);
    }
    return rc < 0 ? rc : image_import_commit(import, &err);
}

static uint64_t blocks_of_packs(unsigned *ret_packs)
{
    char command[160];
    unsigned long long blocks = 0;

    snprintf(command, sizeof command, "find '%s/packs' -type f -printf '%%b\\n'", store_path);
    FILE *list = popen(command, "r");
    *ret_packs = 0;
    for (unsigned long long one; list && fscanf(list, "%llu", &one) == 1; ++*ret_packs)
        blocks += one;
    pclose(list);
    return blocks * 512;
}

START_TEST(chunks_are_stored_once)
{
    struct image_info *infos;
    unsigned packs;
    size_t count;

    ck_assert_int_eq(import("a", "Sxx y", IMAGE_CHUNK_BYTES), 0);
    ck_assert_uint_eq(blocks_of_packs(&packs), 3 * MIB(2)); /* S, x, y: not x twice, nor the hole */
    ck_assert_int_eq(import("b", "Txzy ", IMAGE_CHUNK_BYTES), 0);
    ck_assert_uint_eq(blocks_of_packs(&packs), 5 * MIB(2)); /* and T, z */
    ck_assert_uint_eq(packs, 2);
    ck_assert_int_eq(image_list(&store, &infos, &count, &err), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(infos[0].name, "a");
    ck_assert_uint_eq(infos[0].manifest.chunk_count, 4);
    ck_assert_uint_eq(infos[0].unique_chunks, 1);
    ck_assert_uint_eq(infos[1].unique_chunks, 2);
    ck_assert_uint_eq(image_shared_chunks(infos, 0, 1), 3); /* x twice, and y */
    ck_assert_uint_eq(infos[1].manifest.pack_count, 2);
    image_infos_free(infos, count);
}
END_TEST

START_TEST(garbage_is_what_no_image_needs)
{
    unsigned packs;
    uint64_t checked;

    ck_assert_int_eq(import("a", "Sxwy", IMAGE_CHUNK_BYTES), 0);
    ck_assert_int_eq(import("b", "Txzy", IMAGE_CHUNK_BYTES), 0);
    ck_assert_int_eq(image_delete(&store, "a", &notice, &err), 0);
    ck_assert_uint_eq(blocks_of_packs(&packs), 4 * MIB(2)); /* T, z, and x, y of a's pack */
    ck_assert_int_eq(image_verify(&store, "b", &checked, &err), 0);
    ck_assert_uint_eq(checked, 4 * MIB(2));
    ck_assert_int_eq(image_delete(&store, "b", &notice, &err), 0);
    ck_assert_uint_eq(blocks_of_packs(&packs), 0);
    ck_assert_uint_eq(packs, 0);
    ck_assert_int_eq(image_delete(&store, "b", &notice, &err), -ENOENT);
}
END_TEST

START_TEST(equal_images_have_equal_ids)
{
    struct image_manifest a, b, c;

    ck_assert_int_eq(import("a", "Sx y", 4096), 0);
    ck_assert_int_eq(import("b", "Sx y", 4096), 0);
    ck_assert_int_eq(import("c", "Sxy ", 4096), 0);
    ck_assert_int_eq(image_manifest_load(&store, "a", &a, &err), 0);
    ck_assert_int_eq(image_manifest_load(&store, "b", &b, &err), 0);
    ck_assert_int_eq(image_manifest_load(&store, "c", &c, &err), 0);
    ck_assert(digest_equal(&a.id, &b.id));
    ck_assert(!digest_equal(&a.id, &c.id));
    image_manifest_fini(&a);
    image_manifest_fini(&b);
    image_manifest_fini(&c);
}
END_TEST

START_TEST(a_vm_reads_what_was_put_in)
{
    struct image_files files;
    struct disk_map map;
    struct disk disk;
    uint8_t bytes[8192];
    struct iovec iov = { bytes, sizeof bytes };

    ck_assert_int_eq(import("a", "Qxy", IMAGE_CHUNK_BYTES), 0);
    ck_assert_int_eq(import("b", "Sx yz", 8192), 0);
    ck_assert_int_eq(image_open(&store, "b", &files, &err), 0);
    ck_assert_uint_eq(files.pack_count, 2);
    ck_assert_int_eq(disk_map_open(&map, files.map_fd, files.pack_fd, files.pack_count, &err), 0);
    const struct disk_config config = { .base_fd = -1, .map = &map, .read_only = true };
    ck_assert_int_eq(disk_open(&disk, &config, &err), 0);
    ck_assert_uint_eq(disk.bytes, 4 * MIB(2) + 8192);
    ck_assert_int_eq(disk_read(&disk, &iov, 1, MIB(4) - 4096, 8192), 0); /* from x into the hole */
    ck_assert(bytes[0] == 'x' && bytes[4095] == 'x' && bytes[4096] == 0 && bytes[8191] == 0);
    iov = (struct iovec){ bytes, sizeof bytes };
    ck_assert_int_eq(disk_read(&disk, &iov, 1, MIB(8) - 4096, 8192), 0); /* from y into z */
    ck_assert(bytes[0] == 'y' && bytes[4095] == 'y' && bytes[4096] == 'z' && bytes[8191] == 'z');
    ck_assert_int_eq(disk_write(&disk, &iov, 1, 0, 4096), -EROFS);
    disk_close(&disk);
    disk_map_close(&map);
    close(files.map_fd);
}
END_TEST

START_TEST(a_delta_covers_the_chunks)
{
    struct image_files files;
    struct disk_map map;
    struct disk disk;
    uint8_t bytes[4096];
    struct iovec iov = { bytes, 512 };

    ck_assert_int_eq(import("a", "Sx", IMAGE_CHUNK_BYTES), 0);
    ck_assert_int_eq(image_open(&store, "a", &files, &err), 0);
    ck_assert_int_eq(disk_map_open(&map, files.map_fd, files.pack_fd, files.pack_count, &err), 0);
    struct disk_config config = { .base_fd = -1, .map = &map };
    ck_assert_int_eq(disk_open(&disk, &config, &err), -EINVAL); /* writable, and nowhere to write */
    config.delta_fd[0] = memfd_create("delta", MFD_CLOEXEC);
    config.delta_count = 1;
    ck_assert_int_eq(disk_open(&disk, &config, &err), 0);
    memset(bytes, 'W', 512);
    ck_assert_int_eq(disk_write(&disk, &iov, 1, MIB(2) + 512, 512), 0);
    iov = (struct iovec){ bytes, 4096 };
    ck_assert_int_eq(disk_read(&disk, &iov, 1, MIB(2), 4096), 0);
    ck_assert(bytes[0] == 'x' && bytes[512] == 'W' && bytes[1023] == 'W' && bytes[1024] == 'x');
    disk_close(&disk);
    disk_map_close(&map);
    close(files.map_fd);
    uint64_t checked;
    ck_assert_int_eq(image_verify(&store, "a", &checked, &err), 0);
}
END_TEST

/* A delta over a disk of 8 MiB with these clusters, each filled with its letter, written in the
 * given order; *ret_digest is what a snapshot would note of it. */
static int delta_with(const char *letters, const uint64_t *clusters, struct digest *ret_digest)
{
    int base = memfd_create("base", MFD_CLOEXEC), fd = memfd_create("delta", MFD_CLOEXEC);
    struct disk_config config = { .base_fd = base, .delta_fd = { dup(fd) }, .delta_count = 1 };
    uint8_t bytes[DISK_CLUSTER_BYTES];
    struct disk disk;

    ck_assert_int_eq(ftruncate(base, MIB(8)), 0);
    ck_assert_int_eq(disk_open(&disk, &config, &err), 0);
    for (size_t i = 0; letters[i]; i++) {
        struct iovec iov = { bytes, sizeof bytes };

        memset(bytes, letters[i], sizeof bytes);
        ck_assert_int_eq(disk_write(&disk, &iov, 1, clusters[i] * sizeof bytes, sizeof bytes), 0);
    }
    disk_close(&disk);
    ck_assert_int_eq(snapshot_disk_digest(fd, MIB(8), ret_digest, &err), 0);
    return fd;
}

START_TEST(a_deltas_digest_is_of_its_contents)
{
    struct digest a, b, c, d;
    int fd = delta_with("xy", (const uint64_t[]){ 5, 2000 }, &a);

    close(delta_with("yx", (const uint64_t[]){ 2000, 5 }, &b));
    close(delta_with("xy", (const uint64_t[]){ 5, 2001 }, &c));
    close(delta_with("xz", (const uint64_t[]){ 5, 2000 }, &d));
    ck_assert(digest_equal(&a, &b));
    ck_assert(!digest_equal(&a, &c));
    ck_assert(!digest_equal(&a, &d));
    ck_assert_int_eq(snapshot_disk_digest(fd, MIB(4), &b, &err), -EINVAL); /* another disk's */
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_int_eq(snapshot_disk_digest(fd, MIB(8), &b, &err), -EINVAL);
    close(fd);
}
END_TEST

START_TEST(what_is_no_filesystem_is_refused)
{
    struct image_import *import_;
    unsigned packs;

    memset(chunk, 7, sizeof chunk);
    ck_assert_int_eq(image_import_begin(&store, "a", &import_, &err), 0);
    ck_assert_int_eq(image_import_add(import_, chunk, 1000, &err), 0);
    ck_assert_int_eq(image_import_commit(import_, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "too small"));
    memset(chunk, 7, sizeof chunk);
    ck_assert_int_eq(image_import_begin(&store, "a", &import_, &err), 0);
    ck_assert_int_eq(image_import_add(import_, chunk, 8192, &err), 0);
    ck_assert_int_eq(image_import_commit(import_, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "magic"));
    memset(chunk, 7, sizeof chunk);
    put_superblock(3);
    ck_assert_int_eq(image_import_begin(&store, "a", &import_, &err), 0);
    ck_assert_int_eq(image_import_add(import_, chunk, 8192, &err), 0);
    ck_assert_int_eq(image_import_commit(import_, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "cut off"));
    blocks_of_packs(&packs);
    ck_assert_uint_eq(packs, 0); /* nothing is left of them */
}
END_TEST

START_TEST(names_and_order_are_kept)
{
    struct image_import *one, *two;

    ck_assert_int_eq(image_import_begin(&store, "../x", &one, &err), -EINVAL);
    ck_assert_int_eq(image_import_begin(&store, "a", &one, &err), 0);
    ck_assert_int_eq(image_import_begin(&store, "b", &two, &err), -EBUSY);
    image_import_abort(one);
    ck_assert_int_eq(import("a", "S", IMAGE_CHUNK_BYTES), 0);
    ck_assert_int_eq(import("a", "S", IMAGE_CHUNK_BYTES), -EEXIST);
}
END_TEST

/* The path of the only pack. */
static void pack_path(char ret_path[160])
{
    char command[160];

    snprintf(command, sizeof command, "find '%s/packs' -type f", store_path);
    FILE *list = popen(command, "r");
    ck_assert_int_eq(fscanf(list, "%159s", ret_path), 1);
    pclose(list);
}

START_TEST(damage_is_found)
{
    struct image_files files;
    uint64_t checked;
    char path[160];

    ck_assert_int_eq(import("a", "Sxy", IMAGE_CHUNK_BYTES), 0);
    pack_path(path);
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "!", 1, MIB(2) + 77), 1);
    ck_assert_int_eq(image_verify(&store, "a", &checked, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "chunk 1"));
    ck_assert_uint_eq(checked, MIB(2));
    ck_assert_int_eq(ftruncate(fd, MIB(4)), 0);
    close(fd);
    ck_assert_int_eq(image_open(&store, "a", &files, &err), -EINVAL);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(image_open(&store, "a", &files, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.msg, "its pack"));
}
END_TEST

START_TEST(a_damaged_manifest_frees_nothing)
{
    struct image_manifest manifest;
    unsigned packs;
    char path[160];

    ck_assert_int_eq(import("a", "Sx", IMAGE_CHUNK_BYTES), 0);
    ck_assert_int_eq(import("b", "Ty", IMAGE_CHUNK_BYTES), 0);
    snprintf(path, sizeof path, "%s/a.json", store_path);
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "X", 1, 40), 1);
    close(fd);
    ck_assert_int_eq(image_manifest_load(&store, "a", &manifest, &err), -EINVAL);
    ck_assert_int_eq(image_delete(&store, "b", &notice, &err), 0);
    ck_assert_int_ne(notice.code, 0);
    blocks_of_packs(&packs);
    ck_assert_uint_eq(packs, 2);
    ck_assert_int_eq(image_delete(&store, "a", &notice, &err), 0);
    ck_assert_int_eq(notice.code, 0);
    blocks_of_packs(&packs);
    ck_assert_uint_eq(packs, 0);
}
END_TEST

START_TEST(every_cut_manifest_is_refused)
{
    struct image_manifest manifest;
    char path[160], text[2048];

    ck_assert_int_eq(import("a", "Sxy", IMAGE_CHUNK_BYTES), 0);
    snprintf(path, sizeof path, "%s/a.json", store_path);
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof text);
    close(fd);
    ck_assert(len > 100 && len < (ssize_t)sizeof text);
    ck_assert_int_eq(image_manifest_parse("a.json", text, (size_t)len, &manifest, &err), 0);
    image_manifest_fini(&manifest);
    for (ssize_t cut = 0; cut < len; cut++) {
        ck_assert_int_lt(image_manifest_parse("a.json", text, (size_t)cut, &manifest, &err), 0);
        text[cut] ^= 0x20;
        ck_assert_int_lt(image_manifest_parse("a.json", text, (size_t)len, &manifest, &err), 0);
        text[cut] ^= 0x20;
    }
}
END_TEST

START_TEST(what_a_crash_left_goes_at_the_next_start)
{
    unsigned packs;
    char path[160];
    pid_t child = fork();

    if (child == 0) { /* ends in the middle of an import */
        struct image_import *import_;

        memset(chunk, 1, sizeof chunk);
        if (image_import_begin(&store, "a", &import_, &err) < 0 ||
            image_import_add(import_, chunk, IMAGE_CHUNK_BYTES, &err) < 0)
            _exit(1);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    snprintf(path, sizeof path, "%s/.a.tmp.abcdef", store_path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    blocks_of_packs(&packs);
    ck_assert_uint_eq(packs, 1);
    image_store_close(&store);
    store_reopen();
    blocks_of_packs(&packs);
    ck_assert_uint_eq(packs, 0);
    ck_assert_int_lt(access(path, F_OK), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        chunks_are_stored_once,
        garbage_is_what_no_image_needs,
        equal_images_have_equal_ids,
        a_vm_reads_what_was_put_in,
        a_delta_covers_the_chunks,
        a_deltas_digest_is_of_its_contents,
        what_is_no_filesystem_is_refused,
        names_and_order_are_kept,
        damage_is_found,
        a_damaged_manifest_frees_nothing,
        every_cut_manifest_is_refused,
        what_a_crash_left_goes_at_the_next_start,
    };
    Suite *suite = suite_create("image-store");
    TCase *tcase = tap_case(suite, "store");

    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
