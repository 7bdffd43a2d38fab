/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: inside the sandbox there is nothing to reach, and the status says what is true.
 * Method: enter it in a forked process, as root and as an unprivileged user, with all layers and
 * with Landlock alone; try there what must fail, and look at the process from outside in /proc.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/util.h"
#include "control/control.h"
#include "sandbox/sandbox_internal.h"
#include "tap_main.h"

#define NOBODY 65534u
#define VM_UID 100007u

/* Shared with the sandboxed process, which has no other way to tell but its pipe. */
struct report {
    struct sandbox_status status;
    char error[ERR_MSG_BYTES];
    pid_t pid, ppid;
    pid_t worker_pid; /* which process the work meanwhile was done in */
    int open_errno, create_errno, root_errno, tcp_errno, abstract_errno, kill_errno;
    int socket_errno, outside_errno;
    unsigned root_entries;
    struct rlimit core, file;
    int dumpable;
};

struct jail {
    struct report *report;
    pid_t outer;       /* what was forked; waits for the sandboxed process */
    int done_fd;       /* readable when the report is written; end of file: it died */
    int release_fd;    /* close it and the sandboxed process ends */
    int abstract_fd;   /* listens on an abstract socket outside */
    char abstract[64]; /* its name */
    char dir[64];      /* the VM's socket directory; "" none */
};

struct jail_config {
    struct sandbox_config layers;
    bool as_nobody; /* drop to an unprivileged user first */
    bool as_vm;     /* sandbox_enter_vm too */
    bool work;      /* something is done meanwhile */
    uint32_t uid;   /* of the VM */
};

static int errno_of(int result)
{
    return result < 0 ? errno : 0;
}

static int abstract_connect(const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path + 1, name, strlen(name));
    return errno_of(
        connect(fd, (struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))));
}

