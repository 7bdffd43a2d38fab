/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4 of a request in its Authorization header ("Signing AWS API requests" of the
 * AWS IAM user guide), as a service checks it. Stricter than it must be in three things: names of
 * signed headers are in order, each once; every x-amz-* header is signed; what is signed is the body
 * itself (UNSIGNED-PAYLOAD is none). Temporary credentials and presigned URLs are not known.
 *
 * Everything here is the client's and hostile: texts are bounded, and nothing is believed before
 * sigv4_matches. Pure; any thread. */
#ifndef VOLT_POOLD_SIGV4_H
#define VOLT_POOLD_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

#define SIGV4_SHA256_BYTES 32u
#define SIGV4_KEY_ID_BYTES 129u /* with the NUL, as the others */
#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"
#define SIGV4_SCOPE_END "aws4_request" /* of a credential */
#define SIGV4_SKEW_S 300               /* a stamp may be so old, or so far ahead */

struct sigv4_header {
    const char *name, *value; /* as they came; value may be NULL */
};

/* What came, but for the body. The caller's. */
struct sigv4_request {
    const char *method;
    const char *target; /* path and query of the request line */
    const struct sigv4_header *headers;
    size_t header_count;
};

/* What an Authorization header says. */
struct sigv4_claim {
    char key_id[SIGV4_KEY_ID_BYTES];
    char date[9]; /* YYYYMMDD */
    char region[64], service[64];
    char stamp[17];            /* X-Amz-Date: YYYYMMDDTHHMMSSZ */
    char signed_headers[1024]; /* names with ';' between */
    uint8_t signature[SIGV4_SHA256_BYTES];
};

/* The value of the first header of that name, in any case; NULL: there is none. */
const char *sigv4_header_find(const struct sigv4_request *request, const char *name);
/* Whether there is an Authorization header of this kind. */
bool sigv4_is_claimed(const struct sigv4_request *request);
/* Reads it. 0, or -EINVAL it is not whole, with a sentence. */
int sigv4_read(struct sigv4_claim *ret_claim, const struct sigv4_request *request, struct err *err);
/* Whether the claim is one for this service and hour, and about all that it must be about. 0, or
 * -EPERM with a sentence. */
int sigv4_check(const struct sigv4_claim *claim, const struct sigv4_request *request,
                const char *service, time_t now, struct err *err);
/* sigv4_digest.c: whether it was made with this secret, of this request with a body of this SHA-256. */
bool sigv4_matches(const struct sigv4_claim *claim, const struct sigv4_request *request,
                   const char *secret, const uint8_t body_sha256[SIGV4_SHA256_BYTES]);

#endif
