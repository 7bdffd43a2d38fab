/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the store makes, lists, replaces, deletes and checks snapshots, and every damaged, swapped
 * or strange file is refused by name before it is used.
 * Method: whole snapshots of a small made-up VM in a scratch directory, harmed one way at a time.
 */
#include "snapshot/store.h"

#include <sys/sysmacros.h>

#include "snapshot/opened.h"
#include "snapshot_test.h"

static char dir_path[256];
static int store_fd;

static void set_up(void)
{
    store_fd = test_dir_make(dir_path);
}

static void tear_down(void)
{
    test_dir_remove(store_fd, dir_path);
}

static int dir_of(const char *name)
{
    struct err err = { 0 };
    int fd = -1;

    ck_ok(snapshot_dir_open(store_fd, name, &fd, &err), err);
    return fd;
}

START_TEST(life)
{
    struct snapshot_info *infos;
    struct snapshot_opened *t = malloc(sizeof *t);
    struct snapshot_verify_report report;
    struct state_section section;
    struct err err = { 0 };
    size_t count;
    uint8_t byte;
    int fd;

    set_up();
    ck_ok(test_snapshot_make(store_fd, "one", 1, &err), err);
    ck_ok(test_snapshot_make(store_fd, "a.two", 2, &err), err);
    ck_assert_uint_eq(test_dir_count(store_fd), 2);
    ck_ok(snapshot_list(store_fd, &infos, &count, &err), err);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(infos[0].name, "a.two");
    ck_assert_str_eq(infos[1].name, "one");
    ck_assert_int_eq(infos[1].error.code, 0);
    ck_assert_uint_eq(infos[1].manifest.memory_bytes, TEST_RAM_BYTES);
    ck_assert_uint_eq(infos[1].manifest.memory_data_bytes, 8192);
    ck_assert_uint_lt(infos[1].disk_bytes, KIB(256));
    ck_assert_uint_eq(infos[1].manifest.device_count, 2); /* what the state file has */
    ck_assert_str_eq(infos[1].manifest.device[1], "beta");
    free(infos);

    fd = dir_of("one");
    ck_ok(snapshot_verify(fd, NULL, NULL, &report, &err), err);
    ck_assert_uint_gt(report.checked_bytes, TEST_RAM_BYTES);
    ck_ok(snapshot_open(fd, t, &err), err);
    ck_ok(snapshot_check(t, &err), err);
    close(fd);
    /* The template outlives replacing and deleting. */
    ck_ok(test_snapshot_make(store_fd, "one", 3, &err), err);
    ck_ok(snapshot_delete(store_fd, "one", &err), err);
    ck_ok(state_reader_find(&t->state, "alpha", &section, &err), err);
    ck_assert_uint_eq(section.bytes[0], 1);
    ck_assert_int_eq(pread_all(t->memory.fd, &byte, 1, MIB(8) + 4096), 0);
    ck_assert_uint_eq(byte, 1);
    snapshot_close(t);
    ck_fails(snapshot_delete(store_fd, "one", &err), ENOENT, err, "no snapshot 'one'");
    ck_fails(snapshot_dir_open(store_fd, "one", &fd, &err), ENOENT, err, "no snapshot 'one'");
    ck_assert_uint_eq(test_dir_count(store_fd), 1);
    free(t);
    tear_down();
}
END_TEST

START_TEST(names)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        ".hidden",
        "-x",
        "_x",
        "a/b",
        "A",
        "a b",
        "a\n",
        "0123456789012345678901234567890123456789012345678901234567890123"
    };
    struct snapshot_txn txn;
    struct err err = { 0 };
    int fd;

    set_up();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(snapshot_create_begin(store_fd, bad[i], &txn, &err), -EINVAL);
        snapshot_create_abort(&txn);
        ck_assert_int_eq(snapshot_dir_open(store_fd, bad[i], &fd, &err), -EINVAL);
        ck_assert_int_eq(snapshot_delete(store_fd, bad[i], &err), -EINVAL);
    }
    ck_assert_uint_eq(test_dir_count(store_fd), 0);
    tear_down();
}
END_TEST

