/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the formatting of error sentences; see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list args;

        err->code = code;
        va_start(args, fmt);
        vsnprintf(err->msg, sizeof err->msg, fmt, args);
        va_end(args);
    }
    return -code;
}

int err_set_errno(struct err *err, int code, const char *fmt, ...)
{
    if (err) {
        char text[128];
        va_list args;

        err->code = code;
        va_start(args, fmt);
        vsnprintf(err->msg, sizeof err->msg, fmt, args);
        va_end(args);
        size_t used = strlen(err->msg);
        snprintf(err->msg + used, sizeof err->msg - used, ": %s",
                 strerror_r(code, text, sizeof text));
    }
    return -code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    char context[ERR_MSG_BYTES];
    char inner[ERR_MSG_BYTES];
    va_list args;

    if (!err)
        return -EIO;
    va_start(args, fmt);
    vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    memcpy(inner, err->msg, sizeof inner);
    /* A context that leaves no room would hide the cause: the cause keeps the last two thirds. */
    snprintf(err->msg, sizeof err->msg, "%.*s: %s", (int)(sizeof err->msg / 3), context, inner);
    return -err->code;
}
