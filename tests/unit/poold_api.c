/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: poold does over its socket what docs/api.md says, and leaves nothing behind, whatever
 * clients and VMs do. Method: the real poold with fake_vmm in place of volt-vmm, a directory of its
 * own for each test, and a small HTTP client. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "tap_main.h"

static const char *poold_path, *fake_path;
static char dir[128];
static pid_t poold_pid;

static void path_in_dir(const char *name, char ret_path[256])
{
    snprintf(ret_path, 256, "%s/%s", dir, name);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    FILE *out;

    path_in_dir(name, path);
    out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
}

static void directory_make(const char *name)
{
    char path[256];

    path_in_dir(name, path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

/* What VMs started from now on do wrong; see fake_vmm.c. */
static void set_faults(const char *words)
{
    write_file("faults", words);
}

static unsigned entries_in(const char *name)
{
    char path[256];
    unsigned count = 0;
    DIR *entries;

    path_in_dir(name, path);
    entries = opendir(path);
    for (struct dirent *e; entries && (e = readdir(entries));)
        count += e->d_name[0] != '.';
    if (entries)
        closedir(entries);
    return count;
}

/* Processes whose command line has this test's directory or that were forked by such. */
static unsigned fake_processes(void)
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
        count += memmem(text, (size_t)n, dir, strlen(dir)) != NULL && atoi(e->d_name) != poold_pid;
    }
    closedir(proc);
    return count;
}

static void poold_start(const char *extra_option, const char *extra_value)
{
    char run[256], state[256], kernel[256], log[256], faults[300];

    path_in_dir("run", run);
    path_in_dir("state", state);
    path_in_dir("kernel", kernel);
    path_in_dir("log", log);
    snprintf(faults, sizeof faults, "FAKE_VMM_FAULTS=%s/faults", dir);
    poold_pid = fork();
    if (poold_pid == 0) {
        char *const environment[] = { faults, NULL };
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execle(poold_path, poold_path, "--run-dir", run, "--state-dir", state, "--volt-vmm",
               fake_path, "--kernel", kernel, "--awake-timeout-ms", "300", "--setup-timeout-ms",
               "500", "--ready-timeout-ms", "1000", "--surplus-ms", "200", extra_option,
               extra_value, NULL, environment);
        _exit(127);
    }
    path_in_dir("run/poold.sock", client_socket);
    client_wait_for_socket();
}

static void poold_wait_exit(int expected_status)
{
    int status = -1;

    for (unsigned i = 0; i < 500 && waitpid(poold_pid, &status, WNOHANG) == 0; i++)
        usleep(10000);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == expected_status, "status 0x%x",
                  status);
    poold_pid = 0;
}

static void pool_create(const char *body)
{
    client_expect(201, "POST", "/v1/pools", body);
    client_await("/v1/pools/default", "state", "ready");
}

/* The number of slots of the default pool in a state. */
static json_int_t slots(const char *state)
{
    json_t *pool = client_json("GET", "/v1/pools/default", NULL);
    json_int_t count = json_integer_value(json_object_get(json_object_get(pool, "slots"), state));

    json_decref(pool);
    return count;
}

static void await_slots(const char *state, json_int_t count)
{
    for (unsigned i = 0; i < 500 && slots(state) != count; i++)
        usleep(10000);
    ck_assert_int_eq(slots(state), count);
}

