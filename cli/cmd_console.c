/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the command console: a VM's serial console on our terminal. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "lease.h"
#include "options.h"
#include "tty.h"

#define LEAVE_KEY 0x1d /* Ctrl-] */
#define QUIET_MS 2000  /* input is not a terminal and at its end: leave after that much silence */

enum { POLL_CONSOLE, POLL_SIGNALS, POLL_STDIN, POLL_COUNT };

static int output_write(const uint8_t *data, size_t bytes, struct err *err)
{
    int rc = write_all(STDOUT_FILENO, data, bytes);

    return rc < 0 ? err_set_errno(err, -rc, "cannot write to standard output") : 0;
}

/* Sends what was typed. Sets *ret_leave when it has the key to leave in it, *ret_ended at its end.
 */
static int typed_send(int console_fd, bool is_tty, bool *ret_leave, bool *ret_ended,
                      struct err *err)
{
    uint8_t typed[4096];
    ssize_t n = read(STDIN_FILENO, typed, sizeof typed);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    *ret_ended = n <= 0;
    if (n <= 0)
        return 0;
    const uint8_t *leave = is_tty ? memchr(typed, LEAVE_KEY, (size_t)n) : NULL;
    *ret_leave = leave != NULL;
    int rc = client_send_all(console_fd, typed, leave ? (size_t)(leave - typed) : (size_t)n);
    return rc < 0 ? err_set_errno(err, -rc, "cannot send to the console") : 0;
}

/* Copies both ways until the user leaves, the VM ends or a signal comes. 0 or -errno; *ret_ended
 * tells that it was the VM. */
static int console_copy(struct client_stream *stream, struct tty_signals *signals, bool is_tty,
                        bool *ret_ended, struct err *err)
{
    bool leave = false, input_ended = false;
    uint8_t data[4096];
    int rc = output_write(stream->early, stream->early_bytes, err);

    while (rc == 0 && !leave) {
        struct pollfd fds[POLL_COUNT] = {
            [POLL_CONSOLE] = { stream->fd, POLLIN, 0 },
            [POLL_SIGNALS] = { signals->fd, POLLIN, 0 },
            [POLL_STDIN] = { input_ended ? -1 : STDIN_FILENO, POLLIN, 0 },
        };
        int n = poll(fds, POLL_COUNT, input_ended && !is_tty ? QUIET_MS : -1);
        if (n < 0 && errno != EINTR)
            return err_set_errno(err, errno, "cannot poll");
        if (n == 0)
            return 0;
        if (n < 0)
            continue;
        if (fds[POLL_CONSOLE].revents) {
            ssize_t got = read(stream->fd, data, sizeof data);
            *ret_ended = got == 0 || (got < 0 && errno == ECONNRESET);
            if (*ret_ended)
                return 0;
            if (got > 0)
                rc = output_write(data, (size_t)got, err);
        }
        if (rc == 0 && fds[POLL_STDIN].revents)
            rc = typed_send(stream->fd, is_tty, &leave, &input_ended, err);
        int number = fds[POLL_SIGNALS].revents ? tty_signals_next(signals) : 0;
        leave = leave || (number > 0 && number != SIGWINCH);
    }
    return rc;
}

static int console_attach(struct api *api, const char *lease, struct err *err)
{
    char path[API_PATH_BYTES];
    struct client_stream stream;
    struct tty_signals signals;
    struct tty_raw raw = { 0 };
    bool is_tty = isatty(STDIN_FILENO), ended = false;
    int rc = api_path(path, err, "/v1/leases/", lease, "/console");

    if (rc == 0)
        rc = api_upgrade(api, path, "volt-console", &stream, err);
    if (rc < 0)
        return rc;
    if (is_tty)
        fprintf(stderr, "[console of %s; Ctrl-] leaves]\n", lease);
    rc = tty_signals_init(&signals, err);
    if (rc == 0) {
        rc = tty_raw_enter(&raw, STDIN_FILENO, err);
        if (rc == 0)
            rc = console_copy(&stream, &signals, is_tty, &ended, err);
        tty_raw_leave(&raw);
        tty_signals_fini(&signals);
    }
    close_fd(&stream.fd);
    if (rc < 0)
        return rc;
    struct err end = { .msg = "the VM ended, or another client took the console" };
    if (ended)
        lease_explain(lease, &end);
    if (ended && (is_tty || end.code))
        cli_failf("%s", end.msg); /* which is no failure of ours */
    else if (is_tty)
        fputs("\n[left the console]\n", stderr);
    return 0;
}

static int backlog_print(struct api *api, const char *lease, struct err *err)
{
    char path[API_PATH_BYTES];
    _cleanup_free_ char *text = NULL;
    size_t bytes;
    int rc = api_path(path, err, "/v1/leases/", lease, "/console");

    if (rc == 0)
        rc = api_text(api, path, &text, &bytes, err);
    if (rc == 0 && text)
        rc = output_write((const uint8_t *)text, bytes, err);
    return rc;
}

int cmd_console_run(const struct cli_command *command, int argc, char **argv)
{
    bool backlog = false;
    const struct option_spec specs[] = {
        { "backlog", 0, OPTION_FLAG, &backlog, NULL, "print what it has said so far, and leave" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (api_init(&api, &err) < 0 ||
        (backlog ? backlog_print : console_attach)(&api, options.positionals[0], &err) < 0)
        return cli_fail(&err);
    return CLI_EXIT_OK;
}
