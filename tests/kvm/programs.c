/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: volt-vmm, the program, does what it says of itself: boots, snapshots, restores, serves as a
 * template, and tells what can't be done.
 * Method: the built volt-vmm, with all of its layers, on the real KVM, with a kernel of a hundred
 * instructions (guests/kernel.c), so that a boot takes milliseconds. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "control/control.h"
#include "machine/kvm_host.h"
#include "snapshot/memory_mark.h"
#include "tap_main.h"
#include "volt-vmm/program.h"

#define ARGS_MAX 24
#define PATIENCE_MS 120000
#define KERNEL GUEST_PROGRAMS_DIR "/kernel.elf"
#define BOOT "--kernel", KERNEL, "--memory", "32M"

static char *volt_vmm;     /* the program */
static char directory[64]; /* of the test; it is the current one */

static void set_up(void)
{
    snprintf(directory, sizeof directory, "/tmp/volt-kvm-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
}

static void tear_down(void)
{
    char command[128];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
}

/* ---- Programs and what they say ---- */

/* Starts volt-vmm with its output in the files "out" and "err"; keep: fds for it. */
static pid_t start(const char *const *arguments, const int *keep, unsigned keep_count)
{
    const char *argv[ARGS_MAX] = { volt_vmm };
    pid_t pid;

    for (unsigned i = 0; arguments[i] && i + 2 < ARGS_MAX; i++)
        argv[i + 1] = arguments[i];
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);

        for (unsigned i = 0; i < keep_count; i++)
            fcntl(keep[i], F_SETFD, 0);
        dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static int end_of(pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
    struct pollfd polled = { .fd = pidfd, .events = POLLIN };

    ck_assert_int_ge(pidfd, 0);
    ck_assert_msg(poll(&polled, 1, PATIENCE_MS) == 1, "volt-vmm does not end");
    close(pidfd);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RUN(...) end_of(start((const char *const[]){ __VA_ARGS__, NULL }, NULL, 0))

/* What a file holds; a string until the next call. */
static const char *text_of(const char *path)
{
    static char text[8192];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = read(fd, text, sizeof text - 1);

    ck_assert_msg(bytes >= 0, "%s: %s", path, strerror(errno));
    text[bytes] = '\0';
    return text;
}

static void assert_says(const char *path, const char *wanted)
{
    const char *text = text_of(path);

    ck_assert_msg(strstr(text, wanted) != NULL, "expected '%s' in: %s", wanted, text);
}

static void assert_boots_into(const char *snapshot)
{
    ck_assert_msg(RUN(BOOT, "--snapshot-to", snapshot) == 0, "%s", text_of("err"));
}

/* Changes the byte at `offset` from the start of a file, or from its end where it is negative. */
static void spoil(const char *path, off_t offset)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char byte;

    ck_assert_int_ge(fd, 0);
    offset = lseek(fd, offset, offset < 0 ? SEEK_END : SEEK_SET);
    ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* ---- One VM without a daemon ---- */

START_TEST(boots_with_a_console_and_ends_with_its_guest)
{
    ck_assert_msg(RUN(BOOT, "--console") == 0, "%s", text_of("err"));
    assert_says("err", "banner after");
    assert_says("err", "ready after");
    assert_says("out", "up");
    assert_says("out", "awake");
}
END_TEST

START_TEST(snapshot_is_restored_again_and_again)
{
    struct stat st;

    assert_boots_into("one");
    assert_says("err", "snapshot 'one'");
    usleep(MEMORY_MARK_REST_NS / NS_PER_US);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_msg(RUN("--restore", "one", "--console") == 0, "%s", text_of("err"));
        assert_says("err", "awake after");
        assert_says("err", "ready after");
        assert_says("out", "awake"); /* the whole line: what was printed before is not there */
        ck_assert_int_eq(stat("one/" SNAPSHOT_FILE_MEMORY_MARK, &st), 0);
    }
    spoil("one/memory.img", MIB(2)); /* which ends the mark */
    ck_assert_int_ne(RUN("--restore", "one"), 0);
    assert_says("err", "memory.img: chunk 8");
}
END_TEST

START_TEST(restore_goes_without_layers_too)
{
    static const char *const layers[] = { "--no-namespaces", "--no-landlock", "--no-capabilities",
                                          "--no-seccomp" };

    assert_boots_into("one");
    for (unsigned i = 0; i < ARRAY_LEN(layers); i++) {
        ck_assert_msg(RUN("--restore", "one", layers[i]) == 0, "%s", text_of("err"));
        assert_says("err", "ready after");
        assert_says("err", layers[i]);
    }
}
END_TEST

static const struct {
    const char *file;
    off_t offset;
    const char *said;
} damages[] = {
    { "one/manifest.json", 20, "manifest.json" },
    { "one/state", 12, "state" },
    { "one/state", -1, "state" },
    { "one/memory.img", MIB(2), "memory.img: chunk 8" },
};

START_TEST(damage_is_told)
{
    assert_boots_into("one");
    spoil(damages[_i].file, damages[_i].offset);
    ck_assert_int_ne(RUN("--restore", "one"), 0);
    assert_says("err", damages[_i].said);
    ck_assert_ptr_null(strstr(text_of("err"), "awake after"));
}
END_TEST

/* ---- What is refused ---- */

static char long_cmdline[3000];

static const struct {
    const char *arguments[8];
    int status;
    const char *said;
} refusals[] = {
    { { "--kernel", "none" }, EXIT_VM_FAILED, "opening 'none': No such file" },
    { { "--kernel", "junk" }, EXIT_VM_FAILED, "kernel" },
    { { BOOT, "--initrd", "none" }, EXIT_VM_FAILED, "opening 'none': No such file" },
    { { BOOT, "--cpu-template", "junk" }, EXIT_VM_FAILED, "'junk'" },
    { { BOOT, "--cmdline", long_cmdline }, EXIT_VM_FAILED, "command line is longer than" },
    { { "--kernel", KERNEL, "--memory", "31M" }, EXIT_BAD_USAGE, "from 32M to 64G" },
    { { BOOT, "--snapshot-to", "none/one" }, EXIT_SOFTWARE, "opening the directory of 'none/one'" },
    { { "--restore", "none" }, EXIT_SOFTWARE, "opening the snapshot 'none'" },
    { { "run", "--kernel", KERNEL }, EXIT_BAD_USAGE, "run needs --kernel or --kernel-fd" },
    { { "template" }, EXIT_BAD_USAGE, "template needs --control-fd" },
    { { "walk" }, EXIT_BAD_USAGE, "unknown command 'walk'" },
    { { "--vcpus", "9" }, EXIT_BAD_USAGE, "from 1 to 8" },
};

START_TEST(what_can_not_be_done_is_told)
{
    memset(long_cmdline, 'x', sizeof long_cmdline - 1);
    int fd = open("junk", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "no kernel and no CPU template", 29), 29);
    close(fd);
    ck_assert_int_eq(end_of(start(refusals[_i].arguments, NULL, 0)), refusals[_i].status);
    assert_says("err", refusals[_i].said);
}
END_TEST