static void setup(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(dir, sizeof dir, "%s/poold-test-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    write_file("kernel", "a kernel");
    set_faults("");
    poold_start("--log-level", "debug");
}

static void teardown(void)
{
    char command[256];

    if (poold_pid > 0) {
        kill(poold_pid, SIGTERM);
        poold_wait_exit(0);
    }
    for (unsigned i = 0; i < 200 && fake_processes() > 0; i++)
        usleep(10000);
    ck_assert_uint_eq(fake_processes(), 0);
    ck_assert_uint_eq(entries_in("run/vms"), 0);
    ck_assert_int_ne(access(client_socket, F_OK), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(acquire_and_release)
{
    char lease[32], path[64];

    pool_create("{\"name\":\"default\",\"memory\":\"64M\",\"min\":2}");
    await_slots("parked", 2);
    for (unsigned i = 0; i < 100; i++) {
        json_t *object = client_json("POST", "/v1/leases", "{}");
        json_t *timings = json_object_get(object, "timings_us");
        const char *names[] = { "queue", "load", "awake", "ready" };
        json_int_t sum = 0;

        for (unsigned n = 0; n < ARRAY_LEN(names); n++)
            sum += json_integer_value(json_object_get(timings, names[n]));
        ck_assert_int_eq(sum, json_integer_value(json_object_get(timings, "total")));
        snprintf(lease, sizeof lease, "%s", json_string_value(json_object_get(object, "lease")));
        ck_assert_uint_eq(strlen(lease), 16);
        ck_assert_ptr_nonnull(json_string_value(json_object_get(object, "tier")));
        json_decref(object);
        lease[8] = '\0'; /* a unique prefix will do */
        snprintf(path, sizeof path, "/v1/leases/%s", lease);
        client_expect(204, "DELETE", path, NULL);
        client_expect(404, "GET", path, NULL);
    }
    await_slots("stopping", 0);
    await_slots("parked", 2);
    ck_assert_int_eq(slots("leased"), 0);
}
END_TEST

static const struct {
    unsigned status;
    const char *method, *path, *body, *code;
} bad_requests[] = {
    { 400, "POST", "/v1/pools", "{", "bad_json" },
    { 400, "POST", "/v1/pools", "[]", "bad_request" },
    { 400, "POST", "/v1/pools", "{}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"../x\"}", "bad_name" },
    { 400, "POST", "/v1/pools", "{\"name\":\"-x\"}", "bad_name" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"12X\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"1M\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"33M\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"memory\":\"999999999999T\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"vcpus\":0}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"vcpus\":\"1\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"min\":-1}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"min\":5,\"max\":4}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"kernel\":\"relative\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"kernel\":\"/no/such\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"kernel\":\"/dev/null\"}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"surprise\":1}", "bad_request" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"name\":\"b\"}", "bad_json" },
    { 400, "POST", "/v1/pools", "{\"name\":\"a\",\"cmdline\":\"x\\ny\"}", "bad_request" },
    { 404, "POST", "/v1/leases", "{\"pool\":\"nope\"}", "no_such_pool" },
    { 400, "POST", "/v1/leases", "{\"wait_ms\":\"1\"}", "bad_request" },
    { 400, "POST", "/v1/leases", "{\"ttl_ms\":-1}", "bad_request" },
    { 400, "POST", "/v1/leases", "\xff\xfe", "bad_json" },
    { 404, "GET", "/v1/leases/0123456789abcdef", NULL, "no_such_lease" },
    { 400, "GET", "/v1/leases/abc", NULL, "bad_request" },
    { 404, "GET", "/v1/pools/nope", NULL, "no_such_pool" },
    { 404, "GET", "/v1/snapshots/nope", NULL, "no_such_snapshot" },
    { 400, "GET", "/v1/snapshots/..", NULL, "bad_name" },
    { 404, "GET", "/v2/pools", NULL, "not_found" },
    { 404, "GET", "/", NULL, "not_found" },
    { 404, "GET", "//v1//pools//x//y", NULL, "not_found" },
    { 405, "PUT", "/v1/pools", "{}", "method_not_allowed" },
    { 405, "DELETE", "/v1/status", NULL, "method_not_allowed" },
};

START_TEST(bad_requests_get_a_code_and_a_sentence)
{
    for (unsigned i = 0; i < ARRAY_LEN(bad_requests); i++) {
        struct client_reply reply;

        client_call(bad_requests[i].method, bad_requests[i].path, bad_requests[i].body, &reply);
        ck_assert_msg(reply.status == bad_requests[i].status, "%s %s %s: %u %s",
                      bad_requests[i].method, bad_requests[i].path, bad_requests[i].body,
                      reply.status, reply.body);
        json_t *object = json_loads(reply.body, 0, NULL);
        json_t *error = json_object_get(object, "error");
        ck_assert_str_eq(json_string_value(json_object_get(error, "code")), bad_requests[i].code);
        ck_assert_uint_gt(json_string_length(json_object_get(error, "message")), 10);
        json_decref(object);
    }
    client_expect(200, "GET", "/v1/pools", NULL);
}
END_TEST

START_TEST(bodies_have_a_limit)
{
    char *body = malloc(70000);
    struct client_reply reply;

    memset(body, ' ', 69999);
    body[69999] = '\0';
    client_call("POST", "/v1/leases", body, &reply);
    ck_assert_uint_eq(reply.status, 413);
    free(body);
}
END_TEST

START_TEST(heads_have_a_limit)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char head[20000], reply[64] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd polled = { .fd = fd, .events = POLLIN };

    memset(head, 'a', sizeof head);
    memcpy(head, "GET /v1/status HTTP/1.1\r\nX: ", 28);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", client_socket);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(send(fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    ck_assert_msg(poll(&polled, 1, 5000) == 1, "it is not told");
    ck_assert_int_gt(recv(fd, reply, sizeof reply - 1, 0), 12);
    ck_assert_msg(strncmp(reply, "HTTP/1.1 431 ", 13) == 0, "%s", reply);
    close(fd);
}
END_TEST

START_TEST(leases_expire_and_renew)
{
    char path[64];
    json_t *object;

    pool_create("{\"name\":\"default\",\"min\":1}");
    object = client_json("POST", "/v1/leases", "{\"ttl_ms\":400}");
    snprintf(path, sizeof path, "/v1/leases/%s/renew",
             json_string_value(json_object_get(object, "lease")));
    json_decref(object);
    usleep(250000);
    client_expect(200, "POST", path, "{\"ttl_ms\":500}");
    usleep(300000);
    ck_assert_int_eq(slots("leased"), 1);
    await_slots("leased", 0);
}
END_TEST

START_TEST(a_full_pool_queues_and_serves_in_order)
{
    struct client_reply reply;
    int first, second;

    pool_create("{\"name\":\"default\",\"min\":0,\"max\":1}");
    client_expect(201, "POST", "/v1/leases", NULL);
    client_expect(503, "POST", "/v1/leases", NULL);
    first = client_send("POST", "/v1/leases", "{\"wait_ms\":10000}");
    usleep(50000);
    second = client_send("POST", "/v1/leases", "{\"wait_ms\":10000}");
    usleep(50000);
    ck_assert(!client_readable(first) && !client_readable(second));
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_receive(first, &reply);
    ck_assert_uint_eq(reply.status, 201);
    usleep(100000);
    ck_assert(!client_readable(second));
    client_expect(200, "DELETE", "/v1/leases", NULL);
    client_receive(second, &reply);
    ck_assert_uint_eq(reply.status, 201);
    close(first);
    close(second);
}
END_TEST

START_TEST(clients_that_hang_up_lose_place_and_bound_lease)
{
    struct client_reply reply;
    int bound, waiting;

    pool_create("{\"name\":\"default\",\"min\":0,\"max\":1}");
    bound = client_send("POST", "/v1/leases", "{\"bind\":true}");
    client_receive(bound, &reply);
    ck_assert_uint_eq(reply.status, 201);
    waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    usleep(100000);
    close(waiting);
    usleep(100000);
    ck_assert_int_eq(slots("leased"), 1);
    json_t *pool = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(pool, "waiting")), 0);
    json_decref(pool);
    close(bound);
    await_slots("leased", 0);
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

START_TEST(shells_are_a_tier)
{
    json_t *object;

    pool_create("{\"name\":\"default\",\"min\":0,\"shells\":1}");
    await_slots("shell", 1);
    object = client_json("POST", "/v1/leases", NULL);
    ck_assert_str_eq(json_string_value(json_object_get(object, "tier")), "shell");
    json_decref(object);
    await_slots("shell", 1);
}
END_TEST

START_TEST(a_burst_is_served_and_the_pool_shrinks_again)
{
    int fds[40];
    struct client_reply reply;

    pool_create("{\"name\":\"default\",\"min\":2,\"max\":64}");
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = client_send("POST", "/v1/leases", NULL);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        client_receive(fds[i], &reply);
        ck_assert_msg(reply.status == 201, "%u: %s", reply.status, reply.body);
        close(fds[i]);
    }
    ck_assert_int_eq(slots("leased"), 40);
    client_expect(200, "DELETE", "/v1/leases", NULL);
    await_slots("leased", 0);
    await_slots("stopping", 0);
    await_slots("parked", 2);
}
END_TEST