/* What a VM may leave behind that is no snapshot: the old one must stay, and no litter. */
START_TEST(vm_did_not_finish)
{
    enum { NOTHING, NO_STATE, CUT_STATE, SHORT_MEMORY, BAD_MANIFEST, CASES };
    struct manifest *m = malloc(sizeof *m);
    struct snapshot_verify_report report;
    struct err err = { 0 };

    set_up();
    ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
    for (unsigned i = 0; i < CASES; i++) {
        struct snapshot_txn txn;

        ck_ok(snapshot_create_begin(store_fd, "x", &txn, &err), err);
        if (i != NOTHING)
            test_vm_fill(&txn, 2);
        if (i == NO_STATE || i == CUT_STATE)
            ck_assert_int_eq(ftruncate(txn.state_fd, i == NO_STATE ? 0 : 100), 0);
        if (i == SHORT_MEMORY)
            ck_assert_int_eq(ftruncate(txn.memory_fd, (off_t)TEST_RAM_BYTES - 4096), 0);
        test_manifest_fill(m);
        if (i == BAD_MANIFEST)
            m->vcpus = 0;
        ck_fails(snapshot_create_commit(&txn, m, &err), EINVAL, err, "snapshot 'x': ");
        ck_assert_int_eq(txn.state_fd, -1);
        ck_assert_uint_eq(test_dir_count(store_fd), 1);
        int fd = dir_of("x");
        ck_ok(snapshot_verify(fd, NULL, NULL, &report, &err), err);
        close(fd);
    }
    free(m);
    tear_down();
}
END_TEST

START_TEST(leftovers_are_cleaned)
{
    static const char *const kept[] = { "x", ".keep", ".x.tmp.abc", ".X.tmp.abcdef",
                                        "x.tmp.abcdef" };
    struct snapshot_txn txn;
    struct err err = { 0 };
    unsigned removed;

    set_up();
    ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
    for (size_t i = 1; i < ARRAY_LEN(kept); i++)
        ck_assert_int_eq(mkdirat(store_fd, kept[i], 0700), 0);
    ck_ok(snapshot_create_begin(store_fd, "x", &txn, &err), err);
    test_vm_fill(&txn, 2);
    close(txn.state_fd); /* as after a crash: nothing is undone */
    close(txn.memory_fd);
    close(txn.dir_fd);
    ck_ok(snapshot_store_clean(store_fd, &removed, &err), err);
    ck_assert_uint_eq(removed, 1);
    ck_assert_uint_eq(test_dir_count(store_fd), ARRAY_LEN(kept));
    tear_down();
}
END_TEST

/* ---- Harm ---- */

static void replace_with_symlink(int fd, const char *file)
{
    ck_assert_int_eq(renameat(fd, file, fd, "aside"), 0);
    ck_assert_int_eq(symlinkat("aside", fd, file), 0);
}

static void replace_with_fifo(int fd, const char *file)
{
    ck_assert_int_eq(unlinkat(fd, file, 0), 0);
    ck_assert_int_eq(mkfifoat(fd, file, 0600), 0);
}

/* Without the right to make one, a symbolic link to a device does. */
static void replace_with_device(int fd, const char *file)
{
    ck_assert_int_eq(unlinkat(fd, file, 0), 0);
    if (mknodat(fd, file, S_IFCHR | 0600, makedev(1, 5)) < 0)
        ck_assert_int_eq(symlinkat("/dev/zero", fd, file), 0);
}

static void replace_with_dir(int fd, const char *file)
{
    ck_assert_int_eq(unlinkat(fd, file, 0), 0);
    ck_assert_int_eq(mkdirat(fd, file, 0700), 0);
}

static void take_away(int fd, const char *file)
{
    ck_assert_int_eq(unlinkat(fd, file, 0), 0);
}

static void resize(int fd, const char *file, off_t by)
{
    int file_fd = openat(fd, file, O_RDWR | O_CLOEXEC);
    struct stat st;

    ck_assert_int_eq(fstat(file_fd, &st), 0);
    ck_assert_int_eq(ftruncate(file_fd, st.st_size + by), 0);
    close(file_fd);
}