static int unix_bind(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return errno_of(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int tcp_connect(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(9),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return errno_of(connect(fd, (struct sockaddr *)&address, sizeof(address)));
}

static unsigned entries_count(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    if (!dir)
        return 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

/* Tries from inside what must not work. */
static void attempts_make(struct report *report, const struct jail *jail, pid_t outsider)
{
    report->pid = getpid();
    report->ppid = getppid();
    report->open_errno = errno_of(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
    report->create_errno = errno_of(open("/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    report->root_errno = errno_of(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    report->outside_errno = errno_of(open("../../../etc/passwd", O_RDONLY | O_CLOEXEC));
    report->tcp_errno = tcp_connect();
    report->abstract_errno = abstract_connect(jail->abstract);
    report->kill_errno = errno_of(kill(outsider, 0));
    report->socket_errno = unix_bind("/vsock");
    report->dumpable = prctl(PR_GET_DUMPABLE);
    getrlimit(RLIMIT_CORE, &report->core);
    getrlimit(RLIMIT_FSIZE, &report->file);
}

static int work(void *context, struct err *err)
{
    struct report *report = context;

    (void)err;
    usleep(20000); /* the layers are all there by then */
    report->worker_pid = getpid();
    return 0;
}

static int jail_enter(const struct jail_config *config, const struct jail *jail, const int *keep,
                      unsigned keep_count, struct err *err)
{
    struct sandbox_vm vm = { .uid = config->uid, .gid = config->uid, .socket_dir_fd = -1 };
    const struct sandbox_meanwhile meanwhile = { work, jail->report };
    int r;

    if (config->as_nobody &&
        (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
         setresuid(NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0))
        return err_set_errno(err, errno, "becoming nobody");
    r = sandbox_enter(&config->layers, keep, keep_count, config->work ? &meanwhile : NULL,
                      &jail->report->status, err);
    if (r < 0 || !config->as_vm)
        return r;
    vm.socket_dir_fd = keep[2];
    r = sandbox_enter_vm(&config->layers, &vm, &jail->report->status, err);
    close(keep[2]);
    return r;
}

static void __attribute__((noreturn))
jail_main(const struct jail_config *config, const struct jail *jail, int done_fd, int release_fd)
{
    struct err err = { 0 };
    pid_t outsider = getppid();
    int dir_fd = jail->dir[0] ? open(jail->dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    const int keep[] = { done_fd, release_fd, dir_fd };
    char byte;

    if (jail_enter(config, jail, keep, dir_fd < 0 ? 2 : 3, &err) < 0)
        memcpy(jail->report->error, err.msg, sizeof(err.msg));
    else
        attempts_make(jail->report, jail, outsider);
    if (write(done_fd, "x", 1) == 1)
        (void)!read(release_fd, &byte, 1);
    _exit(0);
}

static void abstract_listen(struct jail *jail)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int length = snprintf(jail->abstract, sizeof(jail->abstract), "volt-test-%d", getpid());

    memcpy(address.sun_path + 1, jail->abstract, (size_t)length);
    jail->abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(jail->abstract_fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)),
                     0);
    ck_assert_int_eq(listen(jail->abstract_fd, 4), 0);
    ck_assert_int_eq(abstract_connect(jail->abstract), 0); /* so a failure inside means something */
}

static void jail_start(struct jail *jail, const struct jail_config *config)
{
    int done[2], release[2];
    char byte;

    memset(jail, 0, sizeof(*jail));
    jail->report = mmap(NULL, sizeof(*jail->report), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(jail->report, MAP_FAILED);
    abstract_listen(jail);
    if (config->as_vm) {
        uid_t owner = config->as_nobody ? NOBODY : config->uid;

        strcpy(jail->dir, "/tmp/volt-jail-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(jail->dir));
        if (geteuid() == 0)
            ck_assert_int_eq(chown(jail->dir, owner, owner), 0);
    }
    ck_assert_int_eq(pipe2(done, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(release, O_CLOEXEC), 0);
    jail->outer = fork();
    ck_assert_int_ge(jail->outer, 0);
    if (jail->outer == 0)
        jail_main(config, jail, done[1], release[0]);
    close(done[1]);
    close(release[0]);
    jail->done_fd = done[0];
    jail->release_fd = release[1];
    ck_assert_int_eq(read(jail->done_fd, &byte, 1), 1);
    ck_assert_str_eq(jail->report->error, "");
}

static void jail_end(struct jail *jail)
{
    int status;

    close(jail->release_fd);
    ck_assert_int_eq(waitpid(jail->outer, &status, 0), jail->outer);
    ck_assert_int_eq(status, 0);
    close(jail->done_fd);
    close(jail->abstract_fd);
    if (jail->dir[0]) {
        char path[80];

        snprintf(path, sizeof(path), "%s/vsock", jail->dir);
        ck_assert_int_eq(unlink(path) == 0, jail->report->socket_errno == 0);
        ck_assert_int_eq(rmdir(jail->dir), 0);
    }
    munmap(jail->report, sizeof(*jail->report));
}

/* The sandboxed process as seen from outside: the outer one's only child, or the outer itself. */
static pid_t jail_inner_pid(const struct jail *jail)
{
    char path[64];
    FILE *children;
    int pid = jail->outer;

    if (!(jail->report->status.layers & CONTROL_LAYER_NAMESPACES))
        return pid;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", jail->outer, jail->outer);
    children = fopen(path, "re");
    ck_assert_ptr_nonnull(children);
    ck_assert_int_eq(fscanf(children, "%d", &pid), 1);
    fclose(children);
    return pid;
}

/* Copies the value of a line of /proc/PID/status, without leading blanks. */
static void status_line(pid_t pid, const char *key, char *value, size_t value_bytes)
{
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    value[0] = '\0';
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':') {
            line[strcspn(line, "\n")] = '\0';
            snprintf(value, value_bytes, "%s",
                     line + strlen(key) + 1 + strspn(line + strlen(key) + 1, " \t"));
        }
    }
    fclose(file);
}

static void status_expect(pid_t pid, const char *key, const char *expected)
{
    char value[128];

    status_line(pid, key, value, sizeof(value));
    ck_assert_msg(strcmp(value, expected) == 0, "%s is \"%s\", not \"%s\"", key, value, expected);
}

static void capabilities_expect_none(pid_t pid)
{
    static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };

    for (unsigned i = 0; i < ARRAY_LEN(sets); i++)
        status_expect(pid, sets[i], "0000000000000000");
    status_expect(pid, "NoNewPrivs", "1");
}

/* What waits outside of the namespace keeps nothing. */
static void outside_expect_stripped(pid_t pid)
{
    char path[64], filter[8] = "";

    /* It is stripped beside what it waits for. */
    for (unsigned i = 0; i < 10000 && strcmp(filter, "2") != 0; i++) {
        usleep(1000);
        status_line(pid, "Seccomp", filter, sizeof(filter));
    }
    ck_assert_str_eq(filter, "2");
    capabilities_expect_none(pid);
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    ck_assert_uint_eq(entries_count(path), 0);
}

static void namespaces_expect_own(pid_t pid)
{
    static const char *const kinds[] = { "mnt", "pid", "net", "ipc", "uts", "cgroup" };

    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        char path[64], own[64] = "", inner[64] = "";

        snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
        ck_assert_int_gt(readlink(path, own, sizeof(own) - 1), 0);
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i]);
        ck_assert_int_gt(readlink(path, inner, sizeof(inner) - 1), 0);
        ck_assert_msg(strcmp(own, inner) != 0, "the %s namespace is not its own", kinds[i]);
    }
}

static void root_expect_empty(pid_t pid)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/root", pid);
    ck_assert_uint_eq(entries_count(path), 0);
    snprintf(path, sizeof(path), "/proc/%d/root/new", pid);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_lt(fd, 0);
    ck_assert_int_eq(errno, EROFS); /* not even root outside may */
    snprintf(path, sizeof(path), "/proc/%d/mounts", pid);
    FILE *mounts = fopen(path, "re");
    char line[256];

    ck_assert_ptr_nonnull(mounts);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), mounts));
    ck_assert_ptr_null(fgets(line, sizeof(line), mounts)); /* one mount in all */
    fclose(mounts);
}