static const struct {
    const char *fault, *reason;
    unsigned status;
} vm_faults[] = {
    { "clone_crash", "crashed", 500 },    { "awake_crash", "crashed", 500 },
    { "no_awake", "awake_timeout", 500 }, { "no_ready", "ready_timeout", 500 },
    { "bad_ready", "not_unique", 500 },   { "slow_ready", NULL, 201 },
};

START_TEST(vms_that_misbehave_are_discarded_and_counted)
{
    struct client_reply reply;

    pool_create("{\"name\":\"default\",\"min\":0}");
    set_faults(vm_faults[_i].fault);
    client_call("POST", "/v1/leases", NULL, &reply);
    ck_assert_msg(reply.status == vm_faults[_i].status, "%u: %s", reply.status, reply.body);
    if (vm_faults[_i].reason) {
        json_t *pool = client_json("GET", "/v1/pools/default", NULL);
        json_t *failures = json_object_get(pool, "failures");

        ck_assert_int_ge(json_integer_value(json_object_get(failures, vm_faults[_i].reason)), 3);
        json_decref(pool);
    }
    set_faults("");
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

START_TEST(failing_refills_back_off_and_recover)
{
    json_t *pool;

    pool_create("{\"name\":\"default\",\"min\":1}");
    await_slots("parked", 1);
    set_faults("clone_crash");
    client_expect(201, "POST", "/v1/leases", NULL);
    usleep(1000000);
    pool = client_json("GET", "/v1/pools/default", NULL);
    json_int_t crashes =
        json_integer_value(json_object_get(json_object_get(pool, "failures"), "crashed"));
    ck_assert_int_ge(crashes, 2);
    ck_assert_int_le(crashes, 12);
    ck_assert_int_gt(json_integer_value(json_object_get(pool, "backoff_ms")), 0);
    json_decref(pool);
    set_faults("");
    await_slots("parked", 1);
}
END_TEST

static const struct {
    const char *fault, *says;
} boot_faults[] = {
    { "boot_crash", "status 3" },
    { "snapshot_error", "no space, says fake" },
    { "template_crash", "status 4" },
};

START_TEST(hung_template_is_started_again)
{
    kill(poold_pid, SIGTERM);
    poold_wait_exit(0);
    poold_start("--boot-timeout-ms", "1000");
    set_faults("template_hang");
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\",\"min\":1}");
    client_await("/v1/pools/default", "state", "loading");
    usleep(300000); /* it is started by now */
    set_faults("");
    client_await("/v1/pools/default", "state", "ready");
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
}
END_TEST

