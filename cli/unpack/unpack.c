/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the life of the child that unpacks, and what it tells its parent; see unpack.h. */
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "unpack_work.h"

/* All that comes back. It is written once, and believed in nothing but that it is this long. */
struct report {
    struct unpack_result result;
    int32_t code; /* errno value; 0: all is unpacked */
    char sentence[ERR_MSG_BYTES];
};

static int child_work(void *context, unsigned walls)
{
    const struct unpack_spec *spec = context;
    struct report report = { .result.walls = walls };
    struct err err = { 0 };

    report.code =
        -unpack_work(spec, walls, CONFINE_INPUT_FD, CONFINE_TARGET_FD, &report.result.tally, &err);
    memcpy(report.sentence, err.msg, sizeof report.sentence);
    return write(CONFINE_REPORT_FD, &report, sizeof report) == sizeof report ? 0 : 1;
}

/* ---- In the parent ---- */

int unpack_start(struct unpack *unpack, const struct unpack_spec *spec, struct err *err)
{
    struct unpack_spec copy = *spec;
    int input[2], report[2];

    *unpack = (struct unpack){ .fd = -1, .report_fd = -1 };
    if (pipe2(input, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "making a pipe");
    _cleanup_close_ int input_read = input[0], input_write = input[1];
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "making a pipe");
    _cleanup_close_ int report_read = report[0], report_write = report[1];
    const struct confine confine = { .target_fd = spec->target_fd,
                                     .input_fd = input_read,
                                     .report_fd = report_write,
                                     .owner = spec->what != UNPACK_COPY || spec->owners,
                                     .nodes = spec->what != UNPACK_COPY,
                                     .walls = spec->walls };
    int rc = confine_start(&confine, child_work, &copy, &unpack->pid, err);
    if (rc < 0)
        return rc;
    unpack->fd = take_fd(&input_write);
    unpack->report_fd = take_fd(&report_read);
    return 0;
}

int unpack_feed(struct unpack *unpack, const void *data, size_t bytes)
{
    return write_all(unpack->fd, data, bytes);
}

/* All that comes, to the end. Returns its length. */
static size_t report_read(int fd, struct report *report)
{
    size_t fill = 0;
    ssize_t n;

    while (fill < sizeof *report) {
        n = read(fd, (char *)report + fill, sizeof *report - fill);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        fill += (size_t)n;
    }
    return fill;
}

static int child_wait(struct unpack *unpack)
{
    int status = 0;

    while (waitpid(unpack->pid, &status, 0) < 0 && errno == EINTR)
        ;
    unpack->pid = 0;
    close_fd(&unpack->report_fd);
    return status;
}

/* A sentence of the child's, which may have been in anybody's hands. */
static int sentence_take(char *sentence, size_t bytes, int code, struct err *err)
{
    char shown[ERR_MSG_BYTES];

    sentence[bytes - 1] = '\0';
    name_printable(sentence, shown, sizeof shown);
    return err_set(err, code > 0 && code < 4096 ? code : EIO, "%s",
                   *shown ? shown : "the unpacker gave no reason");
}

int unpack_finish(struct unpack *unpack, struct unpack_result *ret_result, struct err *err)
{
    struct report report = { 0 };
    char last[sizeof report.result.tally.last];

    *ret_result = (struct unpack_result){ 0 };
    close_fd(&unpack->fd);
    size_t bytes = report_read(unpack->report_fd, &report);
    int status = child_wait(unpack);
    if (WIFSIGNALED(status))
        return err_set(err, EIO, "the unpacker was ended by signal %d (%s)", WTERMSIG(status),
                       WTERMSIG(status) == SIGSYS ? "it made a system call that it must not make"
                                                  : strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) == CONFINE_FAILED && bytes == ERR_MSG_BYTES)
        return sentence_take((char *)&report, ERR_MSG_BYTES, EPERM, err);
    if (WEXITSTATUS(status) != 0 || bytes != sizeof report)
        return err_set(err, EIO, "the unpacker ended with status %d", WEXITSTATUS(status));
    *ret_result = report.result;
    report.result.tally.last[sizeof last - 1] = '\0';
    memcpy(ret_result->tally.last, name_printable(report.result.tally.last, last, sizeof last),
           sizeof last);
    if (report.code == 0)
        return 0;
    return sentence_take(report.sentence, sizeof report.sentence, report.code, err);
}

void unpack_kill(struct unpack *unpack)
{
    if (unpack->pid == 0)
        return;
    kill(unpack->pid, SIGKILL);
    close_fd(&unpack->fd);
    child_wait(unpack);
}

const char *unpack_walls_note(unsigned walls)
{
    if (walls & CONFINE_LANDLOCK)
        return NULL;
    return walls & CONFINE_CHROOT
               ? "this kernel has no Landlock: what is unpacked is held to its folder by chroot "
                 "and "
                 "by the check of every name (openat2)"
               : "this kernel has no Landlock, and chroot is not allowed: what is unpacked is held "
                 "to its folder by the check of every name alone (openat2)";
}
