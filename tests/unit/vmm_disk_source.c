/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a machine gets the disk that its options name, with a delta of its own where it may write; a
 * snapshot's disk must be the one that it was taken with.
 * Method: files in a directory as a disk and as a snapshot's delta, and the config that comes of it. */
#include "volt-vmm/disk_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "tap_main.h"
#include "virtio/disk_delta.h"

#define DISK_BYTES MIB(1)

static char directory[64];
static int dir_fd;
static struct options options;
static struct disk_source disk;
static struct manifest manifest;
static struct err err;

static int make_file(const char *name, uint64_t bytes)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
    return fd;
}

static void set_up(void)
{
    snprintf(directory, sizeof directory, "/tmp/volt-disk-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    options = (struct options){ .disk_fd = -1, .disk_map_fd = -1, .disk_delta_fd = -1 };
    disk = (struct disk_source)DISK_SOURCE_INIT;
    manifest = (struct manifest){ 0 };
    err = (struct err){ 0 };
}

static void tear_down(void)
{
    char command[128];

    close(dir_fd);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static void open_disk(void)
{
    options.disk_fd = make_file("base", DISK_BYTES);
    ck_assert_msg(disk_source_open(&disk, &options, &err) == 0, "%s", err.msg);
}

/* What a snapshot says that was taken with it. */
static void describe(bool written)
{
    ck_assert_int_eq(snapshot_disk_describe(disk.base_fd, &manifest.disk_bytes,
                                            &manifest.disk_modified_ns, &err),
                     0);
    snprintf(manifest.disk_path, sizeof manifest.disk_path, "base");
    if (written) { /* a delta, though of no cluster */
        struct disk_delta delta;
        int fd = make_file("disk", 0);

        ck_assert_int_eq(
            disk_delta_open(&delta, fcntl(fd, F_DUPFD_CLOEXEC, 0), manifest.disk_bytes, true, &err),
            0);
        ck_assert_int_eq(snapshot_disk_digest(fd, manifest.disk_bytes, &manifest.disk_delta, &err),
                         0);
        disk_delta_close(&delta);
        close(fd);
    }
}

START_TEST(no_disk_is_none)
{
    struct machine_config config = MACHINE_CONFIG_INIT;
    int fds[DISK_SOURCE_FDS_MAX];

    ck_assert(!disk_given(&options));
    ck_assert_int_eq(disk_source_open(&disk, &options, &err), 0);
    disk_source_configure(&disk, &(int){ -1 }, &config);
    ck_assert(!config.has_disk);
    ck_assert_uint_eq(disk_source_file_bytes(&disk), 0);
    for (unsigned i = 0, count = disk_source_fds(&disk, fds); i < count; i++)
        ck_assert_int_eq(fds[i], -1);
    ck_assert_int_eq(disk_source_check(&disk, &manifest, dir_fd, &err), 0);
}
END_TEST

START_TEST(read_only_disk_has_no_delta)
{
    struct machine_config config = MACHINE_CONFIG_INIT;

    options.disk_iops = 500;
    open_disk();
    ck_assert_uint_eq(disk.bytes, DISK_BYTES);
    disk_source_configure(&disk, &(int){ -1 }, &config);
    ck_assert(config.has_disk && config.disk.disk.read_only);
    ck_assert_uint_eq(config.disk.disk.delta_count, 0);
    ck_assert_int_eq(config.disk.disk.base_fd, options.disk_fd);
    ck_assert_uint_eq(config.disk.limit.ops.per_s, 500);
    ck_assert_uint_eq(disk_source_file_bytes(&disk), 0); /* nothing that it could write */
}
END_TEST

START_TEST(delta_is_the_vms_own)
{
    struct machine_config config = MACHINE_CONFIG_INIT;
    int delta = options.disk_delta_fd = make_file("delta", 0);

    open_disk();
    disk_source_configure(&disk, &delta, &config);
    ck_assert(!config.disk.disk.read_only);
    ck_assert_uint_eq(config.disk.disk.delta_count, 1);
    ck_assert_int_eq(config.disk.disk.delta_fd[0], options.disk_delta_fd);
    ck_assert_int_eq(delta, -1); /* taken */
    ck_assert_uint_gt(disk_source_file_bytes(&disk), DISK_BYTES);
}
END_TEST

START_TEST(machine_that_never_runs_gets_duplicates)
{
    struct machine_config config = MACHINE_CONFIG_INIT;

    options.disk_delta_fd = make_file("delta", 0);
    open_disk();
    disk_source_configure(&disk, NULL, &config);
    ck_assert_int_ne(config.disk.disk.base_fd, disk.base_fd);
    ck_assert_int_ne(config.disk.disk.delta_fd[0], options.disk_delta_fd);
    ck_assert_int_eq(close(config.disk.disk.base_fd), 0);
    ck_assert_int_eq(close(config.disk.disk.delta_fd[0]), 0);
    ck_assert_int_ge(fcntl(disk.base_fd, F_GETFD), 0);
}
END_TEST

START_TEST(writes_in_place_need_no_delta)
{
    struct machine_config config = MACHINE_CONFIG_INIT;

    options.disk_in_place = true;
    open_disk();
    disk_source_configure(&disk, &(int){ -1 }, &config);
    ck_assert(!config.disk.disk.read_only);
    ck_assert_uint_eq(config.disk.disk.delta_count, 0);
}
END_TEST

/* ---- Against a snapshot ---- */

START_TEST(unchanged_disk_passes_and_its_delta_is_opened)
{
    struct machine_config config = MACHINE_CONFIG_INIT;
    int own = make_file("own", 0);

    open_disk();
    describe(true);
    ck_assert_msg(disk_source_check(&disk, &manifest, dir_fd, &err) == 0, "%s", err.msg);
    ck_assert(disk.writable);
    ck_assert_int_ge(disk.delta_fd, 0);
    disk_source_configure(&disk, &own, &config);
    ck_assert_uint_eq(config.disk.disk.delta_count, 2);
    ck_assert_int_eq(config.disk.disk.delta_fd[0], disk.delta_fd);
}
END_TEST

START_TEST(snapshot_without_writes_is_read_only)
{
    options.disk_delta_fd = make_file("delta", 0);
    open_disk();
    describe(false);
    ck_assert_int_eq(disk_source_check(&disk, &manifest, dir_fd, &err), 0);
    ck_assert(!disk.writable);
}
END_TEST

static void refused(const char *said)
{
    ck_assert_int_eq(disk_source_check(&disk, &manifest, dir_fd, &err), -EINVAL);
    ck_assert_msg(strstr(err.msg, said) != NULL, "expected '%s': %s", said, err.msg);
}

START_TEST(disk_that_is_missing_or_too_many_is_told)
{
    open_disk();
    refused("was taken without a disk");
    describe(false);
    disk = (struct disk_source)DISK_SOURCE_INIT;
    refused("needs its disk 'base'");
    snprintf(manifest.disk_image, sizeof manifest.disk_image, "an-image");
    refused("needs its disk 'an-image'");
}
END_TEST

START_TEST(changed_disk_is_told)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1 } };

    open_disk();
    describe(false);
    ck_assert_int_eq(futimens(disk.base_fd, times), 0);
    refused("the disk 'base' was changed");
    describe(false);
    ck_assert_int_eq(disk_source_check(&disk, &manifest, dir_fd, &err), 0);
    manifest.disk_bytes--;
    refused("the disk 'base' was changed");
}
END_TEST

