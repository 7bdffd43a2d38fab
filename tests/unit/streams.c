/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever the order of partial reads, partial writes, pauses, ends and signals, the streams of
 * exec and the files of cp arrive whole, nobody waits for ever, and nothing is left behind. Method:
 * the agent and voltctl's exec session as they are, in a world that is simulated (stream_model.h),
 * through thousands of seeds; for files, the agent with a client that has its own pace.
 * STREAM_SEED=N runs that seed alone, STREAM_SEEDS=N so many.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_abi.h"
#include "stream_model.h"
#include "tap_main.h"

#define PARTS 8
#define SEEDS 4000 /* of all parts */
#define FILE_SEEDS 200
#define BYTES_MAX (1u << 20)

static long number_of(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text ? atol(text) : otherwise;
}

static void run_seed(uint64_t seed)
{
    struct outcome outcome;
    struct plan plan;

    model_choices(seed, NULL, 0);
    plan_choose(&plan);
    model_run(&plan, &outcome);
}

START_TEST(every_schedule_ends_well)
{
    long count = number_of("STREAM_SEEDS", SEEDS) / PARTS, seed = number_of("STREAM_SEED", -1);

    if (seed >= 0) {
        run_seed((uint64_t)seed);
        return;
    }
    for (long i = 0; i < count; i++)
        run_seed((uint64_t)(_i * count + i));
}
END_TEST

/* ---- Files ---- */

struct bytes {
    uint8_t data[BYTES_MAX];
    size_t count;
};

static void add_frame(struct bytes *to, uint8_t type, const void *payload, size_t bytes)
{
    const struct agent_frame frame = { .payload_bytes = (uint32_t)bytes, .type = type };

    ck_assert_uint_le(to->count + sizeof frame + bytes, BYTES_MAX);
    memcpy(to->data + to->count, &frame, sizeof frame);
    if (bytes > 0)
        memcpy(to->data + to->count + sizeof frame, payload, bytes);
    to->count += sizeof frame + bytes;
}

/* Sends all of `request` and takes what comes, in pieces, until the agent says that it has no more;
 * or leaves at some moment. */
static void talk(const struct bytes *request, bool leaves, struct bytes *ret_answer)
{
    struct lane *to = &world.sent[WIRE_TO_GUEST], *from = &world.come[WIRE_TO_HOST];
    size_t sent = 0;

    ret_answer->count = 0;
    while (from->bytes > 0 || !from->ended) {
        if (leaves && model_chance(1))
            return;
        if (model_chance(30) && sent < request->count && lane_room(to) > 0) {
            size_t bytes = 1 + model_choose((uint32_t)(request->count - sent));
            sent += lane_put(to, request->data + sent, bytes);
        } else if (model_chance(20) && from->bytes > 0) {
            size_t bytes = 1 + model_choose((uint32_t)from->bytes);
            ck_assert_uint_le(ret_answer->count + bytes, BYTES_MAX);
            ret_answer->count += lane_take(from, ret_answer->data + ret_answer->count, bytes);
        } else if (!world_step() && from->bytes == 0 &&
                   (sent == request->count || lane_room(to) == 0) && !world_wait(UINT64_MAX)) {
            model_fail("the agent waits for ever");
        }
    }
}

/* The payloads of all DATA frames, which must be followed by DONE and nothing else. */
static void take_data(const struct bytes *answer, struct bytes *ret_data)
{
    struct agent_frame frame = { 0 };

    ret_data->count = 0;
    for (size_t at = 0; at < answer->count; at += sizeof frame + frame.payload_bytes) {
        memcpy(&frame, answer->data + at, sizeof frame);
        ck_assert_uint_eq(frame.type, at + sizeof frame == answer->count ? AGENT_DONE : AGENT_DATA);
        memcpy(ret_data->data + ret_data->count, answer->data + at + sizeof frame,
               frame.payload_bytes);
        ret_data->count += frame.payload_bytes;
    }
    ck_assert_uint_eq(frame.type, AGENT_DONE);
}

static struct plan plan_of(uint64_t seed)
{
    struct plan plan;

