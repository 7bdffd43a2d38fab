/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the agent's frames and EXEC requests are taken apart right however the bytes are cut, and
 * what is malformed is refused with a sentence. Method: recorded frames, fed in every cut.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent_frame.h"
#include "tap_main.h"

struct record {
    unsigned frames, ends;
    uint8_t types[8];
    size_t bytes;
    uint8_t payload[256];
};

static int record_begin(void *context, const struct agent_frame *frame, struct fail *fail)
{
    struct record *record = context;

    (void)fail;
    ck_assert_uint_lt(record->frames, sizeof(record->types));
    record->types[record->frames++] = frame->type;
    return 0;
}

static int record_chunk(void *context, const uint8_t *data, size_t bytes, struct fail *fail)
{
    struct record *record = context;

    (void)fail;
    ck_assert_uint_le(record->bytes + bytes, sizeof(record->payload));
    memcpy(record->payload + record->bytes, data, bytes);
    record->bytes += bytes;
    return 0;
}

static int record_end(void *context, struct fail *fail)
{
    struct record *record = context;

    (void)fail;
    record->ends++;
    ck_assert_uint_eq(record->ends, record->frames);
    return 0;
}

static const struct agent_frame_sink sink = { record_begin, record_chunk, record_end };

static size_t put_frame(uint8_t *at, uint8_t type, const char *payload)
{
    struct agent_frame frame = { .payload_bytes = (uint32_t)strlen(payload), .type = type };

    memcpy(at, &frame, sizeof(frame));
    memcpy(at + sizeof(frame), payload, strlen(payload));
    return sizeof(frame) + strlen(payload);
}

START_TEST(every_cut_gives_the_same_frames)
{
    uint8_t stream[128];
    size_t bytes = put_frame(stream, AGENT_PING, "hello");

    bytes += put_frame(stream + bytes, AGENT_EOF, "");
    bytes += put_frame(stream + bytes, AGENT_STDIN, "world");
    for (size_t first = 0; first <= bytes; first++) {
        for (size_t second = first; second <= bytes; second++) {
            struct agent_parser parser;
            struct record record = { 0 };
            struct fail fail;

            agent_parser_init(&parser);
            ck_assert_int_eq(agent_parser_feed(&parser, stream, first, &sink, &record, &fail), 0);
            ck_assert_int_eq(
                agent_parser_feed(&parser, stream + first, second - first, &sink, &record, &fail),
                0);
            ck_assert_int_eq(
                agent_parser_feed(&parser, stream + second, bytes - second, &sink, &record, &fail),
                0);
            ck_assert_uint_eq(record.ends, 3);
            ck_assert_mem_eq(record.types, ((uint8_t[]){ AGENT_PING, AGENT_EOF, AGENT_STDIN }), 3);
            ck_assert_uint_eq(record.bytes, 10);
            ck_assert_mem_eq(record.payload, "helloworld", 10);
        }
    }
}
END_TEST

START_TEST(bad_headers_are_refused)
{
    const struct agent_frame bad[] = {
        { .payload_bytes = AGENT_PAYLOAD_MAX + 1, .type = AGENT_PING },
        { .payload_bytes = UINT32_MAX, .type = AGENT_STDIN },
        { .type = 0 },
        { .type = 99 },
        { .type = AGENT_EXIT }, /* agent to client only */
        { .type = AGENT_PING, .reserved = { 0, 0, 1 } },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct agent_parser parser;
        struct record record = { 0 };
        struct fail fail = { 0 };

        agent_parser_init(&parser);
        ck_assert_int_lt(agent_parser_feed(&parser, (const uint8_t *)&bad[i], sizeof(bad[i]), &sink,
                                           &record, &fail),
                         0);
        ck_assert_uint_eq(record.frames, 0);
        ck_assert_uint_gt(strlen(fail.sentence), 10);
    }
}
END_TEST

/* An EXEC payload: cwd "/tmp", two arguments, one variable. */
static const char strings[] = "/tmp\0echo\0a b\0K=V";

/* With AGENT_EXEC_COUNTS in flags the counts are the wide ones. */
static size_t put_exec(uint8_t *payload, uint32_t flags, uint32_t argc, uint32_t envc)
{
    bool wide = flags & AGENT_EXEC_COUNTS;
    struct agent_exec exec = { .flags = flags,
                               .argc = wide ? 0 : (uint16_t)argc,
                               .envc = wide ? 0 : (uint16_t)envc };
    struct agent_exec_counts counts = { .argc = argc, .envc = envc };
    size_t at = sizeof(exec);

    memcpy(payload, &exec, sizeof(exec));
    if (wide) {
        memcpy(payload + at, &counts, sizeof(counts));
        at += sizeof(counts);
    }
    memcpy(payload + at, strings, sizeof(strings));
    return at + sizeof(strings);
}

