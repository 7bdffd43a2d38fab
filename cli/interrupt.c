/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the note that a signal has come; see interrupt.h. */
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

#include "base/util.h"
#include "cli.h"

static volatile sig_atomic_t noted;

static void note(int number)
{
    noted = number;
}

static void handler_set(void (*handler)(int))
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    const struct sigaction action = { .sa_handler = handler };

    struct sigaction old;

    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        /* who started us may want it ignored: nohup, a shell's background */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

void interrupt_catch(void)
{
    handler_set(note);
}

void interrupt_release(void)
{
    handler_set(SIG_DFL);
}

int interrupt_fail(const struct err *err)
{
    int exit_code = cli_fail(err);

    return noted ? CLI_EXIT_SIGNAL_BASE + noted : exit_code;
}

int interrupt_check(struct err *err)
{
    return noted ? err_set(err, EINTR, "interrupted") : 0;
}
