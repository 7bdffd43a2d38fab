/* SPDX-License-Identifier: Apache-2.0 */
/* Owns Connect's envelopes and errors; see rpc.h. */
#include "e2b/rpc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json_text.h"
#include "base/util.h"

#define TYPE "application/connect+json"
#define TIMEOUT_DIGITS_MAX 10 /* of the protocol */

int rpc_envelope_parse(const char *data, size_t bytes, const char **ret_message, size_t *ret_bytes,
                       struct err *err)
{
    uint32_t message_bytes;

    if (bytes < RPC_ENVELOPE_BYTES)
        return err_set(err, EINVAL, "the request has no whole envelope");
    memcpy(&message_bytes, data + 1, sizeof message_bytes);
    message_bytes = ntohl(message_bytes);
    if (data[0] != 0)
        return err_set(err, EINVAL, "the request's envelope has flags (0x%02x) that are not taken",
                       (unsigned char)data[0]);
    if (bytes - RPC_ENVELOPE_BYTES != message_bytes)
        return err_set(err, EINVAL, "the request's envelope says %u bytes, and %zu have come",
                       message_bytes, bytes - RPC_ENVELOPE_BYTES);
    *ret_message = data + RPC_ENVELOPE_BYTES;
    *ret_bytes = message_bytes;
    return 0;
}

bool rpc_envelope_open(struct call *call, const char **ret_message, size_t *ret_bytes)
{
    struct err err;

    if (rpc_envelope_parse(call->body ? call->body : "", call->bytes, ret_message, ret_bytes,
                           &err) == 0)
        return true;
    reply_error(call, 400, RPC_INVALID_ARGUMENT, "%s", err.msg);
    return false;
}

char *rpc_envelope_make(unsigned flags, json_t *message, size_t *ret_bytes)
{
    size_t bytes = json_dumpb(message, NULL, 0, JSON_COMPACT);
    char *envelope = malloc(RPC_ENVELOPE_BYTES + bytes);
    const uint32_t length = htonl((uint32_t)bytes);

    if (!envelope)
        abort(); /* a few KiB */
    envelope[0] = (char)flags;
    memcpy(envelope + 1, &length, sizeof length);
    json_dumpb(message, envelope + RPC_ENVELOPE_BYTES, bytes, JSON_COMPACT);
    json_decref(message);
    *ret_bytes = RPC_ENVELOPE_BYTES + bytes;
    return envelope;
}

json_t *rpc_error_json(enum rpc_error code, const char *text)
{
    return json_pack("{s:s, s:o}", "code", rpc_error_names[code], "message", json_text(text));
}

char *rpc_envelope_end(enum rpc_error code, const char *text, size_t *ret_bytes)
{
    json_t *end = json_object();

    if (code != RPC_ERROR_COUNT)
        json_object_set_new(end, "error", rpc_error_json(code, text));
    return rpc_envelope_make(RPC_FLAG_END, end, ret_bytes);
}

struct MHD_Response *rpc_stream_error(enum rpc_error code, const char *text)
{
    size_t bytes;
    char *envelope = rpc_envelope_end(code, text, &bytes);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(bytes, envelope, MHD_RESPMEM_MUST_FREE);

    if (response)
        MHD_add_response_header(response, "Content-Type", TYPE);
    return response;
}

json_t *rpc_bytes_encode(const void *data, size_t bytes)
{
    char *text = malloc((bytes + 2) / 3 * 4 + 1);

    if (!text)
        abort(); /* a few KiB */
    int count = EVP_EncodeBlock((unsigned char *)text, data, (int)bytes);
    json_t *json = json_stringn_nocheck(text, (size_t)count);
    free(text);
    return json;
}

uint8_t *rpc_bytes_decode(const json_t *text, size_t *ret_bytes)
{
    const char *encoded = json_string_value(text);
    size_t bytes = json_string_length(text);
    _cleanup_free_ char *padded = encoded ? malloc(bytes + 5) : NULL;
    uint8_t *data = encoded ? malloc(bytes + 5) : NULL;

    if (!padded || !data) {
        free(data);
        return NULL;
    }
    /* Both alphabets, with or without padding, as protobuf's JSON has it. */
    for (size_t i = 0; i < bytes; i++)
        padded[i] = encoded[i] == '-' ? '+' : encoded[i] == '_' ? '/' : encoded[i];
    while (bytes > 0 && padded[bytes - 1] == '=')
        bytes--;
    size_t rest = bytes;
    while (bytes % 4)
        padded[bytes++] = '=';
    int count = bytes - rest == 3 || memchr(padded, '=', rest)
                    ? -1
                    : EVP_DecodeBlock(data, (unsigned char *)padded, (int)bytes);
    if (count < 0) {
        free(data);
        return NULL;
    }
    *ret_bytes = (size_t)count - (bytes - rest);
    return data;
}

json_t *rpc_time_json(uint64_t seconds, uint64_t fraction, int digits)
{
    time_t time = (time_t)MIN_OF(seconds, 253402300799ull); /* the end of 9999 */
    char text[64], date[32];
    struct tm tm;

    gmtime_r(&time, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%0*lluZ", date, digits, (unsigned long long)fraction);
    return json_string(text);
}

bool rpc_timeout(struct call *call, uint32_t *ret_ms)
{
    const char *text = call_header(call, "Connect-Timeout-Ms");
    size_t digits = text ? strspn(text, "0123456789") : 0;

    *ret_ms = 0;
    if (!text)
        return true;
    if (digits == 0 || digits > TIMEOUT_DIGITS_MAX || text[digits]) {
        reply_error(call, 400, RPC_INVALID_ARGUMENT, "Connect-Timeout-Ms is no number");
        return false;
    }
    *ret_ms = (uint32_t)MIN_OF(strtoull(text, NULL, 10), UINT32_MAX - 1ull);
    return true;
}
