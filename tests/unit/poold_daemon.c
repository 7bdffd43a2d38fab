/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the poold of a test and its directory: see poold_daemon.h. */
#include "poold_daemon.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "tap_main.h"

#define LOG_BYTES_MAX (1u << 20)

const char *daemon_program;
char daemon_dir[128];
pid_t daemon_pid;
unsigned daemon_fds_max;
static const char *fake_path;

void daemon_path(const char *name, char ret_path[256])
{
    snprintf(ret_path, 256, "%s/%s", daemon_dir, name);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    FILE *out;

    daemon_path(name, path);
    out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
}

void daemon_directory_make(const char *name)
{
    char path[256];

    daemon_path(name, path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

void daemon_faults_set(const char *words)
{
    write_file("faults", words);
}

unsigned daemon_entries(const char *name)
{
    char path[256];
    unsigned count = 0;
    DIR *entries;

    daemon_path(name, path);
    entries = opendir(path);
    for (struct dirent *e; entries && (e = readdir(entries));)
        count += e->d_name[0] != '.';
    if (entries)
        closedir(entries);
    return count;
}

static bool is_keeper(const char *pid)
{
    char path[300], name[32] = "";

    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, name, sizeof name - 1) : -1;

    close_fd(&fd);
    return n > 0 && strcmp(name, "poold-keeper\n") == 0;
}

unsigned daemon_vm_processes(void)
{
    char path[300], text[512];
    unsigned count = 0;
    DIR *proc = opendir("/proc");

    for (struct dirent *e; (e = readdir(proc));) {
        snprintf(path, sizeof path, "/proc/%s/environ", e->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

        close_fd(&fd);
        if (n <= 0)
            continue;
        count += memmem(text, (size_t)n, daemon_dir, strlen(daemon_dir)) != NULL &&
                 atoi(e->d_name) != daemon_pid && !is_keeper(e->d_name);
    }
    closedir(proc);
    return count;
}

void daemon_vm_processes_await(unsigned least, unsigned most)
{
    unsigned found = daemon_vm_processes();

    for (unsigned i = 0; i < CLIENT_LOOKS && (found < least || found > most); i++) {
        usleep(CLIENT_LOOK_US);
        found = daemon_vm_processes();
    }
    ck_assert_msg(found >= least && found <= most, "there are %u VMs' processes", found);
}

void daemon_launch(const char *options)
{
    char run[256], state[256], kernel[256], log[256], faults[300], words[1024], *rest = words;
    const char *argv[32] = { daemon_program, "--run-dir",          run,       "--state-dir",
                             state,          "--volt-vmm",         fake_path, "--kernel",
                             kernel,         "--setup-timeout-ms", "60000",   "--awake-timeout-ms",
                             "60000",        "--ready-timeout-ms", "60000",   "--surplus-ms",
                             "200",          "--keep-ms",          "0" };
    unsigned argc = 0;

    while (argv[argc])
        argc++;
    snprintf(words, sizeof words, "%s", options);
    while (argc + 1 < ARRAY_LEN(argv) && (argv[argc] = strsep(&rest, " ")))
        argc++;
    daemon_path("run", run);
    daemon_path("state", state);
    daemon_path("kernel", kernel);
    daemon_path("log", log);
    snprintf(faults, sizeof faults, "VOLT_FAKE_FAULTS=%s/faults", daemon_dir);
    daemon_pid = fork();
    if (daemon_pid == 0) {
        char config[] = "VOLT_CONFIG=/dev/null"; /* not that of this host */
        char *const environment[] = { faults, config, NULL };
        const struct rlimit fds_max = { daemon_fds_max, daemon_fds_max };
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        if (daemon_fds_max && setrlimit(RLIMIT_NOFILE, &fds_max) < 0)
            _exit(126);
        execve(daemon_program, (char *const *)(uintptr_t)argv, environment);
        _exit(127);
    }
}

void daemon_start(const char *options)
{
    daemon_launch(options);
    daemon_path("run/poold.sock", client_socket);
    client_wait_for_socket();
}

void daemon_template_kill(void)
{
    char command[400];

    /* Its parked VMs are forked from it and have the same command line: only its own pid is hit,
     * which comes after the keeper's. */
    snprintf(command, sizeof command, "kill -9 $(cat /proc/%d/task/%d/children | cut -d' ' -f2)",
             (int)daemon_pid, (int)daemon_pid);
    ck_assert_int_eq(system(command), 0);
}

void daemon_open_to_all(void)
{
    ck_assert_int_eq(chmod(daemon_dir, 0711), 0);
    ck_assert_int_eq(chmod(client_socket, 0666), 0);
}

unsigned daemon_log_count(const char *text)
{
    _cleanup_free_ char *log = malloc(LOG_BYTES_MAX);
    char path[256];
    unsigned found = 0;

    daemon_path("log", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, log, LOG_BYTES_MAX - 1);
    close(fd);
    log[n > 0 ? n : 0] = '\0';
    for (const char *at = log; (at = strstr(at, text)); at++)
        found++;
    return found;
}

void daemon_await_log(const char *text, unsigned count)
{
    unsigned found = daemon_log_count(text);

    for (unsigned i = 0; i < CLIENT_LOOKS && found < count; i++) {
        usleep(CLIENT_LOOK_US);
        found = daemon_log_count(text);
    }
    ck_assert_msg(found >= count, "'%s' is %u times in the log", text, found);
}

/* What it said, for whoever looks for the reason: also what a sanitizer has found. */
static void log_show(void)
{
    _cleanup_free_ char *log = malloc(LOG_BYTES_MAX);
    char path[256];
    _cleanup_close_ int fd = -1;
    ssize_t n;

    daemon_path("log", path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = log && fd >= 0 ? read(fd, log, LOG_BYTES_MAX) : 0;
    fprintf(stderr, "%.*s", (int)MAX_OF(n, 0), log);
}

void daemon_wait_exit(int expected_status)
{
    int status = -1;

    for (unsigned i = 0; i < CLIENT_LOOKS && waitpid(daemon_pid, &status, WNOHANG) == 0; i++)
        usleep(CLIENT_LOOK_US);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected_status)
        log_show();
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == expected_status, "status 0x%x",
                  status);
    daemon_pid = 0;
}

void daemon_restart(const char *options)
{
    kill(daemon_pid, SIGTERM);
    daemon_wait_exit(0);
    daemon_start(options);
}

void daemon_pool_create(const char *body)
{
    client_expect(201, "POST", "/v1/pools", body);
    client_await("/v1/pools/default", "state", "ready");
}

json_int_t daemon_pool_count(const char *object, const char *key)
{
    json_t *pool = client_json("GET", "/v1/pools/default", NULL);
    json_int_t count =
        json_integer_value(json_object_get(object ? json_object_get(pool, object) : pool, key));

    json_decref(pool);
    return count;
}

json_int_t daemon_slots(const char *state)
{
    return daemon_pool_count("slots", state);
}

void daemon_pool_await(const char *object, const char *key, json_int_t least, json_int_t most)
{
    json_int_t found = daemon_pool_count(object, key);

    for (unsigned i = 0; i < CLIENT_LOOKS && (found < least || found > most); i++) {
        usleep(CLIENT_LOOK_US);
        found = daemon_pool_count(object, key);
    }
    ck_assert_msg(found >= least && found <= most, "%s is %" JSON_INTEGER_FORMAT, key, found);
}

void daemon_slots_await(const char *state, json_int_t count)
{
    daemon_pool_await("slots", state, count, count);
}

static void setup(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(daemon_dir, sizeof daemon_dir, "%s/poold-test-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(daemon_dir));
    write_file("kernel", "a kernel");
    daemon_faults_set("");
    daemon_start("--log-level debug");
}

static void teardown(void)
{
    char command[256];

    if (daemon_pid > 0) {
        kill(daemon_pid, SIGTERM);
        daemon_wait_exit(0);
    }
    daemon_vm_processes_await(0, 0);
    ck_assert_uint_eq(daemon_entries("run/vms"), 0);
    ck_assert_int_ne(access(client_socket, F_OK), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", daemon_dir);
    ck_assert_int_eq(system(command), 0);
}

TCase *daemon_case(Suite *suite, int argc, char **argv)
{
    TCase *tcase = tap_case(suite, "poold");

    if (argc != 3) {
        fprintf(stderr, "usage: %s POOLD FAKE_VMM\n", argv[0]);
        exit(2);
    }
    daemon_program = argv[1];
    fake_path = argv[2];
    tcase_add_checked_fixture(tcase, setup, teardown);
    return tcase;
}

/* ---- Leases ---- */

void daemon_acquire(const char *body, char ret_path[64])
{
    json_t *lease = client_json("POST", "/v1/leases", body);

    snprintf(ret_path, 64, "/v1/leases/%s", json_string_value(json_object_get(lease, "lease")));
    json_decref(lease);
}

json_t *daemon_lease_end(const char *method, const char *path, const char *body)
{
    struct client_reply reply;

    client_call(method, path, body, &reply);
    ck_assert_msg(reply.status == 410, "%s %s: %u %s", method, path, reply.status, reply.body);
    json_t *whole = json_loads(reply.body, 0, NULL);
    json_t *error = json_incref(json_object_get(whole, "error"));
    json_decref(whole);
    ck_assert_str_eq(json_string_value(json_object_get(error, "code")), "lease_ended");
    return error;
}

void daemon_expect_end(const char *path, const char *reason)
{
    json_t *error = daemon_lease_end("GET", path, NULL);

    ck_assert_str_eq(json_string_value(json_object_get(error, "reason")), reason);
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(error, "message")), reason));
    ck_assert_uint_eq(strlen(json_string_value(json_object_get(error, "ended"))), 24);
    ck_assert_str_eq(json_string_value(json_object_get(error, "lease")), path + 11);
    json_decref(error);
}
