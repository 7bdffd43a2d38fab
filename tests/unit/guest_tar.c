/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: volt-init's tar reader and writer agree with GNU tar and with each other, whatever the
 * portions, and no stream writes outside its target or hurts the reader. Method: trees packed by
 * GNU tar in three formats unpacked here, trees packed here unpacked by GNU tar, hostile streams
 * made by hand, and streams cut and flipped at every byte.
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

/* The same content, modes, kinds, links and times. */
static void compare_trees(const char *a, const char *b)
{
    char command[256];

    snprintf(command, sizeof command, "diff -r --no-dereference %s %s", a, b);
    tar_lab_run(command);
    snprintf(command, sizeof command,
             "list() { (cd $1 && find . -printf '%%P %%y %%m %%l %%Ts\\n' | sort); };"
             "list %s | grep -v '^ ' >l1; list %s | grep -v '^ ' >l2; cmp l1 l2",
             a, b);
    tar_lab_run(command);
}

START_TEST(unpacks_what_gnu_tar_packs)
{
    static const char *const formats[] = { "gnu", "ustar", "pax" };
    static const size_t portions[] = { 1, 7, 511, 512, 4096, 65536 };
    char command[128];
    struct fail fail;

    for (size_t i = 0; i < 3; i++) {
        /* ustar has no room for the long link. */
        snprintf(command, sizeof command, "rm -f t; tar %s -cf t --format=%s -C in .",
                 i == 1 ? "--exclude=longlink --exclude='nnn*'" : "", formats[i]);
        tar_lab_run(command);
        size_t bytes = tar_lab_read("t");
        for (size_t j = 0; j < ARRAY_LEN(portions); j++) {
            tar_lab_run("rm -rf out && mkdir out");
            ck_assert_msg(tar_lab_unpack(bytes, portions[j], &fail) == 0, "%s", fail.sentence);
            tar_lab_run("rm -rf want && mkdir want && tar -xpf t -C want");
            compare_trees("want", "out");
        }
    }
    tar_lab_run("test out/a -ef out/deep/hard");
}
END_TEST

START_TEST(gnu_tar_unpacks_what_is_packed_here)
{
    static const size_t portions[] = { 1, 100, 512, 65536 };
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(portions); i++) {
        ck_assert_uint_eq(tar_lab_pack("in/", false, portions[i]), 0);
        tar_lab_run("rm -rf want && mkdir want && tar -xpf t -C want");
        compare_trees("in", "want/in");
    }
    struct tar_writer *writer = malloc(sizeof *writer);
    ck_assert_ptr_nonnull(writer);
    ck_assert_int_eq(tar_writer_init(writer, "nothing/here", false, &fail), 0);
    ck_assert_int_eq((int)tar_writer_read(writer, stream, 512, &fail), -ENOENT);
    ck_assert_ptr_nonnull(strstr(fail.sentence, "nothing/here"));
    tar_writer_fini(writer);
    free(writer);
}
END_TEST

START_TEST(nothing_leaves_the_target)
{
    static const struct {
        const char *link_name, *link_target; /* a symbolic link that comes first, or none */
        const char *name;
        char type;
        const char *link;
    } cases[] = {
        { NULL, NULL, "../evil", '0', "" },
        { NULL, NULL, "a/../../evil", '0', "" },
        { NULL, NULL, "/tmp/volt-evil", '0', "" },
        { NULL, NULL, "..", '5', "" },
        { "up", "..", "up/evil", '0', "" },
        { "up", "../..", "up/x/evil", '0', "" },
        { "root", "/", "root/tmp/volt-evil", '0', "" },
        { NULL, NULL, "hard", '1', "../in/a" },
        { NULL, NULL, "hard", '1', "/etc/passwd" },
        { "in", "../in", "hard", '1', "in/a" },
        { NULL, NULL, "unknown", '9', "" },
    };
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t bytes = 0;

        tar_lab_run("rm -rf out && mkdir out");
        if (cases[i].link_name)
            bytes = tar_lab_member(bytes, cases[i].link_name, '2', cases[i].link_target, "");
        bytes = tar_lab_end(tar_lab_member(bytes, cases[i].name, cases[i].type, cases[i].link,
                                           cases[i].type == '0' ? "evil" : ""));
        fail.sentence[0] = '\0';
        ck_assert_msg(tar_lab_unpack(bytes, 512, &fail) < 0, "case %zu was not refused", i);
        ck_assert_ptr_nonnull(strstr(fail.sentence, cases[i].name));
        ck_assert_int_ne(access("evil", F_OK), 0);
        ck_assert_int_ne(access("/tmp/volt-evil", F_OK), 0);
        ck_assert_int_ne(access("out/hard", F_OK), 0);
    }
}
END_TEST

