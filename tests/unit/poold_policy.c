/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: who is no administrator sees what the policy gives it, and of a pool only what is of use to
 * one who acquires from it; no route, error or metric tells more. Method: poold_daemon.h with a
 * policy for several users, and pools whose specification has words that are looked for in all
 * replies. Needs root. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

enum user {
    SHOWN = 54321, /* acquires from one pool, and one that there is not */
    ALL,           /* acquires from all */
    METRICS,       /* of one pool */
    ADMIN,
    LINKED, /* an administrator who may use a link of the host */
    NOBODY, /* without a rule */
};

#define POLICY                                                                                     \
    "{\"rules\": ["                                                                                \
    "{\"uid\": 54321, \"rights\": [\"acquire\", \"metrics\"], \"pools\": [\"shown\", \"ghost\"]}," \
    "{\"uid\": 54322, \"rights\": [\"acquire\", \"metrics\"]},"                                    \
    "{\"uid\": 54323, \"rights\": [\"metrics\"], \"pools\": [\"shown\"]},"                         \
    "{\"uid\": 54324, \"rights\": [\"admin\"]},"                                                   \
    "{\"uid\": 54325, \"rights\": [\"admin\"], \"links\": [\"br-test\"]}]}"

/* In the specification and the errors of all pools. */
static const char *const secrets[] = { "cmdlineword", "warmupword", "hiddenpool", "kernel\"",
                                       "fake" };

static void call_as(enum user user, const char *method, const char *path, const char *body,
                    struct client_reply *ret_reply)
{
    int fd = client_connect_as((uid_t)user, 65534);

    client_send_on(fd, method, path, body);
    client_receive(fd, ret_reply);
    close(fd);
}

static json_t *json_as(enum user user, const char *path)
{
    struct client_reply reply;

    call_as(user, "GET", path, NULL, &reply);
    ck_assert_msg(reply.status == 200, "%s: %u %s", path, reply.status, reply.body);
    return json_loads(reply.body, 0, NULL);
}

static void make_pool(const char *name, const char *more)
{
    char body[512], path[64];

    snprintf(body, sizeof body,
             "{\"name\":\"%s\",\"min\":0,\"cmdline\":\"cmdlineword\",\"warmup\":\"warmupword\"%s}",
             name, more);
    client_expect(201, "POST", "/v1/pools", body);
    snprintf(path, sizeof path, "/v1/pools/%s", name);
    client_await(path, "state", "ready");
}

static void policy_write(const char *text, char path[256])
{
    daemon_path("policy", path);
    FILE *out = fopen(path, "we");

    fputs(text, out);
    fclose(out);
}

static void begin(void)
{
    char path[256], options[300];

    policy_write(POLICY, path);
    snprintf(options, sizeof options, "--policy %s", path);
    daemon_restart(options);
    daemon_open_to_all();
    make_pool("shown", "");
    make_pool("hiddenpool", "");
}

static void expect_no_secret(enum user user, const char *method, const char *path,
                             const struct client_reply *reply, const char *allowed)
{
    for (unsigned i = 0; i < ARRAY_LEN(secrets); i++)
        ck_assert_msg(!strstr(reply->body, secrets[i]) || strcmp(secrets[i], allowed) == 0,
                      "%s %s as %d tells '%s': %s", method, path, user, secrets[i], reply->body);
}

/* Each route that only reads, with every name for {}. */
static void read_all(enum user user, const char *allowed)
{
    static const char *const names[] = { "shown", "hiddenpool", "ghost", "0123456789abcdef" };

    for (size_t r = 0; r < api_route_count; r++) {
        const char *pattern = api_routes[r].path, *hole = strstr(pattern, "{}");

        if (strcmp(api_routes[r].method, "GET") != 0)
            continue;
        for (unsigned n = 0; n < (hole ? ARRAY_LEN(names) : 1u); n++) {
            struct client_reply reply;
            char path[128];

            if (hole)
                snprintf(path, sizeof path, "%.*s%s%s", (int)(hole - pattern), pattern, names[n],
                         hole + 2);
            else
                snprintf(path, sizeof path, "%s", pattern);
            call_as(user, "GET", path, NULL, &reply);
            /* A refusal may repeat what was asked. */
            if (strcmp(names[n], "hiddenpool") != 0 || reply.status == 200)
                expect_no_secret(user, "GET", path, &reply, allowed);
        }
    }
}

