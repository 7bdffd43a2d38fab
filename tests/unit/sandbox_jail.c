/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the process in the sandbox; see sandbox_jail.h. */
#include "sandbox_jail.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/util.h"
#include "control/control.h"
#include "leave.h"

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

unsigned entries_count(const char *path)
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
    r = sandbox_enter(&config->layers, config->as_vm ? config->uid : SANDBOX_KEEP_ID, keep,
                      keep_count, config->work ? &meanwhile : NULL, &jail->report->status, err);
    if (r < 0 || !config->as_vm)
        return r;
    vm.socket_dir_fd = keep[2];
    r = sandbox_enter_vm(&config->layers, &vm, &jail->report->status, err);
    close(keep[2]);
    return r;
}

static void jail_main(const struct jail_config *config, const struct jail *jail, int done_fd,
                      int release_fd)
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
    leave(0);
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

void jail_start(struct jail *jail, const struct jail_config *config)
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

void jail_end(struct jail *jail)
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

pid_t jail_inner_pid(const struct jail *jail)
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

void status_line(pid_t pid, const char *key, char *value, size_t value_bytes)
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

void status_expect(pid_t pid, const char *key, const char *expected)
{
    char value[128];

    status_line(pid, key, value, sizeof(value));
    ck_assert_msg(strcmp(value, expected) == 0, "%s is \"%s\", not \"%s\"", key, value, expected);
}

void status_await(pid_t pid, const char *key, const char *expected)
{
    char value[128] = "";

    for (unsigned i = 0; i < 100000 && strcmp(value, expected) != 0; i++) {
        status_line(pid, key, value, sizeof(value));
        usleep(1000);
    }
    status_expect(pid, key, expected);
}
