/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the reader of state files takes what the builder made and nothing else.
 * Method: round trips; every byte changed to nine other values; every length; and forged files
 * whose checksums are right but whose tables lie.
 */
#include "snapshot/sections.h"

#include "snapshot_test.h"

static void make_file(uint8_t **ret_bytes, size_t *ret_len)
{
    struct state_builder b;
    struct err err = { 0 };

    state_builder_init(&b);
    ck_assert_int_eq(state_builder_add(&b, "alpha", 1, 0, "abc", 3), 0);
    ck_assert_int_eq(state_builder_add(&b, "empty", 7, 0, NULL, 0), 0);
    ck_assert_int_eq(state_builder_add(&b, "cpu0.regs", 2, STATE_FLAG_OPTIONAL, "12345678", 8), 0);
    ck_ok(state_builder_finish(&b, ret_bytes, ret_len, &err), err);
    state_builder_fini(&b);
}

START_TEST(round_trip)
{
    struct state_reader r;
    struct state_section section;
    struct err err = { 0 };
    uint8_t *bytes;
    size_t len;

    make_file(&bytes, &len);
    ck_ok(state_reader_open(&r, bytes, len, &err), err);
    ck_assert_uint_eq(r.section_count, 3);
    ck_ok(state_reader_find(&r, "alpha", &section, &err), err);
    ck_assert_uint_eq(section.len, 3);
    ck_assert_mem_eq(section.bytes, "abc", 3);
    ck_assert_uint_eq(section.version, 1);
    ck_fails(state_reader_check_used(&r, &err), ENOTSUP, err, "section 'empty'");
    ck_ok(state_reader_find(&r, "empty", &section, &err), err);
    ck_assert_uint_eq(section.len, 0);
    ck_assert_uint_eq(section.version, 7);
    ck_ok(state_reader_check_used(&r, &err), err); /* cpu0.regs is optional */
    ck_assert_str_eq(state_reader_at(&r, 2).name, "cpu0.regs");
    ck_fails(state_reader_find(&r, "nosuch", &section, &err), ENOENT, err, "'nosuch' is missing");
    state_reader_fini(&r);
}
END_TEST

START_TEST(no_sections)
{
    struct state_builder b;
    struct state_reader r;
    struct err err = { 0 };
    uint8_t *bytes;
    size_t len;

    state_builder_init(&b);
    ck_ok(state_builder_finish(&b, &bytes, &len, &err), err);
    ck_assert_uint_eq(len, sizeof(struct state_header));
    ck_ok(state_reader_open(&r, bytes, len, &err), err);
    state_reader_fini(&r);
    state_builder_fini(&b);
}
END_TEST

START_TEST(builder_refuses)
{
    static const struct {
        const char *name;
        int error;
    } cases[] = { { "", -EINVAL },
                  { "sixteen-chars-xx", -EINVAL },
                  { "Upper", -EINVAL },
                  { "sp ace", -EINVAL },
                  { "fifteen-chars-x", 0 } };
    struct err err = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct state_builder b;
        uint8_t *bytes;
        size_t len;

        state_builder_init(&b);
        ck_assert_int_eq(state_builder_add(&b, cases[i].name, 1, 0, "x", 1), cases[i].error);
        if (cases[i].error == 0) {
            ck_assert_int_eq(state_builder_add(&b, cases[i].name, 1, 0, "x", 1), -EEXIST);
            ck_assert_int_eq(state_builder_add(&b, "other", 1, 0, "x", 1), -EEXIST); /* sticks */
        }
        ck_assert_int_lt(state_builder_finish(&b, &bytes, &len, &err), 0);
        state_builder_fini(&b);
    }
}
END_TEST

START_TEST(builder_limits)
{
    struct state_builder b;
    char name[STATE_TAG_BYTES];
    static uint8_t big[STATE_FILE_BYTES_MAX];

    state_builder_init(&b);
    for (unsigned i = 0; i < STATE_SECTIONS_MAX; i++) {
        snprintf(name, sizeof name, "s%u", i);
        ck_assert_int_eq(state_builder_add(&b, name, 1, 0, "x", 1), 0);
    }
    ck_assert_int_eq(state_builder_add(&b, "more", 1, 0, "x", 1), -E2BIG);
    state_builder_fini(&b);
    state_builder_init(&b);
    ck_assert_int_eq(state_builder_add(&b, "big", 1, 0, big, sizeof big), -E2BIG);
    state_builder_fini(&b);
}
END_TEST

/* Opens a copy in a block of exactly its size, so that a sanitizer sees any byte read too far. */
static int try_open(const uint8_t *bytes, size_t len, struct err *err)
{
    struct state_reader r;
    uint8_t *copy = malloc(len ? len : 1);

    memcpy(copy, bytes, len);
    err->msg[0] = '\0';
    int rc = state_reader_open(&r, copy, len, err);
    if (rc < 0)
        free(copy);
    else
        state_reader_fini(&r);
    return rc;
}

START_TEST(every_byte_changed)
{
    struct err err = { 0 };
    unsigned cases = 0;
    uint8_t *bytes;
    size_t len;

    make_file(&bytes, &len);
    for (size_t at = 0; at < len; at++) {
        for (unsigned bit = 0; bit < 9; bit++, cases++) {
            uint8_t flip = bit == 8 ? 0xff : (uint8_t)(1u << bit);

            bytes[at] ^= flip;
            int rc = try_open(bytes, len, &err);
            ck_assert_msg(rc < 0, "byte %zu flipped by 0x%02x was accepted", at, flip);
            ck_assert_msg(strncmp(err.msg, "state: ", 7) == 0, "'%s' names no file", err.msg);
            bytes[at] ^= flip;
        }
    }
    ck_ok(try_open(bytes, len, &err), err);
    free(bytes);
    test_note("%u changed state files tried, all refused", cases);
}
END_TEST