START_TEST(image_in_place_of_a_file_is_told)
{
    open_disk();
    describe(false);
    snprintf(manifest.disk_image, sizeof manifest.disk_image, "an-image");
    refused("another kind of disk");
}
END_TEST

START_TEST(missing_delta_is_told)
{
    open_disk();
    describe(true);
    ck_assert_int_eq(unlinkat(dir_fd, "disk", 0), 0);
    ck_assert_int_eq(disk_source_check(&disk, &manifest, dir_fd, &err), -ENOENT);
}
END_TEST

START_TEST(too_many_files_of_a_map_are_refused)
{
    options.disk_map_fd = make_file("map", 4096);
    options.disk_files = DISK_MAP_FILES_MAX + 1;
    ck_assert(disk_given(&options));
    ck_assert_int_eq(disk_source_open(&disk, &options, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "--disk-files"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vmm_disk_source");
    TCase *tc = tap_case(s, "vmm_disk_source");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, no_disk_is_none);
    tcase_add_test(tc, read_only_disk_has_no_delta);
    tcase_add_test(tc, delta_is_the_vms_own);
    tcase_add_test(tc, machine_that_never_runs_gets_duplicates);
    tcase_add_test(tc, writes_in_place_need_no_delta);
    tcase_add_test(tc, unchanged_disk_passes_and_its_delta_is_opened);
    tcase_add_test(tc, snapshot_without_writes_is_read_only);
    tcase_add_test(tc, disk_that_is_missing_or_too_many_is_told);
    tcase_add_test(tc, changed_disk_is_told);
    tcase_add_test(tc, image_in_place_of_a_file_is_told);
    tcase_add_test(tc, missing_delta_is_told);
    tcase_add_test(tc, too_many_files_of_a_map_are_refused);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