/* ---- Driven by its sockets, as poold does ---- */

static struct control_msg expect(int fd, enum control_type type, int ret_fds[CONTROL_FDS_MAX])
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };
    struct control_msg msg;
    unsigned fd_count;

    ck_assert_msg(poll(&polled, 1, PATIENCE_MS) == 1, "no message %d came", type);
    ck_assert_int_eq(control_recv(fd, &msg, ret_fds, &fd_count), 0);
    if (msg.type == CONTROL_EXITED && type != CONTROL_EXITED)
        ck_abort_msg("instead of message %d: %s", type, msg.u.exited.detail);
    ck_assert_uint_eq(msg.type, type);
    return msg;
}

static void pair(int ret_ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends), 0);
}

struct template_process {
    pid_t pid;
    int control;
};

static struct template_process start_template(const char *snapshot)
{
    char control_text[16], snapshot_text[16];
    int control[2], fds[CONTROL_FDS_MAX];
    int snapshot_fd = open(snapshot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    pair(control);
    snprintf(control_text, sizeof control_text, "%d", control[1]);
    snprintf(snapshot_text, sizeof snapshot_text, "%d", snapshot_fd);
    const char *const arguments[] = { "template",      "--control-fd", control_text,
                                      "--snapshot-fd", snapshot_text,  NULL };
    struct template_process t = { start(arguments, (int[]){ control[1], snapshot_fd }, 2),
                                  control[0] };
    close(control[1]);
    close(snapshot_fd);
    struct control_msg hello = expect(t.control, CONTROL_HELLO, fds);
    ck_assert_uint_eq(hello.u.hello.version, CONTROL_VERSION);
    ck_assert_uint_eq(hello.u.hello.ram_bytes, MIB(32));
    return t;
}

static void end_template(struct template_process *t)
{
    struct control_msg stop = { .type = CONTROL_STOP };

    ck_assert_int_eq(control_send(t->control, &stop, NULL, 0), 0);
    ck_assert_int_eq(end_of(t->pid), 0);
    close(t->control);
}

struct cloned {
    int control, bell;
};

static struct cloned ask_clone(const struct template_process *t, uint64_t cookie, uint32_t flags)
{
    const struct control_wake wake = { .op = DOORBELL_OP_RESTORE, .flags = flags };
    struct control_msg msg = { .cookie = cookie };
    struct control_clone_fds fds = CONTROL_CLONE_FDS_NONE;
    struct control_msg wake_msg;
    int control[2], bell[2];

