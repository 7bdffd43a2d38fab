/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: manifest.json is read exactly as it was written, or refused with the key's name.
 * Method: round trip; every byte changed to nine other values; every length; and for each rule of
 * the table a text with a right digest that breaks just that rule.
 */
#include "snapshot/manifest.h"

#include "snapshot/checksum.h"
#include "snapshot_test.h"

static const struct unique_id test_id = { { 1, 2, 0xef } };

static char *make_text(size_t *ret_len)
{
    struct manifest *m = malloc(sizeof *m);
    struct err err = { 0 };
    char *text;

    test_manifest_fill(m);
    m->format_version = MANIFEST_FORMAT_VERSION;
    m->id = test_id;
    strcpy(m->created, "2026-11-21T20:00:00Z");
    m->state_bytes = 4000;
    m->memory_data_bytes = 13 << 20;
    ck_ok(manifest_format(m, &text, ret_len, &err), err);
    free(m);
    return text;
}

static int try_parse(const char *text, size_t len, struct err *err)
{
    struct manifest *m = malloc(sizeof *m);
    char *copy = malloc(len ? len : 1); /* exactly len, no NUL */

    memcpy(copy, text, len);
    int rc = manifest_parse(copy, len, m, err);
    free(copy);
    free(m);
    return rc;
}

START_TEST(round_trip)
{
    struct manifest *in = malloc(sizeof *in), *out = malloc(sizeof *out);
    struct err err = { 0 };
    char *text;
    size_t len;

    test_manifest_fill(in);
    in->format_version = MANIFEST_FORMAT_VERSION;
    in->id = test_id;
    strcpy(in->created, "2026-11-21T20:00:00Z");
    in->state_bytes = 4000;
    strcpy(in->warmup, "sh -c 'echo \"x\" \\ \xc3\xa9'"); /* quotes, backslash, UTF-8 */
    ck_ok(manifest_format(in, &text, &len, &err), err);
    memset(out, 0, sizeof *out);
    ck_ok(manifest_parse(text, len, out, &err), err);
    ck_assert_mem_eq(in, out, sizeof *in);
    free(text);
    free(in);
    free(out);
}
END_TEST

START_TEST(optional_absent)
{
    struct manifest *m = calloc(1, sizeof *m);
    struct err err = { 0 };
    char *text;
    size_t len;

    test_manifest_fill(m);
    m->format_version = MANIFEST_FORMAT_VERSION;
    strcpy(m->created, "2026-11-21T20:00:00Z");
    m->state_bytes = 4000;
    memset(&m->initrd, 0, sizeof m->initrd);
    m->cold_boot_ms = m->stopped_us = 0;
    ck_ok(manifest_format(m, &text, &len, &err), err);
    ck_assert_ptr_null(strstr(text, "initrd"));
    ck_assert_ptr_null(strstr(text, "figures"));
    ck_ok(manifest_parse(text, len, m, &err), err);
    ck_assert_str_eq(m->initrd.path, "");
    free(text);
    strcpy(m->cmdline, "\xff"); /* not UTF-8 */
    ck_fails(manifest_format(m, &text, &len, &err), EINVAL, err, "cmdline");
    free(m);
}
END_TEST

START_TEST(every_byte_changed)
{
    struct err err = { 0 };
    size_t len, cases = 0;
    char *text = make_text(&len);

    for (size_t at = 0; at < len; at++) {
        for (unsigned bit = 0; bit < 9; bit++, cases++) {
            char flip = bit == 8 ? (char)0xff : (char)(1u << bit);

            text[at] ^= flip;
            err.msg[0] = '\0';
            ck_assert_msg(try_parse(text, len, &err) < 0, "byte %zu by 0x%02x accepted", at, flip);
            ck_assert_ptr_eq(strstr(err.msg, "manifest.json"), err.msg);
            text[at] ^= flip;
        }
    }
    ck_ok(try_parse(text, len, &err), err);
    free(text);
    test_note("%zu changed manifests tried, all refused", cases);
}
END_TEST

START_TEST(every_length)
{
    struct err err = { 0 };
    size_t len;
    char *text = make_text(&len);

    for (size_t cut = 0; cut < len; cut++)
        ck_assert_int_eq(try_parse(text, cut, &err), -EINVAL);
    test_note("%zu lengths tried, all refused", len);
    free(text);
}
END_TEST

/* Replaces the first `from` by `to` and gives the text its right digest again. */
static char *forge(const char *text, const char *from, const char *to, size_t *ret_len)
{
    const char *at = strstr(text, from);
    const char *digest = strstr(text, "  \"digest\": \"");
    char hex[DIGEST_HEX_BYTES];

    /* The last one is the file's own. */
    for (const char *next = digest; next; next = strstr(next + 1, "\n  \"digest\": \""))
        digest = next + (*next == '\n');
    ck_assert_msg(at != NULL, "'%s' is not in the manifest", from);
    char *forged = malloc(strlen(text) + strlen(to) + 1);
    int used = sprintf(forged, "%.*s%s%.*s", (int)(at - text), text, to,
                       (int)(digest - at - (long)strlen(from)), at + strlen(from));
    struct digest d = digest_of(forged, (size_t)used);
    used += sprintf(forged + used, "  \"digest\": \"%s\"\n}\n", digest_to_hex(&d, hex));
    *ret_len = (size_t)used;
    return forged;
}

