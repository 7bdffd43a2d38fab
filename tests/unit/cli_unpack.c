/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a root filesystem is unpacked as it was packed, and layers lie over one another as the OCI
 * specification says. Method: trees with all that a file system can have, packed by GNU tar and
 * compressed in each way, compared with what comes out; small layers with the listing that they must
 * come to.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/util.h"
#include "hostile_write.h"
#include "tap_main.h"
#include "unpack_work.h"

#define NOBODY 65534u

static char base[64];
static uint8_t stream[HOSTILE_BYTES_MAX];

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

static bool holds(const char *command)
{
    return system(command) == 0;
}

static void base_make(void)
{
    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    run("mkdir -m 777 out && chmod 755 .");
}

static void base_remove(void)
{
    char command[96];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", base, base);
    run(command);
}

static void become_nobody(void)
{
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        _exit(99);
}

/* Unpacks into "out". */
static int unpack_bytes(const struct unpack_spec *wanted, const void *data, size_t bytes,
                        struct unpack_result *ret_result, struct err *err)
{
    struct unpack_spec spec = *wanted;
    struct unpack unpack;

    spec.target_fd = open("out", O_PATH | O_DIRECTORY | O_CLOEXEC);
    spec.walls = CONFINE_ALL;
    ck_assert_int_ge(spec.target_fd, 0);
    ck_assert_int_eq(unpack_start(&unpack, &spec, err), 0);
    unpack_feed(&unpack, data, bytes);
    int rc = unpack_finish(&unpack, ret_result, err);
    close(spec.target_fd);
    return rc;
}

static size_t file_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes;
    size_t fill = 0;

    ck_assert_int_ge(fd, 0);
    while ((bytes = read(fd, stream + fill, sizeof stream - fill)) > 0)
        fill += (size_t)bytes;
    ck_assert_int_eq(bytes, 0);
    close(fd);
    return fill;
}

/* ---- Roots ---- */

/* A tree with all that there is; what only root can have, if we are. */
static void tree_make(void)
{
    static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 0x20 }; /* cap_net_raw=ep, version 2 */

    run("mkdir -p in/dir/ro in/etc in/empty && echo text >in/etc/file && ln -s /etc/file in/abs && "
        "ln -s ../etc in/dir/rel && ln in/etc/file in/dir/hard && chmod 640 in/etc/file && "
        "chmod 1777 in/empty && cp /bin/true in/suid && chmod 4755 in/suid && mkfifo in/fifo && "
        "truncate -s 3M in/sparse && echo end >>in/sparse && echo x >in/dir/ro/x && "
        "touch -h -d @1000000000 in/abs && touch -d @1000000001 in/dir in/suid in/fifo && "
        "long=$(printf 'n%.0s' $(seq 200)) && mkdir -p in/$long/$long && echo l "
        ">in/$long/$long/$long "
        "&& printf 'u\\303\\244' >'in/\303\244 \377' && chmod 555 in/dir/ro");
    if (geteuid() != 0)
        return;
    run("cp /bin/true in/capable && chown 1234:5678 in/etc/file in/dir in/empty && "
        "chown -h 12:34 in/abs && mknod -m 600 in/zero c 1 5 && mknod in/loop b 7 99 && "
        "chown 5:6 in/zero && touch -d @1000000002 in/zero");
    ck_assert_int_eq(setxattr("in/capable", "security.capability", capability, 20, 0), 0);
}

#define LIST(folder, times)                                                                        \
    "(cd " folder " && find . ! -type l -printf '%P %y %m %U:%G %l %n " times "\\n' , -type l "    \
    "-printf '%P %U:%G %l\\n' | sort && find . -type f -exec md5sum {} + | sort && "               \
    "find . -type b -o -type c -exec stat -c '%n %t:%T' {} + | sort)"

