/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the request line and the headers that a function gets; see function_head.h. */
#include "api/function_head.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "functions/function.h"

#define METHOD_BYTES_MAX 16u

bool http_header_is_hop(const char *name)
{
    static const char *const names[] = { "Connection", "Content-Length", "Expect",
                                         "Host",       "Keep-Alive",     "Proxy-Connection",
                                         "TE",         "Trailer",        "Transfer-Encoding",
                                         "Upgrade" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcasecmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* Who asks by TCP proves who it is with these: they are for poold, not for the function. */
static bool is_secret(const char *name)
{
    return strcasecmp(name, "Authorization") == 0 || strcasecmp(name, "X-Amz-Security-Token") == 0;
}

struct head {
    char *text;
    size_t bytes;
    bool full;
    bool by_tcp;
};

static void put(struct head *head, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct head *head, const char *fmt, ...)
{
    const size_t room = FUNCTION_HEAD_MAX - head->bytes;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(head->text + head->bytes, room, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room)
        head->full = true;
    else
        head->bytes += (size_t)n;
}

/* Nothing that would end a line or a word early. */
static bool printable(const char *text, bool blanks)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;

        if (c == 0x7f || c < ' ' || (c == ' ' && !blanks))
            return false;
    }
    return true;
}

static enum MHD_Result header_put(void *data, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct head *head = data;

    (void)kind;
    if (!http_header_is_hop(name) && !(head->by_tcp && is_secret(name)) && printable(name, false) &&
        value && printable(value, true))
        put(head, "%s: %s\r\n", name, value);
    return MHD_YES;
}

int function_head_make(const struct http_request *request, const char *function, size_t body_bytes,
                       char *ret_head, size_t *ret_bytes, struct err *err)
{
    const char *method = http_query(request, "method"), *path = http_query(request, "path");
    struct head head = { .text = ret_head, .by_tcp = http_target(request) };

    method = method ? method : "POST";
    path = path ? path : "/";
    if (strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method) || !*method ||
        strlen(method) > METHOD_BYTES_MAX || strcmp(method, "CONNECT") == 0)
        return err_set(err, EINVAL, "?method= is a method of HTTP such as GET, not '%.40s'",
                       method);
    if (*path != '/' || !printable(path, false))
        return err_set(err, EINVAL, "?path= begins with a / and has no blanks");
    put(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, path, function);
    MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, header_put, &head);
    if (body_bytes || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0)
        put(&head, "Content-Length: %zu\r\n", body_bytes);
    put(&head, "\r\n");
    if (head.full)
        return err_set(err, E2BIG, "path and headers are over %u bytes", FUNCTION_HEAD_MAX);
    *ret_bytes = head.bytes;
    return 0;
}
