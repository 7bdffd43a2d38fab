/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: leases and volumes go on with the next poold, and whatever is found in the state directory, a
 *   volume is as it was or as its last writer left it.
 * Method: volume_lab.h, with poolds that are killed and files that are changed meanwhile. argv: POOLD
 *   FAKE_VMM. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"
#include "volume_lab.h"

#define KEPT "--keep-ms 60000"

/* A poold that has begun to listen may still be reading its state: what it makes of that is on the disk
 * once it answers. */
static void volume_await_poold(void)
{
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
}

START_TEST(the_next_poold_goes_on_with_them)
{
    char first[64], second[64];

    daemon_restart(KEPT);
    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", first);
    daemon_acquire("{\"wait_ms\":60000}", second);
    volume_attach(first, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_attach(second, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"ro\"}");
    volume_poold_kill();
    daemon_start(KEPT);
    client_expect(409, "DELETE", "/v1/volumes/cache", NULL);
    volume_attach(second, 409, "{\"name\":\"cache\",\"path\":\"/d\",\"mode\":\"rw\"}");
    volume_release(first, 204, "");
    ck_assert_str_eq(volume_contents("cache"), "written");
    volume_release(second, 204, "");
    volume_await_files("leases", 0);
    client_expect(204, "DELETE", "/v1/volumes/cache", NULL);
    volume_await_files("data", 0);
}
END_TEST

/* A poold that dies while it copies a volume leaves half of one: nobody was told of it, or writes it. */
START_TEST(a_copy_that_was_not_whole_is_never_kept)
{
    char lease[64];

    daemon_restart(KEPT);
    volume_writer_make(lease);
    volume_poold_kill();
    ck_assert(volume_lease_set(lease, "mounted", false));
    daemon_start(KEPT);
    volume_release(lease, 204, "");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
    ck_assert_str_eq(volume_contents("cache"), "");
}
END_TEST

/* A lease's file that says `saved` stands for a poold that died before it could say so in the volume. */
START_TEST(what_was_saved_is_not_lost_with_poold)
{
    char lease[64];

    daemon_restart(KEPT);
    volume_writer_make(lease);
    volume_poold_kill();
    ck_assert(!volume_lease_set(lease, "saved", true));
    daemon_start("--keep-ms 60000 --stop-vms");
    daemon_wait_exit(0);
    daemon_start(KEPT);
    volume_await_poold();
    ck_assert_str_eq(volume_contents("cache"), "written");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
}
END_TEST

/* The VM has gone with that poold: the next one finds no such lease. */
START_TEST(what_was_saved_is_not_lost_with_its_lease)
{
    char lease[64];

    volume_writer_make(lease);
    volume_poold_kill();
    ck_assert_str_eq(volume_contents("cache"), "");
    ck_assert(!volume_lease_set(lease, "saved", true));
    client_wait_for_silence();
    daemon_start("--log-level info");
    client_expect(404, "GET", lease, NULL);
    ck_assert_str_eq(volume_contents("cache"), "written");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
}
END_TEST

/* A folder has the place of the record that is to be written. */
START_TEST(a_volume_whose_record_cannot_be_written_stays_as_it_was)
{
    char lease[64], name[64], file[256];

    volume_writer_make(lease);
    snprintf(name, sizeof name, "state/volumes/.cache~%u.tmp", getuid());
    daemon_path(name, file);
    ck_assert_int_eq(mkdir(file, 0700), 0);
    volume_release(lease, 500, "");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
    ck_assert_str_eq(volume_contents("cache"), "");
    ck_assert_int_eq(rmdir(file), 0);
    daemon_acquire("{\"wait_ms\":60000}", lease);
    volume_attach(lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    volume_release(lease, 204, "");
    ck_assert_str_eq(volume_contents("cache"), "written");
}
END_TEST

START_TEST(a_damaged_state_directory_loses_nobody_else)
{
    static const char *const halves[] = { "state/volumes/.cache~0.tmp",
                                          "state/volumes/leases/.0123456789abcdef.tmp",
                                          "state/pools/.default.tmp", "state/functions/.f.tmp" };
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
    for (size_t i = 0; i < ARRAY_LEN(halves); i++) { /* of files that a poold was killed over */
        daemon_path(halves[i], file);
        fclose(fopen(file, "w"));
    }
    daemon_restart("--log-level info");
    daemon_await_log("the volume bad~0 can't be used", 1);
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
        daemon_path(halves[i], file);
        ck_assert_int_eq(access(file, F_OK), -1);
    }
    daemon_path("state/volumes/bad~0.json", file);
    ck_assert_int_eq(unlink(file), 0);
    /* What a lease's file of another kind names is not known either. */
    daemon_restart("--log-level info");
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    volume_await_files("leases", 1);
    volume_await_files("data", 2);
    daemon_path("state/volumes/leases/0123456789abcdef.json", file);
    ck_assert_int_eq(unlink(file), 0);
    daemon_restart("--log-level info");
    client_expect(200, "GET", "/v1/volumes/cache", NULL);
    volume_await_files("data", 1);
}
END_TEST

/* The file hides for a while behind a link, which poold does not follow: as if the disk failed to give it. */
static void hide(const char *name, bool hidden)
{
    char file[256], away[256 + 8];

    daemon_path(name, file);
    snprintf(away, sizeof away, "%s.away", file);
    if (hidden) {
        ck_assert_int_eq(rename(file, away), 0);
        ck_assert_int_eq(symlink(away, file), 0);
    } else {
        ck_assert_int_eq(rename(away, file), 0);
    }
}

/* Which file has its contents is not known then, so none goes as nobody's. */
START_TEST(a_record_that_cannot_be_read_costs_no_contents)
{
    char lease[64], name[64];

    volume_writer_make(lease);
    volume_release(lease, 204, "");
    volume_await_files("data", 1);
    snprintf(name, sizeof name, "state/volumes/cache~%u.json", getuid());
    hide(name, true);
    daemon_restart("--log-level info");
    client_expect(404, "GET", "/v1/volumes/cache", NULL);
    ck_assert_uint_eq(volume_make("cache", true), 409); /* its name is not given away */
    volume_await_files("data", 1);
    hide(name, false);
    daemon_restart("--log-level info");
    volume_await_poold();
    ck_assert_str_eq(volume_contents("cache"), "written");
    volume_await_files("data", 1);
}
END_TEST

/* What it says may be `saved`: so it stays, and nobody writes meanwhile what it would take the place of. */
START_TEST(a_lease_that_cannot_be_read_costs_nothing_that_was_saved)
{
    char lease[64], other[64], name[96];

    volume_writer_make(lease);
    volume_poold_kill();
    ck_assert(!volume_lease_set(lease, "saved", true));
    snprintf(name, sizeof name, "state/volumes/leases/%s.json", lease + strlen("/v1/leases/"));
    hide(name, true);
    client_wait_for_silence();
    daemon_start("--log-level info");
    volume_await_poold();
    ck_assert_str_eq(volume_contents("cache"), "");
    daemon_acquire("{\"wait_ms\":60000}", other);
    volume_attach(other, 409, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
    hide(name, false);
    daemon_restart("--log-level info");
    volume_await_poold();
    ck_assert_str_eq(volume_contents("cache"), "written");
    volume_await_files("leases", 0);
    volume_await_files("data", 1);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poold_volumes_kept");
    TCase *tests = daemon_case(suite, argc, argv);

    tcase_add_test(tests, the_next_poold_goes_on_with_them);
    tcase_add_test(tests, a_copy_that_was_not_whole_is_never_kept);
    tcase_add_test(tests, what_was_saved_is_not_lost_with_poold);
    tcase_add_test(tests, what_was_saved_is_not_lost_with_its_lease);
    tcase_add_test(tests, a_record_that_cannot_be_read_costs_no_contents);
    tcase_add_test(tests, a_lease_that_cannot_be_read_costs_nothing_that_was_saved);
    tcase_add_test(tests, a_volume_whose_record_cannot_be_written_stays_as_it_was);
    tcase_add_test(tests, a_damaged_state_directory_loses_nobody_else);
    return tap_main(suite);
}
