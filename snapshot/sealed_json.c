/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the digest at the end of manifests; see sealed_json.h. */
#include "snapshot/sealed_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/digest.h"

#define TAIL_LEAD "  \"digest\": \""
#define TAIL_END "\"\n}\n"
#define TAIL_BYTES (sizeof TAIL_LEAD - 1 + 2 * DIGEST_BYTES + sizeof TAIL_END - 1)

int sealed_json_check(const char *file, const char *text, size_t len, size_t max, struct err *err)
{
    char found[DIGEST_HEX_BYTES];

    if (len > max)
        return err_set(err, EINVAL, "%s: %zu bytes long, expected at most %zu", file, len, max);
    if (len < TAIL_BYTES || memcmp(text + len - TAIL_BYTES, TAIL_LEAD, sizeof TAIL_LEAD - 1) != 0 ||
        memcmp(text + len - (sizeof TAIL_END - 1), TAIL_END, sizeof TAIL_END - 1) != 0)
        return err_set(err, EINVAL, "%s: expected its last key to be \"digest\": cut or altered",
                       file);
    struct digest digest = digest_of(text, len - TAIL_BYTES);
    const char *expected = text + len - TAIL_BYTES + sizeof TAIL_LEAD - 1;
    if (memcmp(digest_to_hex(&digest, found), expected, 2 * DIGEST_BYTES) != 0)
        return err_set(err, EINVAL, "%s: digest is %s, expected %.32s: altered", file, found,
                       expected);
    return 0;
}

/* Cuts the closing "\n}" off jansson's text and puts the digest behind it. */
int sealed_json_seal(const char *file, const char *body, char **ret_text, size_t *ret_len,
                     struct err *err)
{
    size_t len = strlen(body) - 2;
    char *text = malloc(len + 2 + TAIL_BYTES + 1);
    char hex[DIGEST_HEX_BYTES];

    if (!text)
        return err_set_errno(err, ENOMEM, "%s", file);
    memcpy(text, body, len);
    memcpy(text + len, ",\n", 2);
    len += 2;
    struct digest digest = digest_of(text, len);
    *ret_len = len + TAIL_BYTES;
    snprintf(text + len, TAIL_BYTES + 1, TAIL_LEAD "%s" TAIL_END, digest_to_hex(&digest, hex));
    *ret_text = text;
    return 0;
}
