/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the question who asks, of requests by TCP. None of them is looked at further before that is
 * answered: what is refused here has come to no route.
 *
 * A token is in the head, so its request goes on as any other. A signature is of the body, too: that
 * is kept here until it is whole, counted to the address that it comes from, and goes on, at once,
 * when the signature is right. Of what is refused the body is read and dropped, so that the client
 * can read why; it has no longer than any other (HTTP_BODY). */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/util.h"
#include "http/callers.h"
#include "http/http_internal.h"

#define HEADERS_MAX 128u
#define ROOM_LEAST 4096u
#define BEARER "Bearer "
#define SERVICE "lambda"

enum proof_state {
    PROOF_NONE,   /* not looked at yet */
    PROOF_SIGNED, /* it claims to be signed: the body is awaited */
    PROOF_GIVEN,  /* it is its caller's */
    PROOF_DENIED, /* the denial says why */
};

struct http_proof {
    enum proof_state state;
    struct http_denial denial;
    struct sigv4_claim claim;
    gnutls_hash_hd_t hash; /* of the body; NULL: none */
    char *body;
    size_t body_bytes, body_room;
    char target[]; /* as it came */
};

struct http_proof *http_guard_make(const char *target)
{
    const size_t bytes = strlen(target) + 1;
    struct http_proof *proof = malloc(sizeof *proof + bytes);

    if (!proof)
        return NULL;
    memset(proof, 0, sizeof *proof);
    memcpy(proof->target, target, bytes);
    return proof;
}

void http_guard_free(struct http_request *request)
{
    struct http_proof *proof = request->proof;

    if (!proof)
        return;
    access_caller_leave(request->http->config.access, &request->connection->peer);
    if (proof->hash)
        gnutls_hash_deinit(proof->hash, NULL);
    free(proof->body);
    free(proof);
    request->proof = NULL;
}

const char *http_target(const struct http_request *request)
{
    return request->proof ? request->proof->target : NULL;
}

/* ---- Denials ---- */

static const struct denial_row {
    unsigned status;
    const char *type, *sentence;
} missing = { 403, "MissingAuthenticationTokenException", "Missing Authentication Token" },
  incomplete = { 400, "IncompleteSignatureException",
                 "the Authorization header must be there once, and be 'Bearer TOKEN' or a "
                 "signature of AWS Signature Version 4" },
  unknown = { 403, "UnrecognizedClientException",
              "The security token included in the request is invalid." },
  wrong = { 403, "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method." },
  too_large = { 413, "RequestTooLargeException", "the body of a call is too large" },
  too_much = { 429, "TooManyRequestsException",
               "your requests and unread replies take too much memory; read them first" },
  failed = { 500, "ServiceException", "the request could not be checked" };

/* sentence NULL: the row's. */
static void deny(struct http_proof *proof, const struct denial_row *row, const char *sentence)
{
    proof->state = PROOF_DENIED;
    proof->denial = (struct http_denial){ .status = row->status, .type = row->type };
    snprintf(proof->denial.sentence, sizeof proof->denial.sentence, "%s",
             sentence ? sentence : row->sentence);
}

/* ---- Who asks ---- */

struct head {
    struct sigv4_request request;
    struct sigv4_header headers[HEADERS_MAX];
    size_t authorizations;
    bool too_many;
};

static enum MHD_Result header_take(void *data, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct head *head = data;

    (void)kind;
    if (head->request.header_count == HEADERS_MAX) {
        head->too_many = true;
        return MHD_NO;
    }
    head->authorizations += strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0;
    head->headers[head->request.header_count++] = (struct sigv4_header){ name, value };
    return MHD_YES;
}

static void head_read(struct head *head, const struct http_request *request, const char *method)
{
    head->request = (struct sigv4_request){ .method = method,
                                            .target = request->proof->target,
                                            .headers = head->headers };
    head->authorizations = 0;
    head->too_many = false;
    MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, header_take, head);
}

static void caller_enter(struct http_request *request, uint32_t caller)
{
    struct http_proof *proof = request->proof;

    if (access_caller_enter(request->http->config.access, &request->connection->peer, caller) < 0)
        deny(proof, &failed, "out of memory");
    else
        proof->state = PROOF_GIVEN;
}

static void token_look(struct http_request *request, const char *token)
{
    const uint32_t caller = caller_of_token(request->http->config.access->policy, token);

    if (caller == UINT32_MAX)
        deny(request->proof, &unknown, NULL);
    else
        caller_enter(request, caller);
}

