/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading and checking of signatures; see sigv4.h. */
#include "http/sigv4.h"

#include <ctype.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"

const char *sigv4_header_find(const struct sigv4_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    }
    return NULL;
}

/* ---- The claim ---- */

bool sigv4_is_claimed(const struct sigv4_request *request)
{
    const char *value = sigv4_header_find(request, "Authorization");

    return value && strncmp(value, SIGV4_ALGORITHM, strlen(SIGV4_ALGORITHM)) == 0;
}

/* Copies text of `bytes` that has only what is allowed in it, and something. */
static bool word_take(char *ret_word, size_t room, const char *text, size_t bytes,
                      const char *allowed)
{
    if (bytes == 0 || bytes >= room || strspn(text, allowed) < bytes)
        return false;
    memcpy(ret_word, text, bytes);
    ret_word[bytes] = '\0';
    return true;
}

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* KEY_ID/DATE/REGION/SERVICE/aws4_request */
static bool credential_read(struct sigv4_claim *claim, const char *text, size_t bytes)
{
    const struct {
        char *word;
        size_t room;
        const char *allowed;
    } parts[] = {
        { claim->key_id, sizeof claim->key_id, DIGITS LOWER UPPER "_" },
        { claim->date, sizeof claim->date, DIGITS },
        { claim->region, sizeof claim->region, DIGITS LOWER "-" },
        { claim->service, sizeof claim->service, DIGITS LOWER "-" },
    };

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const char *slash = memchr(text, '/', bytes);
        const size_t part = slash ? (size_t)(slash - text) : bytes;

        if (!slash || !word_take(parts[i].word, parts[i].room, text, part, parts[i].allowed))
            return false;
        text += part + 1;
        bytes -= part + 1;
    }
    return bytes == strlen(SIGV4_SCOPE_END) && memcmp(text, SIGV4_SCOPE_END, bytes) == 0;
}

static bool signature_read(struct sigv4_claim *claim, const char *text, size_t bytes)
{
    size_t size = sizeof claim->signature;
    const gnutls_datum_t hex = { (unsigned char *)(uintptr_t)text, (unsigned)bytes };

    return bytes == 2 * sizeof claim->signature && strspn(text, DIGITS "abcdef") >= bytes &&
           gnutls_hex_decode(&hex, claim->signature, &size) == 0 && size == sizeof claim->signature;
}

/* Small letters, in order, each name once. */
static bool signed_headers_read(struct sigv4_claim *claim, const char *text, size_t bytes)
{
    const char *last = "";
    size_t last_bytes = 0;

    if (!word_take(claim->signed_headers, sizeof claim->signed_headers, text, bytes,
                   DIGITS LOWER "-_.;"))
        return false;
    for (const char *at = claim->signed_headers;;) {
        const size_t name = strcspn(at, ";");
        const int order = memcmp(last, at, MIN_OF(last_bytes, name));

        if (name == 0 || order > 0 || (order == 0 && last_bytes >= name))
            return false;
        if (!at[name])
            return true;
        last = at;
        last_bytes = name;
        at += name + 1;
    }
}

static const struct part {
    const char *name;
    bool (*read)(struct sigv4_claim *claim, const char *text, size_t bytes);
} parts[] = {
    { "Credential=", credential_read },
    { "SignedHeaders=", signed_headers_read },
    { "Signature=", signature_read },
};

/* One NAME=VALUE; sets its bit in *seen. False: it is none, or there already. */
static bool part_read(struct sigv4_claim *claim, const char *text, size_t bytes, unsigned *seen)
{
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        const size_t name = strlen(parts[i].name);

        if (bytes < name || memcmp(text, parts[i].name, name) != 0)
            continue;
        if (*seen & 1u << i)
            return false;
        *seen |= 1u << i;
        return parts[i].read(claim, text + name, bytes - name);
    }
    return false;
}

