/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: volumes hold what they were made with until a lease that writes one is released well, and then
 *   what that wrote; whatever goes wrong on the way, they are whole, and nothing of it stays.
 * Method: volume_lab.h; the tests read the files in the state directory. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"
#include "volume_lab.h"

START_TEST(volumes_are_made_listed_and_deleted)
{
    uint8_t head[VOLUME_HEAD_BYTES];

    ck_assert_uint_eq(volume_make("cache", true), 201);
    ck_assert_uint_eq(volume_make("cache", true), 409);
    ck_assert_uint_eq(volume_make("Bad", true), 400);
    volume_head(head, true, VOLUME_BYTES);
    ck_assert_uint_eq(volume_send("a", "bytes=4095", head), 400);
    ck_assert_uint_eq(volume_send("a", "bytes=68719477248", head), 400);
    ck_assert_uint_eq(volume_send("a", "", head), 400);
    ck_assert_uint_eq(volume_send("a", "bytes=4096", head), 400);   /* more comes than that */
    ck_assert_uint_eq(volume_send("a", "bytes=524288", head), 400); /* its superblock says more */
    memset(head, 'x', sizeof head);
    ck_assert_uint_eq(volume_send("a", "bytes=1048576", head), 400);
    json_t *list = client_json("GET", "/v1/volumes", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(list, "volumes")), 1);
    json_decref(list);
    volume_await_files("data", 1);
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    client_expect(404, "GET", "/v1/volumes/none", NULL);
    daemon_restart("--log-level info");
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    ck_assert_str_eq(volume_contents("cache"), "");
    client_expect(204, "DELETE", "/v1/volumes/cache", NULL);
    client_expect(404, "DELETE", "/v1/volumes/cache", NULL);
    volume_await_files("data", 0);
}
END_TEST

START_TEST(an_upload_that_breaks_off_leaves_nothing)
{
    int fd = client_connect();

    client_write(fd, "POST /v1/volumes/half?bytes=1048576 HTTP/1.1\r\nHost: volt\r\n"
                     "Content-Length: 1048576\r\n\r\nbegin");
    client_await("/v1/volumes/half", "state", "making");
    client_expect(409, "DELETE", "/v1/volumes/half", NULL);
    ck_assert_uint_eq(volume_make("half", true), 409);
    close(fd);
    for (unsigned i = 0; volume_make("half", true) == 409 && i < CLIENT_LOOKS; i++)
        usleep(CLIENT_LOOK_US);
    client_await("/v1/volumes/half", "state", "ready");
    volume_await_files("data", 1);
}
END_TEST

START_TEST(what_is_no_attachment_is_refused)
{
    static const char *const bad[] = {
        "{}",
        "{\"name\":\"cache\"}",
        "{\"name\":\"cache\",\"path\":\"cache\"}",
        "{\"name\":\"cache\",\"path\":\"/\"}",
        "{\"name\":\"cache\",\"path\":\"/proc/x\"}",
        "{\"name\":\"cache\",\"path\":\"/dev\"}",
        "{\"name\":\"cache\",\"path\":\"/usr\"}",
        "{\"name\":\"cache\",\"path\":\"/a/../etc\"}",
        "{\"name\":\"cache\",\"path\":\"/a//b\"}",
        "{\"name\":\"cache\",\"path\":\"/a/\"}",
        "{\"name\":\"cache\",\"path\":\"/a\",\"mode\":\"rwx\"}",
        "{\"name\":\"packed\",\"path\":\"/a\",\"mode\":\"rw\"}",
    };
    char lease[64];

    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    ck_assert_uint_eq(volume_make("packed", false), 201);
    daemon_acquire("{\"wait_ms\":60000}", lease);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        volume_attach(lease, 400, bad[i]);
    volume_attach(lease, 404, "{\"name\":\"none\",\"path\":\"/a\"}");
    volume_attach(lease, 201, "{\"name\":\"packed\",\"path\":\"/processed\"}");
    volume_attach(lease, 400, "{\"name\":\"cache\",\"path\":\"/processed\"}");
    volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/usr/local/cache\",\"mode\":\"ro\"}");
    volume_attach(lease, 409, "{\"name\":\"cache\",\"path\":\"/c\"}"); /* two slots */
    client_expect(409, "DELETE", "/v1/volumes/cache", NULL);
    volume_release(lease, 204, "");
    volume_await_files("leases", 0);
    client_expect(204, "DELETE", "/v1/volumes/cache", NULL);
    volume_attach(lease, 410, "{\"name\":\"packed\",\"path\":\"/a\"}");
}
END_TEST

START_TEST(only_a_release_of_who_writes_changes_a_volume)
{
    static const struct {
        const char *body, *query;
        const char *then;
    } ways[] = {
        { "{\"name\":\"cache\",\"path\":\"/c\"}", "", "" },
        { "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"ro\"}", "", "" },
        { "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}", "?discard=1", "" },
        { "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}", "", "written" },
    };
    char lease[64];

    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        daemon_acquire("{\"wait_ms\":60000}", lease);
        volume_attach(lease, 201, ways[i].body);
        ck_assert_str_eq(volume_contents("cache"), "");
        volume_release(lease, 204, ways[i].query);
        ck_assert_str_eq(volume_contents("cache"), ways[i].then);
        volume_await_files("leases", 0);
        volume_await_files("data", 1);
    }
}
END_TEST

