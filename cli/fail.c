/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how errors are told, and what every command takes from the command line; see cli.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>

#include "base/text.h"
#include "cli.h"

const char *cli_socket_option;

int cli_failf(const char *fmt, ...)
{
    char line[2 * ERR_MSG_BYTES], clean[4 * ERR_MSG_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    /* It may quote a guest, or a file's name. */
    text_clean(clean, sizeof clean, line, sizeof line);
    fprintf(stderr, "voltctl: %s\n", clean);
    return CLI_EXIT_FAILURE;
}

int cli_fail(const struct err *err)
{
    return cli_failf("%s", err->msg);
}

int cli_flush(struct err *err)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    int code = errno ? errno : EIO;
    __fpurge(stdout);
    clearerr(stdout);
    return err_set_errno(err, code, "cannot write to standard output");
}
