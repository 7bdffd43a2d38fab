/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what an image says of starting its programs counts as in `docker run` and `docker exec`.
 * Method: a table of what the image says, what the user says, and what is run; configurations that are
 * none refused before they are stored.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "exec_config.h"
#include "oci/config.h"
#include "snapshot/image/image_config.h"
#include "tap_main.h"

/* Words are one text, with blanks between; entrypoint NULL: not given. */
static const struct {
    const char *image, *entrypoint, *words;
    const char *runs; /* NULL: refused */
} commands[] = {
    { "{\"entrypoint\":[\"e\",\"1\"],\"cmd\":[\"c\",\"2\"]}", NULL, "", "e 1 c 2" },
    { "{\"entrypoint\":[\"e\",\"1\"],\"cmd\":[\"c\",\"2\"]}", NULL, "x y", "e 1 x y" },
    { "{\"entrypoint\":[\"e\",\"1\"],\"cmd\":[\"c\",\"2\"]}", "o", "", "o" },
    { "{\"entrypoint\":[\"e\",\"1\"],\"cmd\":[\"c\",\"2\"]}", "o", "x", "o x" },
    { "{\"entrypoint\":[\"e\",\"1\"],\"cmd\":[\"c\",\"2\"]}", "", "x", "x" },
    { "{\"entrypoint\":[\"e\",\"1\"],\"cmd\":[\"c\",\"2\"]}", "", "", NULL },
    { "{\"cmd\":[\"c\",\"2\"]}", NULL, "", "c 2" },
    { "{\"cmd\":[\"c\",\"2\"]}", NULL, "x", "x" },
    { "{\"entrypoint\":[\"e\"]}", NULL, "", "e" },
    { "{}", NULL, "x", "x" },
    { "{}", NULL, "", NULL },
};

static int words_split(char *text, char *words[8])
{
    int count = 0;

    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        words[count++] = word;
    return count;
}

START_TEST(commands_are_those_of_docker_run)
{
    struct exec_config config = { .json = json_loads(commands[_i].image, 0, NULL) };
    char text[64], joined[128] = "", *words[8];
    struct exec_request request = { .argv = words };
    struct err err;

    strcpy(text, commands[_i].words);
    request.argc = words_split(text, words);
    int rc = exec_config_command(&config, commands[_i].entrypoint, &request, &err);
    ck_assert_int_eq(rc, commands[_i].runs ? 0 : -EINVAL);
    for (int i = 0; rc == 0 && i < request.argc; i++) {
        strcat(joined, i ? " " : "");
        strcat(joined, request.argv[i]);
    }
    if (rc == 0)
        ck_assert_str_eq(joined, commands[_i].runs);
    exec_config_fini(&config);
}
END_TEST

START_TEST(what_the_user_says_goes_before_what_the_image_says)
{
    static const char image[] =
        "{\"user\":\"1:2\",\"workdir\":\"/w\",\"env\":[\"A=image\",\"B=image\"]}";
    struct exec_config config = { .json = json_loads(image, 0, NULL) };
    struct exec_request request = { .user = NULL };
    struct exec_env env = { 0 };
    struct err err;

    ck_assert_int_eq(exec_env_add(&env, "B=mine", &err), 0);
    ck_assert_int_eq(exec_config_apply(&config, &request, &env, &err), 0);
    ck_assert_str_eq(request.user, "1:2");
    ck_assert_str_eq(request.cwd, "/w");
    ck_assert_uint_eq(env.count, 2);
    ck_assert_str_eq(env.items[0], "B=mine");
    ck_assert_str_eq(env.items[1], "A=image");
    request = (struct exec_request){ .user = "root", .cwd = "/" };
    ck_assert_int_eq(exec_config_apply(&config, &request, &env, &err), 0);
    ck_assert_str_eq(request.user, "root");
    ck_assert_str_eq(request.cwd, "/");
    exec_env_fini(&env);
    exec_config_fini(&config);
}
END_TEST

/* ---- Before it is stored ---- */

static const struct {
    const char *oci, *ours; /* NULL: refused */
} configurations[] = {
    { "{\"config\":{\"User\":\"u\",\"Env\":[\"A=b\"],\"Cmd\":[\"c\"],\"Labels\":{\"x\":\"y\"}}}",
      "{\"cmd\":[\"c\"],\"env\":[\"A=b\"],\"user\":\"u\"}" },
    { "{\"config\":{\"User\":\"\",\"Env\":null,\"Entrypoint\":[],\"WorkingDir\":\"/w\"}}",
      "{\"workdir\":\"/w\"}" },
    { "{\"config\":{}}", "none" },
    { "{}", "none" },
    { "{\"config\":{\"User\":5}}", NULL },
    { "{\"config\":{\"Env\":\"A=b\"}}", NULL },
    { "{\"config\":{\"Cmd\":[\"a\",5]}}", NULL },
};

START_TEST(an_oci_configuration_is_taken_over)
{
    json_t *oci = json_loads(configurations[_i].oci, 0, NULL), *ours = NULL;
    struct err err;
    int rc = oci_config_take(oci, &ours, &err);

    ck_assert_int_eq(rc, configurations[_i].ours ? 0 : -EINVAL);
    char *text = ours ? json_dumps(ours, JSON_COMPACT | JSON_SORT_KEYS) : strdup("none");
    if (rc == 0)
        ck_assert_str_eq(text, configurations[_i].ours);
    free(text);
    json_decref(ours);
    json_decref(oci);
}
END_TEST

START_TEST(what_is_no_configuration_is_refused)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"user\":1}",
        "{\"other\":\"x\"}",
        "{\"env\":[\"noequals\"]}",
        "{\"env\":[\"=x\"]}",
        "{\"cmd\":\"text\"}",
        "{\"user\":\"a\\u0000b\"}",
        "{\"user\":\"a\",\"user\":\"b\"}",
    };
    char *text = NULL, *huge = malloc(2 * IMAGE_CONFIG_BYTES_MAX);
    struct err err;

    ck_assert_ptr_nonnull(huge);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(image_config_parse(bad[i], strlen(bad[i]), &text, &err) == -EINVAL, "%s",
                      bad[i]);
    strcpy(huge, "{\"user\":\"");
    memset(huge + 9, 'x', IMAGE_CONFIG_BYTES_MAX);
    strcpy(huge + 9 + IMAGE_CONFIG_BYTES_MAX, "\"}");
    ck_assert_int_eq(image_config_parse(huge, strlen(huge), &text, &err), -E2BIG);
    ck_assert_ptr_null(text);
    ck_assert_int_eq(image_config_parse("{ \"user\" : \"a\" }", 16, &text, &err), 0);
    ck_assert_str_eq(text, "{\"user\":\"a\"}");
    free(text);
    free(huge);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli-exec-config");
    TCase *tests = tap_case(suite, "configurations");

    tcase_add_loop_test(tests, commands_are_those_of_docker_run, 0, ARRAY_LEN(commands));
    tcase_add_test(tests, what_the_user_says_goes_before_what_the_image_says);
    tcase_add_loop_test(tests, an_oci_configuration_is_taken_over, 0, ARRAY_LEN(configurations));
    tcase_add_test(tests, what_is_no_configuration_is_refused);
    return tap_main(suite);
}