/* Compresses "plain.tar" with a filter of libarchive's into "stream". */
static size_t stream_compress(int (*filter)(struct archive *))
{
    static uint8_t plain[HOSTILE_BYTES_MAX];
    size_t plain_bytes = file_read("plain.tar"), used = 0;

    memcpy(plain, stream, plain_bytes);
    if (!filter)
        return plain_bytes;
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    ck_assert_int_eq(filter(archive), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_set_format_raw(archive), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(archive, 1);
    ck_assert_int_eq(archive_write_open_memory(archive, stream, sizeof stream, &used), ARCHIVE_OK);
    archive_entry_set_filetype(entry, S_IFREG);
    ck_assert_int_eq(archive_write_header(archive, entry), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_data(archive, plain, plain_bytes), (ssize_t)plain_bytes);
    ck_assert_int_eq(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
    archive_entry_free(entry);
    return used;
}

static int (*const filters[])(struct archive *) = {
    NULL,
    archive_write_add_filter_gzip,
    archive_write_add_filter_zstd,
    archive_write_add_filter_xz,
    archive_write_add_filter_bzip2,
};

START_TEST(a_root_comes_out_as_it_went_in)
{
    const struct unpack_spec spec = { .what = UNPACK_ROOT };
    struct unpack_result result;
    struct err err = { 0 };

    tree_make();
    run(_i % 2 ? "tar --xattrs --xattrs-include='*' --format=pax -S -C in -cf plain.tar ."
               : "tar --xattrs --xattrs-include='*' --format=pax -C in -cf plain.tar .");
    size_t bytes = stream_compress(filters[_i / 2]);
    ck_assert_msg(unpack_bytes(&spec, stream, bytes, &result, &err) == 0, "%s", err.msg);
    if (geteuid() == 0) {
        run(LIST("in", "%Ts") " >want && " LIST("out", "%Ts") " >got && diff want got");
        uint8_t capability[32];
        ck_assert_int_eq(getxattr("out/capable", "security.capability", capability, 32), 20);
        ck_assert_int_eq(result.walls & CONFINE_NODEV, CONFINE_NODEV);
    }
    run("cmp in/sparse out/sparse && test $(stat -c %Y out/abs) = 1000000000");
    ck_assert_msg(_i % 2 == 0 || holds("test $(stat -c %b out/sparse) -lt 100"), "it is dense");
    ck_assert_uint_eq(result.tally.nodes + result.tally.xattrs, 0);
}
END_TEST

START_TEST(a_user_gets_what_a_user_may_have)
{
    const struct unpack_spec spec = { .what = UNPACK_ROOT };
    int status;

    if (geteuid() != 0)
        return; /* the test above is that user's */
    tree_make();
    run("tar --xattrs --xattrs-include='*' --format=pax -C in -cf plain.tar .");
    size_t bytes = file_read("plain.tar");
    run("chown 65534:65534 out");
    pid_t pid = fork();
    if (pid == 0) {
        struct unpack_result result = { 0 };
        struct err err = { 0 };

        become_nobody();
        int rc = unpack_bytes(&spec, stream, bytes, &result, &err);
        if (rc < 0 || result.tally.nodes != 2 || result.tally.fifos != 0) {
            fprintf(stderr, "%d %s, %d nodes\n", rc, err.msg, (int)result.tally.nodes);
            _exit(1);
        }
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    run("test $(stat -c %U:%a out/suid) = nobody:4755 && cat out/dir/ro/x && test ! -e out/zero && "
        "test $(stat -c %a out/dir/ro) = 555 && test -p out/fifo");
}
END_TEST

/* ---- Layers ---- */

#define F(n)                                                                                       \
    {                                                                                              \
        .name = n, .data = n                                                                       \
    }
#define D(n)                                                                                       \
    {                                                                                              \
        .name = n, .type = '5', .mode = 0755                                                       \
    }
#define S(n, l)                                                                                    \
    {                                                                                              \
        .name = n, .type = '2', .link = l                                                          \
    }
#define H(n, l)                                                                                    \
    {                                                                                              \
        .name = n, .type = '1', .link = l                                                          \
    }
#define NEXT                                                                                       \
    {                                                                                              \
        .name = NULL, .type = 'n'                                                                  \
    } /* the next layer */

static const struct layers_case {
    const char *title;
    struct hostile_member members[12];
    const char *listing; /* of all but folders, sorted: names, and what links lead to */
} layers_cases[] = {
    { "files add up", { F("a"), NEXT, F("d/b") }, "a d/b" },
    { "a whiteout", { F("d/a"), F("d/b"), NEXT, F("d/.wh.a") }, "d/b" },
    { "a whiteout of a folder", { F("d/a/x/y"), F("b"), NEXT, F("d/.wh.a") }, "b" },
    { "a whiteout of nothing", { F("a"), NEXT, F("d/.wh.a"), F(".wh.b") }, "a" },
    { "a whiteout of a link", { F("a"), S("l", "a"), NEXT, F(".wh.l") }, "a" },
    { "a whiteout beneath a file", { F("a"), NEXT, F("a/.wh.b") }, "a" },
    { "a whiteout, then anew", { F("d/a"), F("d/b"), NEXT, F(".wh.d"), D("d"), F("d/c") }, "d/c" },
    { "anew, then the whiteout",
      { F("d/a"), F("d/b"), NEXT, D("d"), F("d/c"), F(".wh.d") },
      "d/c" },
    { "a file anew, then its whiteout", { F("a"), NEXT, F("a"), F(".wh.a") }, "a" },
    { "an opaque folder",
      { F("d/a"), F("d/e/b"), F("c"), NEXT, F("d/.wh..wh..opq"), F("d/x") },
      "c d/x" },
    { "opaque at the end",
      { F("d/a"), F("d/e/b"), NEXT, D("d"), F("d/e/x"), F("d/.wh..wh..opq") },
      "d/e/x" },
    { "an opaque root", { F("a"), F("d/b"), NEXT, F("x"), F(".wh..wh..opq") }, "x" },
    { "opaque where nothing is", { F("a"), NEXT, F("d/.wh..wh..opq") }, "a" },
    { "names of other tools", { F("a"), NEXT, F(".wh..wh.plnk"), F(".wh..wh.aufs") }, "a" },
    { "a file over a folder", { F("d/a/b"), NEXT, F("d") }, "d" },
    { "a folder over a file", { F("d"), NEXT, D("d"), F("d/a") }, "d/a" },
    { "a folder over a link", { F("a/f"), S("l", "a"), NEXT, D("l"), F("l/x") }, "a/f l/x" },
    { "a link over a folder", { F("d/a"), F("e/b"), NEXT, S("d", "e"), F("d/c") }, "d>e e/b e/c" },
    { "beneath an absolute link",
      { D("run"), S("var/run", "/run"), NEXT, F("var/run/x") },
      "run/x var/run>/run" },
    { "beneath a link out of the root",
      { D("run"), S("var/run", "../../../run"), NEXT, F("var/run/x") },
      "run/x var/run>../../../run" },
    { "a whiteout beneath a link",
      { F("run/x"), F("run/y"), S("r", "/run"), NEXT, F("r/.wh.x") },
      "r>/run run/y" },
    { "a second name across layers", { F("a"), NEXT, H("b", "a"), NEXT, F(".wh.a") }, "b" },
    { "a second name of an absolute name", { F("a"), NEXT, H("b", "/a") }, "a b" },
    { "a second name of a link", { F("a"), S("l", "a"), NEXT, H("m", "l") }, "a l>a m>a" },
    { "read-only folders",
      { { .name = "ro", .type = '5', .mode = 0555 },
        NEXT,
        F("ro/a"),
        NEXT,
        F("ro/.wh.a"),
        F("ro/b") },
      "ro/b" },
    { "absolute and dotted names", { F("/a"), F("./b"), F("d//./c"), NEXT, F("/.wh.a") }, "b d/c" },
    { "three layers", { F("a"), NEXT, F(".wh.a"), NEXT, F("a") }, "a" },
};

static size_t layers_build(const struct layers_case *row, uint64_t lengths[8], size_t *ret_count)
{
    static const struct hostile_place place = { "@", "%" };
    struct hostile_writer writer = { &place, stream, 0 };
    size_t count = 0, begun = 0;

    for (size_t i = 0; i < ARRAY_LEN(row->members); i++) {
        const struct hostile_member *member = &row->members[i];

        if (member->name) {
            hostile_put(&writer, member);
            continue;
        }
        if (i > 0 && (row->members[i - 1].name)) {
            hostile_put_end(&writer);
            lengths[count++] = writer.bytes - begun;
            begun = writer.bytes;
        }
    }
    *ret_count = count;
    return writer.bytes;
}

static int layers_unpack_as(const struct layers_case *row, bool nobody)
{
    uint64_t lengths[8];
    struct unpack_spec spec = { .what = UNPACK_LAYERS, .layer_bytes = lengths };
    size_t bytes = layers_build(row, lengths, &spec.layer_count);
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct unpack_result result;
        struct err err = { 0 };

        if (nobody)
            become_nobody();
        int rc = unpack_bytes(&spec, stream, bytes, &result, &err);
        if (rc < 0)
            fprintf(stderr, "%s: %s\n", row->title, err.msg);
        _exit(rc < 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

START_TEST(layers_lie_over_one_another)
{
    const struct layers_case *row = &layers_cases[_i];
    char command[512];

    for (int nobody = 0; nobody <= (geteuid() == 0); nobody++) {
        run("chmod -R u+rwx out && rm -rf out && mkdir -m 777 out");
        ck_assert_int_eq(layers_unpack_as(row, nobody), 0);
        snprintf(
            command, sizeof command,
            "got=$(cd out && find . ! -type d -type l -printf '%%P>%%l\\n' -o ! -type d -printf "
            "'%%P\\n' | LC_ALL=C sort | tr '\\n' ' ') && test \"$got\" = \"%s \" || { echo \"got "
            "$got\" >&2; false; }",
            row->listing);
        ck_assert_msg(system(command) == 0, "%s: wanted %s", row->title, row->listing);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_unpack");
    TCase *tests = tap_case(suite, "unpacking");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_loop_test(tests, a_root_comes_out_as_it_went_in, 0, 2 * ARRAY_LEN(filters));
    tcase_add_test(tests, a_user_gets_what_a_user_may_have);
    tcase_add_loop_test(tests, layers_lie_over_one_another, 0, ARRAY_LEN(layers_cases));
    return tap_main(suite);
}