START_TEST(each_rule)
{
    static const struct {
        const char *from, *to, *expect;
        int error;
    } cases[] = {
        { "\"volt-snapshot\"", "\"other\"", "format: expected", EINVAL },
        { "\"format_version\": 2", "\"format_version\": 3", "knows up to 2", ENOTSUP },
        { "\"format_version\": 2", "\"format_version\": 1", "not the one that its digest", EINVAL },
        { "\"format_version\": 2", "\"format_version\": 0", "format_version: not", EINVAL },
        { "\"format_version\": 2", "\"format_version\": 2.0", "format_version: not", EINVAL },
        { "\"vcpus\": 1", "\"vcpus\": 0", "vcpus: expected an integer, 1 to 64", EINVAL },
        { "\"vcpus\": 1", "\"vcpus\": -1", "vcpus: expected", EINVAL },
        { "\"vcpus\": 1", "\"vcpus\": \"1\"", "vcpus: expected", EINVAL },
        { "\"vcpus\": 1", "\"vcpus\": 99999999999999999999", "line", EINVAL },
        { "\"vcpus\": 1", "\"vcpus\": 1, \"vcpus\": 1", "duplicate", EINVAL },
        { "\"vcpus\": 1", "\"vcpus\": 1, \"extra\": 1", "extra: unknown key", EINVAL },
        { "\"vcpus\": 1,", "", "vcpus is missing", EINVAL },
        { "33554432", "33554433", "multiple of 2 MiB", EINVAL },
        { "33554432", "1", "memory_bytes: expected", EINVAL },
        { "13631488", "33554433", "memory.data_bytes: expected at most", EINVAL },
        { "\"bytes\": 4000", "\"bytes\": 39", "state.bytes: expected", EINVAL },
        { "\"bytes\": 4000", "\"bytes\": 16777217", "state.bytes: expected", EINVAL },
        { "\"bytes\": 4000", "\"bytes\": 4000, \"x\": null", "state.x: unknown", EINVAL },
        { "2026-11-21T20", "2026-11-21 20", "created: expected a time", EINVAL },
        { "2026-11-21T20:00:00Z", "2026-11-21", "created: expected", EINVAL },
        { "\"uart\"", "\"\"", "devices: expected names", EINVAL },
        { "\"uart\"", "1", "devices: expected names", EINVAL },
        { "\"uart\"", "\"a-name-that-is-too-long\"", "devices: expected names", EINVAL },
        { "\"software_only_kvm\": ", "\"software_only_kvm\": 1, \"y\": ", "true or false", EINVAL },
        { "/boot/vmlinux", "a\\u0000b", "line", EINVAL },
        { "\"/boot/vmlinux\"", "\"\"", "kernel.path: expected", EINVAL },
        { "\"/boot/initrd\"", "\"/boot/initrd\", \"z\": 0", "initrd.z: unknown", EINVAL },
        { "\"path\": \"/boot/initrd\",", "", "initrd: expected a digest only with", EINVAL },
        { "\"id\": \"0102", "\"id\": \"01\\u0000", "line", EINVAL },
        { "\"id\": \"0102", "\"id\": \"010", "id: expected 32 lower-case hex digits", EINVAL },
        { "\"id\": \"0102ef", "\"id\": \"0102EF", "id: expected 32", EINVAL },
        { "\"state\": {", "\"state\": 1, \"s2\": {", "state.bytes is missing", EINVAL },
        { "\"cpu\": {", "\"cpu\": [], \"gpu\": {", "cpu.vendor is missing", EINVAL },
        { "\"figures\": {", "\"figures\": 3, \"f2\": {", "figures: expected an object", EINVAL },
        { "{\n  \"format\"", "[{\n  \"format\"", "line", EINVAL },
    };
    struct err err = { 0 };
    size_t len;
    char *text = make_text(&len);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t forged_len;
        char *forged = forge(text, cases[i].from, cases[i].to, &forged_len);

        err.msg[0] = '\0';
        int rc = try_parse(forged, forged_len, &err);
        ck_assert_msg(rc == -cases[i].error && strstr(err.msg, cases[i].expect),
                      "%s -> %s: %d '%s', expected '%s'", cases[i].from, cases[i].to, rc, err.msg,
                      cases[i].expect);
        free(forged);
    }
    free(text);
    test_note("%zu manifests with a right digest and one broken rule tried", ARRAY_LEN(cases));
}
END_TEST

