/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the running of the host's tar; see tar_child.h. */
#include "tar_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

#define TAR_NOT_FOUND 127
#define TAR_FAILED 2 /* but everything that could be packed is */
#define TAR_ARGS_MAX 24

/* Appends text to a sed expression with the characters in `special` escaped. */
static bool sed_append(char *out, size_t out_bytes, const char *text, const char *special)
{
    size_t at = strlen(out);

    for (; *text; text++) {
        if (at + 3 > out_bytes)
            return false;
        if (strchr(special, *text))
            out[at++] = '\\';
        out[at++] = *text;
    }
    out[at] = '\0';
    return true;
}

/* "--transform=s,^member\(/\|$\),rename_to\1,S": the stream's top name is another one; the targets
 * of symbolic links (S) stay as they are. */
static bool transform_format(char *out, size_t out_bytes, const char *member, const char *rename_to)
{
    snprintf(out, out_bytes, "--transform=s,^");
    return sed_append(out, out_bytes, member, "\\.[]*^$,") && strlen(out) + 16 < out_bytes &&
           strcat(out, "\\(/\\|$\\),") && sed_append(out, out_bytes, rename_to, "\\&,") &&
           strlen(out) + 8 < out_bytes && strcat(out, "\\1,S");
}

/* In the child: becomes tar with our end of the pipe as its standard output. */
static void tar_exec(char *const *args, int pipe_fd)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    signal(SIGPIPE, SIG_DFL);
    dup2(null_fd, STDIN_FILENO);
    if (dup2(pipe_fd, STDOUT_FILENO) >= 0)
        execvp(args[0], args);
    _exit(TAR_NOT_FOUND);
}

static int tar_start(struct tar_child *child, char *const *args, struct err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "cannot make a pipe");
    int ours = fds[0], theirs = fds[1];
    pid_t pid = fork();
    if (pid == 0)
        tar_exec(args, theirs);
    int code = errno;
    close(theirs);
    if (pid < 0) {
        close(ours);
        return err_set_errno(err, code, "cannot start tar");
    }
    child->pid = pid;
    child->fd = ours;
    return 0;
}

int tar_child_pack(struct tar_child *child, const struct tar_what *what, struct err *err)
{
    /* pax has no limits; access and change times would only make it longer */
    static const char *const always[] = { "tar",
                                          "-c",
                                          "-f",
                                          "-",
                                          "--no-unquote",
                                          "--format=posix",
                                          "--pax-option=delete=atime,delete=ctime",
                                          "--sparse",
                                          "--xattrs",
                                          "--xattrs-include=user.*",
                                          "--xattrs-include=security.capability",
                                          "--numeric-owner" };
    static const char *const roots[] = { "--owner=0", "--group=0", "--mode=ug-s" };
    char transform[2 * NAME_MAX + 64];
    const char *args[TAR_ARGS_MAX] = { NULL };
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        args[count++] = always[i];
    for (size_t i = 0; i < ARRAY_LEN(roots) && !what->owners; i++)
        args[count++] = roots[i];
    if (what->as && strcmp(what->as, what->member) != 0) {
        if (!transform_format(transform, sizeof transform, what->member, what->as))
            return err_set(err, ENAMETOOLONG, "the name '%.40s...' is too long", what->as);
        args[count++] = transform;
    }
    args[count++] = "-C";
    args[count++] = what->dir;
    args[count++] = "--";
    args[count] = what->member;
    return tar_start(child, (char *const *)(uintptr_t)args, err);
}

int tar_child_finish(struct tar_child *child, struct err *err)
{
    int status = 0;

    close_fd(&child->fd);
    if (child->pid == 0)
        return 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    child->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == TAR_NOT_FOUND)
        return err_set(err, ENOENT, "there is no 'tar' on this host; install it");
    /* 1: "some files differ", a file that changed while it was packed; tar has said which. */
    if (WIFEXITED(status) && WEXITSTATUS(status) <= 1)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == TAR_FAILED)
        return err_set(err, EAGAIN, "tar could not read everything; what it said is above");
    return err_set(err, EIO, "tar failed on this host; what it said is above");
}