static void cut_by_one(int fd, const char *file)
{
    resize(fd, file, -1);
}

static void grow_by_one(int fd, const char *file)
{
    resize(fd, file, 1);
}

static void cut_to_nothing(int fd, const char *file)
{
    int file_fd = openat(fd, file, O_RDWR | O_TRUNC | O_CLOEXEC);

    ck_assert_int_ge(file_fd, 0);
    close(file_fd);
}

/* As long as before, but a hole from end to end. */
static void make_sparse(int fd, const char *file)
{
    int file_fd = openat(fd, file, O_RDWR | O_CLOEXEC);
    struct stat st;

    ck_assert_int_eq(fstat(file_fd, &st), 0);
    ck_assert_int_eq(ftruncate(file_fd, 0), 0);
    ck_assert_int_eq(ftruncate(file_fd, st.st_size), 0);
    close(file_fd);
}

static void let_others_write(int fd, const char *file)
{
    ck_assert_int_eq(fchmodat(fd, file, 0666, 0), 0);
}

/* The same file of another good snapshot. */
static void swap_with_other(int fd, const char *file)
{
    int other = dir_of("other");

    ck_assert_int_eq(renameat(other, file, fd, file), 0);
    close(other);
}

static const struct harm {
    const char *what;
    void (*harm)(int fd, const char *file);
} harms[] = {
    { "symbolic link", replace_with_symlink },
    { "FIFO", replace_with_fifo },
    { "device", replace_with_device },
    { "directory", replace_with_dir },
    { "gone", take_away },
    { "cut by one", cut_by_one },
    { "grown by one", grow_by_one },
    { "empty", cut_to_nothing },
    { "sparse", make_sparse },
    { "writable by others", let_others_write },
    { "swapped", swap_with_other },
};

/* As a template does it. */
static int open_and_check(int dir_fd, struct snapshot_opened *t, struct err *err)
{
    int rc = snapshot_open(dir_fd, t, err);

    if (rc < 0)
        return rc;
    rc = snapshot_check_begin(t, err);
    if (rc == 0)
        rc = snapshot_check(t, err);
    if (rc < 0)
        snapshot_close(t);
    return rc;
}

START_TEST(harmed_files)
{
    static const char *const files[] = { SNAPSHOT_FILE_MANIFEST, SNAPSHOT_FILE_STATE,
                                         SNAPSHOT_FILE_MEMORY, SNAPSHOT_FILE_MEMORY_DIGESTS };
    struct snapshot_opened *t = malloc(sizeof *t);
    struct snapshot_verify_report report;
    unsigned cases = 0;

    for (size_t f = 0; f < ARRAY_LEN(files); f++) {
        for (size_t h = 0; h < ARRAY_LEN(harms); h++, cases++) {
            struct err err = { 0 };

            set_up();
            ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
            ck_ok(test_snapshot_make(store_fd, "other", 2, &err), err);
            int fd = dir_of("x");
            harms[h].harm(fd, files[f]);
            int rc = open_and_check(fd, t, &err);
            ck_assert_msg(rc < 0 && err.msg[0], "%s %s was opened", files[f], harms[h].what);
            ck_assert_int_eq(t->memory.fd, -1);
            rc = snapshot_verify(fd, NULL, NULL, &report, &err);
            ck_assert_msg(rc < 0, "%s %s was verified", files[f], harms[h].what);
            /* With another's manifest it is the files that do not match. */
            if (f != 0 || harms[h].harm != swap_with_other)
                ck_assert_msg(strcmp(report.file, files[f]) == 0 && strstr(err.msg, files[f]),
                              "%s %s: '%s' blames %s", files[f], harms[h].what, err.msg,
                              report.file);
            close(fd);
            tear_down();
        }
    }
    free(t);
    test_note("%u kinds of harm to files tried, all refused by open and by verify", cases);
}
END_TEST

