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
#include "tar_extract.h"
#include "tar_write.h"

#define STREAM_BYTES_MAX (1u << 20)

static char base[] = "/tmp/volt-unit-XXXXXX";
static uint8_t stream[STREAM_BYTES_MAX];
static struct tar_reader reader;
static struct extract extract;
static struct extract_rules rules;
static struct tar_writer writer;

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

static void base_make(void)
{
    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    run("mkdir -p in/deep/er out && printf hello >in/a && head -c 70000 /dev/urandom >in/deep/big "
        "&& "
        ": >in/empty && ln -s deep/big in/link && ln in/a in/deep/hard && chmod 750 in/deep/er && "
        "chmod 640 in/a && long=$(printf 'n%.0s' $(seq 120)) && mkdir -p in/$long/$long && "
        "printf long >in/$long/$long/$long && ln -s $long/$long/$long in/longlink && "
        "touch -h -d @1700000000 in/a in/link && touch -d @1600000000 in/deep/er in/deep");
}

static void base_remove(void)
{
    char command[64];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", base);
    run(command);
}

static size_t read_stream(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t bytes;

    ck_assert_ptr_nonnull(file);
    bytes = fread(stream, 1, sizeof(stream), file);
    fclose(file);
    ck_assert_uint_lt(bytes, sizeof(stream));
    return bytes;
}

/* Feeds `bytes` of the stream in portions into directory "out". */
static int unpack(size_t bytes, size_t portion, struct fail *fail)
{
    int root_fd = open("out", O_PATH | O_DIRECTORY), status = 0;
    struct tar_sink sink;

    ck_assert_int_ge(root_fd, 0);
    extract_init(&extract, root_fd, &rules);
    sink = extract_sink(&extract);
    tar_reader_init(&reader, &sink);
    for (size_t at = 0; status == 0 && at < bytes; at += portion)
        status = tar_reader_feed(&reader, stream + at, MIN_OF(portion, bytes - at), fail);
    if (status == 0)
        status = tar_reader_finish(&reader, fail);
    tar_reader_fini(&reader);
    extract_fini(&extract);
    close(root_fd);
    return status;
}

/* The same content, modes, kinds, links and times. */
static void compare_trees(const char *a, const char *b)
{
    char command[256];

    snprintf(command, sizeof command, "diff -r --no-dereference %s %s", a, b);
    run(command);
    snprintf(command, sizeof command,
             "list() { (cd $1 && find . -printf '%%P %%y %%m %%l %%Ts\\n' | sort); };"
             "list %s | grep -v '^ ' >l1; list %s | grep -v '^ ' >l2; cmp l1 l2",
             a, b);
    run(command);
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
        run(command);
        size_t bytes = read_stream("t");
        for (size_t j = 0; j < ARRAY_LEN(portions); j++) {
            run("rm -rf out && mkdir out");
            ck_assert_msg(unpack(bytes, portions[j], &fail) == 0, "%s", fail.sentence);
            run("rm -rf want && mkdir want && tar -xpf t -C want");
            compare_trees("want", "out");
        }
    }
    run("test out/a -ef out/deep/hard");
}
END_TEST

/* Packs `path` in portions into the file "t". Returns what was left out. */
static uint32_t pack(const char *path, bool follow, size_t portion)
{
    FILE *file = fopen("t", "w");
    struct fail fail;
    size_t bytes = 0;
    ssize_t count;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(tar_writer_init(&writer, path, follow, &fail), 0);
    while ((count = tar_writer_read(&writer, stream, portion, &fail)) > 0) {
        ck_assert_uint_eq(fwrite(stream, 1, (size_t)count, file), (size_t)count);
        bytes += (size_t)count;
    }
    ck_assert_msg(count == 0, "%s", fail.sentence);
    tar_writer_fini(&writer);
    fclose(file);
    ck_assert_uint_eq(bytes % TAR_BLOCK_BYTES, 0);
    return writer.left_out;
}

