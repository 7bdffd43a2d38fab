/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: no archive changes anything outside of the folder that it is unpacked into, and each of the
 * two walls holds that alone. Method: every archive of the table, by every unpacker there is, as a
 * whole, stripped and renamed, and again after links to a victim were planted where its members go;
 * what is outside is fingerprinted before and after. Behind both walls; with the check of names
 * alone, in a process that may do all; and by an unpacker that believes everything, behind the second
 * wall alone. That one without a wall does the harm, so these tests can fail.
 */
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
#include <unistd.h>

#include "base/landlock.h"
#include "base/util.h"
#include "hostile.h"
#include "hostile_write.h"
#include "tap_main.h"
#include "tar_extract.h"
#include "trusting.h"
#include "unpack_work.h"
#include "watched.h"

#define NOBODY 65534u
#define TOP "top"
/* Archives that do harm where nothing holds; others are after a fault that this one has not. */
#define HARMFUL_MIN 60

static struct watched watched;
static struct hostile_place place;
static uint8_t stream[HOSTILE_BYTES_MAX + KIB(64)];
static size_t stream_bytes;
static uint64_t layers[2];

/* ---- The unpackers ---- */

struct unpacker;
typedef void (*unpack_run)(const struct unpacker *unpacker, int stream_fd, int target_fd);

struct unpacker {
    const char *name;
    unpack_run run; /* in a process of its own: only the fingerprint counts */
    struct unpack_spec spec;
    bool as_nobody;
};

static void become_nobody(void)
{
    if (geteuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
         setresuid(NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0))
        _exit(3);
}

static struct unpack_spec spec_of(const struct unpacker *unpacker, int target_fd)
{
    struct unpack_spec spec = unpacker->spec;

    spec.target_fd = target_fd;
    spec.layer_bytes = layers;
    spec.layer_count = 2;
    return spec;
}

static void both_walls(const struct unpacker *unpacker, int stream_fd, int target_fd)
{
    struct unpack_spec spec = spec_of(unpacker, target_fd);
    struct unpack_result result;
    struct unpack unpack;
    struct err err;

    (void)stream_fd;
    if (unpack_start(&unpack, &spec, &err) < 0)
        _exit(2);
    unpack_feed(&unpack, stream, stream_bytes); /* -EPIPE: it has refused, and says so */
    int rc = unpack_finish(&unpack, &result, &err);
    bool held =
        result.walls & CONFINE_FILTER && (landlock_abi() < 2 || result.walls & CONFINE_LANDLOCK);
    _exit(rc == 0 || (held && err.msg[0]) ? 0 : 4);
}

static void names_alone(const struct unpacker *unpacker, int stream_fd, int target_fd)
{
    struct unpack_spec spec = spec_of(unpacker, target_fd);
    struct place_tally tally;
    struct err err;

    unpack_work(&spec, CONFINE_CHROOT | CONFINE_NODEV, stream_fd, target_fd, &tally, &err);
}

static void guests_own(const struct unpacker *unpacker, int stream_fd, int target_fd)
{
    static struct tar_reader reader;
    static struct extract extract;
    struct fail fail = { 0 };

    (void)unpacker;
    (void)stream_fd;
    extract_init(&extract, target_fd, &(struct extract_rules){ .owners = true });
    struct tar_sink sink = extract_sink(&extract);
    tar_reader_init(&reader, &sink);
    if (tar_reader_feed(&reader, stream, stream_bytes, &fail) == 0)
        tar_reader_finish(&reader, &fail);
    tar_reader_fini(&reader);
    extract_fini(&extract);
}

static void no_wall(const struct unpacker *unpacker, int stream_fd, int target_fd)
{
    trusting_unpack(stream_fd, target_fd, unpacker->spec.names.top);
}

static int trusting_work(void *context, unsigned walls)
{
    const struct unpacker *unpacker = context;

    (void)walls;
    trusting_unpack(CONFINE_INPUT_FD, CONFINE_TARGET_FD, unpacker->spec.names.top);
    return 0;
}

static void second_wall_alone(const struct unpacker *unpacker, int stream_fd, int target_fd)
{
    const struct confine confine = { .target_fd = target_fd,
                                     .input_fd = stream_fd,
                                     .report_fd = STDERR_FILENO,
                                     .owner = unpacker->spec.what != UNPACK_COPY,
                                     .nodes = unpacker->spec.what != UNPACK_COPY,
                                     .walls = unpacker->spec.walls };
    struct unpacker copy = *unpacker;
    struct err err;
    pid_t pid;
    int status;

    if (confine_start(&confine, trusting_work, &copy, &pid, &err) < 0)
        _exit(2);
    waitpid(pid, &status, 0); /* ended by SIGSYS, maybe: that is the filter holding it */
    _exit(WIFEXITED(status) && WEXITSTATUS(status) == CONFINE_FAILED ? 5 : 0);
}

