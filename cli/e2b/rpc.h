/* SPDX-License-Identifier: Apache-2.0 */
/* Connect's protocol with JSON (connectrpc.com, "Protocol Reference"): unary calls are plain JSON;
 * calls that stream have envelopes both ways, a byte of flags and 4 of length, big-endian, before each
 * message; the last one of a reply has RPC_FLAG_END and says whether all went well. */
#ifndef VOLT_CLI_E2B_RPC_H
#define VOLT_CLI_E2B_RPC_H

#include "e2b/server.h"

#define RPC_ENVELOPE_BYTES 5u
#define RPC_FLAG_COMPRESSED 0x01u
#define RPC_FLAG_END 0x02u

/* What is in the one envelope of data. 0; -EINVAL with a sentence: half of one, more than one, or a
 * flag that must not be. Reads nothing else of data; pure. */
int rpc_envelope_parse(const char *data, size_t bytes, const char **ret_message, size_t *ret_bytes,
                       struct err *err);
/* The same of the call's body. False: it has replied. */
bool rpc_envelope_open(struct call *call, const char **ret_message, size_t *ret_bytes);

/* An envelope with the text of a message in it: *ret_bytes, the caller's (free). Takes message. */
char *rpc_envelope_make(unsigned flags, json_t *message, size_t *ret_bytes);
/* The last one. code RPC_ERROR_COUNT: all went well. */
char *rpc_envelope_end(enum rpc_error code, const char *text, size_t *ret_bytes);

/* {"code", "message"}. */
json_t *rpc_error_json(enum rpc_error code, const char *text);
/* A whole reply that is only an error. */
struct MHD_Response *rpc_stream_error(enum rpc_error code, const char *text);

/* Bytes in JSON: base64. The decoded ones are the caller's (free); NULL: that is none. */
json_t *rpc_bytes_encode(const void *data, size_t bytes);
uint8_t *rpc_bytes_decode(const json_t *text, size_t *ret_bytes);

/* Connect-Timeout-Ms; 0: none. False: it is no number; it has replied. */
bool rpc_timeout(struct call *call, uint32_t *ret_ms);

/* A time since the epoch, with a fraction of so many digits. */
json_t *rpc_time_json(uint64_t seconds, uint64_t fraction, int digits);

#endif
