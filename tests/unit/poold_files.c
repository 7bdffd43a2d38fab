/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what a client names is opened with the client's rights, whichever key names it; what is
 * opened is what is used; nothing but regular files and block devices is ever opened. Method:
 * poold_daemon.h, with a user who is administrator by policy. The keys are those of the API's own
 * tables: one that is a path and has no row here fails. Needs root. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/api.h"
#include "poold_client.h"
#include "poold_daemon.h"
#include "tap_main.h"

#define USER 54321u
#define GROUP 54322u
#define POLICY "{\"rules\": [{\"uid\": 54321, \"rights\": [\"admin\"]}]}"

/* How a request looks that names a file by this key. */
static const struct path_key {
    const char *key, *method, *path, *body; /* of body: %s is the file's path */
} path_keys[] = {
    { "kernel", "POST", "/v1/pools", "{\"name\":\"default\",\"kernel\":\"%s\"}" },
    { "initrd", "POST", "/v1/pools", "{\"name\":\"default\",\"initrd\":\"%s\"}" },
    { "disk", "POST", "/v1/pools",
      "{\"name\":\"default\",\"disk\":\"%s\",\"disk_read_only\":true}" },
    { "kernel", "POST", "/v1/pools/{}/replace", "{\"kernel\":\"%s\"}" },
    { "initrd", "POST", "/v1/pools/{}/replace", "{\"initrd\":\"%s\"}" },
    { "disk", "POST", "/v1/pools/{}/replace", "{\"disk\":\"%s\",\"disk_read_only\":true}" },
};

static bool has_row(const struct route *route, const char *key)
{
    for (unsigned i = 0; i < ARRAY_LEN(path_keys); i++) {
        if (strcmp(path_keys[i].key, key) == 0 && strcmp(path_keys[i].method, route->method) == 0 &&
            strcmp(path_keys[i].path, route->path) == 0)
            return true;
    }
    return false;
}

START_TEST(every_key_that_is_a_path_is_tried_here)
{
    unsigned found = 0;

    for (size_t i = 0; i < api_route_count; i++) {
        const struct json_table *json = api_routes[i].json;

        for (size_t k = 0; json && k < json->key_count; k++) {
            if (json->keys[k].kind != JSON_KEY_PATH && json->keys[k].kind != JSON_KEY_AUTO_PATH)
                continue;
            ck_assert_msg(has_row(&api_routes[i], json->keys[k].name), "%s %s: '%s'",
                          api_routes[i].method, api_routes[i].path, json->keys[k].name);
            found++;
        }
    }
    ck_assert_uint_eq(found, ARRAY_LEN(path_keys));
}
END_TEST

/* ---- Files ---- */