#define CONTENTS .what = UNPACK_COPY, .names = { .top = TOP, .as = "" }
#define SPECS(label, run, nobody)                                                                  \
    { label "copy of contents",                                                                    \
      run,                                                                                         \
      { CONTENTS, .keeps_top = true, .walls = CONFINE_ALL },                                       \
      nobody },                                                                                    \
        { label "copy into a new folder", run, { CONTENTS, .walls = CONFINE_ALL }, nobody },       \
        { label "copy under a new name",                                                           \
          run,                                                                                     \
          { .what = UNPACK_COPY,                                                                   \
            .names = { TOP, "renamed", false },                                                    \
            .keeps_top = true,                                                                     \
            .walls = CONFINE_ALL },                                                                \
          nobody },                                                                                \
        { label "copy of a file",                                                                  \
          run,                                                                                     \
          { .what = UNPACK_COPY,                                                                   \
            .names = { TOP, "file", true },                                                        \
            .keeps_top = true,                                                                     \
            .walls = CONFINE_ALL },                                                                \
          nobody },                                                                                \
        { label "root", run, { .what = UNPACK_ROOT, .walls = CONFINE_ALL }, nobody },              \
    {                                                                                              \
        label "layers", run, { .what = UNPACK_LAYERS, .walls = CONFINE_ALL }, nobody               \
    }

#define FAULTY(label, stripped, what_, walls_, nobody)                                             \
    {                                                                                              \
        "a faulty unpacker behind " label, second_wall_alone,                                      \
            { .what = what_,                                                                       \
              .names = { .top = stripped ? TOP : NULL, .as = "" },                                 \
              .walls = walls_ },                                                                   \
            nobody                                                                                 \
    }
#define LANDLOCK_ALONE (CONFINE_LANDLOCK | CONFINE_FILTER)
#define CHROOT_ALONE (CONFINE_CHROOT | CONFINE_FILTER)

static const struct unpacker unpackers[] = {
    SPECS("both walls, ", both_walls, false),
    SPECS("both walls without root, ", both_walls, true),
    SPECS("names alone, ", names_alone, false),
    { "the guest's own", guests_own, { 0 }, false },
    FAULTY("all of the second wall", false, UNPACK_ROOT, CONFINE_ALL, false),
    FAULTY("all of the second wall, stripping", true, UNPACK_COPY, CONFINE_ALL, false),
    FAULTY("Landlock and the filter", false, UNPACK_ROOT, LANDLOCK_ALONE, false),
    FAULTY("Landlock and the filter, stripping", true, UNPACK_COPY, LANDLOCK_ALONE, false),
    FAULTY("chroot and the filter", false, UNPACK_ROOT, CHROOT_ALONE, false),
    FAULTY("chroot and the filter, stripping", true, UNPACK_COPY, CHROOT_ALONE, false),
    FAULTY("Landlock and the filter, without root", true, UNPACK_COPY, LANDLOCK_ALONE, true),
};

/* ---- One archive ---- */

/* Layers: what is hostile comes on top of one that has the top already. */
static void stream_build(const struct unpacker *unpacker, size_t index)
{
    static const struct hostile_member lower = { .name = "@/lower/file", .data = "good" };
    struct hostile_writer writer = { &place, stream, 0 };

    if (unpacker->spec.what == UNPACK_LAYERS && unpacker->run != guests_own) {
        hostile_put(&writer, &lower);
        hostile_put_end(&writer);
    }
    layers[0] = writer.bytes;
    layers[1] = hostile_build(index, &place, stream + writer.bytes);
    stream_bytes = layers[0] + layers[1];
}

static int stream_open(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite_all(fd, stream, stream_bytes, 0), 0);
    return fd;
}