/* Both steps, with exactly the room that is promised. */
static int parse(uint8_t *payload, size_t bytes, size_t spare, struct agent_command *ret_command,
                 char ***ret_room)
{
    struct fail fail;
    int status = agent_command_parse(payload, bytes, ret_command, &fail);

    *ret_room = NULL;
    if (status < 0)
        return status;
    *ret_room = calloc((size_t)ret_command->argc + ret_command->envc + 2 + spare, sizeof(char *));
    ck_assert_ptr_nonnull(*ret_room);
    status = agent_command_strings(ret_command, *ret_room, spare, &fail);
    if (status < 0)
        ck_assert_uint_gt(strlen(fail.sentence), 10);
    return status;
}

START_TEST(the_user_is_the_last_string)
{
    static const uint8_t user[] = "app:5";
    struct agent_command command;
    uint8_t payload[96];
    char **room;
    size_t bytes = put_exec(payload, AGENT_EXEC_USER, 2, 1);

    ck_assert_int_lt(parse(payload, bytes, 0, &command, &room), 0); /* promised, not there */
    free(room);
    memcpy(payload + bytes, user, sizeof(user));
    ck_assert_int_eq(parse(payload, bytes + sizeof(user), 0, &command, &room), 0);
    ck_assert_str_eq(command.user, "app:5");
    ck_assert_str_eq(command.envp[0], "K=V");
    free(room);
    put_exec(payload, 0, 2, 1);
    ck_assert_int_lt(parse(payload, bytes + sizeof(user), 0, &command, &room), 0);
    free(room);
    ck_assert_int_eq(parse(payload, bytes, 0, &command, &room), 0);
    ck_assert_ptr_null(command.user);
    free(room);
}
END_TEST

START_TEST(exec_is_taken_apart)
{
    static const uint32_t flags[] = { AGENT_EXEC_PTY, AGENT_EXEC_PTY | AGENT_EXEC_COUNTS };

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        uint8_t payload[64];
        size_t bytes = put_exec(payload, flags[i], 2, 1);
        struct agent_command command;
        char **room;

        ck_assert_int_eq(parse(payload, bytes, 3, &command, &room), 0);
        ck_assert_str_eq(command.cwd, "/tmp");
        ck_assert_ptr_eq(command.argv, room);
        ck_assert_str_eq(command.argv[0], "echo");
        ck_assert_str_eq(command.argv[1], "a b");
        ck_assert_ptr_null(command.argv[2]);
        ck_assert_ptr_eq(command.envp, room + 3 + 3);
        ck_assert_str_eq(command.envp[0], "K=V");
        ck_assert_ptr_null(command.envp[1]);
        free(room);
    }
}
END_TEST

static void check_refused(const uint8_t *payload, size_t bytes)
{
    /* A buffer of its own, so that a sanitizer sees the first byte beyond it. */
    uint8_t *copy = malloc(bytes + 1);
    struct agent_command command;
    char **room;

    memcpy(copy, payload, bytes);
    ck_assert_int_lt(parse(copy, bytes, 0, &command, &room), 0);
    free(room);
    free(copy);
}

START_TEST(malformed_exec_is_refused)
{
    static const struct {
        uint32_t argc, envc;
    } bad[] = { { 0, 3 }, { 3, 1 },         { 2, 2 },          { 1, 1 },      { 1025, 0 },
                { 1, 2 }, { 65535, 65535 }, { UINT32_MAX, 1 }, { 1, 1 << 31 } };
    uint8_t payload[64];

    for (uint32_t flags = 0; flags <= AGENT_EXEC_COUNTS; flags += AGENT_EXEC_COUNTS) {
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
            if (flags || (bad[i].argc <= UINT16_MAX && bad[i].envc <= UINT16_MAX))
                check_refused(payload, put_exec(payload, flags, bad[i].argc, bad[i].envc));
        /* Every truncation, and the last NUL missing. */
        size_t bytes = put_exec(payload, flags, 2, 1);
        for (size_t cut = 0; cut < bytes; cut++)
            check_refused(payload, cut);
    }
    check_refused(payload, put_exec(payload, 0x80, 2, 1)); /* an unknown flag */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest-frame");
    TCase *tcase = tap_case(suite, "frame");

    tcase_add_test(tcase, every_cut_gives_the_same_frames);
    tcase_add_test(tcase, bad_headers_are_refused);
    tcase_add_test(tcase, exec_is_taken_apart);
    tcase_add_test(tcase, the_user_is_the_last_string);
    tcase_add_test(tcase, malformed_exec_is_refused);
    return tap_main(suite);
}
