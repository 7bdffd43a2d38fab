/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what a tree has beside names and contents comes through volt-init's tar: holes, hard links,
 * attributes, owners, times; links and special files at the target stay what they are. Method: trees
 * packed and unpacked here, by GNU tar, and lists of holes made by hand that lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap_main.h"
#include "tar_lab.h"
#include "tar_write.h"

/* ---- What a tree has beside names and contents ---- */

/* A tree of files with holes, links, attributes, and times to the nanosecond. */
static void rich_tree(void)
{
    tar_lab_run("mkdir -p rich/sub && truncate -s 40M rich/empty && truncate -s 9000M rich/huge && "
                "printf begin | dd of=rich/huge conv=notrunc status=none && "
                "printf middle | dd of=rich/huge bs=1M seek=5000 conv=notrunc status=none && "
                "for i in 1 3 5 7 9 11 13; do printf $i | "
                "dd of=rich/many bs=64K seek=$i conv=notrunc status=none; done && "
                "printf x >rich/a && ln rich/a rich/b && ln rich/a rich/sub/c && ln -s a rich/l && "
                "ln -P rich/l rich/l2 && setfattr -n user.one -v 1 rich/a && "
                "setfattr -n user.long -v $(printf 'v%.0s' $(seq 3000)) rich/a && "
                "setfattr -n user.dir -v yes rich/sub && chmod 1750 rich/sub && "
                "touch -d '2001-02-03 04:05:06.123456789' rich/a rich/many && "
                "touch -d '1965-02-03 04:05:06.25' rich/empty && "
                "touch -d '2002-02-03 04:05:06.000000007' rich/sub");
}

/* The same in everything, and no denser. */
static void compare_rich(const char *a, const char *b)
{
    char command[512];

    snprintf(command, sizeof command,
             "list() { (cd $1 && find . -printf '%%P %%y %%m %%l %%T@ %%s %%n\n' | sort; "
             "getfattr -d -R . | sort); }; "
             "list %s | grep -v '^ ' >l1; list %s | grep -v '^ ' >l2; diff l1 l2",
             a, b);
    tar_lab_run(command);
    snprintf(
        command, sizeof command,
        "cd %s && test $(du -k huge | cut -f1) -le 64 && test $(du -k empty | cut -f1) -le 4 && "
        "test $(du -k many | cut -f1) -le 64 && cmp many ../rich/many && "
        "test a -ef b && test a -ef sub/c && "
        "test \"$(head -c 5 huge)\" = begin && "
        "test \"$(tail -c +5242880001 huge | head -c 6)\" = middle",
        b);
    tar_lab_run(command);
}

START_TEST(what_a_tree_has_comes_along)
{
    static const char *const options[] = { "--format=posix --sparse", "--format=gnu --sparse" };
    char command[256];
    struct fail fail;

    rich_tree();
    for (size_t portion = 1; portion < 100000; portion = portion * 17 + 1) {
        ck_assert_uint_eq(tar_lab_pack("rich", false, portion), 0);
        tar_lab_run("rm -rf out && mkdir out");
        ck_assert_msg(tar_lab_unpack(tar_lab_read("t"), portion, &fail) == 0, "%s", fail.sentence);
        compare_rich("rich", "out/rich");
    }
    for (size_t i = 0; i < ARRAY_LEN(options); i++) { /* GNU's has whole seconds, no attributes */
        snprintf(command, sizeof command, "tar -cf t %s rich", options[i]);
        tar_lab_run(command);
        tar_lab_run("rm -rf out && mkdir out");
        ck_assert_msg(tar_lab_unpack(tar_lab_read("t"), 4096, &fail) == 0, "%s", fail.sentence);
        tar_lab_run(
            "cmp rich/many out/rich/many && test $(stat -c %s out/rich/huge) = 9437184000 && "
            "test $(du -k out/rich/huge | cut -f1) -le 64");
    }
    ck_assert_uint_eq(tar_lab_pack("rich", false, 65536), 0);
    tar_lab_run("rm -rf want && mkdir want && tar -xpf t --xattrs --xattrs-include='*' -C want");
    compare_rich("rich", "want/rich");
}
END_TEST