START_TEST(boots_that_fail_say_why)
{
    json_t *pool;

    set_faults(boot_faults[_i].fault);
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\"}");
    client_await("/v1/pools/default", "state", "failed");
    pool = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(pool, "error")), boot_faults[_i].says));
    json_decref(pool);
    client_expect(409, "POST", "/v1/leases", NULL);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    client_expect(404, "GET", "/v1/pools/default", NULL);
}
END_TEST

START_TEST(warmups_run_before_the_snapshot)
{
    json_t *pool;

    pool_create("{\"name\":\"default\",\"warmup\":\"cat /bin/*\"}");
    await_slots("parked", 2);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    client_expect(201, "POST", "/v1/pools", "{\"name\":\"default\",\"warmup\":\"exit 7\"}");
    client_await("/v1/pools/default", "state", "failed");
    pool = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(pool, "error")), "ended with exit code 7"));
    json_decref(pool);
}
END_TEST

/* Waits until the log has `text` count times. */
static void await_log(const char *text, unsigned count)
{
    char path[256], log[65536];
    unsigned found = 0;

    path_in_dir("log", path);
    for (unsigned i = 0; i < 500 && found < count; i++) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, log, sizeof log - 1);

        log[n > 0 ? n : 0] = '\0';
        found = 0;
        for (const char *at = log; (at = strstr(at, text)); at++)
            found++;
        usleep(10000);
    }
    ck_assert_msg(found >= count, "'%s' is %u times in the log", text, found);
}

