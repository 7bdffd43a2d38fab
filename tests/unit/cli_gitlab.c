/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what GitLab's runner says of a job is read as its documentation has it, and what it can't
 * mean is refused. Method: environments, and what must come of them.
 */
#include "gitlab/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "tap_main.h"

static struct err err;

START_TEST(leases_come_by_job_env)
{
    struct job_vms vms;

    unsetenv(JOB_LEASE_VARIABLE);
    setenv("CUSTOM_ENV_" JOB_LEASE_VARIABLE, "anothers", 1);
    ck_assert_int_eq(job_vms_read(&vms, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "config_exec"));
    setenv(JOB_LEASE_VARIABLE, "one", 1);
    ck_assert_int_eq(job_vms_read(&vms, &err), 0);
    ck_assert_uint_eq(vms.count, 1);
    job_vms_fini(&vms);
    setenv(JOB_SERVICES_VARIABLE, "two three", 1);
    ck_assert_int_eq(job_vms_read(&vms, &err), 0);
    ck_assert_uint_eq(vms.count, 3);
    ck_assert_str_eq(vms.leases[0], "one");
    ck_assert_str_eq(vms.leases[2], "three");
    job_vms_fini(&vms);
}
END_TEST

START_TEST(more_leases_than_there_can_be_are_cut)
{
    struct job_vms vms;

    setenv(JOB_LEASE_VARIABLE, "l", 1);
    setenv(JOB_SERVICES_VARIABLE, "a b c d e f g h i j k l m n o p q r s t", 1);
    ck_assert_int_eq(job_vms_read(&vms, &err), 0);
    ck_assert_uint_eq(vms.count, 1 + JOB_SERVICES_MAX);
    job_vms_fini(&vms);
}
END_TEST

START_TEST(images_are_mapped_to_pools)
{
    static const struct {
        const char *image, *pool; /* pool NULL: refused */
    } rows[] = {
        { "node:20", "node" },
        { "node:20-alpine", "slim" },
        { "library/node:20", "own" },
        { "me.example/x/y", "own" },
        { "ruby", NULL },
        { "node", NULL },
        { "a=b", "equal" },
    };
    static const char *items[] = { "node:*-alpine=slim", "node:*=node", "*/*=own", "a=b=equal" };
    const struct option_list map = { ARRAY_LEN(items), items };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *pool = NULL;
        int rc = job_pool_for(&map, "other", rows[i].image, &pool, &err);

        ck_assert_int_eq(rc, rows[i].pool ? 0 : -ENOENT);
        if (rows[i].pool)
            ck_assert_str_eq(pool, rows[i].pool);
        else
            ck_assert_ptr_nonnull(strstr(err.msg, rows[i].image));
    }
}
END_TEST

START_TEST(no_image_takes_the_default)
{
    const struct option_list none = { 0 };
    char *pool = NULL;

    ck_assert_int_eq(job_pool_for(&none, "other", NULL, &pool, &err), 0);
    ck_assert_str_eq(pool, "other");
    free(pool);
    ck_assert_int_eq(job_pool_for(&none, NULL, "", &pool, &err), 0);
    ck_assert_ptr_null(pool);
}
END_TEST

START_TEST(a_map_that_is_none_is_told)
{
    static const char *const wrong[] = { "node", "node=", "=pool" };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const char *items[] = { wrong[i] };
        const struct option_list map = { 1, items };

        ck_assert_int_eq(job_map_check(&map, &err), -EINVAL);
    }
}
END_TEST

START_TEST(services_are_a_list_of_names)
{
    static const char *const wrong[] = { "{}", "[1]", "[{}]", "[{\"name\": null}]", "[", "no" };
    json_t *services;

    unsetenv("CUSTOM_ENV_CI_JOB_SERVICES");
    ck_assert_int_eq(job_services_read(&services, &err), 0);
    ck_assert_ptr_null(services);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        setenv("CUSTOM_ENV_CI_JOB_SERVICES", wrong[i], 1);
        ck_assert_int_eq(job_services_read(&services, &err), -EINVAL);
        ck_assert_ptr_null(services);
    }
    setenv("CUSTOM_ENV_CI_JOB_SERVICES",
           "[{\"name\":\"redis:latest\",\"alias\":\"\",\"entrypoint\":null,\"command\":null}]", 1);
    ck_assert_int_eq(job_services_read(&services, &err), 0);
    ck_assert_uint_eq(json_array_size(services), 1);
    json_decref(services);
}
END_TEST

