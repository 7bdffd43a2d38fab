/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: volumes hold what they were made with until a lease that writes one is released well, and then
 *   what that wrote; whatever goes wrong on the way, they are whole, nothing of it stays, and leases and
 *   volumes go on with the next poold.
 * Method: poold_daemon.h. fake_vmm writes to each volume that it mounts; the tests read the files in the
 *   state directory. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define BYTES (1u << 20)
#define WRITTEN_AT 65536 /* where fake_vmm writes */
#define HEAD_BYTES 8192u
#define KEPT "--keep-ms 60000"

/* ---- Making ---- */

/* The first bytes of an empty ext4 or erofs of that size. */
static void head_make(uint8_t head[HEAD_BYTES], bool ext4, uint32_t bytes)
{
    const uint32_t blocks = bytes / 4096, erofs = 0xe0f5e1e2u, log_block = 2;
    const uint16_t magic = 0xef53;

    memset(head, 0, HEAD_BYTES);
    if (ext4) {
        memcpy(head + 1024 + 4, &blocks, 4);
        memcpy(head + 1024 + 0x18, &log_block, 4);
        memcpy(head + 1024 + 0x38, &magic, 2);
        return;
    }
    memcpy(head + 1024, &erofs, 4);
    head[1024 + 12] = 12;
    memcpy(head + 1024 + 36, &blocks, 4);
}

static unsigned volume_send(const char *name, const char *query, const uint8_t *head)
{
    struct client_reply reply;
    char request[256];
    int fd = client_connect();

    snprintf(request, sizeof request,
             "POST /v1/volumes/%s?%s HTTP/1.1\r\nHost: volt\r\nContent-Length: %u\r\n\r\n", name,
             query, HEAD_BYTES);
    client_write(fd, request);
    (void)!send(fd, head, HEAD_BYTES, MSG_NOSIGNAL);
    client_receive(fd, &reply);
    close(fd);
    return reply.status;
}

static unsigned volume_make(const char *name, bool ext4)
{
    uint8_t head[HEAD_BYTES];

    head_make(head, ext4, BYTES);
    return volume_send(name, "bytes=1048576", head);
}

static void pool_make(void)
{
    daemon_pool_create(
        "{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":4,\"volumes\":2}");
}

/* ---- Looking ---- */

/* What fake_vmm writes, if it is in the volume's contents; else "". */
static const char *contents(const char *name)
{
    static char text[8];
    char file[256], path[300], id[80];

    snprintf(id, sizeof id, "state/volumes/%s~%u.json", name, getuid());
    daemon_path(id, file);
    json_t *record = json_load_file(file, 0, NULL);
    ck_assert_ptr_nonnull(record);
    daemon_path("state/volumes/data", file);
    snprintf(path, sizeof path, "%s/%s", file, json_string_value(json_object_get(record, "data")));
    json_decref(record);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, BYTES);
    memset(text, 0, sizeof text);
    ck_assert_int_eq(pread(fd, text, 7, WRITTEN_AT), 7);
    close(fd);
    return text;
}

/* Files go a moment after who had them. */
static void await_files(const char *folder, unsigned count)
{
    char name[64];

    snprintf(name, sizeof name, "state/volumes/%s", folder);
    for (unsigned i = 0; daemon_entries(name) != count && i < CLIENT_LOOKS; i++)
        usleep(CLIENT_LOOK_US);
    ck_assert_uint_eq(daemon_entries(name), count);
}

static void attach(const char *lease, unsigned status, const char *body)
{
    char path[96];

    snprintf(path, sizeof path, "%s/volumes", lease);
    client_expect(status, "POST", path, body);
}

static void release(const char *lease, unsigned status, const char *query)
{
    char path[96];

    snprintf(path, sizeof path, "%s%s", lease, query);
    client_expect(status, "DELETE", path, NULL);
}

/* ---- Tests ---- */

START_TEST(volumes_are_made_listed_and_deleted)
{
    uint8_t head[HEAD_BYTES];

    ck_assert_uint_eq(volume_make("cache", true), 201);
    ck_assert_uint_eq(volume_make("cache", true), 409);
    ck_assert_uint_eq(volume_make("Bad", true), 400);
    head_make(head, true, BYTES);
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
    await_files("data", 1);
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    client_expect(404, "GET", "/v1/volumes/none", NULL);
    daemon_restart("--log-level info");
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    ck_assert_str_eq(contents("cache"), "");
    client_expect(204, "DELETE", "/v1/volumes/cache", NULL);
    client_expect(404, "DELETE", "/v1/volumes/cache", NULL);
    await_files("data", 0);
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
    await_files("data", 1);
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

    pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    ck_assert_uint_eq(volume_make("packed", false), 201);
    daemon_acquire("{\"wait_ms\":60000}", lease);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        attach(lease, 400, bad[i]);
    attach(lease, 404, "{\"name\":\"none\",\"path\":\"/a\"}");
    attach(lease, 201, "{\"name\":\"packed\",\"path\":\"/processed\"}");
    attach(lease, 400, "{\"name\":\"cache\",\"path\":\"/processed\"}");
    attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/usr/local/cache\",\"mode\":\"ro\"}");
    attach(lease, 409, "{\"name\":\"cache\",\"path\":\"/c\"}"); /* two slots */
    client_expect(409, "DELETE", "/v1/volumes/cache", NULL);
    release(lease, 204, "");
    await_files("leases", 0);
    client_expect(204, "DELETE", "/v1/volumes/cache", NULL);
    attach(lease, 410, "{\"name\":\"packed\",\"path\":\"/a\"}");
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

    pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        daemon_acquire("{\"wait_ms\":60000}", lease);
        attach(lease, 201, ways[i].body);
        ck_assert_str_eq(contents("cache"), "");
        release(lease, 204, ways[i].query);
        ck_assert_str_eq(contents("cache"), ways[i].then);
        await_files("leases", 0);
        await_files("data", 1);
    }
}
END_TEST

