/* SPDX-License-Identifier: Apache-2.0 */
/* Owns listening to child processes; see speaker.h. */
#include "speaker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"

int speaker_start(struct speaker *speaker, const struct bench *bench, const char *const *argv,
                  enum speaker_stream stream, const char *log_name, struct err *err)
{
    struct process_output output = { .stdout_fd = -1, .stderr_fd = -1 };
    char log[512];
    int fds[2];

    *speaker = (struct speaker){ .output = -1 };
    const bool both = stream == SPEAKER_BOTH_WAYS;
    if ((both ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) : pipe2(fds, O_CLOEXEC)) <
        0)
        return err_set_errno(err, errno, "making a pipe");
    speaker->output = fds[0];
    snprintf(log, sizeof log, "%s/%s", bench->options.work_dir, log_name);
    output.log_path = log;
    output.stdin_fd = both ? fds[1] : 0;
    *(stream == SPEAKER_STDERR ? &output.stderr_fd : &output.stdout_fd) = fds[1];
    int rc = process_start(&speaker->process, argv, NULL, 0, &output, err);
    close(fds[1]);
    if (rc < 0)
        speaker_end(speaker);
    return rc;
}

/* Forgets what was said up to the end of `text`. True if it was said; else all is forgotten that
 * can't be its beginning. */
static bool take_heard(struct speaker *speaker, const char *text)
{
    size_t text_bytes = strlen(text);
    const char *at = memmem(speaker->heard, speaker->heard_bytes, text, text_bytes);
    size_t keep = MIN_OF(speaker->heard_bytes, text_bytes - 1);

    if (at)
        keep = speaker->heard_bytes - (size_t)(at + text_bytes - speaker->heard);
    memmove(speaker->heard, speaker->heard + speaker->heard_bytes - keep, keep);
    speaker->heard_bytes = keep;
    return at != NULL;
}

/* Reads more of what it says. */
static int listen_to(struct speaker *speaker, uint64_t deadline_ns, const char *text,
                     uint64_t *ret_at_ns, struct err *err)
{
    struct pollfd polled = { .fd = speaker->output, .events = POLLIN };
    uint64_t now = now_ns();

    if (now >= deadline_ns)
        return err_set(err, ETIMEDOUT, "it did not say '%s' in time", text);
    if (poll(&polled, 1, (int)((deadline_ns - now) / NS_PER_MS + 1)) <= 0)
        return 0;
    ssize_t n = read(speaker->output, speaker->heard + speaker->heard_bytes,
                     sizeof speaker->heard - speaker->heard_bytes);
    if (n <= 0)
        return err_set(err, ECHILD, "it ended before it said '%s'", text);
    speaker->heard_bytes += (size_t)n;
    *ret_at_ns = now_ns();
    return 0;
}

int speaker_wait(struct speaker *speaker, const char *text, uint64_t timeout_ns,
                 uint64_t *ret_at_ns, struct err *err)
{
    uint64_t deadline_ns = now_ns() + timeout_ns;

    while (!take_heard(speaker, text)) {
        int rc = listen_to(speaker, deadline_ns, text, ret_at_ns, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

int speaker_rest_of_line(struct speaker *speaker, uint64_t timeout_ns, char *ret, size_t bytes,
                         struct err *err)
{
    uint64_t deadline_ns = now_ns() + timeout_ns, at_ns;
    const char *end;

    while (!(end = memchr(speaker->heard, '\n', speaker->heard_bytes))) {
        if (speaker->heard_bytes == sizeof speaker->heard)
            return err_set(err, EMSGSIZE, "its line does not end");
        int rc = listen_to(speaker, deadline_ns, "the end of a line", &at_ns, err);
        if (rc < 0)
            return rc;
    }
    snprintf(ret, bytes, "%.*s", (int)(end - speaker->heard), speaker->heard);
    take_heard(speaker, "\n");
    return 0;
}

void speaker_end(struct speaker *speaker)
{
    process_end(&speaker->process, SIGKILL);
    close_fd(&speaker->output);
}