    model_choices(seed, NULL, 0);
    plan_choose(&plan);
    /* All of it goes through these, so no single bytes. */
    plan.wire_capacity = 200 + model_choose(LANE_BYTES_MAX - 200);
    plan.connection_breaks = false;
    plan.signals = 0;
    return plan;
}

/* Who leaves closes; who has got all may forget to, and is left after a while. */
static void finish(bool leaves)
{
    if (leaves)
        model_stop();
    else
        model_rest();
}

static void get(uint64_t seed, const char *path, bool leaves, struct bytes *ret_data)
{
    static struct bytes request, answer;
    struct plan plan = plan_of(seed);

    request.count = 0;
    add_frame(&request, AGENT_GET, path, strlen(path));
    model_start(&plan);
    talk(&request, leaves, &answer);
    finish(leaves);
    if (!leaves)
        take_data(&answer, ret_data);
}

static void put(uint64_t seed, const char *path, bool leaves, const struct bytes *data)
{
    static struct bytes request, answer, none;
    struct plan plan = plan_of(seed);

    request.count = 0;
    add_frame(&request, AGENT_PUT, path, strlen(path));
    for (size_t at = 0, bytes; at < data->count; at += bytes) {
        bytes = 1 + model_choose(AGENT_PAYLOAD_MAX);
        bytes = bytes < data->count - at ? bytes : data->count - at;
        add_frame(&request, AGENT_DATA, data->data + at, bytes);
    }
    add_frame(&request, AGENT_EOF, NULL, 0);
    model_start(&plan);
    talk(&request, leaves, &answer);
    finish(leaves);
    if (!leaves)
        take_data(&answer, &none);
}

static void make_file(const char *name, size_t bytes)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    for (size_t i = 0; i < bytes; i++)
        ck_assert_int_eq(write(fd, (uint8_t[]){ model_byte(1, i) }, 1), 1);
    close(fd);
}

START_TEST(files_arrive_whole_at_any_pace)
{
    static struct bytes first, again;
    char dir[] = "/tmp/volt-streams-XXXXXX", from[64], to[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    snprintf(from, sizeof from, "%s/tree", dir);
    snprintf(to, sizeof to, "%s/copy", dir);
    ck_assert_int_eq(mkdir("tree", 0755), 0);
    ck_assert_int_eq(mkdir("tree/inner", 0755), 0);
    make_file("tree/empty", 0);
    make_file("tree/inner/one", 1);
    make_file("tree/large", 200000);
    ck_assert_int_eq(symlink("large", "tree/link"), 0);
    get(1, from, false, &first);
    ck_assert_uint_gt(first.count, 200000);
    for (uint64_t seed = 2; seed < FILE_SEEDS; seed++) {
        get(seed, from, false, &again);
        ck_assert_uint_eq(again.count, first.count);
        ck_assert_mem_eq(again.data, first.data, first.count);
        get(seed, from, true, &again);
        put(seed, to, true, &first);
        put(seed, to, false, &first);
    }
    ck_assert_int_eq(system("diff -r tree copy/tree && rm -r tree copy"), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(a_client_that_does_not_close_is_left)
{
    static const char strings[] = "\0true";
    struct agent_exec exec = { .argc = 1, .timeout_ms = 1000 };
    static struct bytes request, answer;
    uint8_t payload[sizeof exec + sizeof strings];
    struct plan plan = plan_of((uint64_t)_i);

    plan.any_request = true;
    plan.output_bytes[0] = 5000;
    plan.hangs = plan.reads_to_end = plan.leaves_writer = false;
    memcpy(payload, &exec, sizeof exec);
    memcpy(payload + sizeof exec, strings, sizeof strings);
    request.count = 0;
    add_frame(&request, AGENT_EXEC, payload, sizeof payload);
    model_start(&plan);
    talk(&request, false, &answer);
    model_rest();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("streams");
    TCase *tcase = tap_case(suite, "streams");

    tcase_add_loop_test(tcase, every_schedule_ends_well, 0, PARTS);
    tcase_add_test(tcase, files_arrive_whole_at_any_pace);
    tcase_add_loop_test(tcase, a_client_that_does_not_close_is_left, 0, 20);
    return tap_main(suite);
}
