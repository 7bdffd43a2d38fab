/* SPDX-License-Identifier: Apache-2.0 */
/* poold's API as voltctl uses it: requests with JSON in and out, its error objects made into
 * sentences, and typed access to what came back (docs/api.md). */
#ifndef VOLT_CLI_API_H
#define VOLT_CLI_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.h"

#define API_TIMEOUT_MS 30000u
#define API_PATH_BYTES 512

/* err.code of an error answer that voltctl treats specially; all others are EREMOTEIO. */
#define API_ERROR_NO_VM EAGAIN        /* no_vm_free */
#define API_ERROR_PENDING EINPROGRESS /* request_pending */
#define API_ERROR_BUSY EBUSY          /* volume_busy */
#define API_ERROR_MISSING ENOENT      /* HTTP 404, and 410: it is there no more */

struct api {
    struct client client;
};

/* Connects to the socket that the global options and the environment name. */
int api_init(struct api *api, struct err *err);
void api_fini(struct api *api);

/* One request; `body` is borrowed or NULL. On success *ret_json is the caller's (json_decref), or
 * NULL for an answer without a body; ret_json may be NULL. An error answer is a failure with the
 * server's sentence. */
int api_call(struct api *api, const char *method, const char *path, json_t *body,
             uint64_t timeout_ms, json_t **ret_json, struct err *err);

/* The same for a POST whose body is the text `before` (NULL: none) and the first `bytes` bytes of the
 * file fd (borrowed). */
int api_upload(struct api *api, const char *path, const char *before, int fd, uint64_t bytes,
               uint64_t timeout_ms, json_t **ret_json, struct err *err);

/* POSTs bytes to a function. Success is an answer of the function itself, whatever its status:
 * *ret_response is the caller's (client_response_fini). */
int api_invoke(struct api *api, const char *path, const char *type, const void *data, size_t bytes,
               uint64_t timeout_ms, struct client_response *ret_response, struct err *err);

/* The same, for answers that are text; *ret_text is the caller's (free). */
int api_text(struct api *api, const char *path, char **ret_text, size_t *ret_bytes,
             struct err *err);

/* A GET that goes on and on, whose body take gets (client.h). 0 when it has ended. */
int api_follow(struct api *api, const char *path, client_take_fn *take, void *data,
               struct err *err);

/* Turns the connection into a stream; `protocol` as in docs/api.md. */
int api_upgrade(struct api *api, const char *path, const char *protocol,
                struct client_stream *ret_stream, struct err *err);

/* Makes a path of what is before a name from the command line, the name, percent-encoded, and what is
 * after it; or a query's value, if `before` has the '?'. 0; -EINVAL: the name is empty, or has a '/'
 * in a path; -ENAMETOOLONG. */
int api_path(char ret_path[API_PATH_BYTES], struct err *err, const char *before, const char *name,
             const char *after);

/* The member of that name and type. -EPROTO with a sentence when it is missing or of another type;
 * the string is borrowed from object. */
int api_get_string(json_t *object, const char *key, const char **ret_text, struct err *err);
int api_get_array(json_t *object, const char *key, json_t **ret_array, struct err *err);

/* For tables, where a member that is not there is shown as missing: "-" and -1. `key` may be a path
 * such as "timings_us.total". */
const char *api_text_of(json_t *object, const char *key);
json_int_t api_number_of(json_t *object, const char *key);

/* Prints json to stdout, indented. Returns the exit code. */
int api_print_json(json_t *json);

static inline void json_cleanup(json_t **json)
{
    json_decref(*json);
}
#define _cleanup_json_ __attribute__((cleanup(json_cleanup)))
#define _cleanup_api_ __attribute__((cleanup(api_fini)))

#endif