static void reach_expect_none(const struct report *report)
{
    ck_assert_int_ne(report->open_errno, 0);
    ck_assert_int_ne(report->create_errno, 0);
    ck_assert_int_ne(report->outside_errno, 0);
    ck_assert_int_ne(report->tcp_errno, 0);
    ck_assert_int_ne(report->abstract_errno, 0);
    ck_assert_int_ne(report->kill_errno, 0);
    ck_assert_int_eq(report->dumpable, 0);
    ck_assert_uint_eq(report->core.rlim_max, 0);
}

static void landlock_expect(const struct report *report)
{
    uint32_t abi = report->status.landlock_abi;

    if (abi == 0) {
        ck_assert_uint_eq(report->status.layers & CONTROL_LAYER_LANDLOCK, 0);
        ck_assert_ptr_nonnull(strstr(report->status.lacking, "Landlock"));
        return;
    }
    ck_assert_uint_ne(report->status.layers & CONTROL_LAYER_LANDLOCK, 0);
    ck_assert_int_eq(report->root_errno, EACCES);
    if (abi >= 4)
        ck_assert_int_eq(report->tcp_errno, EACCES);
}

START_TEST(all_layers_as_root)
{
    const struct jail_config config = {
        .layers = SANDBOX_CONFIG_ALL, .as_vm = true, .work = true, .uid = VM_UID
    };
    struct jail jail;
    pid_t pid;

    if (geteuid() != 0) {
        printf("# skipped: needs root\n");
        return;
    }
    jail_start(&jail, &config);
    pid = jail_inner_pid(&jail);
    ck_assert_uint_eq(jail.report->status.layers & ~CONTROL_LAYER_LANDLOCK,
                      CONTROL_LAYER_NAMESPACES | CONTROL_LAYER_CAPABILITIES | CONTROL_LAYER_UID);
    ck_assert_int_eq(jail.report->pid, 1);
    ck_assert_int_eq(jail.report->ppid, 0);
    ck_assert_int_eq(jail.report->worker_pid, 1);
    reach_expect_none(jail.report);
    landlock_expect(jail.report);
    if (jail.report->status.landlock_abi >= 1)
        ck_assert_int_eq(jail.report->socket_errno, EACCES); /* not even in its own directory */
    ck_assert_uint_eq(jail.report->file.rlim_max, 0);
    capabilities_expect_none(pid);
    namespaces_expect_own(pid);
    status_expect(pid, "Uid", "100007\t100007\t100007\t100007");
    status_expect(pid, "Gid", "100007\t100007\t100007\t100007");
    status_expect(pid, "Groups", "");
    status_expect(pid, "Threads", "1");
    jail_end(&jail);
}
END_TEST

START_TEST(template_as_root)
{
    const struct jail_config config = { .layers = SANDBOX_CONFIG_ALL };
    struct jail jail;
    pid_t pid;

    if (geteuid() != 0) {
        printf("# skipped: needs root\n");
        return;
    }
    jail_start(&jail, &config);
    pid = jail_inner_pid(&jail);
    reach_expect_none(jail.report);
    landlock_expect(jail.report);
    namespaces_expect_own(pid);
    root_expect_empty(pid);
    outside_expect_stripped(jail.outer);
    ck_assert_int_ne(jail.report->socket_errno, 0);
    status_expect(pid, "CapBnd", "0000000000000000");
    status_expect(pid, "CapPrm", "00000000000400c4"); /* SYS_CHROOT, SETUID, SETGID, DAC_READ */
    status_expect(pid, "NoNewPrivs", "1");
    jail_end(&jail);
}
END_TEST