START_TEST(no_route_tells_more)
{
    begin();
    read_all(SHOWN, "");
    read_all(METRICS, "");
    read_all(NOBODY, "");
    read_all(ALL, "hiddenpool");
}
END_TEST

START_TEST(a_pool_is_what_is_of_use)
{
    static const char *const keys[] = { "name",  "state",   "progress", "memory_bytes",
                                        "vcpus", "net",     "min",      "max",
                                        "slots", "waiting", "created" };
    json_t *list, *pool, *value;
    const char *key;

    begin();
    list = json_as(SHOWN, "/v1/pools");
    ck_assert_uint_eq(json_array_size(json_object_get(list, "pools")), 1);
    pool = json_array_get(json_object_get(list, "pools"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(pool, "name")), "shown");
    ck_assert_uint_eq(json_object_size(pool), ARRAY_LEN(keys));
    json_object_foreach(pool, key, value)
    {
        bool known = false;

        for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
            known |= strcmp(keys[i], key) == 0;
        ck_assert_msg(known, "'%s' is shown", key);
    }
    json_decref(list);
    list = json_as(ALL, "/v1/pools");
    ck_assert_uint_eq(json_array_size(json_object_get(list, "pools")), 2);
    json_decref(list);
    pool = json_as(ADMIN, "/v1/pools/hiddenpool");
    ck_assert_str_eq(json_string_value(json_object_get(pool, "cmdline")), "cmdlineword");
    ck_assert_str_eq(json_string_value(json_object_get(pool, "warmup")), "warmupword");
    json_decref(pool);
}
END_TEST

static void status_expect(enum user user, json_int_t pools)
{
    static const char *const places[] = { "run_dir", "state_dir", "log" };
    json_t *status = json_as(user, "/v1/status");

    ck_assert_int_eq(json_integer_value(json_object_get(status, "pools")), pools);
    for (unsigned i = 0; i < ARRAY_LEN(places); i++)
        ck_assert_int_eq(json_object_get(status, places[i]) != NULL, user == ADMIN);
    json_decref(status);
}

START_TEST(counts_are_of_what_is_seen)
{
    struct client_reply reply;

    begin();
    status_expect(SHOWN, 1);
    status_expect(ALL, 2);
    status_expect(ADMIN, 2);
    status_expect(NOBODY, 0);
    call_as(METRICS, "GET", "/metrics", NULL, &reply);
    ck_assert_ptr_nonnull(strstr(reply.body, "volt_pool_max{pool=\"shown\"} 64\n"));
    call_as(ALL, "GET", "/metrics", NULL, &reply);
    ck_assert_ptr_nonnull(strstr(reply.body, "volt_pool_max{pool=\"hiddenpool\"} 64\n"));
}
END_TEST

/* Of a pool that one may not know of, and of none at all: the same. */
START_TEST(whether_there_is_a_pool_is_not_told)
{
    static const char *const calls[][2] = {
        { "GET", "/v1/pools/%s" },
        { "POST", "/v1/leases" },
    };

    begin();
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++) {
        static const char *const names[] = { "hiddenpool", "nosuchpool" };
        struct client_reply replies[2];

        for (unsigned n = 0; n < 2; n++) {
            char path[64], body[64];

            snprintf(path, sizeof path, calls[i][1], names[n]);
            snprintf(body, sizeof body, "{\"pool\":\"%s\"}", names[n]);
            call_as(SHOWN, calls[i][0], path, i ? body : NULL, &replies[n]);
            ck_assert_uint_eq(replies[n].status, 403);
            char *name = strstr(replies[n].body, names[n]);
            ck_assert_ptr_nonnull(name);
            memcpy(name, "xxxxxxxxxx", 10);
        }
        ck_assert_str_eq(replies[0].body, replies[1].body);
    }
    struct client_reply reply;
    call_as(SHOWN, "GET", "/v1/pools/ghost", NULL, &reply);
    ck_assert_uint_eq(reply.status, 404);
    ck_assert_ptr_nonnull(strstr(reply.body, "pools: shown\""));
}
END_TEST