START_TEST(a_service_runs_what_it_says_or_its_image_does)
{
    static const struct {
        const char *service, *image, *words; /* NULL: refused */
    } rows[] = {
        { "{}", "{}", "" },
        { "{}", "{\"entrypoint\":[\"e\"],\"cmd\":[\"c\",\"\"]}", "e c  " },
        { "{}", "{\"cmd\":[\"c\"]}", "c " },
        { "{\"entrypoint\":null,\"command\":null}", "{\"entrypoint\":[\"e\"]}", "e " },
        { "{\"command\":[\"x\"]}", "{\"entrypoint\":[\"e\"],\"cmd\":[\"c\"]}", "e x " },
        { "{\"entrypoint\":[\"p\"]}", "{\"entrypoint\":[\"e\"],\"cmd\":[\"c\"]}", "p " },
        { "{\"entrypoint\":[\"p\"],\"command\":[\"x\"]}", "{\"cmd\":[\"c\"]}", "p x " },
        { "{\"entrypoint\":[\"\"]}", "{\"entrypoint\":[\"e\"],\"cmd\":[\"c\"]}", "" },
        { "{\"entrypoint\":[\"\"],\"command\":[\"x\"]}", "{\"entrypoint\":[\"e\"]}", "x " },
        { "{\"entrypoint\":\"p\"}", "{}", NULL },
        { "{\"command\":[1]}", "{}", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *service = json_loads(rows[i].service, 0, NULL);
        json_t *image = json_loads(rows[i].image, 0, NULL);
        const char *words[JOB_WORDS_MAX];
        char said[64] = "";
        unsigned count = 0;

        ck_assert_int_eq(job_service_words(service, image, words, &count, &err),
                         rows[i].words ? 0 : -EINVAL);
        for (unsigned k = 0; rows[i].words && k < count; k++) {
            strcat(said, words[k]);
            strcat(said, " ");
        }
        if (rows[i].words)
            ck_assert_str_eq(said, rows[i].words);
        json_decref(service);
        json_decref(image);
    }
}
END_TEST

START_TEST(a_service_has_the_names_that_gitlab_gives_it)
{
    static const struct {
        const char *service, *names;
    } rows[] = {
        { "{\"name\": \"redis:latest\"}", " redis" },
        { "{\"name\": \"tutum/wordpress:latest\"}", " tutum__wordpress tutum-wordpress" },
        { "{\"name\": \"reg.example:5000/a/b:1\"}", " reg.example__a__b reg.example-a-b" },
        { "{\"name\": \"a:b/c\"}", "" },
        { "{\"name\": \"mysql@sha256:0\"}", " mysql" },
        { "{\"name\": \"x/y\", \"alias\": \"db\"}", " db" },
        { "{\"name\": \"x\", \"alias\": \"db, cache\"}", " db cache" },
        { "{\"name\": \"x\", \"alias\": \"a;reboot\"}", "" },
        { "{\"name\": \"x\", \"alias\": \"-n\"}", "" },
        { "{\"name\": \"evil\\nname\"}", "" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *service = json_loads(rows[i].service, 0, NULL);
        _cleanup_free_ char *names = job_service_names(service);

        ck_assert_str_eq(names, rows[i].names);
        json_decref(service);
    }
}
END_TEST

START_TEST(variables_lose_their_prefix)
{
    _cleanup_exec_env_ struct exec_env env = { 0 };
    unsigned found = 0;

    clearenv();
    setenv("CUSTOM_ENV_CI", "true", 1);
    setenv("CUSTOM_ENV_TEXT", "a=b\nc", 1);
    setenv("OTHER", "ours", 1);
    ck_assert_int_eq(job_env_add(&env, &err), 0);
    ck_assert_uint_eq(env.count, 2);
    for (size_t i = 0; i < env.count; i++)
        found += strcmp(env.items[i], "CI=true") == 0 || strcmp(env.items[i], "TEXT=a=b\nc") == 0;
    ck_assert_uint_eq(found, 2);
}
END_TEST

START_TEST(exit_codes_are_the_runners)
{
    char path[] = "/tmp/volt-exit-code-XXXXXX", text[8] = "";
    _cleanup_close_ int fd = mkstemp(path);

    clearenv();
    ck_assert_int_eq(job_system_failure(), 125);
    ck_assert_int_eq(job_build_failure(3), 3);
    setenv("SYSTEM_FAILURE_EXIT_CODE", "2", 1);
    setenv("BUILD_FAILURE_EXIT_CODE", "1", 1);
    setenv("BUILD_EXIT_CODE_FILE", path, 1);
    ck_assert_int_eq(job_system_failure(), 2);
    ck_assert_int_eq(job_build_failure(137), 1);
    ck_assert_int_eq(pread(fd, text, sizeof text, 0), 3);
    ck_assert_str_eq(text, "137");
    setenv("SYSTEM_FAILURE_EXIT_CODE", "none", 1);
    ck_assert_int_eq(job_system_failure(), 125);
    setenv("SYSTEM_FAILURE_EXIT_CODE", "0", 1);
    ck_assert_int_eq(job_system_failure(), 125);
    unlink(path);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("gitlab");
    TCase *tc = tcase_create("job");

    suite_add_tcase(s, tc);
    tcase_add_test(tc, leases_come_by_job_env);
    tcase_add_test(tc, more_leases_than_there_can_be_are_cut);
    tcase_add_test(tc, images_are_mapped_to_pools);
    tcase_add_test(tc, no_image_takes_the_default);
    tcase_add_test(tc, a_map_that_is_none_is_told);
    tcase_add_test(tc, a_service_runs_what_it_says_or_its_image_does);
    tcase_add_test(tc, services_are_a_list_of_names);
    tcase_add_test(tc, a_service_has_the_names_that_gitlab_gives_it);
    tcase_add_test(tc, variables_lose_their_prefix);
    tcase_add_test(tc, exit_codes_are_the_runners);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