START_TEST(every_byte_of_files)
{
    static const char *const files[] = { SNAPSHOT_FILE_MANIFEST, SNAPSHOT_FILE_STATE };
    struct snapshot_opened *t = malloc(sizeof *t);
    struct err err = { 0 };
    unsigned cases = 0;

    set_up();
    ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
    int fd = dir_of("x");
    for (size_t f = 0; f < ARRAY_LEN(files); f++) {
        int file_fd = openat(fd, files[f], O_RDWR | O_CLOEXEC);
        struct stat st;

        ck_assert_int_eq(fstat(file_fd, &st), 0);
        for (off_t at = 0; at < st.st_size; at++, cases++) {
            uint8_t byte, flipped;

            ck_assert_int_eq(pread_all(file_fd, &byte, 1, (uint64_t)at), 0);
            flipped = byte ^ (uint8_t)(1u << (at % 8));
            ck_assert_int_eq(pwrite_all(file_fd, &flipped, 1, (uint64_t)at), 0);
            err.msg[0] = '\0';
            ck_assert_msg(snapshot_open(fd, t, &err) < 0, "%s: byte %lld", files[f], (long long)at);
            ck_assert_ptr_eq(strstr(err.msg, files[f]), err.msg);
            ck_assert_int_eq(pwrite_all(file_fd, &byte, 1, (uint64_t)at), 0);
        }
        close(file_fd);
    }
    ck_ok(snapshot_open(fd, t, &err), err);
    snapshot_close(t);
    close(fd);
    free(t);
    tear_down();
    test_note("%u bytes of manifest and state changed on disk, all refused by open", cases);
}
END_TEST

START_TEST(verify_names_the_place)
{
    struct snapshot_verify_report report;
    struct snapshot_opened *t = malloc(sizeof *t);
    struct err err = { 0 };

    set_up();
    ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
    int fd = dir_of("x");
    int memory = openat(fd, SNAPSHOT_FILE_MEMORY, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite_all(memory, "!", 1, MIB(8) + 5000), 0);
    ck_fails(snapshot_verify(fd, NULL, NULL, &report, &err), EINVAL, err, "chunk 32 at offset");
    ck_assert_str_eq(report.file, "memory.img");
    ck_assert_str_eq(report.section, "chunk 32");
    ck_fails(open_and_check(fd, t, &err), EINVAL, err, "chunk 32 at offset 8388608 is damaged");
    ck_assert_int_eq(pwrite_all(memory, "\1", 1, MIB(8) + 5000), 0);
    close(memory);

    int state = openat(fd, SNAPSHOT_FILE_STATE, O_RDWR | O_CLOEXEC);
    off_t end = lseek(state, 0, SEEK_END);
    ck_assert_int_eq(pwrite_all(state, "?", 1, (uint64_t)end - 10), 0);
    close(state);
    ck_fails(snapshot_verify(fd, NULL, NULL, &report, &err), EINVAL, err, "section 'beta'");
    ck_assert_str_eq(report.file, "state");
    ck_assert_str_eq(report.section, "beta");
    close(fd);
    free(t);
    tear_down();
}
END_TEST

START_TEST(other_hosts_are_refused)
{
    struct manifest_cpu here, taken;
    struct err err = { 0 };

    host_cpu_detect(&here);
    ck_assert_uint_eq(strlen(here.vendor), 12);
    taken = here;
    ck_ok(host_cpu_check(&taken, &here, &err), err);
    taken.model ^= 1; /* another model of the vendor's: KVM decides */
    ck_ok(host_cpu_check(&taken, &here, &err), err);
    strcpy(taken.vendor, "OtherVendor!");
    ck_fails(host_cpu_check(&taken, &here, &err), ENOTSUP, err, "'OtherVendor!'");
    taken = here;
    taken.software_only_kvm = !here.software_only_kvm;
    ck_fails(host_cpu_check(&taken, &here, &err), ENOTSUP, err, "software_only_kvm");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { life,
                                   names,
                                   vm_did_not_finish,
                                   leftovers_are_cleaned,
                                   harmed_files,
                                   every_byte_of_files,
                                   verify_names_the_place,
                                   other_hosts_are_refused };

    return test_main("snapshot_store", tests, ARRAY_LEN(tests));
}
