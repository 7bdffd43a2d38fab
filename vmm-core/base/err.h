/* SPDX-License-Identifier: Apache-2.0 */
/* The error object of cold paths: a code and a sentence that gathers context on its way up.
 *
 * A function that can fail returns 0 or -errno and takes `struct err *err` last; NULL is allowed
 * and drops the sentence. The leaf that meets the failure calls err_set (or err_set_errno), each
 * level above that knows more calls err_wrap; the program prints err->msg once, at the top. No
 * allocation, any thread, one owner. Hot paths return -errno only.
 */
#ifndef VOLT_BASE_ERR_H
#define VOLT_BASE_ERR_H

#define ERR_MSG_BYTES 512

struct err {
    int code;                /* errno value, positive; 0: no error */
    char msg[ERR_MSG_BYTES]; /* a sentence without a final full stop; cut, never overrun */
};

/* Sets code and sentence. Returns -code, so that `return err_set(err, EINVAL, ...)` reads well. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with ": " and strerror(code) behind the sentence. */
int err_set_errno(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<context>: " before the sentence that is there. Returns -err->code. With err NULL, returns
 * -EIO (callers that pass NULL and need the code keep the callee's return value). */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
