/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal that voltctl runs on: raw mode and back, its size; and signals as a file. */
#ifndef VOLT_CLI_TTY_H
#define VOLT_CLI_TTY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "base/err.h"

struct tty_raw {
    bool active;
    int fd;
    struct termios saved;
};

/* Puts the terminal on fd into raw mode; does nothing when fd is no terminal. */
int tty_raw_enter(struct tty_raw *raw, int fd, struct err *err);

/* Puts it back. May be called when it was never entered (raw zeroed). */
void tty_raw_leave(struct tty_raw *raw);

/* The size of the terminal on standard input, output or error; 24 x 80 when there is none. */
void tty_size(uint16_t *ret_rows, uint16_t *ret_cols);

/* Signals that would end or resize us, blocked and readable from fd instead. */
struct tty_signals {
    int fd;
    sigset_t saved;
};

int tty_signals_init(struct tty_signals *signals, struct err *err);
void tty_signals_fini(struct tty_signals *signals);

/* The next signal that came, or 0. */
int tty_signals_next(struct tty_signals *signals);

#endif