static void unpack_once(const struct unpacker *unpacker, size_t index)
{
    int stream_fd = stream_open(), status;
    int target_fd = open(watched.target, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pid_t pid = fork();

    ck_assert_int_ge(target_fd, 0);
    if (pid == 0) {
        signal(SIGPIPE, SIG_IGN);
        if (unpacker->as_nobody)
            become_nobody();
        unpacker->run(unpacker, stream_fd, target_fd);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "%s: '%s' ended with %#x", unpacker->name, hostile_title(index),
                  status);
    close(stream_fd);
    close(target_fd);
}

/* Puts a link to the victim where the first `depth` components of a member's name lead to, as an
 * earlier copy may have left it. False: it leads nowhere so deep. */
static bool plant(const struct unpacker *unpacker, const char *name, unsigned depth,
                  const char *link_to)
{
    const char *top = unpacker->spec.names.top, *as = unpacker->spec.names.as;
    char path[4096], copy[4096], *rest = copy;
    size_t fill = (size_t)snprintf(path, sizeof path, "%s", watched.target);

    snprintf(copy, sizeof copy, "%s", name);
    for (char *part = strsep(&rest, "/"); part; part = strsep(&rest, "/")) {
        if (top && strcmp(part, top) == 0)
            part = (char *)(uintptr_t)as;
        top = NULL;
        if (*part == '\0' || strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
            continue;
        if (fill + strlen(part) + 2 > sizeof path)
            return false;
        fill += (size_t)snprintf(path + fill, sizeof path - fill, "/%s", part);
        if (--depth == 0)
            return symlink(link_to, path) == 0;
        if (mkdir(path, 0777) < 0 && errno != EEXIST)
            return false;
        chmod(path, 0777);
    }
    return false;
}

static void expect_same(const struct unpacker *unpacker, size_t index, const char *before,
                        const char *when)
{
    char *after = watched_print(&watched);

    ck_assert_msg(strcmp(before, after) == 0, "%s: '%s' got out %s\n%s---- was\n%s", unpacker->name,
                  hostile_title(index), when, after, before);
    free(after);
}

static void planted_unpack(const struct unpacker *unpacker, size_t index, const char *before)
{
    char victim_file[160], name[4096];
    const char *const links[] = { watched.victim, victim_file };

    snprintf(victim_file, sizeof victim_file, "%s/file", watched.victim);
    for (unsigned round = 0; round < 4; round++) {
        bool planted = false;

        watched_target_reset(&watched);
        for (size_t i = 0; hostile_member_name(index, i, &place, name, sizeof name); i++)
            planted |= plant(unpacker, name, 1 + round / 2, links[round % 2]);
        if (!planted)
            continue;
        unpack_once(unpacker, index);
        expect_same(unpacker, index, before, "over a planted link");
    }
}

static void place_make(void)
{
    umask(022);
    watched_make(&watched);
    place = (struct hostile_place){ TOP, watched.victim };
}

/* A fork of AddressSanitizer's takes so long that 10,000 of them take a quarter of an hour: there, what
 * counts is memory, and each archive is unpacked once by each. */
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_ONLY true
#else
#define MEMORY_ONLY false
#endif

START_TEST(nothing_outside_changes)
{
    const struct unpacker *unpacker = &unpackers[_i];

    place_make();
    char *before = watched_print(&watched);
    for (size_t index = 0; index < hostile_count; index++) {
        stream_build(unpacker, index);
        watched_target_reset(&watched);
        unpack_once(unpacker, index);
        expect_same(unpacker, index, before, "at once");
        if (MEMORY_ONLY)
            continue;
        unpack_once(unpacker, index);
        expect_same(unpacker, index, before, "the second time");
        planted_unpack(unpacker, index, before);
    }
    free(before);
    watched_remove(&watched);
}
END_TEST

START_TEST(without_a_wall_they_do_harm)
{
    const struct unpacker faulty = { "no wall", no_wall, { CONTENTS }, false };
    unsigned harmful = 0;

    for (size_t index = 0; index < hostile_count; index++) {
        place_make();
        char *before = watched_print(&watched);
        stream_build(&faulty, index);
        unpack_once(&faulty, index);
        char *after = watched_print(&watched);
        harmful += strcmp(before, after) != 0;
        free(before);
        free(after);
        watched_remove(&watched);
    }
    ck_assert_msg(harmful >= HARMFUL_MIN, "%u of them did", harmful);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unpack-hostile");
    TCase *tests = tap_case(suite, "hostile archives");

    if (watched_host_protect())
        tcase_add_test(tests, without_a_wall_they_do_harm);
    else
        printf("# left out are archives without a wall: root may not mount here, and they would "
               "harm the "
               "host\n");
    tcase_add_loop_test(tests, nothing_outside_changes, 0, ARRAY_LEN(unpackers));
    return tap_main(suite);
}