START_TEST(every_length)
{
    struct err err = { 0 };
    uint8_t *bytes, *longer;
    size_t len, cases = 0;

    make_file(&bytes, &len);
    longer = calloc(1, len + 64);
    memcpy(longer, bytes, len);
    for (size_t cut = 0; cut < len + 64; cut++) {
        if (cut == len)
            continue;
        ck_assert_int_eq(try_open(longer, cut, &err), -EINVAL);
        cases++;
    }
    free(longer);
    free(bytes);
    test_note("%zu lengths tried, section boundaries among them, all refused", cases);
}
END_TEST

/* Gives a changed table its right checksum again. */
static void forge(uint8_t *bytes, size_t len, const struct state_entry *entry, uint32_t i)
{
    struct state_header header;
    size_t at = sizeof header + i * sizeof *entry;

    if (entry)
        memcpy(bytes + at, entry, sizeof *entry);
    memcpy(&header, bytes, sizeof header);
    header.total_bytes = len;
    memset(&header.checksum, 0, sizeof header.checksum);
    memcpy(bytes, &header, sizeof header);
    header.checksum = checksum_of(bytes, sizeof header + header.section_count * sizeof *entry);
    memcpy(bytes, &header, sizeof header);
}

struct lie {
    const char *what;
    uint64_t offset_add, bytes;
    uint32_t flags;
    const char *tag;
    const char *expect;
};

START_TEST(forged_tables)
{
    static const struct lie lies[] = {
        { "offset wraps", UINT64_MAX - 64, 3, 0, "alpha", "expected at" },
        { "offset overlaps the table", (uint64_t)-56, 3, 0, "alpha", "expected at" },
        { "gap", 8, 3, 0, "alpha", "expected at" },
        { "length wraps", 0, UINT64_MAX, 0, "alpha", "to end within" },
        { "length wraps in rounding", 0, UINT64_MAX - 3, 0, "alpha", "to end within" },
        { "length past the end", 0, 1000, 0, "alpha", "to end within" },
        { "length into the next", 0, 9, 0, "alpha", "checksum" },
        { "shorter", 0, 2, 0, "alpha", "checksum" },
        { "unknown flag", 0, 3, 2, "alpha", "unknown flags" },
        { "duplicate", 0, 3, 0, "empty", "twice" },
        { "no name", 0, 3, 0, "", "name is not valid" },
        { "bad name", 0, 3, 0, "al/pha", "name is not valid" },
    };
    struct err err = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        struct state_entry entry;
        uint8_t *bytes;
        size_t len;

        make_file(&bytes, &len);
        memcpy(&entry, bytes + sizeof(struct state_header), sizeof entry);
        memset(entry.tag, 0, sizeof entry.tag);
        strcpy(entry.tag, lies[i].tag);
        entry.offset += lies[i].offset_add;
        entry.bytes = lies[i].bytes;
        entry.flags = lies[i].flags;
        forge(bytes, len, &entry, 0);
        int rc = try_open(bytes, len, &err);
        ck_assert_msg(rc == -EINVAL && strstr(err.msg, lies[i].expect), "%s: %d '%s'", lies[i].what,
                      rc, err.msg);
        free(bytes);
    }
}
END_TEST

START_TEST(forged_names_and_padding)
{
    struct state_entry entry;
    struct err err = { 0 };
    uint8_t *bytes;
    size_t len;

    make_file(&bytes, &len);
    memcpy(&entry, bytes + sizeof(struct state_header), sizeof entry);
    memset(entry.tag, 'a', sizeof entry.tag); /* no NUL */
    forge(bytes, len, &entry, 0);
    ck_fails(try_open(bytes, len, &err), EINVAL, err, "name is not valid");
    memset(entry.tag, 0, sizeof entry.tag);
    strcpy(entry.tag, "alpha");
    entry.tag[10] = 'x'; /* behind the NUL */
    forge(bytes, len, &entry, 0);
    ck_fails(try_open(bytes, len, &err), EINVAL, err, "name is not valid");
    entry.tag[10] = '\0';
    forge(bytes, len, &entry, 0);
    bytes[entry.offset + 4] = 1;
    ck_fails(try_open(bytes, len, &err), EINVAL, err, "padding");
    free(bytes);
}
END_TEST

START_TEST(forged_header)
{
    struct state_header header;
    struct err err = { 0 };
    uint8_t *bytes;
    size_t len;

    make_file(&bytes, &len);
    memcpy(&header, bytes, sizeof header);
    header.format_version = STATE_FORMAT_VERSION + 1;
    memcpy(bytes, &header, sizeof header);
    ck_fails(try_open(bytes, len, &err), ENOTSUP, err, "knows up to");
    header.format_version = STATE_FORMAT_VERSION;
    header.section_count = UINT32_MAX;
    memcpy(bytes, &header, sizeof header);
    ck_fails(try_open(bytes, len, &err), EINVAL, err, "do not fit");
    header.section_count = 2; /* the third payload is left over */
    memcpy(bytes, &header, sizeof header);
    forge(bytes, len, NULL, 0);
    ck_fails(try_open(bytes, len, &err), EINVAL, err, "expected at");
    free(bytes);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        round_trip,   no_sections,   builder_refuses,          builder_limits, every_byte_changed,
        every_length, forged_tables, forged_names_and_padding, forged_header
    };

    return test_main("snapshot_sections", tests, ARRAY_LEN(tests));
}
