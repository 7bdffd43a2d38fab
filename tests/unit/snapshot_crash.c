/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever moment a process that makes, deletes or upgrades a snapshot dies at, and whichever
 * call fails, the store holds the old snapshot or the new one, whole; and the order of fsync and
 * rename is the one that carries this over to a loss of power.
 * Method: this program's own openat, pwrite, fsync, renameat2, ... stand before the C library's and
 * count; at the n-th call they end the process or fail, for all n. It has one CPU, so that memory is
 * hashed by one thread and the calls come in one order.
 */
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "golden.h"
#include "snapshot/image/image_store.h"
#include "snapshot/opened.h"
#include "snapshot/upgrade/store_upgrade.h"

/* ---- The calls that change a store ---- */

enum { PASS, EXIT, FAIL };
static struct {
    int mode;
    unsigned call, at; /* calls so far, and the one that is hit; from 1 */
    int error;
    char hit;        /* letter of the call that was made to fail */
    char trace[512]; /* a letter for each call */
} plan;

#define EXIT_CODE_HIT 42

static bool hit(char letter)
{
    if (plan.mode == PASS)
        return false;
    if (plan.call + 1 < sizeof plan.trace)
        plan.trace[plan.call] = letter;
    if (++plan.call != plan.at)
        return false;
    if (plan.mode == EXIT)
        _exit(EXIT_CODE_HIT);
    plan.hit = letter;
    errno = plan.error;
    return true;
}

int openat(int dirfd, const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
    va_end(args);
    return hit('o') ? -1 : (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
    return hit('m') ? -1 : (int)syscall(SYS_mkdirat, dirfd, path, mode);
}

ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    return hit('w') ? -1 : syscall(SYS_pwrite64, fd, buffer, bytes, offset);
}

ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    return hit('r') ? -1 : syscall(SYS_pread64, fd, buffer, bytes, offset);
}

