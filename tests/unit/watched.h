/* SPDX-License-Identifier: Apache-2.0 */
/* A folder with a victim beside the place where something is unpacked, and a fingerprint of all that
 * must not change: names, kinds, modes, owners, sizes, times, link counts, contents, attributes. */
#ifndef VOLT_TESTS_WATCHED_H
#define VOLT_TESTS_WATCHED_H

#include <stdbool.h>

/* From here on this process can write below /dev/shm and /tmp alone, whatever name it uses: what an
 * archive does where nothing holds it, it does not do to this machine (as root, to the mode of /).
 * Others than root have their rights for that. False: root may not mount here. */
bool watched_host_protect(void);

struct watched {
    char base[64];
    char target[96]; /* base/in/target: unpack there */
    char victim[96]; /* base/in/victim, and the same again as base/victim */
};

/* Makes it below /dev/shm or /tmp, for anybody to unpack into. */
void watched_make(struct watched *watched);
void watched_remove(struct watched *watched);

/* Makes the target an empty folder again. */
void watched_target_reset(const struct watched *watched);

/* All of base but what is in the target, as text. Owned by the caller. */
char *watched_print(const struct watched *watched);

#endif