START_TEST(a_trial_records_the_working_set)
{
    json_t *object;

    pool_create("{\"name\":\"default\",\"min\":1,\"max\":1,\"warmup\":\"true\"}");
    await_log("fake_vmm: a working set came", 1);
    await_slots("parked", 1);
    object = client_json("GET", "/v1/snapshots/default", NULL);
    ck_assert_int_ge(json_integer_value(json_object_get(object, "working_set_bytes")), 8192);
    json_decref(object);
    object = client_json("GET", "/v1/pools/default", NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(object, "restores")), 1);
    json_decref(object);
    for (unsigned i = 0; i < 200 && slots("stopping") > 0; i++)
        usleep(10000);
    ck_assert_int_eq(slots("preparing") + slots("stopping"), 0);
    /* It is recorded once. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    poold_wait_exit(0);
    poold_start("--log-level", "info");
    client_await("/v1/pools/default", "state", "ready");
    await_slots("parked", 1);
    usleep(100000);
    ck_assert_int_eq(slots("preparing") + slots("stopping"), 0);
}
END_TEST

START_TEST(a_trial_that_fails_harms_nobody)
{
    pool_create("{\"name\":\"default\",\"min\":0,\"max\":2}");
    await_log("working set is recorded", 1);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    set_faults("no_ready");
    pool_create("{\"name\":\"default\",\"min\":0,\"max\":2}");
    usleep(50000);
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    ck_assert_uint_eq(entries_in("state/snapshots"), 0);
    ck_assert_uint_eq(fake_processes(), 0);
}
END_TEST

START_TEST(a_template_that_dies_is_started_again)
{
    char command[400];

    pool_create("{\"name\":\"default\",\"min\":1}");
    await_slots("parked", 1);
    /* Its parked VMs are forked from it and have the same command line: only its own pid is hit. */
    snprintf(command, sizeof command, "kill -9 $(cat /proc/%d/task/%d/children | cut -d' ' -f1)",
             (int)poold_pid, (int)poold_pid);
    ck_assert_int_eq(system(command), 0);
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":5000}");
    client_expect(201, "POST", "/v1/leases", "{\"wait_ms\":5000}");
    client_await("/v1/pools/default", "state", "ready");
}
END_TEST

