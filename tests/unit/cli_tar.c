/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: `voltctl cp` packs what was asked for under the name that was asked for, and knows what comes
 * by a stream's first bytes. Method: the host's tar run as cp runs it, on real folders; the stream's
 * head read over all its cuts.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "tap_main.h"
#include "tar_child.h"
#include "tar_head.h"

#define LONG_LINK                                                                                  \
    "a-link-that-has-more-than-a-hundred-bytes-so-that-it-does-not-fit-into-the-header-of-a-tar-"  \
    "archive-and-comes-before-it"

static char base[] = "/tmp/volt-unit-XXXXXX";

static void base_make(void)
{
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    ck_assert_int_eq(system("mkdir -p from/folder/sub to && printf data >from/folder/sub/file && "
                            "printf one >from/a,b.c && ln -s sub/file from/folder/link && "
                            "ln -s " LONG_LINK " from/long"),
                     0);
    signal(SIGPIPE, SIG_IGN);
}

static void base_remove(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(system(command), 0);
}

/* Reads all of a packing child into *ret_data (owned by the caller). */
static size_t stream_read(struct tar_child *child, uint8_t **ret_data)
{
    size_t bytes = 0, room = MIB(1);
    uint8_t *data = malloc(room);
    struct err err;
    ssize_t n;

    while ((n = read(child->fd, data + bytes, room - bytes)) > 0)
        bytes += (size_t)n;
    ck_assert_int_eq(tar_child_finish(child, &err), 0);
    *ret_data = data;
    return bytes;
}

/* Packs from "from" and has GNU tar unpack it into "to". */
static void transfer(const char *member, const char *packed_as)
{
    struct tar_child pack;
    uint8_t *data;
    struct err err;

    ck_assert_int_eq(
        tar_child_pack(&pack, &(struct tar_what){ "from", member, packed_as, false }, &err), 0);
    size_t bytes = stream_read(&pack, &data);
    FILE *tar = popen("tar -x -f - -C to", "w");
    ck_assert_ptr_nonnull(tar);
    ck_assert_uint_eq(fwrite(data, 1, bytes, tar), bytes);
    ck_assert_int_eq(pclose(tar), 0);
    free(data);
}

START_TEST(folders_and_files_keep_or_change_their_names)
{
    transfer("folder", NULL);
    ck_assert_int_eq(system("cmp from/folder/link to/folder/link"), 0);
    transfer("folder", "other");
    ck_assert_int_eq(system("cmp from/folder/link to/other/link"),
                     0);            /* its target kept its name */
    transfer("a,b.c", "x&y\\1,^$"); /* every character that sed minds */
    ck_assert_int_eq(access("to/x&y\\1,^$", F_OK), 0);
}
END_TEST

START_TEST(a_name_that_is_not_there_is_an_error)
{
    struct tar_child child;
    struct err err;
    char byte;

    if (!freopen("/dev/null", "w", stderr))
        ck_abort();
    ck_assert_int_eq(
        tar_child_pack(&child, &(struct tar_what){ .dir = "from", .member = "nothing" }, &err), 0);
    while (read(child.fd, &byte, 1) > 0)
        ;
    ck_assert_int_eq(tar_child_finish(&child, &err), -EAGAIN);
    setenv("PATH", "/nonexistent", 1);
    ck_assert_int_eq(
        tar_child_pack(&child, &(struct tar_what){ .dir = "from", .member = "folder" }, &err), 0);
    ck_assert_int_eq(tar_child_finish(&child, &err), -ENOENT);
    setenv("PATH", "/usr/bin:/bin", 1);
}
END_TEST

START_TEST(the_streams_head_tells_what_comes)
{
    static const struct {
        const char *member;
        enum tar_head_kind kind;
        const char *link;
    } cases[] = { { "folder", TAR_HEAD_DIRECTORY, "" },
                  { "a,b.c", TAR_HEAD_FILE, "" },
                  { "folder/link", TAR_HEAD_SYMLINK, "sub/file" },
                  { "long", TAR_HEAD_SYMLINK, LONG_LINK } };
    char long_name[201];

    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct tar_child child;
        uint8_t *data;
        struct err err;
        struct tar_head head;
        const struct tar_what what = { "from", cases[i / 2].member, i % 2 ? long_name : NULL,
                                       false };

        ck_assert_int_eq(tar_child_pack(&child, &what, &err), 0);
        size_t bytes = stream_read(&child, &data), at = 0;
        while (at < bytes && tar_head_parse(data, at, &head) == 0)
            at++;
        ck_assert_uint_lt(at, bytes);
        ck_assert_int_eq(tar_head_parse(data, at, &head), 1);
        ck_assert_int_eq(head.kind, cases[i / 2].kind);
        ck_assert_str_eq(head.link, cases[i / 2].link);
        free(data);
    }
}
END_TEST

START_TEST(a_head_that_is_none_is_refused)
{
    static uint8_t data[TAR_HEAD_BYTES_MAX + 1024];
    struct tar_head kind;

    ck_assert_int_eq(tar_head_parse(data, sizeof data, &kind), -EPROTO);
    for (size_t at = 0; at + 512 <= sizeof data; at += 512) {
        memcpy(data + at + 257, "ustar", 5);
        data[at + 156] = 'x'; /* nothing but extended headers */
    }
    ck_assert_int_eq(tar_head_parse(data, sizeof data, &kind), -EPROTO);
    memset(data + 124, '7', 12);
    ck_assert_int_eq(tar_head_parse(data, sizeof data, &kind), -EPROTO);
    memset(data + 124, 0xff, 12);
    ck_assert_int_eq(tar_head_parse(data, sizeof data, &kind), -EPROTO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_tar");
    TCase *tests = tap_case(suite, "tar");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_test(tests, folders_and_files_keep_or_change_their_names);
    tcase_add_test(tests, a_name_that_is_not_there_is_an_error);
    tcase_add_test(tests, the_streams_head_tells_what_comes);
    tcase_add_test(tests, a_head_that_is_none_is_refused);
    return tap_main(suite);
}
