/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a signature is made of: the canonical request, digested as it is put together, and the
 * key; see sigv4.h. */
#include <ctype.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "http/sigv4.h"

#define PARAMETERS_MAX 64u
#define HEX_BYTES (2 * SIGV4_SHA256_BYTES + 1)

/* ---- The canonical request ---- */

struct digest {
    gnutls_hash_hd_t hash;
    bool failed;
};

static void put_bytes(struct digest *digest, const char *bytes, size_t count)
{
    if (!digest->failed && count && gnutls_hash(digest->hash, bytes, count) < 0)
        digest->failed = true;
}

static void put(struct digest *digest, const char *text)
{
    put_bytes(digest, text, strlen(text));
}

static bool unreserved(unsigned char c)
{
    return isalnum(c) || (c && strchr("-._~", c));
}

/* Room: 3 bytes for one. Returns the end. */
static char *encode(char *to, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";

    if (unreserved(c)) {
        *to++ = (char)c;
    } else {
        *to++ = '%';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    return to;
}

/* As all services but S3 have it: what stands in the request line, encoded once more. */
static void put_path(struct digest *digest, const char *path, size_t bytes)
{
    char code[3];

    for (size_t i = 0; i < bytes; i++) {
        if (path[i] == '/')
            put(digest, "/");
        else
            put_bytes(digest, code, (size_t)(encode(code, (unsigned char)path[i]) - code));
    }
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The text's meaning, encoded in the one way, NUL-terminated. Room: 3 bytes for one, and one. */
static char *recode(char *to, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < bytes && hex_value(text[i + 1]) >= 0 &&
                   hex_value(text[i + 2]) >= 0) {
            c = (unsigned char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
            i += 2;
        }
        to = encode(to, c);
    }
    *to++ = '\0';
    return to;
}

struct parameter {
    const char *name, *value;
};

static int parameter_order(const void *a, const void *b)
{
    const struct parameter *left = a, *right = b;
    const int order = strcmp(left->name, right->name);

    return order ? order : strcmp(left->value, right->value);
}

static void put_query(struct digest *digest, const char *query)
{
    struct parameter parameters[PARAMETERS_MAX];
    _cleanup_free_ char *codes = malloc(3 * strlen(query) + 2 * PARAMETERS_MAX + 2);
    char *to = codes;
    size_t count = 0;

    digest->failed |= !codes;
    for (const char *at = query; codes && *at;) {
        const size_t bytes = strcspn(at, "&"), name = MIN_OF(strcspn(at, "="), bytes);
        const size_t value = name + (name < bytes);

        if (count == PARAMETERS_MAX) {
            digest->failed = true;
            return;
        }
        if (bytes) {
            parameters[count].name = to;
            to = recode(to, at, name);
            parameters[count++].value = to;
            to = recode(to, at + value, bytes - value);
        }
        at += bytes + (at[bytes] == '&');
    }
    qsort(parameters, count, sizeof parameters[0], parameter_order);
    for (size_t i = 0; i < count; i++) {
        put(digest, i ? "&" : "");
        put(digest, parameters[i].name);
        put(digest, "=");
        put(digest, parameters[i].value);
    }
}

/* Without blanks at its ends, and one for those between. */
static void put_value(struct digest *digest, const char *value)
{
    bool first = true;

    while (*(value += strspn(value, " \t"))) {
        const size_t bytes = strcspn(value, " \t");

        put(digest, first ? "" : " ");
        put_bytes(digest, value, bytes);
        value += bytes;
        first = false;
    }
}

/* One line for the name, whose header may be there more than once, or not at all. */
static void put_header(struct digest *digest, const struct sigv4_request *request, const char *name,
                       size_t bytes)
{
    const char *before = ":";

    put_bytes(digest, name, bytes);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct sigv4_header *header = &request->headers[i];

        if (strlen(header->name) != bytes || strncasecmp(header->name, name, bytes) != 0)
            continue;
        put(digest, before);
        put_value(digest, header->value ? header->value : "");
        before = ",";
    }
    put(digest, *before == ':' ? ":\n" : "\n");
}

static void put_request(struct digest *digest, const struct sigv4_claim *claim,
                        const struct sigv4_request *request, const char *body_hex)
{
    const size_t path = strcspn(request->target, "?");

    put(digest, request->method);
    put(digest, "\n");
    put_path(digest, request->target, path);
    put(digest, "\n");
    put_query(digest, request->target + path + (request->target[path] == '?'));
    put(digest, "\n");
    for (const char *at = claim->signed_headers; *at;) {
        const size_t bytes = strcspn(at, ";");

        put_header(digest, request, at, bytes);
        at += bytes + (at[bytes] == ';');
    }
    put(digest, "\n");
    put(digest, claim->signed_headers);
    put(digest, "\n");
    put(digest, body_hex);
}

static void hex_make(const uint8_t bytes[SIGV4_SHA256_BYTES], char ret_hex[HEX_BYTES])
{
    size_t room = HEX_BYTES;
    const gnutls_datum_t data = { (unsigned char *)(uintptr_t)bytes, SIGV4_SHA256_BYTES };

    if (gnutls_hex_encode(&data, ret_hex, &room) < 0)
        ret_hex[0] = '\0';
}

/* ---- The signature ---- */

static bool mac(const uint8_t *key, size_t key_bytes, const char *text,
                uint8_t ret_mac[SIGV4_SHA256_BYTES])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_bytes, text, strlen(text), ret_mac) == 0;
}

static bool sign(const struct sigv4_claim *claim, const char *secret, const char *text,
                 uint8_t ret_signature[SIGV4_SHA256_BYTES])
{
    char first[SIGV4_KEY_ID_BYTES + 8];
    uint8_t key[SIGV4_SHA256_BYTES];
    const int n = snprintf(first, sizeof first, "AWS4%s", secret);
    bool good = n > 0 && (size_t)n < sizeof first;

    good = good && mac((const uint8_t *)first, (size_t)n, claim->date, key) &&
           mac(key, sizeof key, claim->region, key) && mac(key, sizeof key, claim->service, key) &&
           mac(key, sizeof key, SIGV4_SCOPE_END, key) && mac(key, sizeof key, text, ret_signature);
    explicit_bzero(first, sizeof first);
    explicit_bzero(key, sizeof key);
    return good;
}

bool sigv4_matches(const struct sigv4_claim *claim, const struct sigv4_request *request,
                   const char *secret, const uint8_t body_sha256[SIGV4_SHA256_BYTES])
{
    const char *told = sigv4_header_find(request, "X-Amz-Content-Sha256");
    uint8_t sum[SIGV4_SHA256_BYTES], signature[SIGV4_SHA256_BYTES];
    char body_hex[HEX_BYTES], sum_hex[HEX_BYTES], text[512];
    struct digest digest = { 0 };

    hex_make(body_sha256, body_hex);
    if (told && strcmp(told, body_hex) != 0)
        return false;
    if (gnutls_hash_init(&digest.hash, GNUTLS_DIG_SHA256) < 0)
        return false;
    put_request(&digest, claim, request, body_hex);
    gnutls_hash_deinit(digest.hash, sum);
    if (digest.failed)
        return false;
    hex_make(sum, sum_hex);
    snprintf(text, sizeof text, SIGV4_ALGORITHM "\n%s\n%s/%s/%s/" SIGV4_SCOPE_END "\n%s",
             claim->stamp, claim->date, claim->region, claim->service, sum_hex);
    return sign(claim, secret, text, signature) &&
           gnutls_memcmp(signature, claim->signature, sizeof signature) == 0;
}