/* Of `bytes` bytes, which is what a disk needs, too. */
static void make_file(const char *name, uid_t uid, gid_t gid, mode_t mode)
{
    char path[256], content[1024];

    daemon_path(name, path);
    memset(content, 'x', sizeof content);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, content, sizeof content), sizeof content);
    ck_assert_int_eq(fchown(fd, uid, gid), 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void make_link(const char *name, const char *to)
{
    char path[256], target[256];

    daemon_path(name, path);
    if (*to == '/')
        snprintf(target, sizeof target, "%s", to);
    else
        daemon_path(to, target);
    unlink(path);
    ck_assert_int_eq(symlink(target, path), 0);
    ck_assert_int_eq(lchown(path, USER, USER), 0);
}

static void make_node(const char *name, mode_t mode, dev_t device)
{
    char path[256];

    daemon_path(name, path);
    ck_assert_int_eq(mknod(path, mode, device), 0);
    ck_assert_int_eq(chmod(path, mode & 0777), 0);
}

static void make_files(void)
{
    char secret[256], policy[256];
    FILE *out;

    daemon_path("policy", policy);
    out = fopen(policy, "we");
    fputs(POLICY, out);
    fclose(out);
    daemon_directory_make("secret"); /* 0700 */
    make_file("secret/file", 0, 0, 0644);
    make_file("roots", 0, 0, 0600);
    make_file("groups", 0, GROUP, 0640);
    make_file("users", USER, USER, 0600);
    make_file("everybodys", 0, 0, 0644);
    make_link("link", "secret/file");
    make_link("link-to-nothing", "secret/nothing");
    make_link("link-to-users", "users");
    make_link("link-to-self", "/proc/self/exe");
    make_node("fifo", S_IFIFO | 0666, 0);
    make_node("tty", S_IFCHR | 0666, makedev(5, 0));
    make_node("zeroes", S_IFCHR | 0666, makedev(1, 5));
    make_node("block", S_IFBLK | 0600, makedev(7, 0));
    daemon_directory_make("folder");
    daemon_path("secret", secret);
    snprintf(policy, sizeof policy, "--policy %s/policy", daemon_dir);
    daemon_restart(policy);
    daemon_open_to_all();
}

/* ---- Who may name what ---- */

/* What is to be replaced is root's; that it is begun is as good as that it is made. */
static void name_file(const struct path_key *key, int fd, const char *file,
                      struct client_reply *ret_reply)
{
    const bool replaces = strstr(key->path, "{}");
    char path[512], body[1024];

    if (replaces)
        client_call("POST", "/v1/pools", "{\"name\":\"default\",\"min\":0}", ret_reply);
    if (*file == '/')
        snprintf(path, sizeof path, "%s", file);
    else
        daemon_path(file, path);
    snprintf(body, sizeof body, key->body, path);
    client_send_on(fd, key->method, replaces ? "/v1/pools/default/replace" : key->path, body);
    client_receive(fd, ret_reply);
    ret_reply->status -= ret_reply->status == 202;
    close(fd);
}

static const struct {
    const char *file;
    const char *says; /* NULL: it may be used */
} users_files[] = {
    { "secret/file", "Permission denied" },
    { "secret/nothing", "Permission denied" },
    { "roots", "Permission denied" },
    { "groups", "Permission denied" },
    { "link", "Permission denied" },
    { "link-to-nothing", "Permission denied" },
    { "folder/../secret/file", "Permission denied" },
    { "nothing", "No such file or directory" },
    { "everybodys/x", "Not a directory" },
    { "fifo", "a regular file" },
    { "tty", "a regular file" },
    { "zeroes", "a regular file" },
    { "folder", "a regular file" },
    { "block", "" }, /* denied, or no regular file */
    { "link-to-self", "Too many levels of symbolic links" },
    { "/proc/self/exe", "Too many levels of symbolic links" },
    { "/proc/self/fd/3", "Too many levels of symbolic links" },
    { "/proc/thread-self/root/etc/passwd", "Too many levels of symbolic links" },
    { "/proc/self/cwd/etc/passwd", "Too many levels of symbolic links" },
    { "/dev/stdin", "Too many levels of symbolic links" },
    { "/proc/self/maps", "is in /proc" },
    { "/proc/version", "is in /proc" },
    { "users", NULL },
    { "link-to-users", NULL },
    { "everybodys", NULL },
};

START_TEST(an_administrator_names_what_its_user_may_read)
{
    const struct path_key *key = &path_keys[_i];

    make_files();
    for (unsigned i = 0; i < ARRAY_LEN(users_files); i++) {
        struct client_reply reply;

        name_file(key, client_connect_as(USER, USER), users_files[i].file, &reply);
        if (users_files[i].says) {
            ck_assert_msg(reply.status == 400 && strstr(reply.body, users_files[i].says),
                          "%s: %u %s", users_files[i].file, reply.status, reply.body);
        } else {
            ck_assert_msg(reply.status == 201, "%s: %u %s", users_files[i].file, reply.status,
                          reply.body);
            client_await("/v1/pools/default", "state", "ready");
            client_expect(204, "DELETE", "/v1/pools/default", NULL);
        }
    }
}
END_TEST

START_TEST(groups_count_and_root_may_all)
{
    const struct path_key *key = &path_keys[_i];
    struct client_reply reply;

    make_files();
    name_file(key, client_connect_in(USER, USER, GROUP), "groups", &reply);
    ck_assert_msg(reply.status == 201, "%s", reply.body);
    client_await("/v1/pools/default", "state", "ready");
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    name_file(key, client_connect_as(USER, GROUP), "groups", &reply);
    ck_assert_msg(reply.status == 201, "%s", reply.body);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    name_file(key, client_connect(), "secret/file", &reply);
    ck_assert_msg(reply.status == 201, "%s", reply.body);
    client_await("/v1/pools/default", "state", "ready");
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    name_file(key, client_connect(), "fifo", &reply); /* root has no use of them, either */
    ck_assert_msg(reply.status == 400, "%s", reply.body);
}
END_TEST

/* A reader that opened the FIFO, for a moment only, would let this writer in. */
START_TEST(a_fifo_is_not_opened)
{
    struct client_reply reply;
    char path[256];
    int status;

    make_files();
    daemon_path("fifo", path);
    pid_t pid = fork();
    if (pid == 0)
        _exit(open(path, O_WRONLY | O_CLOEXEC) < 0);
    for (unsigned i = 0; i < ARRAY_LEN(path_keys); i++) {
        name_file(&path_keys[i], client_connect_as(USER, USER), "fifo", &reply);
        ck_assert_uint_eq(reply.status, 400);
    }
    usleep(100000);
    ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
END_TEST

/* ---- What is opened is what is used ---- */

static ino_t inode_of(const char *name)
{
    char path[256];
    struct stat st;

    daemon_path(name, path);
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_ino;
}

/* Whether a process that poold has started has the file open. */
static bool children_have(ino_t inode)
{
    char path[600], children[64];
    FILE *in;
    int pid;

    snprintf(children, sizeof children, "/proc/%d/task/%d/children", (int)daemon_pid,
             (int)daemon_pid);
    in = fopen(children, "re");
    while (in && fscanf(in, "%d", &pid) == 1) {
        snprintf(path, sizeof path, "/proc/%d/fd", pid);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir && (e = readdir(dir));) {
            struct stat st;

            snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, e->d_name);
            if (stat(path, &st) == 0 && st.st_ino == inode) {
                closedir(dir);
                fclose(in);
                return true;
            }
        }
        if (dir)
            closedir(dir);
    }
    if (in)
        fclose(in);
    return false;
}