int fsync(int fd)
{
    return hit('f') ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat2(int old_dir, const char *old_name, int new_dir, const char *new_name, unsigned flags)
{
    return hit('R') ? -1 : (int)syscall(SYS_renameat2, old_dir, old_name, new_dir, new_name, flags);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    return hit('u') ? -1 : (int)syscall(SYS_unlinkat, dirfd, path, flags);
}

int linkat(int old_dir, const char *old_name, int new_dir, const char *new_name, int flags)
{
    return hit('l') ? -1 : (int)syscall(SYS_linkat, old_dir, old_name, new_dir, new_name, flags);
}

int ftruncate(int fd, off_t bytes)
{
    return hit('t') ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

/* ---- What is done under the plan ---- */

static char dir_path[256];
static int store_fd;

static void make_new(struct err *err)
{
    if (test_snapshot_make(store_fd, "x", 2, err) < 0)
        _exit(1);
}

static void delete_it(struct err *err)
{
    if (snapshot_delete(store_fd, "x", err) < 0)
        _exit(1);
}

static unsigned open_fds(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* 0: no snapshot; else the mark of the whole one that is there; 255: a damaged one. */
static uint8_t mark_in_store(void)
{
    struct snapshot_verify_report report;
    struct manifest *m = malloc(sizeof *m);
    struct state_reader *r = malloc(sizeof *r);
    struct state_section section;
    struct err err = { 0 };
    uint8_t state_mark = 255, memory_mark = 254;
    int fd;

    int rc = snapshot_dir_open(store_fd, "x", &fd, &err);
    if (rc == -ENOENT)
        state_mark = 0;
    else if (snapshot_verify(fd, NULL, NULL, &report, &err) == 0) {
        ck_ok(manifest_load(fd, m, &err), err);
        ck_ok(snapshot_state_load(fd, m, r, &err), err);
        ck_ok(state_reader_find(r, "alpha", &section, &err), err);
        state_mark = section.bytes[0];
        state_reader_fini(r);
        int memory = openat(fd, SNAPSHOT_FILE_MEMORY, O_RDONLY | O_CLOEXEC);
        ck_assert_int_eq(pread_all(memory, &memory_mark, 1, 0), 0);
        ck_assert_uint_eq(state_mark, memory_mark);
        close(memory);
    }
    if (rc == 0)
        close(fd);
    free(m);
    free(r);
    return state_mark;
}

/* Runs `work` in a child under a plan. Returns its exit code. */
static int run(void (*work)(struct err *), int mode, unsigned at)
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct err err = { 0 };

        plan.mode = mode;
        plan.at = at;
        work(&err);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Kills `work` at every call in turn, on a store that holds mark `before` (0: nothing). */
static void kill_everywhere(void (*work)(struct err *), uint8_t before, uint8_t after,
                            const char *what)
{
    unsigned old_count = 0, new_count = 0;

    for (unsigned at = 1;; at++) {
        struct err err = { 0 };

        store_fd = test_dir_make(dir_path);
        if (before)
            ck_ok(test_snapshot_make(store_fd, "x", before, &err), err);
        int code = run(work, EXIT, at);
        ck_assert_msg(code == 0 || code == EXIT_CODE_HIT, "exit code %d", code);
        uint8_t mark = mark_in_store();
        ck_assert_msg(mark == before || mark == after, "killed at call %u: mark %u", at, mark);
        if (mark == after)
            new_count++;
        else
            old_count++;
        ck_ok(snapshot_store_clean(store_fd, NULL, &err), err);
        ck_assert_uint_eq(test_dir_count(store_fd), mark != 0);
        ck_assert_uint_eq(mark_in_store(), mark);
        test_dir_remove(store_fd, dir_path);
        if (code == 0)
            break;
    }
    ck_assert_uint_gt(old_count, 0);
    ck_assert_uint_gt(new_count, 1); /* killed behind the rename, too */
    test_note("%s: killed at %u calls, %u found the old state, %u the new", what,
              old_count + new_count - 1, old_count, new_count);
}

START_TEST(killed_while_making)
{
    kill_everywhere(make_new, 0, 2, "first snapshot");
}
END_TEST

START_TEST(killed_while_replacing)
{
    kill_everywhere(make_new, 1, 2, "replacing one");
}
END_TEST

START_TEST(killed_while_deleting)
{
    kill_everywhere(delete_it, 1, 0, "deleting one");
}
END_TEST

/* In one process, so that what leaks shows. Test helpers' own calls may fail too: they are before
 * begin and commit only in the fill, which is not under the plan. */
static int make_failing(unsigned at, int error, struct err *err)
{
    struct snapshot_txn txn;
    struct manifest *m = malloc(sizeof *m);

    memset(&plan, 0, sizeof plan);
    plan.at = at;
    plan.error = error;
    plan.mode = FAIL;
    int rc = snapshot_create_begin(store_fd, "x", &txn, err);
    plan.mode = PASS;
    if (rc == 0) {
        test_vm_fill(&txn, 2);
        test_manifest_fill(m);
        plan.mode = FAIL;
        rc = snapshot_create_commit(&txn, m, err);
        plan.mode = PASS;
    }
    free(m);
    return rc;
}

START_TEST(each_call_fails)
{
    static const int errors[] = { EIO, ENOSPC };
    unsigned cases = 0;

    for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
        for (unsigned at = 1;; at++, cases++) {
            struct err err = { 0 };

            store_fd = test_dir_make(dir_path);
            ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
            unsigned fds = open_fds();
            int rc = make_failing(at, errors[e], &err);
            char failed = plan.hit;
            ck_assert_uint_eq(open_fds(), fds);
            ck_assert_uint_eq(mark_in_store(), rc == 0 ? 2 : 1);
            ck_assert_msg(rc == 0 || err.msg[0], "no sentence for call %u", at);
            /* Only a removal that failed may leave something, for the next start to clean up. */
            if (rc < 0 && failed != 'u')
                ck_assert_msg(test_dir_count(store_fd) == 1, "'%c' at %u left litter", failed, at);
            ck_ok(snapshot_store_clean(store_fd, NULL, &err), err);
            ck_assert_uint_eq(test_dir_count(store_fd), 1);
            test_dir_remove(store_fd, dir_path);
            if (!failed)
                break;
        }
    }
    test_note("%u failing calls tried while making a snapshot", cases);
}
END_TEST

START_TEST(order_of_fsync_and_rename)
{
    struct err err = { 0 };

    store_fd = test_dir_make(dir_path);
    ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
    ck_ok(make_failing(UINT32_MAX, EIO, &err), err);
    /* No byte is written behind the first fsync of its file, four are fsynced (manifest, state,
     * memory, directory) before the renames (one that finds NAME taken, one that exchanges), the
     * store behind them, and only then is anything removed. */
    const char *rename = strchr(plan.trace, 'R');
    ck_assert_ptr_nonnull(rename);
    ck_assert_msg(strncmp(rename - 4, "ffffRRf", 7) == 0, "calls: %s", plan.trace);
    ck_assert_ptr_null(strchr(rename, 'w'));
    ck_assert_ptr_nonnull(strchr(rename, 'u'));
    ck_assert_ptr_eq(strchr(plan.trace, 'u'), strchr(rename, 'u'));
    test_note("calls: %s", plan.trace);
    test_dir_remove(store_fd, dir_path);
}
END_TEST

/* ---- Upgrades ---- */

/* As poold does when it starts. */
static void upgrade_all(struct err *err)
{
    int images = openat(store_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int snapshots = openat(store_fd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct image_store store;
    struct err notice;

    if (image_store_open(&store, images, NULL, &notice, err) < 0)
        _exit(1);
    snapshot_store_upgrade(snapshots, &store, NULL);
    if (snapshot_store_clean(snapshots, NULL, err) < 0)
        _exit(1);
    image_store_close(&store);
    close(snapshots);
}

static const char *const upgraded_files[] = { "images/evil.json", "images/honest.json",
                                              "images/plain.json",
                                              "snapshots/disked/manifest.json" };

/* How many of the files are of version 2; each is of one version or of the other. */
static unsigned count_upgraded(void)
{
    int golden = open(GOLDEN_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unsigned count = 0;

    for (size_t i = 0; i < ARRAY_LEN(upgraded_files); i++) {
        size_t len, v1_len, v2_len;
        char name[96];
        uint8_t *found = golden_slurp(store_fd, upgraded_files[i], &len);

        snprintf(name, sizeof name, "store-v1/%s", upgraded_files[i]);
        uint8_t *v1 = golden_slurp(golden, name, &v1_len);
        snprintf(name, sizeof name, "store-v2/%s", upgraded_files[i]);
        uint8_t *v2 = golden_slurp(golden, name, &v2_len);
        bool is_v2 = len == v2_len && memcmp(found, v2, len) == 0;
        ck_assert_msg(is_v2 || (len == v1_len && memcmp(found, v1, len) == 0), "%s is neither",
                      upgraded_files[i]);
        count += is_v2;
        free(found);
        free(v1);
        free(v2);
    }
    close(golden);
    return count;
}

/* Everything is of version 2, and nothing else is there. */
static void check_upgraded(void)
{
    struct snapshot_verify_report report;
    struct err err = { 0 };
    int fd;

    ck_assert_uint_eq(count_upgraded(), ARRAY_LEN(upgraded_files));
    int images = openat(store_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int snapshots = openat(store_fd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_uint_eq(test_dir_count(images), 4); /* packs, too */
    ck_assert_uint_eq(test_dir_count(snapshots), 1);
    ck_ok(snapshot_dir_open(snapshots, "disked", &fd, &err), err);
    ck_ok(snapshot_verify(fd, NULL, NULL, &report, &err), err);
    ck_assert_uint_eq(test_dir_count(fd), 5);
    close(fd);
    close(images);
    close(snapshots);
}

/* Interrupts an upgrade at call number `at` and lets the next start go on. Returns the exit code of
 * the first; *ret_upgraded: the files that it got done. */
static int interrupt(int mode, unsigned at, unsigned *ret_upgraded)
{
    struct err err = { 0 };

    store_fd = test_dir_make(dir_path);
    golden_unpack("store-v1", store_fd);
    plan.error = ENOSPC;
    int code = run(upgrade_all, mode, at);
    *ret_upgraded = count_upgraded();
    upgrade_all(&err);
    check_upgraded();
    test_dir_remove(store_fd, dir_path);
    return code;
}

START_TEST(interrupted_upgrades)
{
    unsigned by_count[ARRAY_LEN(upgraded_files) + 1] = { 0 }, upgraded, at = 0, failed = 0;

    while (interrupt(EXIT, ++at, &upgraded) == EXIT_CODE_HIT)
        by_count[upgraded]++;
    for (size_t i = 0; i < ARRAY_LEN(by_count); i++)
        ck_assert_uint_gt(by_count[i], 0); /* between any two steps */
    for (unsigned n = 1; n < at; n += 3, failed++)
        interrupt(FAIL, n, &upgraded);
    test_note("upgrading: killed at %u calls, %u failed: the next start ended it each time", at - 1,
              failed);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { killed_while_making,       killed_while_replacing,
                                   killed_while_deleting,     each_call_fails,
                                   order_of_fsync_and_rename, interrupted_upgrades };
    cpu_set_t cpus;

    sched_getaffinity(0, sizeof cpus, &cpus);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&cpus) > 1; cpu++)
        CPU_CLR(cpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    if (access("/dev/shm", W_OK) == 0) /* hundreds of stores: where fsync costs nothing */
        setenv("TMPDIR", "/dev/shm", 1);
    return test_main("snapshot_crash", tests, ARRAY_LEN(tests));
}
