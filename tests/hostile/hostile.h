/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that mean harm: one table for every unpacker's tests, on the host and in a guest.
 *
 * Each archive tries to write, change, link or remove something in the *victim*, a folder beside the
 * one that is unpacked into, or to make a file that must not be. Its members are named as a guest's
 * agent would name what it was asked for: from the *top* on.
 */
#ifndef VOLT_TESTS_HOSTILE_H
#define VOLT_TESTS_HOSTILE_H

#include <stddef.h>
#include <stdint.h>

#define HOSTILE_BYTES_MAX (4u << 20) /* of the longest archive */

struct hostile_place {
    const char *top;
    const char *victim; /* absolute path; ../victim is the same folder, seen from the target */
};

extern const size_t hostile_count;

/* What the archive tries. */
const char *hostile_title(size_t index);

/* Writes it. Returns its length. */
size_t hostile_build(size_t index, const struct hostile_place *place,
                     uint8_t buffer[HOSTILE_BYTES_MAX]);

/* The name of its n-th member, of those that the table spells out, with `@` and `%` filled in. NULL
 * behind the last one. */
const char *hostile_member_name(size_t index, size_t member, const struct hostile_place *place,
                                char *text, size_t text_bytes);

#endif