static void await_children_have(ino_t inode)
{
    bool found = children_have(inode);

    /* Seen once is enough: what is a fork of poold's now is about to have other numbers. */
    for (unsigned i = 0; i < CLIENT_LOOKS && !found; i++) {
        usleep(CLIENT_LOOK_US);
        found = children_have(inode);
    }
    ck_assert_msg(found, "no process has it");
}

START_TEST(the_vm_that_boots_gets_what_was_opened)
{
    struct client_reply reply;
    ino_t inode;

    make_files();
    inode = inode_of("users");
    daemon_faults_set("boot_hang");
    name_file(&path_keys[_i], client_connect_as(USER, USER), "users", &reply);
    ck_assert_msg(reply.status == 201, "%s", reply.body);
    make_link("users", "secret/file"); /* at once: the VM's process is hardly there */
    await_children_have(inode);
    ck_assert(!children_have(inode_of("secret/file")));
    client_expect(204, "DELETE", "/v1/pools/default?force=1", NULL);
}
END_TEST

START_TEST(a_new_template_gets_the_same_disk)
{
    const struct path_key *disk = &path_keys[2];
    struct client_reply reply;
    ino_t inode;

    make_files();
    inode = inode_of("users");
    name_file(disk, client_connect_as(USER, USER), "users", &reply);
    ck_assert_msg(reply.status == 201, "%s", reply.body);
    client_await("/v1/pools/default", "state", "ready");
    await_children_have(inode);
    make_link("users", "secret/file");
    daemon_template_kill();
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":60000}");
    await_children_have(inode);
    ck_assert(!children_have(inode_of("secret/file")));
}
END_TEST

/* After a restart the disk's name is opened anew: with the rights of whoever made the pool. */
START_TEST(a_restart_opens_as_the_maker)
{
    const struct path_key *disk = &path_keys[2];
    struct client_reply reply;
    char options[300];
    json_t *pool;

    make_files();
    snprintf(options, sizeof options, "--policy %s/policy", daemon_dir);
    name_file(disk, client_connect_in(USER, USER, GROUP), "groups", &reply);
    ck_assert_msg(reply.status == 201, "%s", reply.body);
    client_await("/v1/pools/default", "state", "ready");
    daemon_restart(options);
    client_await("/v1/pools/default", "state", "ready");
    await_children_have(inode_of("groups"));
    make_link("groups", "secret/file");
    daemon_restart(options);
    client_await("/v1/pools/default", "state", "failed");
    pool = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(pool, "error")), "Permission denied"));
    json_decref(pool);
    ck_assert(!children_have(inode_of("secret/file")));
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
}
END_TEST

/* ---- Without a daemon ---- */

START_TEST(the_caller_keeps_its_rights)
{
    const struct client_ids ids = { .uid = USER, .gid = USER };
    struct err err;
    char path[256];
    int fd = -1;

    make_files();
    daemon_path("secret/file", path);
    ck_assert_int_eq(client_file_open(&ids, path, CLIENT_FILE_REGULAR, "file", &fd, &err), -EACCES);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(client_file_open(NULL, path, CLIENT_FILE_REGULAR, "file", &fd, &err), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
}
END_TEST

/* Who can't become another user opens nothing for one, not even what everybody may read. */
START_TEST(without_the_right_nothing_is_opened_for_others)
{
    char path[256];
    int status = -1;

    make_files();
    daemon_path("everybodys", path);
    pid_t pid = fork();
    if (pid == 0) {
        const struct client_ids ids = { .uid = USER + 1, .gid = USER + 1 };
        struct err err;
        int fd = -1;

        if (setresgid(USER, USER, USER) < 0 || setresuid(USER, USER, USER) < 0)
            _exit(2);
        _exit(client_file_open(&ids, path, CLIENT_FILE_REGULAR, "file", &fd, &err) != -EPERM ||
              !strstr(err.msg, "uid 54321"));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        every_key_that_is_a_path_is_tried_here,
        a_fifo_is_not_opened,
        a_new_template_gets_the_same_disk,
        a_restart_opens_as_the_maker,
        the_caller_keeps_its_rights,
        without_the_right_nothing_is_opened_for_others,
    };
    const TTest *const each_key[] = {
        an_administrator_names_what_its_user_may_read,
        groups_count_and_root_may_all,
        the_vm_that_boots_gets_what_was_opened,
    };
    Suite *suite = suite_create("poold-files");
    TCase *tcase = daemon_case(suite, argc, argv);

    if (geteuid() != 0) {
        printf("1..0 # SKIP other users' rights need root\n");
        return 0;
    }
    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    for (unsigned i = 0; i < ARRAY_LEN(each_key); i++)
        tcase_add_loop_test(tcase, each_key[i], 0, (int)ARRAY_LEN(path_keys));
    return tap_main(suite);
}