START_TEST(gnu_tar_unpacks_what_is_packed_here)
{
    static const size_t portions[] = { 1, 100, 512, 65536 };
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(portions); i++) {
        ck_assert_uint_eq(pack("in/", false, portions[i]), 0);
        run("rm -rf want && mkdir want && tar -xpf t -C want");
        compare_trees("in", "want/in");
    }
    ck_assert_int_eq(tar_writer_init(&writer, "nothing/here", false, &fail), 0);
    ck_assert_int_eq((int)tar_writer_read(&writer, stream, 512, &fail), -ENOENT);
    ck_assert_ptr_nonnull(strstr(fail.sentence, "nothing/here"));
    tar_writer_fini(&writer);
}
END_TEST

/* One member by hand, at stream + at; returns where the next one goes. */
static size_t put_member(size_t at, const char *name, char type, const char *link, const char *data)
{
    struct tar_header *header = (struct tar_header *)(stream + at);

    memset(header, 0, 2 * sizeof(*header));
    strcpy(header->name, name);
    strcpy(header->link, link);
    header->type = type;
    memcpy(header->magic, "ustar", 6);
    tar_number_put(header->mode, 8, 0644);
    tar_number_put(header->size, 12, strlen(data));
    tar_number_put(header->checksum, 7, tar_header_sum(header));
    memcpy(header + 1, data, strlen(data));
    return at + sizeof(*header) * (*data ? 2 : 1);
}

static size_t put_end(size_t at)
{
    memset(stream + at, 0, 2 * TAR_BLOCK_BYTES);
    return at + 2 * TAR_BLOCK_BYTES;
}

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

        run("rm -rf out && mkdir out");
        if (cases[i].link_name)
            bytes = put_member(bytes, cases[i].link_name, '2', cases[i].link_target, "");
        bytes = put_end(put_member(bytes, cases[i].name, cases[i].type, cases[i].link,
                                   cases[i].type == '0' ? "evil" : ""));
        fail.sentence[0] = '\0';
        ck_assert_msg(unpack(bytes, 512, &fail) < 0, "case %zu was not refused", i);
        ck_assert_ptr_nonnull(strstr(fail.sentence, cases[i].name));
        ck_assert_int_ne(access("evil", F_OK), 0);
        ck_assert_int_ne(access("/tmp/volt-evil", F_OK), 0);
        ck_assert_int_ne(access("out/hard", F_OK), 0);
    }
}
END_TEST

/* ---- What a tree has beside names and contents ---- */