START_TEST(all_layers_as_user)
{
    const struct jail_config config = { .layers = SANDBOX_CONFIG_ALL,
                                        .as_nobody = geteuid() == 0,
                                        .as_vm = true,
                                        .uid = SANDBOX_KEEP_ID };
    struct jail jail;
    pid_t pid;

    jail_start(&jail, &config);
    pid = jail_inner_pid(&jail);
    reach_expect_none(jail.report);
    landlock_expect(jail.report);
    if (jail.report->status.landlock_abi >= 1)
        ck_assert_int_eq(jail.report->socket_errno, EACCES);
    ck_assert_uint_eq(jail.report->status.layers & CONTROL_LAYER_UID, 0);
    status_expect(pid, "CapEff", "0000000000000000");
    status_expect(pid, "CapPrm", "0000000000000000");
    status_expect(pid, "NoNewPrivs", "1");
    if (jail.report->status.layers & CONTROL_LAYER_NAMESPACES) {
        capabilities_expect_none(pid);
        ck_assert_int_eq(jail.report->pid, 1);
    } else {
        /* Users may be denied namespaces; then it is said. */
        ck_assert_ptr_nonnull(strstr(jail.report->status.lacking, "namespaces"));
    }
    jail_end(&jail);
}
END_TEST

/* Landlock has to hold without the others: nothing else keeps these attempts from succeeding. */
START_TEST(landlock_alone)
{
    struct jail_config config = { .layers = { .landlock = true } };
    struct jail jail;
    uint32_t abi;

    jail_start(&jail, &config);
    abi = jail.report->status.landlock_abi;
    landlock_expect(jail.report);
    ck_assert_uint_eq(jail.report->status.layers & CONTROL_LAYER_NAMESPACES, 0);
    if (abi >= 1) {
        ck_assert_int_eq(jail.report->open_errno, EACCES);
        ck_assert_int_eq(jail.report->create_errno, EACCES);
    }
    if (abi >= 6) {
        ck_assert_int_eq(jail.report->abstract_errno, EPERM);
        ck_assert_int_eq(jail.report->kill_errno, EPERM);
    }
    jail_end(&jail);
}
END_TEST

/* The attempts do succeed where nothing forbids them: the tests above can fail. */
START_TEST(no_layers)
{
    struct jail_config config = { .layers = { 0 } };
    struct jail jail;

    jail_start(&jail, &config);
    ck_assert_uint_eq(jail.report->status.layers, 0);
    ck_assert_int_eq(jail.report->open_errno, 0);
    ck_assert_int_eq(jail.report->root_errno, 0);
    ck_assert_int_eq(jail.report->abstract_errno, 0);
    ck_assert_int_eq(jail.report->kill_errno, 0);
    ck_assert_int_eq(jail.report->tcp_errno, ECONNREFUSED);
    unlink("/vsock");
    unlink("/new");
    jail_end(&jail);
}
END_TEST

/* Killing what poold knows (the outer process) kills the one that runs the VM, and so all clones:
 * the pipe that it holds gets its end of file. */
START_TEST(death_of_the_outer_process)
{
    const struct jail_config config = { .layers = SANDBOX_CONFIG_ALL };
    struct pollfd done;
    struct jail jail;
    char byte;

    jail_start(&jail, &config);
    ck_assert_int_eq(kill(jail.outer, SIGKILL), 0);
    done = (struct pollfd){ .fd = jail.done_fd, .events = POLLIN };
    ck_assert_int_eq(poll(&done, 1, TAP_TIMEOUT_S * 1000), 1);
    ck_assert_int_eq(read(jail.done_fd, &byte, 1), 0);
    ck_assert_int_eq(waitpid(jail.outer, NULL, 0), jail.outer);
    close(jail.done_fd);
    close(jail.release_fd);
    close(jail.abstract_fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox_layers");
    TCase *tests = tap_case(suite, "layers");

    tcase_add_test(tests, all_layers_as_root);
    tcase_add_test(tests, template_as_root);
    tcase_add_test(tests, all_layers_as_user);
    tcase_add_test(tests, landlock_alone);
    tcase_add_test(tests, no_layers);
    tcase_add_test(tests, death_of_the_outer_process);
    return tap_main(suite);
}
