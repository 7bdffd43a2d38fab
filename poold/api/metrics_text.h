/* SPDX-License-Identifier: Apache-2.0 */
/* What poold tells Prometheus (text format 0.0.4). Loop thread only. */
#ifndef VOLT_POOLD_METRICS_TEXT_H
#define VOLT_POOLD_METRICS_TEXT_H

#include <stdio.h>

struct api;
struct function;
struct hosted_pool;
struct peer;

/* A family of metrics: one table makes the text and the list in docs/operations.md. */
struct metric_family {
    const char *name, *type, *help;
    const char *labels; /* for the documentation; "": none */
    /* One of them; print_pool is called for each pool. */
    void (*print_poold)(const struct api *api, const struct metric_family *family, FILE *out);
    void (*print_pool)(const struct hosted_pool *hosted, const struct metric_family *family,
                       FILE *out);
    size_t offset; /* of a value in struct hosted_pool */
    void (*print_function)(const struct function *function, const struct metric_family *family,
                           FILE *out);
};

extern const struct metric_family metric_families[];
extern const size_t metric_family_count;

/* Of the pools that the peer may know of. */
void metrics_text_print(const struct api *api, const struct peer *peer, FILE *out);

#endif