/* A tree of files with holes, links, attributes, and times to the nanosecond. */
static void rich_tree(void)
{
    run("mkdir -p rich/sub && truncate -s 40M rich/empty && truncate -s 9000M rich/huge && "
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
    run(command);
    snprintf(
        command, sizeof command,
        "cd %s && test $(du -k huge | cut -f1) -le 64 && test $(du -k empty | cut -f1) -le 4 && "
        "test $(du -k many | cut -f1) -le 64 && cmp many ../rich/many && "
        "test a -ef b && test a -ef sub/c && "
        "test \"$(head -c 5 huge)\" = begin && "
        "test \"$(tail -c +5242880001 huge | head -c 6)\" = middle",
        b);
    run(command);
}

START_TEST(what_a_tree_has_comes_along)
{
    static const char *const options[] = { "--format=posix --sparse", "--format=gnu --sparse" };
    char command[256];
    struct fail fail;

    rich_tree();
    for (size_t portion = 1; portion < 100000; portion = portion * 17 + 1) {
        ck_assert_uint_eq(pack("rich", false, portion), 0);
        run("rm -rf out && mkdir out");
        ck_assert_msg(unpack(read_stream("t"), portion, &fail) == 0, "%s", fail.sentence);
        compare_rich("rich", "out/rich");
    }
    for (size_t i = 0; i < ARRAY_LEN(options); i++) { /* GNU's has whole seconds, no attributes */
        snprintf(command, sizeof command, "tar -cf t %s rich", options[i]);
        run(command);
        run("rm -rf out && mkdir out");
        ck_assert_msg(unpack(read_stream("t"), 4096, &fail) == 0, "%s", fail.sentence);
        run("cmp rich/many out/rich/many && test $(stat -c %s out/rich/huge) = 9437184000 && "
            "test $(du -k out/rich/huge | cut -f1) -le 64");
    }
    ck_assert_uint_eq(pack("rich", false, 65536), 0);
    run("rm -rf want && mkdir want && tar -xpf t --xattrs --xattrs-include='*' -C want");
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
    run("mkdir own && printf x >own/a && ln -s a own/l && mkdir own/d && chown 12:34 own/a own/d "
        "&& "
        "chown -h 56:78 own/l && chmod 4755 own/a && printf y >own/cap && "
        "setcap cap_net_raw+ep own/cap");
    ck_assert_uint_eq(pack("own", false, 4096), 0);
    rules = (struct extract_rules){ .owners = true, .capabilities = true };
    run("rm -rf out && mkdir out");
    ck_assert_msg(unpack(read_stream("t"), 4096, &fail) == 0, "%s", fail.sentence);
    run("cd out/own && test \"$(stat -c %u:%g:%a a d l | tr '\\n' ' ')\" = "
        "'12:34:4755 12:34:755 56:78:777 ' && getcap cap | grep -q net_raw");
    rules = (struct extract_rules){ 0 };
    run("rm -rf out && mkdir out");
    ck_assert_msg(unpack(read_stream("t"), 4096, &fail) == 0, "%s", fail.sentence);
    run("cd out/own && test \"$(stat -c %u:%g:%a a d l | tr '\\n' ' ')\" = "
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
            size_t bytes = put_member(0, "other", '0', "", "x");

            run("rm -rf out && mkdir out");
            run(made[i]);
            ck_assert_int_eq(lstat("out/name", &before), 0);
            bytes = put_end(put_member(bytes, "name", types[j], "other", j ? "" : "evil"));
            ck_assert_int_lt(unpack(bytes, 512, &fail), 0);
            ck_assert_int_eq(lstat("out/name", &after), 0);
            ck_assert_uint_eq(before.st_ino, after.st_ino);
        }
    }
    run("mkdir -p in/special && mkfifo in/special/fifo && printf x >in/special/file");
    ck_assert_uint_eq(pack("in/special", false, 512), 1);
    run("test \"$(tar -tf t | sort | tr '\\n' ' ')\" = 'special special/file '");
}
END_TEST

START_TEST(a_file_is_replaced_when_the_new_one_is_whole)
{
    struct fail fail;
    size_t bytes = put_member(0, "name", '0', "", "new contents");

    run("printf old >out/name");
    ck_assert_int_lt(unpack(TAR_BLOCK_BYTES + 5, 512, &fail), 0);
    run("test \"$(cat out/name)\" = old && test \"$(ls -A out)\" = name");
    ck_assert_msg(unpack(put_end(bytes), 512, &fail) == 0, "%s", fail.sentence);
    run("test \"$(cat out/name)\" = 'new contents' && test \"$(ls -A out)\" = name");
    put_member(0, "another", '0', "", "new contents");
    ck_assert_int_lt(unpack(TAR_BLOCK_BYTES + 5, 512, &fail), 0);
    run("test \"$(ls -A out)\" = name");
}
END_TEST

START_TEST(absolute_links_are_those_of_the_root)
{
    struct fail fail;

    run("mkdir -p out/run out/var && ln -s /run out/var/run");
    put_end(put_member(0, "var/run/a/x", '0', "", "x"));
    ck_assert_int_eq(unpack(4 * TAR_BLOCK_BYTES, 512, &fail), -EXDEV);
    rules.in_root = true;
    ck_assert_msg(unpack(4 * TAR_BLOCK_BYTES, 512, &fail) == 0, "%s", fail.sentence);
    rules.in_root = false;
    run("test -f out/run/a/x && test -L out/var/run");
}
END_TEST