START_TEST(streams_go_to_the_vm)
{
    char path[96], text[64] = "";
    struct client_reply reply;
    json_t *object;
    ssize_t n;
    int fd;

    pool_create("{\"name\":\"default\",\"min\":1}");
    object = client_json("POST", "/v1/leases", NULL);
    const char *lease = json_string_value(json_object_get(object, "lease"));
    snprintf(path, sizeof path, "/v1/leases/%s/vsock?port=1024", lease);
    client_expect(426, "POST", path, NULL);
    fd = client_upgrade(path, "volt-vsock");
    n = recv(fd, text, 8, MSG_WAITALL);
    ck_assert_int_eq(n, 8);
    ck_assert_str_eq(text, "OK 1024\n");
    ck_assert_int_eq(write(fd, "echo", 4), 4);
    ck_assert_int_eq(recv(fd, text, 4, MSG_WAITALL), 4);
    ck_assert_mem_eq(text, "echo", 4);
    close(fd);
    snprintf(path, sizeof path, "/v1/leases/%s/console", lease);
    client_call("GET", path, NULL, &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_str_eq(reply.body, "fake console\n");
    /* A stream that kills the VM: the lease ends, the stream too. */
    snprintf(path, sizeof path, "/v1/leases/%s/vsock?port=666", lease);
    fd = client_upgrade(path, "volt-vsock");
    ck_assert_int_eq(read(fd, text, 1), 0);
    close(fd);
    await_slots("leased", 0);
    json_decref(object);
}
END_TEST

START_TEST(a_restart_keeps_pools_and_clears_leftovers)
{
    pool_create("{\"name\":\"default\",\"min\":2}");
    await_slots("parked", 2);
    client_expect(201, "POST", "/v1/leases", "{\"ttl_ms\":0}");
    kill(poold_pid, SIGKILL);
    waitpid(poold_pid, NULL, 0);
    poold_pid = 0;
    for (unsigned i = 0; i < 200 && fake_processes() > 0; i++)
        usleep(10000);
    ck_assert_uint_eq(fake_processes(), 0);
    ck_assert_uint_gt(entries_in("run/vms"), 2);
    directory_make("state/snapshots/nobodys");
    directory_make("state/snapshots/.default.tmp.abcdef");
    poold_start("--log-level", "info");
    client_await("/v1/pools/default", "state", "ready");
    ck_assert_uint_eq(entries_in("state/snapshots"), 1);
    await_slots("parked", 2);
    ck_assert_int_eq(slots("leased"), 0);
    client_expect(201, "POST", "/v1/leases", NULL);
}
END_TEST

START_TEST(one_poold_a_directory)
{
    char command[600];

    snprintf(
        command, sizeof command,
        "'%s' --run-dir '%s/run' --state-dir '%s/state' 2>&1 | grep -q 'another poold (pid %d)'",
        poold_path, dir, dir, (int)poold_pid);
    ck_assert_int_eq(system(command), 0);
    client_expect(200, "GET", "/v1/status", NULL);
}
END_TEST

START_TEST(drain_scale_and_delete)
{
    pool_create("{\"name\":\"default\",\"min\":3}");
    await_slots("parked", 3);
    client_expect(200, "PATCH", "/v1/pools/default", "{\"min\":1}");
    await_slots("parked", 1);
    client_expect(409, "POST", "/v1/pools", "{\"name\":\"default\"}");
    client_expect(201, "POST", "/v1/leases", NULL);
    client_expect(409, "DELETE", "/v1/pools/default", NULL);
    client_expect(200, "POST", "/v1/pools/default/drain", NULL);
    client_expect(409, "POST", "/v1/leases", NULL);
    ck_assert_int_eq(slots("leased"), 1);
    /* It stays so over a restart. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    poold_wait_exit(0);
    poold_start("--log-level", "info");
    client_await("/v1/pools/default", "state", "draining");
    client_expect(409, "POST", "/v1/leases", NULL);
    client_expect(204, "DELETE", "/v1/pools/default?force=1", NULL);
    ck_assert_uint_eq(entries_in("state/pools"), 0);
    ck_assert_uint_eq(entries_in("state/snapshots"), 0);
}
END_TEST

/* What the store refuses to remove: a directory where files should be. */
START_TEST(a_deletion_that_fails_is_told_and_repeated)
{
    struct client_reply reply;

    pool_create("{\"name\":\"default\",\"min\":1}");
    await_slots("parked", 1);
    directory_make("state/snapshots/default/strange");
    client_call("DELETE", "/v1/pools/default", NULL, &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert_ptr_nonnull(strstr(reply.body, "delete it again"));
    ck_assert_uint_eq(entries_in("state/pools"), 1);
    client_await("/v1/pools/default", "state", "draining");
    client_expect(204, "DELETE", "/v1/pools/default", NULL);
    ck_assert_uint_eq(entries_in("state/pools"), 0);
    client_expect(404, "GET", "/v1/pools/default", NULL);
    /* A leftover keeps no poold from starting. */
    client_expect(202, "POST", "/v1/shutdown", NULL);
    poold_wait_exit(0);
    poold_start("--log-level", "info");
    pool_create("{\"name\":\"default\",\"min\":1}");
}
END_TEST

START_TEST(shutdown_ends_everything)
{
    int waiting;
    struct client_reply reply;

    pool_create("{\"name\":\"default\",\"min\":2,\"max\":2}");
    client_expect(201, "POST", "/v1/leases", NULL);
    client_expect(201, "POST", "/v1/leases", NULL);
    waiting = client_send("POST", "/v1/leases", "{\"wait_ms\":60000}");
    usleep(50000);
    client_expect(202, "POST", "/v1/shutdown", NULL);
    client_receive(waiting, &reply);
    ck_assert_uint_eq(reply.status, 503);
    close(waiting);
    poold_wait_exit(0);
}
END_TEST

START_TEST(snapshots_are_listed_and_checked)
{
    json_t *object;

    pool_create("{\"name\":\"default\",\"memory\":\"64M\"}");
    object = client_json("GET", "/v1/snapshots", NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(object, "snapshots")), 1);
    json_decref(object);
    object = client_json("GET", "/v1/snapshots/default", NULL);
    ck_assert(json_is_array(json_object_get(object, "sections")));
    json_t *devices = json_object_get(json_object_get(object, "manifest"), "devices");
    ck_assert_str_eq(json_string_value(json_array_get(devices, 0)), "fake");
    json_decref(object);
    object = client_json("POST", "/v1/snapshots/default/verify", NULL);
    ck_assert(json_is_true(json_object_get(object, "ok")));
    json_decref(object);
    char path[256];
    path_in_dir("state/snapshots/default/memory.img", path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "!", 1, 5), 1);
    close(fd);
    object = client_json("POST", "/v1/snapshots/default/verify", NULL);
    ck_assert(json_is_false(json_object_get(object, "ok")));
    json_t *error = json_object_get(object, "error");
    ck_assert_str_eq(json_string_value(json_object_get(error, "file")), "memory.img");
    json_decref(object);
}
END_TEST

START_TEST(metrics_are_prometheus_text)
{
    struct client_reply reply;

    pool_create("{\"name\":\"default\",\"min\":1}");
    await_slots("parked", 1);
    client_expect(201, "POST", "/v1/leases", NULL);
    client_call("GET", "/metrics", NULL, &reply);
    ck_assert_uint_eq(reply.status, 200);
    static const char *const lines[] = {
        "volt_pool_vms{pool=\"default\",state=\"leased\"} 1\n",
        "volt_acquires_total{tier=\"parked\",result=\"ok\"} 1\n",
        "# TYPE volt_acquire_seconds histogram\n",
        "volt_acquire_seconds_bucket{le=\"+Inf\"} 1\n",
        "volt_acquire_seconds_count 1\n",
        "volt_failures_total{pool=\"default\",reason=\"awake_timeout\"} 0\n",
    };
    for (unsigned i = 0; i < ARRAY_LEN(lines); i++)
        ck_assert_msg(strstr(reply.body, lines[i]) != NULL, "no line '%s' in\n%s", lines[i],
                      reply.body);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        acquire_and_release,
        bad_requests_get_a_code_and_a_sentence,
        bodies_have_a_limit,
        heads_have_a_limit,
        leases_expire_and_renew,
        a_full_pool_queues_and_serves_in_order,
        clients_that_hang_up_lose_place_and_bound_lease,
        shells_are_a_tier,
        a_burst_is_served_and_the_pool_shrinks_again,
        failing_refills_back_off_and_recover,
        warmups_run_before_the_snapshot,
        a_trial_records_the_working_set,
        a_trial_that_fails_harms_nobody,
        a_template_that_dies_is_started_again,
        streams_go_to_the_vm,
        a_restart_keeps_pools_and_clears_leftovers,
        one_poold_a_directory,
        drain_scale_and_delete,
        a_deletion_that_fails_is_told_and_repeated,
        shutdown_ends_everything,
        snapshots_are_listed_and_checked,
        metrics_are_prometheus_text,
    };
    Suite *suite = suite_create("poold-api");
    TCase *tcase = tcase_create("api");

    if (argc != 3) {
        fprintf(stderr, "usage: unit-poold-api POOLD FAKE_VMM\n");
        return 2;
    }
    poold_path = argv[1];
    fake_path = argv[2];
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, vms_that_misbehave_are_discarded_and_counted, 0,
                        (int)ARRAY_LEN(vm_faults));
    tcase_add_test(tcase, hung_template_is_started_again);
    tcase_add_loop_test(tcase, boots_that_fail_say_why, 0, (int)ARRAY_LEN(boot_faults));
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
