/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call functions by TCP: a file of names with a token, a key for signatures or both, and the
 * functions that each may call.
 *
 *     {"callers": [{"name": "ci", "token": "TOKEN", "functions": ["hello"]},
 *                  {"name": "sdk", "access_key_id": "ID", "secret_access_key": "SECRET"}]}
 *
 * "functions" absent: all. A token has 20 to 256 visible characters of ASCII, an id 16 to 128 of
 * A-Z a-z 0-9 _, a secret 20 to 128 visible characters. No two callers have a name, token or id in
 * common. The file must be one to be believed (base/trusted_file.h) that its owner alone may read.
 *
 * What is read is an access_policy (access.h) with a rule and a caller for each: rights to acquire from
 * pools of the functions' names. Its memory is wiped when it is freed. */
#ifndef VOLT_POOLD_CALLERS_H
#define VOLT_POOLD_CALLERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "http/access.h"
#include "http/sigv4.h"

struct caller {
    char name[ACCESS_NAME_BYTES];
    bool has_token;
    uint8_t token_sha256[SIGV4_SHA256_BYTES];
    char key_id[SIGV4_KEY_ID_BYTES]; /* "": none */
    char secret[SIGV4_KEY_ID_BYTES];
};

/* Blocks. 0 or -errno with a sentence that has the path and none of the file's secrets. */
int callers_read(const char *path, struct access_policy **ret_policy, struct err *err);

/* The caller of this token, or of this key id; UINT32_MAX: nobody's. The time that it takes to look
 * for a token tells nothing of those that there are. */
uint32_t caller_of_token(const struct access_policy *policy, const char *token);
uint32_t caller_of_key(const struct access_policy *policy, const char *key_id);

#endif
