/* SPDX-License-Identifier: Apache-2.0 */
/* Writing tar archives that no tar would write: every field as it is wanted. */
#ifndef VOLT_TESTS_HOSTILE_WRITE_H
#define VOLT_TESTS_HOSTILE_WRITE_H

#include "hostile.h"

/* A member. In name, link, pax and prefix `@` stands for the top and `%` for the victim. */
struct hostile_member {
    const char *name;
    char type; /* as in tar; 0: a file */
    const char *link;
    const char *data;   /* NULL: "evil" for a file, nothing for others */
    const char *pax;    /* "KEY=VALUE" lines of a pax header before it */
    const char *prefix; /* of ustar */
    const char *size;   /* the field as it is, instead of the length of data */
    unsigned mode;      /* 0: 0666 for files, 0777 for folders */
    unsigned major, minor;
    unsigned char pax_type; /* 'x' if 0 */
};

struct hostile_writer {
    const struct hostile_place *place;
    uint8_t *data;
    size_t bytes;
};

/* Fills in `@` and `%`. Returns text. */
const char *hostile_expand(const struct hostile_place *place, const char *pattern, char *text,
                           size_t text_bytes);

void hostile_put(struct hostile_writer *writer, const struct hostile_member *member);

/* A member of that type with this data: long names (L, K), pax headers (x, g). */
void hostile_put_extended(struct hostile_writer *writer, char type, const void *data, size_t bytes);

/* Data and its padding, and the two empty blocks at the end. */
void hostile_put_data(struct hostile_writer *writer, const void *data, size_t bytes);
void hostile_put_end(struct hostile_writer *writer);

/* Makes the checksum of the header at `at` right again. */
void hostile_checksum(uint8_t *at);

#endif
