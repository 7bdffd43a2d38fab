/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a user and its groups are found as `docker exec --user` finds them. Method: files of users
 * and groups, well-formed and not, and what each name and number comes to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tap_main.h"
#include "user.h"

static char base[64];

static void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static void base_make(void)
{
    char line[20000];

    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    ck_assert_int_eq(system("mkdir etc"), 0);
    file_write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n# a comment\n\nbroken\nshort:x:7\n"
                             "app:x:1000:1001:An App:/home/app:/bin/sh\n1234:x:55:56::/odd:\n"
                             "nohome:x:1002:1002:::\nbad:x:text:text:::\nlast:x:99:98::/l:/bin/sh");
    memset(line, 'x', sizeof line - 1); /* a line that is longer than any buffer */
    line[sizeof line - 1] = '\0';
    FILE *file = fopen("etc/group", "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file,
            "root:x:0:\napp:x:1001:\naudio:x:29:someone,app\nvideo:x:44:application,xapp\n"
            "many:x:45:%s\nwheel:x:10:root,app,last\nnone\nbad:x:text:app\n",
            line);
    ck_assert_int_eq(fclose(file), 0);
}

static void base_remove(void)
{
    char command[64];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(system(command), 0);
}

static const struct {
    const char *text;
    int status;
    uint32_t uid, gid;
    const char *home;
    const char *groups;
} cases[] = {
    { "root", 0, 0, 0, "/root", "10" },
    { "0", 0, 0, 0, "/root", "10" },
    { "app", 0, 1000, 1001, "/home/app", "29 10" },
    { "1000", 0, 1000, 1001, "/home/app", "29 10" },
    { "app:", 0, 1000, 1001, "/home/app", "29 10" },
    { ":audio", 0, 0, 29, "/root", "" },
    { ":", 0, 0, 0, "/root", "10" },
    { "app:audio", 0, 1000, 29, "/home/app", "" },
    { "app:77", 0, 1000, 77, "/home/app", "" },
    { "1000:wheel", 0, 1000, 10, "/home/app", "" },
    { "4321", 0, 4321, 0, "/", "" },
    { "4321:8765", 0, 4321, 8765, "/", "" },
    { "1234", 0, 1234, 0, "/", "" }, /* a number is a number, whoever is called so */
    { "nohome", 0, 1002, 1002, "/", "" },
    { "last", 0, 99, 98, "/l", "10" },
    { "short", 0, 7, 0, "/", "" },
    { "4294967294", 0, 4294967294u, 0, "/", "" },
    { "4294967295", -ENOENT, 0, 0, NULL, NULL },
    { "-1", -ENOENT, 0, 0, NULL, NULL },
    { "bad", -ENOENT, 0, 0, NULL, NULL },
    { "broken", -ENOENT, 0, 0, NULL, NULL },
    { "nobody", -ENOENT, 0, 0, NULL, NULL },
    { "app:nogroup", -ENOENT, 0, 0, NULL, NULL },
    { "", -EINVAL, 0, 0, NULL, NULL },
    { ":nogroup", -ENOENT, 0, 0, NULL, NULL },
    { "a-name-that-is-longer-than-the-sixty-four-bytes-that-there-are-for-it", -EINVAL, 0, 0, NULL,
      NULL },
};

START_TEST(users_are_found)
{
    struct user user;
    struct fail fail = { 0 };
    char groups[256] = "";

    ck_assert_int_eq(user_find(cases[_i].text, &user, &fail), cases[_i].status);
    if (cases[_i].status < 0) {
        const char *group = strchr(cases[_i].text, ':');

        ck_assert_msg(strstr(fail.sentence, group ? group + 1 : cases[_i].text), "%s",
                      fail.sentence);
        return;
    }
    ck_assert_uint_eq(user.uid, cases[_i].uid);
    ck_assert_uint_eq(user.gid, cases[_i].gid);
    ck_assert_str_eq(user.home, cases[_i].home);
    for (uint32_t i = 0; i < user.group_count; i++)
        snprintf(groups + strlen(groups), sizeof groups - strlen(groups), "%s%u", i ? " " : "",
                 user.groups[i]);
    ck_assert_str_eq(groups, cases[_i].groups);
}
END_TEST

START_TEST(a_root_without_the_files_has_numbers_only)
{
    struct user user;
    struct fail fail;

    ck_assert_int_eq(system("rm -r etc"), 0);
    ck_assert_int_eq(user_find("1000:5", &user, &fail), 0);
    ck_assert_uint_eq(user.uid, 1000);
    ck_assert_uint_eq(user.gid, 5);
    ck_assert_int_eq(user_find("root", &user, &fail), -ENOENT);
}
END_TEST

/* volt-init has nothing else that runs: a FIFO must not be waited for, nor the end of /dev/zero or of
 * a file as large as a disk. */
START_TEST(what_is_no_file_is_not_read)
{
    static const char *const commands[] = {
        "rm etc/passwd etc/group; mkfifo etc/passwd etc/group",
        "rm etc/passwd etc/group; mkdir etc/passwd etc/group",
        "ln -sf /dev/zero etc/passwd; ln -sf /dev/zero etc/group",
        "ln -sf passwd etc/passwd; ln -sf nowhere etc/group",
        "truncate -s 0 etc/passwd etc/group; truncate -s 1T etc/passwd etc/group",
    };
    struct user user;
    struct fail fail;

    ck_assert_int_eq(system(commands[_i]), 0);
    ck_assert_int_eq(user_find("app", &user, &fail), -ENOENT);
    ck_assert_int_eq(user_find("7:app", &user, &fail), -ENOENT);
    ck_assert_int_eq(user_find("7", &user, &fail), 0);
    ck_assert_uint_eq(user.group_count, 0);
}
END_TEST

START_TEST(no_more_groups_than_there_is_room_for)
{
    struct user user;
    struct fail fail;
    FILE *file = fopen("etc/group", "w");

    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 1000; i++)
        fprintf(file, "g%d:x:%d:app\n", i, i);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(user_find("app", &user, &fail), 0);
    ck_assert_uint_eq(user.group_count, USER_GROUPS_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_user");
    TCase *tests = tap_case(suite, "users of a guest");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_loop_test(tests, users_are_found, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(tests, a_root_without_the_files_has_numbers_only);
    tcase_add_loop_test(tests, what_is_no_file_is_not_read, 0, 5);
    tcase_add_test(tests, no_more_groups_than_there_is_room_for);
    return tap_main(suite);
}
