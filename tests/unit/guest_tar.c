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
    extract_init(&extract, root_fd);
    sink = extract_sink(&extract);
    tar_reader_init(&reader, &sink);
    for (size_t at = 0; status == 0 && at < bytes; at += portion)
        status = tar_reader_feed(&reader, stream + at, MIN_OF(portion, bytes - at), fail);
    if (status == 0)
        status = tar_reader_finish(&reader, fail);
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

START_TEST(gnu_tar_unpacks_what_is_packed_here)
{
    static const size_t portions[] = { 1, 100, 512, 65536 };
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(portions); i++) {
        size_t bytes = 0;
        ssize_t count;
        FILE *file = fopen("t", "w");

        ck_assert_int_eq(tar_writer_init(&writer, "in/", &fail), 0);
        while ((count = tar_writer_read(&writer, stream, portions[i], &fail)) > 0) {
            ck_assert_uint_eq(fwrite(stream, 1, (size_t)count, file), (size_t)count);
            bytes += (size_t)count;
        }
        ck_assert_int_eq((int)count, 0);
        tar_writer_fini(&writer);
        fclose(file);
        ck_assert_uint_eq(bytes % TAR_BLOCK_BYTES, 0);
        run("rm -rf want && mkdir want && tar -xpf t -C want");
        compare_trees("in", "want/in");
    }
    ck_assert_int_eq(tar_writer_init(&writer, "nothing/here", &fail), 0);
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
        { NULL, NULL, "device", '3', "" },
        { NULL, NULL, "fifo", '6', "" },
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

static int count_data(void *context, const uint8_t *data, size_t bytes, struct fail *fail)
{
    (void)context;
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
    return status ? status : tar_reader_finish(&reader, &fail);
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
    tcase_add_test(tcase, a_link_in_the_way_is_replaced);
    tcase_add_test(tcase, damaged_streams_do_no_harm);
    tcase_add_test(tcase, numbers);
    return tap_main(suite);
}