START_TEST(one_lease_writes_and_others_read)
{
    char first[64], second[64];

    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", first);
    daemon_acquire("{\"wait_ms\":60000}", second);
    volume_attach(first, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_attach(second, 409, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_attach(second, 201, "{\"name\":\"cache\",\"path\":\"/c\"}");
    volume_release(first, 204, "");
    ck_assert_str_eq(volume_contents("cache"), "written");
    volume_attach(second, 201, "{\"name\":\"cache\",\"path\":\"/d\",\"mode\":\"rw\"}");
    volume_release(second, 204, "");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
}
END_TEST

START_TEST(a_lease_that_ends_otherwise_leaves_the_volume_as_it_was)
{
    char lease[64];

    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000,\"ttl_ms\":3000}", lease);
    volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_await_files("leases", 0); /* it expires */
    volume_await_files("data", 1);
    ck_assert_str_eq(volume_contents("cache"), "");
    daemon_acquire("{\"wait_ms\":60000}", lease);
    volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    client_expect(200, "DELETE", "/v1/leases", NULL);
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
    ck_assert_str_eq(volume_contents("cache"), "");
}
END_TEST

START_TEST(a_guest_that_can_not_is_told_of)
{
    char lease[64];

    daemon_faults_set("no_mount");
    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", lease);
    volume_attach(lease, 500, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_release(lease, 204, ""); /* there is nothing to be kept */
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
    daemon_faults_set("no_unmount");
    daemon_acquire("{\"wait_ms\":60000}", lease);
    volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_release(lease, 500, "");
    client_expect(200, "GET", lease, NULL); /* it goes on */
    volume_release(lease, 204, "?discard=1");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
    daemon_faults_set("dies_unmounting");
    daemon_acquire("{\"wait_ms\":60000}", lease);
    volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_release(lease, 500, "");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
    ck_assert_str_eq(volume_contents("cache"), "");
}
END_TEST

/* The same path again is a bad request at any other time. */
START_TEST(a_lease_that_is_being_released_is_given_none)
{
    static const char again[] = "{\"name\":\"cache\",\"path\":\"/c\"}";
    char lease[64], path[96];
    struct client_reply reply = { .status = 400 };

    daemon_faults_set("never_unmounts");
    volume_writer_make(lease);
    volume_attach(lease, 400, again);
    int fd = client_send("DELETE", lease, NULL);
    snprintf(path, sizeof path, "%s/volumes", lease);
    for (unsigned i = 0; reply.status == 400 && i < CLIENT_LOOKS; i++) {
        client_call("POST", path, again, &reply);
        usleep(CLIENT_LOOK_US);
    }
    ck_assert_uint_eq(reply.status, 409);
    volume_release(lease, 204, "?discard=1");
    client_receive(fd, &reply);
    ck_assert_uint_eq(reply.status, 500); /* nothing is kept */
    close(fd);
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
}
END_TEST

/* The volume's contents are not where they were: nothing can be given, and nothing of that stays. */
START_TEST(what_cannot_be_opened_leaves_nothing)
{
    char lease[64];

    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    for (unsigned others = 0; others < 2; others++) {
        daemon_acquire("{\"wait_ms\":60000}", lease);
        if (others)
            volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/first\"}");
        volume_contents_hide("cache", true);
        volume_attach(lease, 500, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
        ck_assert_uint_eq(volume_lease_entries(lease), others);
        volume_contents_hide("cache", false);
        volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
        ck_assert_uint_eq(volume_lease_entries(lease), others + 1);
        volume_release(lease, 204, "?discard=1");
        volume_await_files("leases", 0);
        volume_await_files("data", 1);
    }
}
END_TEST

START_TEST(folders_that_nobody_has_are_few)
{
    uint8_t head[VOLUME_HEAD_BYTES];
    char name[16];

    volume_head(head, false, VOLUME_BYTES);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "share.%u", i);
        ck_assert_uint_eq(volume_send(name, "bytes=1048576&folder=1", head), 201);
    }
    volume_await_files("data", 8);
    client_expect(404, "GET", "/v1/volumes/share.0", NULL);
    client_expect(200, "GET", "/v1/volumes/share.11", NULL);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold_volumes");
    TCase *tests = daemon_case(suite, argc, argv);

    tcase_add_test(tests, volumes_are_made_listed_and_deleted);
    tcase_add_test(tests, an_upload_that_breaks_off_leaves_nothing);
    tcase_add_test(tests, what_is_no_attachment_is_refused);
    tcase_add_test(tests, only_a_release_of_who_writes_changes_a_volume);
    tcase_add_test(tests, one_lease_writes_and_others_read);
    tcase_add_test(tests, a_lease_that_ends_otherwise_leaves_the_volume_as_it_was);
    tcase_add_test(tests, a_guest_that_can_not_is_told_of);
    tcase_add_test(tests, a_lease_that_is_being_released_is_given_none);
    tcase_add_test(tests, what_cannot_be_opened_leaves_nothing);
    tcase_add_test(tests, folders_that_nobody_has_are_few);
    return tap_main(suite);
}
