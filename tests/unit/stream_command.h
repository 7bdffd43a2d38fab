/* SPDX-License-Identifier: Apache-2.0 */
/* The command in the streams' world: it does what the plan says, in any order. */
#ifndef VOLT_TESTS_STREAM_COMMAND_H
#define VOLT_TESTS_STREAM_COMMAND_H

#include <sys/types.h>

#include "stream_model.h"

struct command {
    bool started, running, reaped;
    bool terminal, has_stdin;
    bool first_done;
    bool in_line;              /* a terminal has the beginning of a line */
    bool background;           /* what it left behind still writes */
    uint64_t background_bytes; /* that it wrote */
    pid_t pid;
    int wait_status;
    struct lane in, out[2];
};

/* The one that is or was started in this run. */
extern struct command command;

/* A new one, not started. */
void command_init(bool terminal, bool has_stdin);

/* One step of it, or of what it left. False: it waits. */
bool command_step(void);

void command_signal(int signal);

#endif