static int parts_read(struct sigv4_claim *claim, const char *at, struct err *err)
{
    unsigned seen = 0;

    for (at += strspn(at, " "); *at;) {
        size_t bytes = strcspn(at, ",");
        const char *next = at + bytes + (at[bytes] == ',');

        while (bytes && at[bytes - 1] == ' ')
            bytes--;
        if (!part_read(claim, at, bytes, &seen))
            return err_set(err, EINVAL,
                           "the Authorization header must have Credential=KEY/DATE/REGION/SERVICE/"
                           "aws4_request, SignedHeaders= in order and Signature=, each once");
        at = next + strspn(next, " ");
    }
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        if (!(seen & 1u << i))
            return err_set(err, EINVAL, "Authorization header requires '%.*s' parameter",
                           (int)strlen(parts[i].name) - 1, parts[i].name);
    }
    return 0;
}

int sigv4_read(struct sigv4_claim *ret_claim, const struct sigv4_request *request, struct err *err)
{
    const char *text = sigv4_header_find(request, "Authorization");
    const char *stamp = sigv4_header_find(request, "X-Amz-Date");
    unsigned given = 0;

    *ret_claim = (struct sigv4_claim){ 0 };
    for (size_t i = 0; i < request->header_count; i++)
        given += strcasecmp(request->headers[i].name, "Authorization") == 0;
    if (given != 1 ||
        strncmp(text ? text : "", SIGV4_ALGORITHM " ", strlen(SIGV4_ALGORITHM " ")) != 0)
        return err_set(err, EINVAL, "there must be one Authorization header, of " SIGV4_ALGORITHM);
    if (parts_read(ret_claim, text + strlen(SIGV4_ALGORITHM), err) < 0)
        return -EINVAL;
    if (!stamp || strlen(stamp) != sizeof ret_claim->stamp - 1)
        return err_set(err, EINVAL,
                       "Authorization header requires existence of a 'X-Amz-Date' header, as "
                       "20260131T235959Z");
    memcpy(ret_claim->stamp, stamp, sizeof ret_claim->stamp);
    return 0;
}

/* ---- Its checks ---- */

static bool stamp_parse(const char *stamp, time_t *ret_time)
{
    struct tm tm = { 0 };
    int used = 0;

    for (int i = 0; i < 15; i++) {
        if (i != 8 && !isdigit((unsigned char)stamp[i]))
            return false;
    }
    if (sscanf(stamp, "%4d%2d%2dT%2d%2d%2dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &used) != 6 ||
        used != 16)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_time = timegm(&tm);
    return tm.tm_mon >= 0 && tm.tm_mon < 12;
}

static bool is_signed(const struct sigv4_claim *claim, const char *name)
{
    for (const char *at = claim->signed_headers; *at;) {
        const size_t bytes = strcspn(at, ";");

        if (strncasecmp(at, name, bytes) == 0 && !name[bytes])
            return true;
        at += bytes + (at[bytes] == ';');
    }
    return false;
}

static int headers_check(const struct sigv4_claim *claim, const struct sigv4_request *request,
                         struct err *err)
{
    if (!is_signed(claim, "host"))
        return err_set(err, EPERM, "'Host' must be a 'SignedHeader' in the AWS Authorization");
    for (size_t i = 0; i < request->header_count; i++) {
        const char *name = request->headers[i].name;

        if (strncasecmp(name, "x-amz-", strlen("x-amz-")) == 0 && !is_signed(claim, name))
            return err_set(err, EPERM, "'%.60s' must be a 'SignedHeader' in the AWS Authorization",
                           name);
    }
    return 0;
}

int sigv4_check(const struct sigv4_claim *claim, const struct sigv4_request *request,
                const char *service, time_t now, struct err *err)
{
    time_t stamp;

    if (strcmp(claim->service, service) != 0)
        return err_set(err, EPERM, "Credential should be scoped to correct service: '%s'", service);
    if (strncmp(claim->date, claim->stamp, 8) != 0 || !stamp_parse(claim->stamp, &stamp))
        return err_set(err, EPERM,
                       "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of "
                       "date from HTTP");
    if (stamp < now - SIGV4_SKEW_S)
        return err_set(err, EPERM, "Signature expired: %s is more than 5 minutes ago here",
                       claim->stamp);
    if (stamp > now + SIGV4_SKEW_S)
        return err_set(err, EPERM,
                       "Signature not yet current: %s is more than 5 minutes ahead here",
                       claim->stamp);
    return headers_check(claim, request, err);
}
