/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the seal at the end of manifests; see sealed_json.h. */
#include "snapshot/sealed_json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/checksum.h"
#include "snapshot/digest.h"

#define LEAD "  \"digest\": \""
#define END "\"\n}\n"
#define LEAD_BYTES (sizeof LEAD - 1)
#define END_BYTES (sizeof END - 1)
#define TAIL_BYTES(hex_bytes) (LEAD_BYTES + (hex_bytes)-1 + END_BYTES)

static const char *checksum_hex(const char *text, size_t len, char *ret_hex)
{
    struct checksum checksum = checksum_of(text, len);

    return checksum_to_hex(&checksum, ret_hex);
}

static const char *digest_hex(const char *text, size_t len, char *ret_hex)
{
    struct digest digest = digest_of(text, len);

    return digest_to_hex(&digest, ret_hex);
}

static const struct {
    size_t hex_bytes; /* with the NUL */
    const char *(*hex)(const char *text, size_t len, char *ret_hex);
} seals[] = {
    [SEAL_CHECKSUM] = { CHECKSUM_HEX_BYTES, checksum_hex },
    [SEAL_DIGEST] = { DIGEST_HEX_BYTES, digest_hex },
};

static bool has_tail(const char *text, size_t len, size_t hex_bytes)
{
    return len >= TAIL_BYTES(hex_bytes) &&
           memcmp(text + len - TAIL_BYTES(hex_bytes), LEAD, LEAD_BYTES) == 0 &&
           memcmp(text + len - END_BYTES, END, END_BYTES) == 0;
}

int sealed_json_check(const char *file, const char *text, size_t len, size_t max,
                      enum seal *ret_seal, struct err *err)
{
    enum seal seal = has_tail(text, len, CHECKSUM_HEX_BYTES) ? SEAL_CHECKSUM : SEAL_DIGEST;
    size_t hex_bytes = seals[seal].hex_bytes;
    char found[DIGEST_HEX_BYTES];

    if (len > max)
        return err_set(err, EINVAL, "%s: %zu bytes long, expected at most %zu", file, len, max);
    if (!has_tail(text, len, hex_bytes))
        return err_set(err, EINVAL, "%s: expected its last key to be \"digest\": cut or altered",
                       file);
    const char *expected = text + len - TAIL_BYTES(hex_bytes) + LEAD_BYTES;
    seals[seal].hex(text, len - TAIL_BYTES(hex_bytes), found);
    if (memcmp(found, expected, hex_bytes - 1) != 0)
        return err_set(err, EINVAL, "%s: digest is %s, expected %.*s: altered", file, found,
                       (int)hex_bytes - 1, expected);
    *ret_seal = seal;
    return 0;
}

/* Cuts the closing "\n}" off jansson's text and puts the seal behind it. */
int sealed_json_seal(const char *file, const char *body, char **ret_text, size_t *ret_len,
                     struct err *err)
{
    size_t len = strlen(body) - 2, tail_bytes = TAIL_BYTES(DIGEST_HEX_BYTES);
    char *text = malloc(len + 2 + tail_bytes + 1);
    char hex[DIGEST_HEX_BYTES];

    if (!text)
        return err_set_errno(err, ENOMEM, "%s", file);
    memcpy(text, body, len);
    memcpy(text + len, ",\n", 2);
    len += 2;
    *ret_len = len + tail_bytes;
    snprintf(text + len, tail_bytes + 1, LEAD "%s" END, digest_hex(text, len, hex));
    *ret_text = text;
    return 0;
}