static void claim_look(struct http_request *request, const struct head *head)
{
    const struct access_policy *policy = request->http->config.access->policy;
    struct http_proof *proof = request->proof;
    struct err err = { 0 };

    if (sigv4_read(&proof->claim, &head->request, &err) < 0)
        deny(proof, &incomplete, err.msg);
    else if (caller_of_key(policy, proof->claim.key_id) == UINT32_MAX ||
             http_header(request, "X-Amz-Security-Token"))
        deny(proof, &unknown, NULL);
    else if (sigv4_check(&proof->claim, &head->request, SERVICE, time(NULL), &err) < 0)
        deny(proof, &wrong, err.msg);
    else if (gnutls_hash_init(&proof->hash, GNUTLS_DIG_SHA256) < 0)
        deny(proof, &failed, NULL);
    else
        proof->state = PROOF_SIGNED;
}

bool http_guard_begin(struct http_request *request, const char *method)
{
    const char *value = http_header(request, MHD_HTTP_HEADER_AUTHORIZATION);
    struct http_proof *proof = request->proof;
    struct head head;

    head_read(&head, request, method);
    if (!value)
        deny(proof, &missing, NULL);
    else if (head.authorizations != 1 || head.too_many)
        deny(proof, &incomplete, NULL);
    else if (strncasecmp(value, BEARER, strlen(BEARER)) == 0)
        token_look(request, value + strlen(BEARER) + strspn(value + strlen(BEARER), " "));
    else if (sigv4_is_claimed(&head.request))
        claim_look(request, &head);
    else
        deny(proof, &incomplete, NULL);
    return proof->state == PROOF_GIVEN;
}

/* ---- Bodies ---- */

static bool body_grow(struct http_request *request, size_t bytes)
{
    const size_t most = request->http->config.signed_body_max;
    const char *length = http_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    struct http_proof *proof = request->proof;
    const size_t told = length ? strtoull(length, NULL, 10) : most;
    size_t room;
    char *body = NULL;

    if (bytes > most || (length && told > most)) {
        deny(proof, &too_large, NULL);
        return false;
    }
    if (bytes <= proof->body_room)
        return true;
    room = MAX_OF(bytes, MIN_OF(MAX_OF(2 * proof->body_room, (size_t)ROOM_LEAST), told));
    if (http_request_charge(request, room - proof->body_room))
        body = realloc(proof->body, room);
    if (!body) {
        deny(proof, &too_much, NULL);
        return false;
    }
    proof->body = body;
    proof->body_room = room;
    return true;
}

void http_guard_take(struct http_request *request, const char *data, size_t bytes)
{
    struct http_proof *proof = request->proof;

    if (proof->state != PROOF_SIGNED || !body_grow(request, proof->body_bytes + bytes))
        return;
    if (gnutls_hash(proof->hash, data, bytes) < 0) {
        deny(proof, &failed, NULL);
        return;
    }
    memcpy(proof->body + proof->body_bytes, data, bytes);
    proof->body_bytes += bytes;
}

/* By the secret that its key has now. */
static void signature_look(struct http_request *request, const char *method)
{
    const struct access_policy *policy = request->http->config.access->policy;
    struct http_proof *proof = request->proof;
    const uint32_t caller = caller_of_key(policy, proof->claim.key_id);
    uint8_t sum[SIGV4_SHA256_BYTES];
    struct head head;

    gnutls_hash_deinit(proof->hash, sum);
    proof->hash = NULL;
    head_read(&head, request, method);
    if (caller == UINT32_MAX) {
        deny(proof, &unknown, NULL);
    } else if (!sigv4_matches(&proof->claim, &head.request, policy->callers[caller].secret, sum)) {
        deny(proof, &wrong, NULL);
    } else {
        http_request_uncharge(request); /* it goes on at once, to be counted to its caller */
        caller_enter(request, caller);
    }
}

bool http_guard_end(struct http_request *request, const char *method, char **ret_body,
                    size_t *ret_bytes)
{
    struct http_proof *proof = request->proof;

    *ret_body = NULL;
    *ret_bytes = 0;
    if (proof->state == PROOF_SIGNED)
        signature_look(request, method);
    if (proof->state != PROOF_GIVEN) {
        request->http->config.denied(request, &proof->denial);
        return false;
    }
    *ret_bytes = proof->body_bytes;
    *ret_body = take_pointer(&proof->body);
    return true;
}