START_TEST(owners_and_capabilities_come_as_the_rules_say)
{
    struct fail fail;

    if (geteuid() != 0) {
        printf("# skipped: only root gives files away\n");
        return;
    }
    tar_lab_run(
        "mkdir own && printf x >own/a && ln -s a own/l && mkdir own/d && chown 12:34 own/a own/d "
        "&& "
        "chown -h 56:78 own/l && chmod 4755 own/a && printf y >own/cap && "
        "setcap cap_net_raw+ep own/cap");
    ck_assert_uint_eq(tar_lab_pack("own", false, 4096), 0);
    rules = (struct extract_rules){ .owners = true, .capabilities = true };
    tar_lab_run("rm -rf out && mkdir out");
    ck_assert_msg(tar_lab_unpack(tar_lab_read("t"), 4096, &fail) == 0, "%s", fail.sentence);
    tar_lab_run("cd out/own && test \"$(stat -c %u:%g:%a a d l | tr '\\n' ' ')\" = "
                "'12:34:4755 12:34:755 56:78:777 ' && getcap cap | grep -q net_raw");
    rules = (struct extract_rules){ 0 };
    tar_lab_run("rm -rf out && mkdir out");
    ck_assert_msg(tar_lab_unpack(tar_lab_read("t"), 4096, &fail) == 0, "%s", fail.sentence);
    tar_lab_run("cd out/own && test \"$(stat -c %u:%g:%a a d l | tr '\\n' ' ')\" = "
                "'0:0:755 0:0:755 0:0:777 ' && test -z \"$(getcap cap)\"");
}
END_TEST

START_TEST(what_is_special_stays)
{
    static const char *const made[] = { "mkfifo out/name", "mkdir out/name",
                                        "python3 -c 'import socket as s; "
                                        "s.socket(s.AF_UNIX).bind(\"out/name\")'" };
    static const char types[] = { '0', '1', '2' };
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        for (size_t j = 0; j < ARRAY_LEN(types); j++) {
            struct stat before, after;
            size_t bytes = tar_lab_member(0, "other", '0', "", "x");

            tar_lab_run("rm -rf out && mkdir out");
            tar_lab_run(made[i]);
            ck_assert_int_eq(lstat("out/name", &before), 0);
            bytes = tar_lab_end(tar_lab_member(bytes, "name", types[j], "other", j ? "" : "evil"));
            ck_assert_int_lt(tar_lab_unpack(bytes, 512, &fail), 0);
            ck_assert_int_eq(lstat("out/name", &after), 0);
            ck_assert_uint_eq(before.st_ino, after.st_ino);
        }
    }
    tar_lab_run("mkdir -p in/special && mkfifo in/special/fifo && printf x >in/special/file");
    ck_assert_uint_eq(tar_lab_pack("in/special", false, 512), 1);
    tar_lab_run("test \"$(tar -tf t | sort | tr '\\n' ' ')\" = 'special special/file '");
}
END_TEST

START_TEST(a_file_is_replaced_when_the_new_one_is_whole)
{
    struct fail fail;
    size_t bytes = tar_lab_member(0, "name", '0', "", "new contents");

    tar_lab_run("printf old >out/name");
    ck_assert_int_lt(tar_lab_unpack(TAR_BLOCK_BYTES + 5, 512, &fail), 0);
    tar_lab_run("test \"$(cat out/name)\" = old && test \"$(ls -A out)\" = name");
    ck_assert_msg(tar_lab_unpack(tar_lab_end(bytes), 512, &fail) == 0, "%s", fail.sentence);
    tar_lab_run("test \"$(cat out/name)\" = 'new contents' && test \"$(ls -A out)\" = name");
    tar_lab_member(0, "another", '0', "", "new contents");
    ck_assert_int_lt(tar_lab_unpack(TAR_BLOCK_BYTES + 5, 512, &fail), 0);
    tar_lab_run("test \"$(ls -A out)\" = name");
}
END_TEST

START_TEST(absolute_links_are_those_of_the_root)
{
    struct fail fail;

    tar_lab_run("mkdir -p out/run out/var && ln -s /run out/var/run");
    tar_lab_end(tar_lab_member(0, "var/run/a/x", '0', "", "x"));
    ck_assert_int_eq(tar_lab_unpack(4 * TAR_BLOCK_BYTES, 512, &fail), -EXDEV);
    rules.in_root = true;
    ck_assert_msg(tar_lab_unpack(4 * TAR_BLOCK_BYTES, 512, &fail) == 0, "%s", fail.sentence);
    rules.in_root = false;
    tar_lab_run("test -f out/run/a/x && test -L out/var/run");
}
END_TEST

START_TEST(a_link_is_followed_when_it_is_asked_for)
{
    ck_assert_uint_eq(tar_lab_pack("in/link", false, 512), 0);
    tar_lab_run("tar -tvf t | grep -q '^l'");
    ck_assert_uint_eq(tar_lab_pack("in/link", true, 512), 0);
    tar_lab_run("tar -xf t -C out && cmp in/deep/big out/link && ln -s deep in/folder");
    ck_assert_uint_eq(tar_lab_pack("in/folder", true, 512), 0);
    tar_lab_run("tar -xf t -C out && cmp in/deep/big out/folder/big");
}
END_TEST

