/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock domains: what a process may still do by name. Raw system calls and the constants of the
 * kernel's documentation (userspace-api/landlock), for whichever ABI is there.
 *
 * Landlock holds opening, making, removing and linking of files, TCP, signals and abstract sockets.
 * It does not hold chmod, chown, utimes, setxattr and stat: those need another wall.
 */
#ifndef VOLT_BASE_LANDLOCK_H
#define VOLT_BASE_LANDLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* linux/landlock.h as of ABI 7; the build machine's may be older. */
#define LANDLOCK_FS_EXECUTE (1ull << 0)
#define LANDLOCK_FS_WRITE_FILE (1ull << 1)
#define LANDLOCK_FS_READ_FILE (1ull << 2)
#define LANDLOCK_FS_READ_DIR (1ull << 3)
#define LANDLOCK_FS_REMOVE_DIR (1ull << 4)
#define LANDLOCK_FS_REMOVE_FILE (1ull << 5)
#define LANDLOCK_FS_MAKE_CHAR (1ull << 6)
#define LANDLOCK_FS_MAKE_DIR (1ull << 7)
#define LANDLOCK_FS_MAKE_REG (1ull << 8)
#define LANDLOCK_FS_MAKE_SOCK (1ull << 9)
#define LANDLOCK_FS_MAKE_FIFO (1ull << 10)
#define LANDLOCK_FS_MAKE_BLOCK (1ull << 11)
#define LANDLOCK_FS_MAKE_SYM (1ull << 12)
#define LANDLOCK_FS_REFER (1ull << 13)    /* ABI 2: links and renames between folders */
#define LANDLOCK_FS_TRUNCATE (1ull << 14) /* ABI 3 */

/* What stays allowed at and beneath a file or folder. */
struct landlock_rule {
    int fd;          /* O_PATH will do; borrowed */
    uint64_t rights; /* LANDLOCK_FS_*; what the kernel does not know is left out */
};

/* The kernel's ABI; 0: no Landlock in this kernel, or switched off. */
uint32_t landlock_abi(void);

/* Puts the calling thread, and what it starts, into one domain more: nothing but what the rules
 * allow (rule_count 0: nothing at all), no TCP, no signals to and no abstract sockets of processes
 * outside, as far as the ABI goes. Needs no_new_privs. *ret_abi is 0 and the call succeeds where
 * there is no Landlock. 0 or -errno. */
int landlock_restrict(const struct landlock_rule *rules, size_t rule_count, uint32_t *ret_abi,
                      struct err *err);

#endif
