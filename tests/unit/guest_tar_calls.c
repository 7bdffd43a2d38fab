/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a small file costs volt-init few system calls, both ways, as a guest's kernel may be slow; and what
 * is spared is no file's mode. Method: system calls are counted by ptrace while 100 and 300 files are
 * packed and unpacked; modes under other masks, and in a folder whose ACL says what its files' are.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tap_main.h"
#include "tar_lab.h"
#include "tar_write.h"

#define PACK_CALLS 5   /* openat, fstat, flistxattr, read, close */
#define UNPACK_CALLS 4 /* openat, pwrite, utimensat, close */
/* Of 200 files: the allocator of AddressSanitizer maps memory now and then. */
#ifdef __SANITIZE_ADDRESS__
#define OTHER_CALLS 20
#else
#define OTHER_CALLS 0
#endif

/* System calls of a child that does `work`. */
static long calls_of(void (*work)(void))
{
    pid_t child = fork();
    long stops = 0;
    int status;

    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        work();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD), 0);
    for (;; stops += WSTOPSIG(status) == (SIGTRAP | 0x80)) {
        ck_assert_int_eq(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        if (WIFEXITED(status))
            break;
    }
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    return stops / 2; /* at its begin and at its end */
}

static void files_make(unsigned count)
{
    char command[160];

    snprintf(command, sizeof command,
             "rm -rf out many && mkdir out many && for i in $(seq %u); do echo $i >many/$i; done",
             count);
    tar_lab_run(command);
}

static void pack(void)
{
    static struct tar_writer writer;
    struct fail fail;

    if (tar_writer_init(&writer, "many", false, &fail) < 0)
        _exit(1);
    if (tar_writer_read(&writer, stream, sizeof(stream), &fail) <= 0)
        _exit(1);
    tar_writer_fini(&writer);
}

static size_t packed_bytes;
static void unpack(void)
{
    struct fail fail;

    if (tar_lab_unpack(packed_bytes, packed_bytes, &fail) < 0)
        _exit(1);
}

static void costs(long calls, long expected)
{
    ck_assert_int_le(labs(calls - expected), OTHER_CALLS);
}

START_TEST(a_small_file_costs_few_calls)
{
    static const unsigned counts[] = { 100, 300 };
    long packing[2], unpacking[2];

    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        files_make(counts[i]);
        packing[i] = calls_of(pack);
        ck_assert_uint_eq(tar_lab_pack("many", false, 65536), 0);
        packed_bytes = tar_lab_read("t");
        unpacking[i] = calls_of(unpack);
        tar_lab_run("diff -r many out/many");
    }
    costs(packing[1] - packing[0], PACK_CALLS * (counts[1] - counts[0]));
    costs(unpacking[1] - unpacking[0], UNPACK_CALLS * (counts[1] - counts[0]));
}
END_TEST

/* Unpacks a file of each mode into "out", and looks at what it has become. */
static void modes_come_along(mode_t mask)
{
    static const mode_t modes[] = {
        0, 0400, 0444, 0600, 0640, 0644, 0664, 0666, 0755, 0777, 01755
    };
    mode_t before = umask(mask);

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct tar_header *header = (struct tar_header *)stream;
        size_t bytes = tar_lab_member(0, "name", '0', "", "x");
        struct fail fail;
        struct stat st;

        tar_number_put(header->mode, sizeof(header->mode), modes[i]);
        tar_number_put(header->checksum, 7, tar_header_sum(header));
        ck_assert_int_eq(tar_lab_unpack(tar_lab_end(bytes), 512, &fail), 0);
        ck_assert_int_eq(stat("out/name", &st), 0);
        ck_assert_msg((st.st_mode & 07777) == modes[i], "%o with mask %o: %o", modes[i], mask,
                      st.st_mode & 07777);
        ck_assert_int_eq(unlink("out/name"), 0);
    }
    umask(before);
}

START_TEST(modes_are_kept_under_any_mask)
{
    modes_come_along(0);
    modes_come_along(022);
    modes_come_along(0277);
}
END_TEST

START_TEST(modes_are_kept_in_a_folder_with_an_acl)
{
    /* linux/posix_acl_xattr.h: the version, then tag, permissions and id of owner, group and others. */
    static const uint8_t acl[] = {
        2, 0, 0,   0,   1,   0,   7,    0, 255, 255, 255, 255, 4,   0,
        0, 0, 255, 255, 255, 255, 0x20, 0, 0,   0,   255, 255, 255, 255
    };

    if (setxattr("out", "system.posix_acl_default", acl, sizeof acl, 0) < 0) {
        printf("# skipped: no ACLs in this folder's file system\n");
        return;
    }
    tar_lab_run("umask 0 && : >out/made && test $(stat -c %a out/made) = 600 && rm out/made");
    modes_come_along(022);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest-tar-calls");
    TCase *tcase = tap_case(suite, "calls");

    tcase_add_checked_fixture(tcase, tar_lab_make, tar_lab_remove);
    tcase_add_test(tcase, a_small_file_costs_few_calls);
    tcase_add_test(tcase, modes_are_kept_under_any_mask);
    tcase_add_test(tcase, modes_are_kept_in_a_folder_with_an_acl);
    return tap_main(suite);
}
