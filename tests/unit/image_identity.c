/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: an image holds what it was imported with, whatever somebody imported before; and a store of
 * format version 1, which named chunks by a checksum, is brought to digests of what it holds.
 * Method: a chunk with the checksum of another one is computed, and both are imported in turn;
 * golden/store-v1, in which that attack has been done with the program of that time, is upgraded,
 * also with damage in it, and compared with golden/store-v2.
 */
#include "golden.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "snapshot/checksum.h"
#include "snapshot/image/image_store.h"
#include "snapshot/upgrade/store_upgrade.h"
#include "virtio/disk.h"

static char dir_path[256];
static int dir_fd; /* with images/ and snapshots/ */
static struct image_store store;
static struct err err, notice;

/* ---- A second preimage of XXH3-128 ---- */

#define STRIPE 64u
#define BLOCK 1024u

static uint64_t get(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static void put(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

/* What a block adds to the eight accumulators (XXH3's long input loop): each word of a stripe, and
 * the product of the halves of word XOR secret. */
static void accumulate(const uint8_t *block, uint64_t sums[8])
{
    memset(sums, 0, 8 * sizeof *sums);
    for (unsigned s = 0; s < BLOCK / STRIPE; s++) {
        for (unsigned i = 0; i < 8; i++) {
            uint64_t word = get(block + s * STRIPE + 8 * i);
            uint64_t mixed = word ^ get(XXH3_kSecret + 8 * s + 8 * i);

            sums[i ^ 1] += word;
            sums[i] += (mixed & UINT32_MAX) * (mixed >> 32);
        }
    }
}

/* Gives `block` the sums of `wanted` by its last two stripes. A word whose upper half is the
 * secret's, and one whose lower half is, have a product of zero, whatever their other halves are:
 * with those, every sum can be set. */
static void fix_up(uint8_t *block, const uint8_t *wanted)
{
    uint8_t *upper = block + 14 * STRIPE, *lower = block + 15 * STRIPE;
    uint64_t target[8], sums[8];

    for (unsigned i = 0; i < 8; i++) {
        put(upper + 8 * i, get(XXH3_kSecret + 8 * 14 + 8 * i) & ~(uint64_t)UINT32_MAX);
        put(lower + 8 * i, get(XXH3_kSecret + 8 * 15 + 8 * i) & UINT32_MAX);
    }
    accumulate(wanted, target);
    accumulate(block, sums);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t missing = target[i ^ 1] - sums[i ^ 1];

        put(upper + 8 * i, get(upper + 8 * i) | (missing & UINT32_MAX));
        put(lower + 8 * i, get(lower + 8 * i) | (missing & ~(uint64_t)UINT32_MAX));
    }
}

/* ---- Images ---- */

static uint8_t honest[IMAGE_CHUNK_BYTES], evil[IMAGE_CHUNK_BYTES], buffer[IMAGE_CHUNK_BYTES];

/* Some chunk, and one that is something else in every block but the last and has its checksum. */
static void chunks_make(void)
{
    for (size_t at = 0; at < sizeof honest; at++)
        honest[at] = (uint8_t)(at * 2654435761u >> 13);
    memcpy(evil, honest, sizeof evil);
    for (size_t at = 0; at + BLOCK < sizeof evil; at += BLOCK) {
        memset(evil + at, 'E', BLOCK);
        fix_up(evil + at, honest + at);
    }
}

static void store_open(void)
{
    ck_ok(image_store_open(&store, openat(dir_fd, "images", O_RDONLY | O_DIRECTORY), NULL, &notice,
                           &err),
          err);
}

static void set_up(void)
{
    dir_fd = test_dir_make(dir_path);
    ck_assert_int_eq(mkdirat(dir_fd, "images", 0700), 0);
    store_open();
}

static void set_up_v1(void)
{
    dir_fd = test_dir_make(dir_path);
    golden_unpack("store-v1", dir_fd);
}

static void tear_down(void)
{
    image_store_close(&store);
    test_dir_remove(dir_fd, dir_path);
}

/* A chunk with an ext4 superblock for two chunks, and `second`. */
static void import(const char *name, const uint8_t *second)
{
    const uint16_t magic = 0xef53;
    const uint32_t log_block = 2, blocks = 2 * IMAGE_CHUNK_BYTES / 4096;
    struct image_import *import_;

    memset(buffer, 0, sizeof buffer);
    memcpy(buffer + 1024 + 4, &blocks, 4);
    memcpy(buffer + 1024 + 0x18, &log_block, 4);
    memcpy(buffer + 1024 + 0x38, &magic, 2);
    ck_ok(image_import_begin(&store, name, &import_, &err), err);
    ck_ok(image_import_add(import_, buffer, sizeof buffer, &err), err);
    memcpy(buffer, second, sizeof buffer);
    ck_ok(image_import_add(import_, buffer, sizeof buffer, &err), err);
    ck_ok(image_import_commit(import_, &err), err);
}

/* Reads as a VM does. */
static void read_chunk(const char *name, uint32_t chunk, struct digest *ret_id)
{
    struct image_files files;
    struct disk_map map;
    struct disk disk;
    struct iovec iov = { buffer, sizeof buffer };

    ck_ok(image_open(&store, name, &files, &err), err);
    ck_ok(disk_map_open(&map, files.map_fd, files.pack_fd, files.pack_count, &err), err);
    const struct disk_config config = { .base_fd = -1, .map = &map, .read_only = true };
    ck_ok(disk_open(&disk, &config, &err), err);
    ck_assert_int_eq(disk_read(&disk, &iov, 1, (uint64_t)chunk * IMAGE_CHUNK_BYTES, sizeof buffer),
                     0);
    disk_close(&disk);
    disk_map_close(&map);
    close(files.map_fd);
    *ret_id = files.id;
}

START_TEST(one_checksum_two_chunks)
{
    struct digest evil_id, honest_id;
    struct image_info *infos;
    uint64_t checked;
    size_t count;

    set_up();
    chunks_make();
    /* What version 1 asked, and was told: the same. */
    struct checksum a = checksum_of(honest, sizeof honest), b = checksum_of(evil, sizeof evil);
    ck_assert(checksum_equal(&a, &b));
    ck_assert_int_ne(memcmp(honest, evil, sizeof evil), 0);

    import("evil", evil);
    import("honest", honest);
    read_chunk("honest", 1, &honest_id);
    ck_assert_int_eq(memcmp(buffer, honest, sizeof honest), 0);
    read_chunk("evil", 1, &evil_id);
    ck_assert_int_eq(memcmp(buffer, evil, sizeof evil), 0);
    ck_assert(!digest_equal(&evil_id, &honest_id));
    ck_ok(image_verify(&store, "honest", &checked, &err), err);
    ck_ok(image_list(&store, &infos, &count, &err), err);
    ck_assert_uint_eq(infos[1].unique_chunks, 1);
    ck_assert_uint_eq(image_shared_chunks(infos, 0, 1), 1); /* the superblock's, and no more */
    image_infos_free(infos, count);
    tear_down();
}
END_TEST

/* What another image has is taken over only while it is undamaged. */
START_TEST(damage_is_not_handed_on)
{
    struct digest id, again_id;
    struct image_info *infos;
    char pack[128], hex[UNIQUE_ID_HEX_BYTES];
    uint64_t checked;
    size_t count;

    set_up();
    chunks_make();
    import("first", honest);
    ck_ok(image_list(&store, &infos, &count, &err), err);
    snprintf(pack, sizeof pack, "images/packs/%s",
             unique_id_to_hex(&infos[0].manifest.pack[0], hex));
    image_infos_free(infos, count);
    int fd = openat(dir_fd, pack, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite_all(fd, "!", 1, IMAGE_CHUNK_BYTES + 12345), 0);
    close(fd);
    import("second", honest);
    ck_fails(image_verify(&store, "first", &checked, &err), EINVAL, err, "chunk 1");
    ck_ok(image_verify(&store, "second", &checked, &err), err);
    read_chunk("second", 1, &id);
    ck_assert_int_eq(memcmp(buffer, honest, sizeof honest), 0);
    ck_ok(image_list(&store, &infos, &count, &err), err);
    ck_assert_uint_eq(infos[1].manifest.pack_count, 2); /* chunk 0 is still shared */
    image_infos_free(infos, count);
    read_chunk("first", 1, &again_id);
    ck_assert(digest_equal(&id, &again_id)); /* the same name */
    tear_down();
}
END_TEST

/* ---- Upgrades ---- */

static int images_fd(void)
{
    return openat(dir_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static const char *const golden_images[] = { "evil.json", "honest.json", "plain.json" };

START_TEST(a_store_of_version_1)
{
    struct digest evil_id, honest_id;
    struct image_files files;
    char golden_name[64];
    uint64_t checked;

    set_up_v1();
    store_open();
    int images = images_fd();
    for (size_t i = 0; i < ARRAY_LEN(golden_images); i++) {
        snprintf(golden_name, sizeof golden_name, "store-v2/images/%s", golden_images[i]);
        golden_compare(images, golden_images[i], golden_name);
    }
    close(images);
    ck_ok(image_verify(&store, "honest", &checked, &err), err);
    ck_assert_uint_eq(checked, 4 * MIB(2));
    ck_ok(image_verify(&store, "plain", &checked, &err), err);
    /* What the store of that time has mixed up stays mixed up, but under the name of what it is:
     * the image comes out right when it is imported again. */
    read_chunk("honest", 1, &honest_id);
    ck_assert_uint_eq(buffer[1024], 'E');
    memset(honest, 0, sizeof honest);
    memset(honest, 'H', 4096);
    import("again", honest);
    read_chunk("again", 1, &evil_id);
    ck_assert_int_eq(memcmp(buffer, honest, sizeof honest), 0);
    ck_ok(image_open(&store, "evil", &files, &err), err);
    image_files_close(&files);
    tear_down();
}
END_TEST

struct said {
    unsigned steps, ended, failed;
    char message[ERR_MSG_BYTES];
};

static void note_step(void *data, const struct upgrade_step *step)
{
    struct said *said = data;

    said->steps++;
    ck_assert_uint_le(step->done_bytes, step->total_bytes);
    if (step->err) {
        said->failed++;
        snprintf(said->message, sizeof said->message, "%s '%s': %s", step->what, step->name,
                 step->err->msg);
    } else if (step->done_bytes == step->total_bytes) {
        said->ended++;
    }
}

/* Where a chunk is damaged its images stay as they are, and their chunks are not freed; the others
 * are upgraded. */
START_TEST(damage_is_not_given_a_new_name)
{
    struct said said = { 0 };
    const struct upgrade_log log = { note_step, &said };
    struct image_files files;

    set_up_v1();
    int pack = openat(dir_fd, "images/packs/2b23031b729d22edc1082f8bfdf032e7", O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(pack, 0); /* honest's own */
    ck_assert_int_eq(pwrite_all(pack, "!", 1, 100), 0);
    close(pack);
    ck_ok(image_store_open(&store, images_fd(), &log, &notice, &err), err);
    ck_assert_uint_eq(said.ended, 2);
    ck_assert_uint_eq(said.failed, 1);
    ck_assert_ptr_nonnull(strstr(said.message, "image 'honest': chunk 0 (slot 0 of pack 0) is "
                                               "damaged"));
    ck_assert_int_ne(notice.code, 0);
    ck_fails(image_open(&store, "honest", &files, &err), ENOTSUP, err,
             "format_version 1, expected 2: poold upgrades it when it starts");
    ck_ok(image_open(&store, "plain", &files, &err), err);
    image_files_close(&files);
    ck_ok(image_delete(&store, "honest", &notice, &err), err);
    ck_assert_int_eq(notice.code, 0);
    tear_down();
}
END_TEST

/* A manifest of the old version that says of a chunk what is not so, with a right seal. */
START_TEST(a_version_1_name_is_not_trusted)
{
    struct said said = { 0 };
    const struct upgrade_log log = { note_step, &said };

    set_up_v1();
    /* The pack of 'plain' with another one's contents: all its names are lies now. */
    ck_assert_int_eq(renameat(dir_fd, "images/packs/321dc098dd53c8e352263212efe0b206", dir_fd,
                              "images/packs/ac4a4646fbb63dde46f8d0d0b31e5c4d"),
                     0);
    ck_ok(image_store_open(&store, images_fd(), &log, &notice, &err), err);
    ck_assert_uint_eq(said.ended, 0);
    ck_assert_uint_eq(said.failed, 3); /* two lack a pack */
    tear_down();
}
END_TEST

/* The snapshot of a VM with a disk: its delta, and the image that it names. */
START_TEST(a_snapshot_finds_its_image)
{
    struct said said = { 0 };
    const struct upgrade_log log = { note_step, &said };
    struct snapshot_verify_report report;
    struct manifest *m = malloc(sizeof *m);
    struct image_files files;
    int fd;

    set_up_v1();
    store_open();
    int snapshots = openat(dir_fd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snapshot_store_upgrade(snapshots, &store, &log);
    ck_assert_msg(said.failed == 0, "%s", said.message);
    ck_assert_uint_eq(said.ended, 1);
    ck_assert_uint_ge(said.steps, 3);
    ck_ok(snapshot_dir_open(snapshots, "disked", &fd, &err), err);
    ck_ok(snapshot_verify(fd, NULL, NULL, &report, &err), err);
    ck_ok(manifest_load(fd, m, &err), err);
    ck_ok(image_open(&store, "plain", &files, &err), err);
    ck_assert(digest_equal(&m->disk_id, &files.id));
    golden_compare(fd, SNAPSHOT_FILE_MANIFEST, "store-v2/snapshots/disked/manifest.json");
    image_files_close(&files);
    close(fd);
    close(snapshots);
    free(m);
    tear_down();
}
END_TEST

/* What must not become a snapshot of this version, and why. */
START_TEST(snapshots_that_stay_as_they_are)
{
    static const struct {
        const char *path;
        uint64_t offset; /* of a byte that is changed; UINT64_MAX: another image has the name */
        const char *expect;
    } cases[] = {
        { "snapshots/disked/state", 100, "state: damaged" },
        { "snapshots/disked/memory.img", MIB(8) + 9, "memory.img: chunk 4 at offset 8388608 is" },
        { "snapshots/disked/memory.img", MIB(20), "memory.img: chunk 10 at" },
        { "snapshots/disked/memory.img", MIB(32) + 20, "memory.img: its footer is damaged" },
        { "snapshots/disked/memory.img", MIB(32) + 80, "memory.img: its footer is damaged" },
        { "snapshots/disked/disk", 8192 + 700 * 4096 + 5, "disk: damaged" },
        { "images/plain.json", UINT64_MAX, "the image 'plain' is not the one that" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct said said = { 0 };
        const struct upgrade_log log = { note_step, &said };

        set_up_v1();
        int snapshots = openat(dir_fd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (cases[i].offset == UINT64_MAX) {
            ck_assert_int_eq(renameat(dir_fd, "images/evil.json", dir_fd, cases[i].path), 0);
        } else {
            int fd = openat(dir_fd, cases[i].path, O_RDWR | O_CLOEXEC);
            ck_assert_int_eq(pwrite_all(fd, "!", 1, cases[i].offset), 0);
            close(fd);
        }
        store_open();
        snapshot_store_upgrade(snapshots, &store, &log);
        ck_assert_uint_eq(said.ended, 0);
        ck_assert_msg(said.failed == 1 && strstr(said.message, cases[i].expect), "'%s' lacks '%s'",
                      said.message, cases[i].expect);
        ck_assert_uint_eq(test_dir_count(snapshots), 1);
        close(snapshots);
        tear_down();
    }
}
END_TEST

static const char *generate_dir;

/* What version 2 makes of the golden store of version 1: manifests only, as all else is the same.
 */
START_TEST(generate)
{
    char command[1024];

    set_up_v1();
    store_open();
    int snapshots = openat(dir_fd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snapshot_store_upgrade(snapshots, &store, NULL);
    close(snapshots);
    snprintf(command, sizeof command,
             "mkdir -p '%s/images' '%s/snapshots/disked' && cp %s/images/*.json '%s/images' && "
             "cp %s/snapshots/disked/manifest.json '%s/snapshots/disked'",
             generate_dir, generate_dir, dir_path, generate_dir, dir_path, generate_dir);
    ck_assert_int_eq(system(command), 0);
    tear_down();
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        one_checksum_two_chunks,        damage_is_not_handed_on,         a_store_of_version_1,
        damage_is_not_given_a_new_name, a_version_1_name_is_not_trusted, a_snapshot_finds_its_image,
        snapshots_that_stay_as_they_are
    };

    if (argc == 3 && strcmp(argv[1], "--generate") == 0) {
        generate_dir = argv[2];
        return test_main("image_identity", &generate, 1);
    }
    return test_main("image_identity", tests, ARRAY_LEN(tests));
}