    pair(control);
    pair(bell);
    control_wake_make(&wake_msg, &wake, NULL, NULL);
    ck_assert_int_eq(control_send(bell[0], &wake_msg, NULL, 0), 0);
    msg.u.clone.uid = msg.u.clone.gid = SANDBOX_KEEP_ID;
    fds.control = control[1];
    fds.bell = bell[1];
    ck_assert_int_eq(control_clone_send(t->control, &msg, &fds), 0);
    close(control[1]);
    close(bell[1]);
    return (struct cloned){ control[0], bell[0] };
}

START_TEST(template_makes_clones_and_tells_of_their_ends)
{
    int fds[CONTROL_FDS_MAX];

    assert_boots_into("one");
    struct template_process t = start_template("one");
    for (uint64_t cookie = 7; cookie < 10; cookie++) {
        struct cloned clone = ask_clone(&t, cookie, 0);
        struct control_msg msg = expect(t.control, CONTROL_CLONED, fds);

        ck_assert_uint_eq(msg.cookie, cookie);
        ck_assert_int_eq(msg.u.cloned.error, 0);
        close(fds[0]); /* its pidfd */
        msg = expect(clone.bell, CONTROL_AWAKE, fds);
        ck_assert_uint_gt(msg.u.progress.run_ns, 0);
        expect(clone.bell, CONTROL_READY, fds);
        expect(clone.control, CONTROL_HELLO, fds); /* after its answer: the WAKE was there before */
        msg = expect(clone.control, CONTROL_EXITED, fds);
        ck_assert_uint_eq(msg.u.exited.reason, EXIT_REASON_GUEST_POWEROFF);
        msg = expect(t.control, CONTROL_CHILD_EXITED, fds);
        ck_assert_uint_eq(msg.cookie, cookie);
        ck_assert_int_eq(msg.u.child_exited.wait_status, 0);
        close(clone.control);
        close(clone.bell);
    }
    end_template(&t);
}
END_TEST

START_TEST(clone_parks_is_leased_and_snapshotted)
{
    const struct control_wake lease = { .op = DOORBELL_OP_LEASE };
    struct control_msg msg, wake;
    int fds[CONTROL_FDS_MAX];

    assert_boots_into("one");
    struct template_process t = start_template("one");
    struct cloned clone = ask_clone(&t, 1, DOORBELL_FLAG_PARK_AGAIN);
    expect(t.control, CONTROL_CLONED, fds);
    close(fds[0]);
    expect(clone.bell, CONTROL_AWAKE, fds);
    expect(clone.bell, CONTROL_READY, fds);
    expect(clone.bell, CONTROL_PARKED, fds);
    expect(clone.control, CONTROL_HELLO, fds);
    msg = (struct control_msg){ .type = CONTROL_QUERY_STATS };
    ck_assert_int_eq(control_send(clone.control, &msg, NULL, 0), 0);
    msg = expect(clone.control, CONTROL_STATS, fds);
    ck_assert_uint_gt(msg.u.stats.exits, 0);
    control_wake_make(&wake, &lease, NULL, NULL);
    ck_assert_int_eq(control_send(clone.bell, &wake, NULL, 0), 0);
    expect(clone.bell, CONTROL_AWAKE, fds);
    expect(clone.control, CONTROL_EXITED, fds);
    end_template(&t);
}
END_TEST

START_TEST(malformed_clone_costs_the_template_nothing)
{
    struct control_msg msg = { .type = CONTROL_CLONE, .cookie = 3 };
    int fds[CONTROL_FDS_MAX];

    assert_boots_into("one");
    struct template_process t = start_template("one");
    msg.u.clone.extra_fds = UINT32_MAX; /* and none comes */
    ck_assert_int_eq(control_send(t.control, &msg, NULL, 0), 0);
    msg = expect(t.control, CONTROL_CLONED, fds);
    ck_assert_int_eq(msg.u.cloned.error, 0);
    close(fds[0]);
    msg = expect(t.control, CONTROL_CHILD_EXITED, fds);
    ck_assert_int_eq(WEXITSTATUS(msg.u.child_exited.wait_status), EXIT_SOFTWARE);
    struct cloned clone = ask_clone(&t, 4, 0);
    expect(t.control, CONTROL_CLONED, fds);
    expect(clone.bell, CONTROL_AWAKE, fds);
    end_template(&t);
}
END_TEST

START_TEST(template_of_a_damaged_snapshot_tells_why)
{
    char control_text[16], snapshot_text[16];
    int control[2], fds[CONTROL_FDS_MAX];

    assert_boots_into("one");
    spoil("one/state", 100);
    int snapshot_fd = open("one", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pair(control);
    snprintf(control_text, sizeof control_text, "%d", control[1]);
    snprintf(snapshot_text, sizeof snapshot_text, "%d", snapshot_fd);
    const char *const arguments[] = { "template",      "--control-fd", control_text,
                                      "--snapshot-fd", snapshot_text,  NULL };
    pid_t pid = start(arguments, (int[]){ control[1], snapshot_fd }, 2);
    struct control_msg msg = expect(control[0], CONTROL_EXITED, fds);
    ck_assert_uint_eq(msg.u.exited.reason, EXIT_REASON_HOST_ERROR);
    ck_assert_ptr_nonnull(strstr(msg.u.exited.detail, "state"));
    ck_assert_int_eq(end_of(pid), EXIT_SOFTWARE);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("programs");
    TCase *tc = tap_case(s, "programs");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, boots_with_a_console_and_ends_with_its_guest);
    tcase_add_test(tc, snapshot_is_restored_again_and_again);
    tcase_add_test(tc, restore_goes_without_layers_too);
    tcase_add_loop_test(tc, damage_is_told, 0, ARRAY_LEN(damages));
    tcase_add_loop_test(tc, what_can_not_be_done_is_told, 0, ARRAY_LEN(refusals));
    tcase_add_test(tc, template_makes_clones_and_tells_of_their_ends);
    tcase_add_test(tc, clone_parks_is_leased_and_snapshotted);
    tcase_add_test(tc, malformed_clone_costs_the_template_nothing);
    tcase_add_test(tc, template_of_a_damaged_snapshot_tells_why);
    return s;
}

int main(int argc, char **argv)
{
    struct kvm_host kvm;
    struct err err;

    if (argc != 2) {
        fprintf(stderr, "usage: %s VOLT-VMM\n", argv[0]);
        return 64;
    }
    volt_vmm = realpath(argv[1], NULL); /* tests change their directory */
    if (!volt_vmm) {
        perror(argv[1]);
        return 66;
    }
    if (kvm_host_open(&kvm, &err) < 0) {
        printf("1..0 # SKIP %s\n", err.msg);
        return 0;
    }
    kvm_host_close(&kvm);
    return tap_main(suite());
}