START_TEST(one_lease_writes_and_others_read)
{
    char first[64], second[64];

    pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", first);
    daemon_acquire("{\"wait_ms\":60000}", second);
    attach(first, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    attach(second, 409, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    attach(second, 201, "{\"name\":\"cache\",\"path\":\"/c\"}");
    release(first, 204, "");
    ck_assert_str_eq(contents("cache"), "written");
    attach(second, 201, "{\"name\":\"cache\",\"path\":\"/d\",\"mode\":\"rw\"}");
    release(second, 204, "");
    await_files("leases", 0);
    await_files("data", 1);
}
END_TEST

START_TEST(a_lease_that_ends_otherwise_leaves_the_volume_as_it_was)
{
    char lease[64];

    pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000,\"ttl_ms\":3000}", lease);
    attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    await_files("leases", 0); /* it expires */
    await_files("data", 1);
    ck_assert_str_eq(contents("cache"), "");
    daemon_acquire("{\"wait_ms\":60000}", lease);
    attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    client_expect(200, "DELETE", "/v1/leases", NULL);
    await_files("leases", 0);
    await_files("data", 1);
    ck_assert_str_eq(contents("cache"), "");
}
END_TEST

START_TEST(a_guest_that_can_not_is_told_of)
{
    char lease[64];

    daemon_faults_set("no_mount");
    pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", lease);
    attach(lease, 500, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    release(lease, 204, ""); /* there is nothing to be kept */
    await_files("leases", 0);
    await_files("data", 1);
    daemon_faults_set("no_unmount");
    daemon_acquire("{\"wait_ms\":60000}", lease);
    attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    release(lease, 500, "");
    client_expect(200, "GET", lease, NULL); /* it goes on */
    release(lease, 204, "?discard=1");
    await_files("leases", 0);
    await_files("data", 1);
    daemon_faults_set("dies_unmounting");
    daemon_acquire("{\"wait_ms\":60000}", lease);
    attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    release(lease, 500, "");
    await_files("leases", 0);
    await_files("data", 1);
    ck_assert_str_eq(contents("cache"), "");
}
END_TEST

static void poold_kill(void)
{
    kill(daemon_pid, SIGKILL);
    waitpid(daemon_pid, NULL, 0);
    daemon_pid = 0;
}

START_TEST(the_next_poold_goes_on_with_them)
{
    char first[64], second[64];

    daemon_restart(KEPT);
    pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", first);
    daemon_acquire("{\"wait_ms\":60000}", second);
    attach(first, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    attach(second, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"ro\"}");
    poold_kill();
    daemon_start(KEPT);
    client_expect(409, "DELETE", "/v1/volumes/cache", NULL);
    attach(second, 409, "{\"name\":\"cache\",\"path\":\"/d\",\"mode\":\"rw\"}");
    release(first, 204, "");
    ck_assert_str_eq(contents("cache"), "written");
    release(second, 204, "");
    await_files("leases", 0);
    client_expect(204, "DELETE", "/v1/volumes/cache", NULL);
    await_files("data", 0);
}
END_TEST

/* A lease's file that says `saved` stands for a poold that died before it could say so in the volume. */
START_TEST(what_was_saved_is_not_lost_with_poold)
{
    char lease[64], file[256], *at;
    const char *id = lease + strlen("/v1/leases/");

    daemon_restart(KEPT);
    pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", lease);
    attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    poold_kill();
    daemon_path("state/volumes/leases/", file);
    at = file + strlen(file);
    snprintf(at, sizeof file - (size_t)(at - file), "%s.json", id);
    json_t *root = json_load_file(file, 0, NULL);
    json_t *one = json_array_get(json_object_get(root, "attachments"), 0);
    json_object_set_new(one, "saved", json_true());
    ck_assert_int_eq(json_dump_file(root, file, 0), 0);
    json_decref(root);
    daemon_start("--keep-ms 60000 --stop-vms");
    daemon_wait_exit(0);
    daemon_start(KEPT);
    ck_assert_str_eq(contents("cache"), "written");
    await_files("leases", 0);
    await_files("data", 1);
}
END_TEST

START_TEST(a_damaged_state_directory_loses_nobody_else)
{
    char file[256];
    FILE *out;

    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_path("state/volumes/bad~0.json", file);
    out = fopen(file, "w");
    fputs("{\"data\": \"../../../etc/passwd\"}", out);
    fclose(out);
    daemon_path("state/volumes/leases/0123456789abcdef.json", file);
    out = fopen(file, "w");
    fputs("{\"attachments\": [{\"volume\": 3}, 4]}", out);
    fclose(out);
    daemon_path("state/volumes/data/left", file);
    fclose(fopen(file, "w"));
    daemon_restart("--log-level info");
    daemon_await_log("the volume bad~0 can't be used", 1);
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    await_files("leases", 0);
    await_files("data", 1);
}
END_TEST

START_TEST(folders_that_nobody_has_are_few)
{
    uint8_t head[HEAD_BYTES];
    char name[16];

    head_make(head, false, BYTES);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "share.%u", i);
        ck_assert_uint_eq(volume_send(name, "bytes=1048576&folder=1", head), 201);
    }
    await_files("data", 8);
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
    tcase_add_test(tests, the_next_poold_goes_on_with_them);
    tcase_add_test(tests, what_was_saved_is_not_lost_with_poold);
    tcase_add_test(tests, a_damaged_state_directory_loses_nobody_else);
    tcase_add_test(tests, folders_that_nobody_has_are_few);
    return tap_main(suite);
}
