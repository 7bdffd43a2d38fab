/* SPDX-License-Identifier: Apache-2.0 */
/* Pax headers as the tar writer makes them: a row of records "LENGTH KEY=VALUE\n". */
#ifndef GUEST_TAR_WRITE_PAX_H
#define GUEST_TAR_WRITE_PAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct tar_pax {
    uint8_t *data; /* the caller's */
    size_t bytes, room;
};

/* Each adds a record. False: it has no room, and is not there. */
bool tar_pax_text(struct tar_pax *pax, const char *key, const char *value);
bool tar_pax_number(struct tar_pax *pax, const char *key, uint64_t value);
bool tar_pax_time(struct tar_pax *pax, const char *key, const struct timespec *time);

/* Adds the attributes user.* and security.capability of an open file. Returns how many had no room
 * or could not be read. */
uint32_t tar_pax_xattrs(struct tar_pax *pax, int fd);

#endif