/* A list of holes that lies: pieces that overlap, lie behind the end, or are not what follows. */
START_TEST(lists_of_holes_are_not_believed)
{
    static const struct {
        const char *map;
        unsigned realsize;
        bool good;
    } cases[] = {
        { "1\n0\n4\n", 4, true },
        { "2\n0\n2\n100\n2\n", 102, true },
        { "2\n0\n2\n1\n2\n", 102, false },
        { "1\n100\n4\n", 102, false },
        { "1\n0\n5\n", 102, false },
        { "1\n0\n3\n", 102, false },
        { "0\n", 102, false },
        { "99999999\n0\n4\n", 102, false },
        { "1\n18446744073709551615\n4\n", 102, false },
        { "1\n-1\n4\n", 102, false },
        { "3\n0\n4\n", 102, false },
        { "\n\n", 102, false },
    };
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char records[256], map[TAR_BLOCK_BYTES + 5] = "";
        size_t bytes;

        snprintf(records, sizeof records,
                 "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=holed\n%u "
                 "GNU.sparse.realsize=%u\n",
                 cases[i].realsize < 100 ? 25 : 27, cases[i].realsize);
        tar_lab_run("rm -rf out && mkdir out");
        bytes = tar_lab_member(0, "pax", 'x', "", records);
        memset(map, '\0', sizeof map);
        strcpy(map, cases[i].map);
        tar_lab_member(bytes, "x", '0', "", "");
        tar_number_put(((struct tar_header *)(stream + bytes))->size, 12, TAR_BLOCK_BYTES + 4);
        tar_number_put(((struct tar_header *)(stream + bytes))->checksum, 7,
                       tar_header_sum((struct tar_header *)(stream + bytes)));
        memcpy(stream + bytes + 512, map, 512);
        memset(stream + bytes + 1024, 'd', 4);
        memset(stream + bytes + 1028, 0, 508);
        bytes = tar_lab_end(bytes + 1536);
        int status = tar_lab_unpack(bytes, 100, &fail);
        ck_assert_msg((status == 0) == cases[i].good, "case %zu: %d %s", i, status,
                      status ? fail.sentence : "");
        if (cases[i].good)
            ck_assert_int_eq(access("out/holed", F_OK), 0);
        ck_assert_int_ne(access("out/x", F_OK), 0);
    }
}
END_TEST

/* Their sizes are said to be 0, or a page. */
START_TEST(the_kernels_own_files_are_read_whole)
{
    static struct tar_writer writer;
    struct fail fail;

    ck_assert_uint_eq(tar_lab_pack("/proc/version", false, 4096), 0);
    tar_lab_run("tar -xf t -C out && cmp out/version /proc/version");
    ck_assert_uint_eq(tar_lab_pack("/sys/kernel/mm/transparent_hugepage/enabled", false, 7), 0);
    tar_lab_run("tar -xf t -C out && cmp out/enabled /sys/kernel/mm/transparent_hugepage/enabled");
    (void)tar_lab_pack("/proc/sys/kernel/random", false, 512);
    tar_lab_run("tar -xf t -C out && cmp out/random/poolsize /proc/sys/kernel/random/poolsize");
    ck_assert_int_eq(tar_writer_init(&writer, "/proc/self/mem", false, &fail), 0);
    ck_assert_int_eq(tar_writer_read(&writer, stream, sizeof(stream), &fail), -EIO);
    tar_writer_fini(&writer);
    ck_assert_int_eq(tar_writer_init(&writer, "/proc/kallsyms", false, &fail), 0);
    ck_assert_int_eq(tar_writer_read(&writer, stream, sizeof(stream), &fail), -EFBIG);
    tar_writer_fini(&writer);
    ck_assert_uint_gt(tar_lab_pack("/proc/self", true, 65536), 0); /* what can't be read */
    tar_lab_run("tar -tf t >list && grep -q ^self/status list");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest-tar-tree");
    TCase *tcase = tap_case(suite, "trees");

    tcase_add_checked_fixture(tcase, tar_lab_make, tar_lab_remove);
    tcase_add_test(tcase, what_a_tree_has_comes_along);
    tcase_add_test(tcase, owners_and_capabilities_come_as_the_rules_say);
    tcase_add_test(tcase, what_is_special_stays);
    tcase_add_test(tcase, a_file_is_replaced_when_the_new_one_is_whole);
    tcase_add_test(tcase, absolute_links_are_those_of_the_root);
    tcase_add_test(tcase, a_link_is_followed_when_it_is_asked_for);
    tcase_add_test(tcase, lists_of_holes_are_not_believed);
    tcase_add_test(tcase, the_kernels_own_files_are_read_whole);
    return tap_main(suite);
}