START_TEST(errors_of_a_pool_are_for_administrators)
{
    struct client_reply reply;

    begin();
    client_expect(204, "DELETE", "/v1/pools/shown", NULL);
    daemon_faults_set("snapshot_error");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"shown\"}");
    client_await("/v1/pools/shown", "state", "failed");
    call_as(SHOWN, "GET", "/v1/pools/shown", NULL, &reply);
    expect_no_secret(SHOWN, "GET", "/v1/pools/shown", &reply, "");
    call_as(SHOWN, "POST", "/v1/leases", "{\"pool\":\"shown\"}", &reply);
    ck_assert_uint_eq(reply.status, 409);
    expect_no_secret(SHOWN, "POST", "/v1/leases", &reply, "");
    ck_assert_ptr_nonnull(strstr(reply.body, "administrator"));
    call_as(ADMIN, "POST", "/v1/leases", "{\"pool\":\"shown\"}", &reply);
    ck_assert_ptr_nonnull(strstr(reply.body, "no space, says fake"));
}
END_TEST

START_TEST(links_of_the_host_are_the_policys_to_give)
{
    static const struct {
        enum user user;
        const char *net;
        unsigned status;
    } rows[] = {
        { ADMIN, "bridge=br-test", 403 },   { ADMIN, "macvtap=br-test", 403 },
        { ADMIN, "bridge=lo", 403 },        { LINKED, "bridge=lo", 403 },
        { LINKED, "bridge=br-test2", 403 }, { LINKED, "macvtap=br-tes", 403 },
        { LINKED, "bridge=", 403 },         { LINKED, "bridge=br-test", 400 }, /* there is none */
        { LINKED, "macvtap=br-test", 400 }, { 0, "bridge=br-test", 400 },
    };

    begin();
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct client_reply reply;
        char body[128];

        snprintf(body, sizeof body, "{\"name\":\"a\",\"net\":\"%s\"}", rows[i].net);
        call_as(rows[i].user, "POST", "/v1/pools", body, &reply);
        ck_assert_msg(reply.status == rows[i].status, "%s: %u %s", rows[i].net, reply.status,
                      reply.body);
    }
}
END_TEST

static void status_on(int fd, const char *method, const char *path, unsigned status)
{
    struct client_reply reply;

    client_send_on(fd, method, path, NULL);
    client_receive(fd, &reply);
    ck_assert_msg(reply.status == status, "%s: %u %s", path, reply.status, reply.body);
}

/* A connection that stays open is no way to keep a right. */
START_TEST(rights_end_with_the_policy_that_gave_them)
{
    int admin, shown;
    char path[256];

    begin();
    admin = client_connect_as(ADMIN, 65534);
    shown = client_connect_as(SHOWN, 65534);
    status_on(admin, "GET", "/v1/images", 200);
    status_on(shown, "GET", "/v1/pools/shown", 200);
    status_on(shown, "GET", "/v1/pools/hiddenpool", 403);
    policy_write("{\"rules\": [{\"uid\": 54321, \"rights\": [\"acquire\"],"
                 "\"pools\": [\"hiddenpool\"]}]}",
                 path);
    client_expect(200, "POST", "/v1/reload", NULL);
    status_on(admin, "GET", "/v1/images", 403);
    status_on(admin, "DELETE", "/v1/pools/shown", 403);
    status_on(shown, "GET", "/v1/pools/shown", 403);
    status_on(shown, "GET", "/v1/pools/hiddenpool", 200);
    policy_write(POLICY, path);
    client_expect(200, "POST", "/v1/reload", NULL);
    status_on(admin, "GET", "/v1/images", 200);
    close(admin);
    close(shown);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        no_route_tells_more,
        a_pool_is_what_is_of_use,
        counts_are_of_what_is_seen,
        whether_there_is_a_pool_is_not_told,
        errors_of_a_pool_are_for_administrators,
        links_of_the_host_are_the_policys_to_give,
        rights_end_with_the_policy_that_gave_them,
    };
    Suite *suite = suite_create("poold-policy");
    TCase *tcase = daemon_case(suite, argc, argv);

    if (geteuid() != 0) {
        printf("1..0 # SKIP other users' connections need root\n");
        return 0;
    }
    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