START_TEST(a_link_is_followed_when_it_is_asked_for)
{
    ck_assert_uint_eq(pack("in/link", false, 512), 0);
    run("tar -tvf t | grep -q '^l'");
    ck_assert_uint_eq(pack("in/link", true, 512), 0);
    run("tar -xf t -C out && cmp in/deep/big out/link && ln -s deep in/folder");
    ck_assert_uint_eq(pack("in/folder", true, 512), 0);
    run("tar -xf t -C out && cmp in/deep/big out/folder/big");
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
        run("rm -rf out && mkdir out");
        bytes = put_member(0, "pax", 'x', "", records);
        memset(map, '\0', sizeof map);
        strcpy(map, cases[i].map);
        put_member(bytes, "x", '0', "", "");
        tar_number_put(((struct tar_header *)(stream + bytes))->size, 12, TAR_BLOCK_BYTES + 4);
        tar_number_put(((struct tar_header *)(stream + bytes))->checksum, 7,
                       tar_header_sum((struct tar_header *)(stream + bytes)));
        memcpy(stream + bytes + 512, map, 512);
        memset(stream + bytes + 1024, 'd', 4);
        memset(stream + bytes + 1028, 0, 508);
        bytes = put_end(bytes + 1536);
        int status = unpack(bytes, 100, &fail);
        ck_assert_msg((status == 0) == cases[i].good, "case %zu: %d %s", i, status,
                      status ? fail.sentence : "");
        if (cases[i].good)
            ck_assert_int_eq(access("out/holed", F_OK), 0);
        ck_assert_int_ne(access("out/x", F_OK), 0);
    }
}
END_TEST

START_TEST(a_link_in_the_way_is_replaced)
{
    struct fail fail;
    struct stat st;
    size_t bytes = put_member(0, "name", '2', "../in/a", "");

    bytes = put_end(put_member(bytes, "name", '0', "", "evil"));
    ck_assert_msg(unpack(bytes, 512, &fail) == 0, "%s", fail.sentence);
    ck_assert_int_eq(lstat("out/name", &st), 0);
    ck_assert(S_ISREG(st.st_mode));
    run("test \"$(cat in/a)\" = hello");
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

START_TEST(damaged_streams_do_no_harm)
{
    unsigned accepted = 0, refused = 0;
    size_t bytes;
    uint8_t *copy;

    run("mkdir small && printf x >small/a && touch \"small/$(printf 'n%.0s' $(seq 120))\" && "
        "tar -cf t --format=pax -C small .");
    bytes = read_stream("t");
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

    tcase_add_checked_fixture(tcase, base_make, base_remove);
    tcase_add_test(tcase, unpacks_what_gnu_tar_packs);
    tcase_add_test(tcase, gnu_tar_unpacks_what_is_packed_here);
    tcase_add_test(tcase, nothing_leaves_the_target);
    tcase_add_test(tcase, what_a_tree_has_comes_along);
    tcase_add_test(tcase, owners_and_capabilities_come_as_the_rules_say);
    tcase_add_test(tcase, what_is_special_stays);
    tcase_add_test(tcase, a_file_is_replaced_when_the_new_one_is_whole);
    tcase_add_test(tcase, absolute_links_are_those_of_the_root);
    tcase_add_test(tcase, a_link_is_followed_when_it_is_asked_for);
    tcase_add_test(tcase, lists_of_holes_are_not_believed);
    tcase_add_test(tcase, a_link_in_the_way_is_replaced);
    tcase_add_test(tcase, damaged_streams_do_no_harm);
    tcase_add_test(tcase, numbers);
    return tap_main(suite);
}