START_TEST(a_link_in_the_way_is_replaced)
{
    struct fail fail;
    struct stat st;
    size_t bytes = tar_lab_member(0, "name", '2', "../in/a", "");

    bytes = tar_lab_end(tar_lab_member(bytes, "name", '0', "", "evil"));
    ck_assert_msg(tar_lab_unpack(bytes, 512, &fail) == 0, "%s", fail.sentence);
    ck_assert_int_eq(lstat("out/name", &st), 0);
    ck_assert(S_ISREG(st.st_mode));
    tar_lab_run("test \"$(cat in/a)\" = hello");
}
END_TEST

/* Counts what arrives, touches nothing. */
static uint64_t data_bytes;

static int count_begin(void *context, const struct tar_entry *entry, struct fail *fail)
{
    (void)context;
    (void)fail;
    ck_assert_ptr_nonnull(memchr(entry->path, '\0', TAR_PATH_BYTES));
    ck_assert_ptr_nonnull(memchr(entry->link, '\0', TAR_PATH_BYTES));
    return 0;
}

static int count_data(void *context, uint64_t offset, const uint8_t *data, size_t bytes,
                      struct fail *fail)
{
    (void)context;
    (void)offset;
    (void)data;
    (void)fail;
    data_bytes += bytes;
    return 0;
}

static int count_end(void *context, const struct tar_entry *entry, struct fail *fail)
{
    (void)context;
    (void)entry;
    (void)fail;
    return 0;
}

static int read_only(const uint8_t *bytes, size_t count)
{
    static const struct tar_sink sink = { count_begin, count_data, count_end, NULL };
    struct fail fail;
    int status;

    tar_reader_init(&reader, &sink);
    status = tar_reader_feed(&reader, bytes, count, &fail);
    if (status == 0)
        status = tar_reader_finish(&reader, &fail);
    tar_reader_fini(&reader);
    return status;
}

START_TEST(what_is_no_stream_is_told)
{
    struct fail fail;

    memcpy(stream, "hello", 5);
    ck_assert_int_eq(tar_lab_unpack(5, 5, &fail), -EINVAL);
    ck_assert_msg(strstr(fail.sentence, "no tar stream") != NULL, "%s", fail.sentence);
    tar_lab_member(0, "name", '0', "", "contents");
    ck_assert_int_eq(tar_lab_unpack(TAR_BLOCK_BYTES + 5, 512, &fail), -EINVAL);
    ck_assert_msg(strstr(fail.sentence, "the middle of 'name'") != NULL, "%s", fail.sentence);
}
END_TEST

START_TEST(damaged_streams_do_no_harm)
{
    unsigned accepted = 0, refused = 0;
    size_t bytes;
    uint8_t *copy;

    tar_lab_run(
        "mkdir small && printf x >small/a && touch \"small/$(printf 'n%.0s' $(seq 120))\" && "
        "tar -cf t --format=pax -C small .");
    bytes = tar_lab_read("t");
    bytes = MIN_OF(bytes, 8192); /* the rest is padding */
    for (size_t cut = 0; cut < bytes; cut++) {
        copy = malloc(cut + 1);
        memcpy(copy, stream, cut);
        if (read_only(copy, cut) == 0)
            accepted++;
        else
            refused++;
        free(copy);
    }
    ck_assert_uint_gt(refused, 1000);       /* accepted: cuts between members */
    ck_assert_uint_lt(accepted, bytes / 2); /* what follows the end marker may be cut */
    for (size_t i = 0; i < bytes * 8; i++) {
        stream[i / 8] ^= (uint8_t)(1 << i % 8);
        (void)read_only(stream, bytes);
        stream[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    data_bytes = 0;
    ck_assert_int_eq(read_only(stream, bytes), 0);
    ck_assert_uint_eq(data_bytes, 1);
}
END_TEST

START_TEST(numbers)
{
    static const uint64_t values[] = { 0,          7,          07777777, 077777777777,
                                       1ull << 33, 1ull << 40, INT64_MAX };
    char field[12];
    uint64_t value;

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        tar_number_put(field, sizeof(field), values[i]);
        ck_assert(tar_number_get(field, sizeof(field), &value));
        ck_assert_uint_eq(value, values[i]);
    }
    ck_assert(!tar_number_get("12x4567 1234", sizeof(field), &value));
    memset(field, 0xff, sizeof(field)); /* -1 in base 256 */
    ck_assert(!tar_number_get(field, sizeof(field), &value));
    field[0] = (char)0x80; /* more than 64 bits */
    ck_assert(!tar_number_get(field, sizeof(field), &value));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest-tar");
    TCase *tcase = tap_case(suite, "tar");

    tcase_add_checked_fixture(tcase, tar_lab_make, tar_lab_remove);
    tcase_add_test(tcase, unpacks_what_gnu_tar_packs);
    tcase_add_test(tcase, gnu_tar_unpacks_what_is_packed_here);
    tcase_add_test(tcase, nothing_leaves_the_target);
    tcase_add_test(tcase, a_link_in_the_way_is_replaced);
    tcase_add_test(tcase, what_is_no_stream_is_told);
    tcase_add_test(tcase, damaged_streams_do_no_harm);
    tcase_add_test(tcase, numbers);
    return tap_main(suite);
}
