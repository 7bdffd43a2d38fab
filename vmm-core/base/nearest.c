/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the distance between two names; see nearest.h. */
#include "base/nearest.h"

#include <string.h>

#include "base/util.h"

#define NAME_MAX_BYTES 48u

/* The restricted Damerau-Levenshtein distance, by three rows of its table. */
static unsigned distance_of(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    unsigned rows[3][NAME_MAX_BYTES + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (unsigned j = 0; j <= b_bytes; j++)
        above[j] = j;
    for (unsigned i = 1; i <= a_bytes; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b_bytes; j++) {
            unsigned replaced = above[j - 1] + (a[i - 1] != b[j - 1]);

            row[j] = MIN_OF(replaced, MIN_OF(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN_OF(row[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_bytes];
}

void nearest_try(struct nearest *nearest, const char *name)
{
    size_t given_bytes = strlen(nearest->given), name_bytes = strlen(name);

    if (given_bytes > NAME_MAX_BYTES || name_bytes > NAME_MAX_BYTES)
        return;
    unsigned distance = distance_of(nearest->given, given_bytes, name, name_bytes);
    /* A third of its letters wrong: more is another word. */
    if (distance > (name_bytes + 2) / 3 || (nearest->best && distance >= nearest->distance))
        return;
    nearest->best = name;
    nearest->distance = distance;
}