START_TEST(disks)
{
    static const struct {
        const char *image, *path;
        uint64_t bytes, modified_ns;
        bool id, delta, valid;
    } cases[] = {
        { "deb", "", 4096, 0, true, false, true },
        { "deb", "", 4096, 0, true, true, true },
        { "", "/d.img", 4096, 7, false, true, true },
        { "", "/dev/x", 4096, 0, false, false, true },
        { "deb", "/d.img", 4096, 0, true, false, false },
        { "deb", "", 0, 0, true, false, false },
        { "deb", "", 4096, 0, false, false, false },
        { "", "/d.img", 4096, 7, true, true, false },
        { "", "", 4096, 0, false, false, false },
        { "", "", 0, 0, false, true, false },
        { "", "", 0, 7, false, false, false },
    };
    struct manifest *m = calloc(1, sizeof *m), *again = calloc(1, sizeof *again);
    struct err err = { 0 };
    size_t len;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = NULL;

        test_manifest_fill(m);
        m->format_version = MANIFEST_FORMAT_VERSION;
        strcpy(m->created, "2026-11-21T20:00:00Z");
        m->state_bytes = 4000;
        strcpy(m->disk_image, cases[i].image);
        strcpy(m->disk_path, cases[i].path);
        m->disk_bytes = cases[i].bytes;
        m->disk_modified_ns = cases[i].modified_ns;
        memset(&m->disk_id, cases[i].id ? 3 : 0, sizeof m->disk_id);
        memset(&m->disk_delta, cases[i].delta ? 4 : 0, sizeof m->disk_delta);
        if (!cases[i].valid) {
            ck_fails(manifest_format(m, &text, &len, &err), EINVAL, err, "disk: expected");
            continue;
        }
        ck_ok(manifest_format(m, &text, &len, &err), err);
        ck_ok(manifest_parse(text, len, again, &err), err);
        ck_assert_str_eq(again->disk_image, m->disk_image);
        ck_assert_str_eq(again->disk_path, m->disk_path);
        ck_assert_uint_eq(again->disk_bytes, m->disk_bytes);
        ck_assert_uint_eq(again->disk_modified_ns, m->disk_modified_ns);
        ck_assert(digest_equal(&again->disk_id, &m->disk_id));
        ck_assert(digest_equal(&again->disk_delta, &m->disk_delta));
        free(text);
    }
    free(m);
    free(again);
}
END_TEST

/* One that is sealed as version 1 was, with a checksum, is only for upgrading. */
START_TEST(another_seal)
{
    struct manifest *m = malloc(sizeof *m);
    struct err err = { 0 };
    char hex[CHECKSUM_HEX_BYTES];
    size_t len, forged_len;
    char *text = make_text(&len);
    char *forged = forge(text, "\"format_version\": 2", "\"format_version\": 1", &forged_len);

    for (unsigned version = 1; version <= 2; version++) {
        forged[strcspn(forged, "12")] = (char)('0' + version);
        size_t body = forged_len - strlen("  \"digest\": \"\"\n}\n") - 2 * (size_t)DIGEST_BYTES;
        struct checksum sum = checksum_of(forged, body);
        size_t sealed = body + (size_t)sprintf(forged + body, "  \"digest\": \"%s\"\n}\n",
                                               checksum_to_hex(&sum, hex));
        ck_fails(manifest_parse(forged, sealed, m, &err), version == 1 ? ENOTSUP : EINVAL, err,
                 version == 1 ? "make it again" : "not the one that its digest");
        ck_fails(manifest_parse_v1(forged, sealed, m, &err), EINVAL, err,
                 version == 1 ? "kernel.digest: expected 32" : "not the one that its digest");
    }
    free(m);
    free(forged);
    free(text);
}
END_TEST

/* The published values for no bytes, and for "abc" (FIPS 180-4) and in pieces. */
START_TEST(digests_and_checksums)
{
    static const char empty_hex[] =
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    static const char abc_hex[] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct checksum sum = checksum_of(NULL, 0);
    char hex[DIGEST_HEX_BYTES], sum_hex[CHECKSUM_HEX_BYTES];
    struct digest d = digest_of(NULL, 0), parsed;
    struct digest_work work;

    ck_assert_str_eq(checksum_to_hex(&sum, sum_hex), "99aa06d3014798d86001c324468d497f");
    ck_assert_str_eq(digest_to_hex(&d, hex), empty_hex);
    ck_assert(digest_from_hex(empty_hex, &parsed) && digest_equal(&d, &parsed));
    digest_start(&work);
    digest_add(&work, "a", 1);
    digest_add(&work, "bc", 2);
    d = digest_end(&work);
    ck_assert_str_eq(digest_to_hex(&d, hex), abc_hex);
    ck_assert(!digest_is_none(&d));
    hex[63] = 'D';
    ck_assert(!digest_from_hex(hex, &d));
    hex[63] = '\0';
    ck_assert(!digest_from_hex(hex, &d));
    ck_assert(!digest_from_hex("", &d));
    ck_assert(!digest_from_hex(NULL, &d));
    ck_assert_str_eq(digest_to_hex(&d, hex), abc_hex); /* untouched by all that */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { round_trip,         optional_absent,
                                   every_byte_changed, every_length,
                                   each_rule,          disks,
                                   another_seal,       digests_and_checksums };

    return test_main("snapshot_manifest", tests, ARRAY_LEN(tests));
}
