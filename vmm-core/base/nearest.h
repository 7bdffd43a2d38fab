/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the names that there are was meant by one that there is not. Any thread.
 *
 *     struct nearest nearest = { .given = "memmory" };
 *     for (...)
 *         nearest_try(&nearest, name);
 *     if (nearest.best) ... "did you mean '%s'?"
 */
#ifndef VOLT_BASE_NEAREST_H
#define VOLT_BASE_NEAREST_H

struct nearest {
    const char *given;
    const char *best;  /* NULL: none is near enough to be meant */
    unsigned distance; /* of best: letters to insert, remove, replace, or swap with the next one */
};

/* Keeps name if it is nearer than those before; borrowed. */
void nearest_try(struct nearest *nearest, const char *name);

#endif
