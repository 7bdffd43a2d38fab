/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the local terminal's mode and the signals that come from it; see tty.h. */
#include "tty.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/util.h"

int tty_raw_enter(struct tty_raw *raw, int fd, struct err *err)
{
    struct termios mode;

    raw->active = false;
    raw->fd = fd;
    if (!isatty(fd))
        return 0;
    if (tcgetattr(fd, &raw->saved) < 0)
        return err_set_errno(err, errno, "cannot read the terminal's mode");
    mode = raw->saved;
    cfmakeraw(&mode);
    if (tcsetattr(fd, TCSADRAIN, &mode) < 0)
        return err_set_errno(err, errno, "cannot put the terminal into raw mode");
    raw->active = true;
    return 0;
}

void tty_raw_leave(struct tty_raw *raw)
{
    if (raw->active)
        tcsetattr(raw->fd, TCSADRAIN, &raw->saved);
    raw->active = false;
}

void tty_size(uint16_t *ret_rows, uint16_t *ret_cols)
{
    struct winsize size;

    *ret_rows = 24;
    *ret_cols = 80;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
            *ret_rows = size.ws_row;
            *ret_cols = size.ws_col;
            return;
        }
    }
}

int tty_signals_init(struct tty_signals *signals, struct err *err)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH };
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, &signals->saved);
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0) {
        int code = errno;

        sigprocmask(SIG_SETMASK, &signals->saved, NULL);
        return err_set_errno(err, code, "cannot make a signalfd");
    }
    return 0;
}

void tty_signals_fini(struct tty_signals *signals)
{
    close_fd(&signals->fd);
    sigprocmask(SIG_SETMASK, &signals->saved, NULL);
}

int tty_signals_next(struct tty_signals *signals)
{
    struct signalfd_siginfo info;

    return read(signals->fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}
