/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a number that is out of its range is refused with the range, wherever poold takes one; never is
 * it taken for another.
 * Method: poold's own tables of keys and settings, each number of which is tried at and beyond its
 * ends. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "config.h"
#include "http/json_keys.h"
#include "settings.h"
#include "tap_main.h"
#include "vms/pool_body.h"
#include "vms/pool_keys.h"

#define ROOM 65536 /* for the struct that a table fills in */

static const struct {
    const char *name;
    const struct json_table *table;
} tables[] = {
    { "pool", &pool_body_table },
    { "limits", &pool_limit_table },
    { "acquire", &api_acquire_table },
    { "renew", &api_renew_table },
};

/* What is no number of this kind, whatever the range. */
static const char *const no_numbers[] = {
    "-1",
    "-9223372036854775808",
    "1.0",
    "0.5",
    "1e30",
    "\"-1\"",
    "\"1.5M\"",
    "\"+1\"",
    "\" 1\"",
    "\"\"",
    "\"17179869184G\"",
    "[1]",
    "{}",
    "\"1 M\"",
    "true",
};

static bool is_number(const struct json_key *key)
{
    return key->kind == JSON_KEY_COUNT || key->kind == JSON_KEY_LONG || key->kind == JSON_KEY_SIZE;
}

/* Reads {key: text}; the others that must be there are not looked for. */
static int read_one(const struct json_key *key, const char *text, uint64_t *ret_value,
                    struct err *err)
{
    static uint64_t room[ROOM / sizeof(uint64_t)];
    struct json_key alone = *key;
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    json_t *object = json_pack("{s:o}", key->name, value);
    int rc;

    ck_assert_msg(object, "'%s'", text);
    ck_assert_uint_lt(key->offset, ROOM - sizeof(uint64_t));
    memset(room, 0, sizeof room);
    *err = (struct err){ 0 };
    rc = json_keys_read(object, &alone, 1, room, err);
    json_decref(object);
    *ret_value = 0;
    memcpy(ret_value, (char *)room + key->offset,
           key->kind == JSON_KEY_COUNT ? sizeof(uint32_t) : sizeof(uint64_t));
    return rc;
}

static void key_refuses(const char *table, const struct json_key *key, const char *text)
{
    struct err err;
    uint64_t value;

    ck_assert_msg(read_one(key, text, &value, &err) == -EINVAL, "%s: %s %s is taken for %" PRIu64,
                  table, key->name, text, value);
    ck_assert_msg(strstr(err.msg, key->name), "%s", err.msg);
}

/* The same, of an integer: the sentence tells both ends. */
static void key_refuses_number(const char *table, const struct json_key *key, const char *text)
{
    char range[64], least[SIZE_TEXT_BYTES], most[SIZE_TEXT_BYTES];
    struct err err;
    uint64_t value;

    if (key->kind == JSON_KEY_SIZE)
        snprintf(range, sizeof range, "from %s to %s", size_text(key->min, least),
                 size_text(key->max, most));
    else
        snprintf(range, sizeof range, "from %" PRIu64 " to %" PRIu64, key->min, key->max);
    key_refuses(table, key, text);
    read_one(key, text, &value, &err);
    ck_assert_msg(strstr(err.msg, range), "%s: %s", table, err.msg);
}

static void key_takes(const char *table, const struct json_key *key, uint64_t number)
{
    char text[32];
    struct err err;
    uint64_t value;

    snprintf(text, sizeof text, "%" PRIu64, number);
    ck_assert_msg(read_one(key, text, &value, &err) == 0, "%s: %s", table, err.msg);
    ck_assert_uint_eq(value, number);
}

