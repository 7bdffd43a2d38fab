/* SPDX-License-Identifier: Apache-2.0 */
/* A long body that arrives in chunks, each of which goes to the disk on the thread pool while the
 * connection waits: an image's import, or a volume's. Loop thread, but where it says otherwise. */
#ifndef VOLT_POOLD_UPLOAD_H
#define VOLT_POOLD_UPLOAD_H

#include "api/api.h"

#define UPLOAD_CHUNK_BYTES (2u << 20)

struct upload;

struct upload_ops {
    /* Takes what comes before the chunks, and says how much of it; 0: that is over. NULL: nothing
     * does. */
    size_t (*head)(struct upload *upload, const char *data, size_t bytes);
    /* Thread pool: stores chunk[0..used), and if it is the last one, ends it with result or err. */
    void (*run)(struct upload *upload);
    /* All is stored, or err says why not: before the reply. NULL: nothing to do. */
    void (*done)(struct upload *upload);
    void (*refuse)(struct http_request *request, const struct err *err);
    /* Thread pool: what is still open of it goes, nothing of it stays. Also after the end. */
    void (*abandon)(struct upload *upload);
    /* Frees the struct that it is part of. */
    void (*free)(struct upload *upload);
};

struct upload {
    const struct upload_ops *ops;
    struct http_request *request; /* NULL: its client is gone */
    struct api *api;
    size_t used;    /* of chunk */
    bool out;       /* a work has it */
    bool last;      /* the body is whole */
    struct err err; /* the first failure; what still comes is read and dropped */
    json_t *result; /* of the end */
    uint8_t chunk[UPLOAD_CHUNK_BYTES];
};

/* Counts the chunk as memory of the request's user, until the request is over. False: it has replied. */
bool upload_allowed(struct http_request *request);
/* For a struct that begins with an upload, all but the chunk zeroed: from now on it ends by
 * ops->free. */
void upload_begin(struct upload *upload, const struct upload_ops *ops,
                  struct http_request *request);
/* The others of http_body_ops, and the route's handler. */
size_t upload_take(struct http_request *request, const char *data, size_t bytes);
void upload_gone(struct http_request *request);
void upload_end(struct http_request *request);

#endif