START_TEST(json_numbers_have_ends)
{
    const char *name = tables[_i].name;
    char text[32];
    unsigned numbers = 0;

    for (size_t i = 0; i < tables[_i].table->key_count; i++) {
        const struct json_key *key = &tables[_i].table->keys[i];

        if (!is_number(key))
            continue;
        numbers++;
        ck_assert_msg(key->max > key->min && key->max <= INT64_MAX, "%s has no range", key->name);
        key_takes(name, key, key->min);
        key_takes(name, key, key->max);
        for (size_t k = 0; k < ARRAY_LEN(no_numbers); k++)
            key_refuses(name, key, no_numbers[k]);
        key_refuses_number(name, key, "-1");
        if (key->min > 0) {
            snprintf(text, sizeof text, "%" PRIu64, key->min - 1);
            key_refuses_number(name, key, text);
            key_refuses_number(name, key, "0");
        }
        if (key->max < INT64_MAX) {
            snprintf(text, sizeof text, "%" PRIu64, key->max + 1);
            key_refuses_number(name, key, text);
            key_refuses_number(name, key, "9223372036854775807");
        }
    }
    ck_assert_uint_gt(numbers, 0);
}
END_TEST

/* The same keys as text, in the configuration's pools. */
START_TEST(declared_numbers_have_ends)
{
    static const char *const wrong[] = { "",
                                         "+1",
                                         " 1",
                                         "1x",
                                         "x",
                                         "1.5",
                                         "0x10",
                                         "1e3",
                                         "9223372036854775808",
                                         "-9223372036854775809" };

    for (size_t i = 0; i < pool_body_table.key_count; i++) {
        const struct json_key *key = &pool_body_table.keys[i];
        struct err err = { 0 };
        char range[64];

        if (key->kind != JSON_KEY_COUNT && key->kind != JSON_KEY_LONG)
            continue; /* sizes are JSON's strings, which are read above */
        snprintf(range, sizeof range, "from %" PRIu64 " to %" PRIu64, key->min, key->max);
        for (size_t k = 0; k < ARRAY_LEN(wrong); k++) {
            ck_assert_msg(!pool_body_value(key, wrong[k], &err), "%s = '%s'", key->name, wrong[k]);
            ck_assert_msg(strstr(err.msg, range), "%s", err.msg);
        }
    }
}
END_TEST

static void setting_refuses(const struct setting *setting, const char *text)
{
    struct config config;
    struct err err = { 0 };
    char range[64];

    settings_default(&config);
    snprintf(range, sizeof range, "from %" PRIu64 " to %" PRIu64, setting->min, setting->max);
    ck_assert_msg(setting_store(&config, setting, setting->name, text, &err) == -EINVAL, "%s '%s'",
                  setting->name, text);
    ck_assert_msg(strstr(err.msg, range), "%s", err.msg);
}

static void setting_takes(const struct setting *setting, uint64_t number)
{
    struct config config;
    struct err err = { 0 };
    char text[32], stored[64];

    settings_default(&config);
    snprintf(text, sizeof text, "%" PRIu64, number);
    ck_assert_msg(setting_store(&config, setting, setting->name, text, &err) == 0, "%s", err.msg);
    setting_format(setting, &config, stored, sizeof stored);
    ck_assert_str_eq(stored, text);
}

START_TEST(settings_have_ends)
{
    static const char *const wrong[] = { "",   "-1",  "+1",  " 1",   "1 ",
                                         "1x", "1.5", "1e3", "0x10", "18446744073709551616" };
    char text[32];
    unsigned numbers = 0;

    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];

        if (setting->kind != SETTING_NUMBER && setting->kind != SETTING_COUNT)
            continue;
        numbers++;
        setting_takes(setting, setting->min);
        setting_takes(setting, setting->max);
        for (size_t k = 0; k < ARRAY_LEN(wrong); k++)
            setting_refuses(setting, wrong[k]);
        snprintf(text, sizeof text, "%" PRIu64, setting->max + 1);
        setting_refuses(setting, text);
        if (setting->min == 0)
            continue;
        snprintf(text, sizeof text, "%" PRIu64, setting->min - 1);
        setting_refuses(setting, text);
    }
    ck_assert_uint_gt(numbers, 8);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold-ranges");
    TCase *tcase = tap_case(suite, "ranges");

    tcase_add_loop_test(tcase, json_numbers_have_ends, 0, (int)ARRAY_LEN(tables));
    tcase_add_test(tcase, declared_numbers_have_ends);
    tcase_add_test(tcase, settings_have_ends);
    return tap_main(suite);
}
