/* SPDX-License-Identifier: Apache-2.0 */
/* Running programs of the host on what is not trusted: a root filesystem that somebody else packed.
 *
 * The program keeps the user's rights to read, but writes beneath one folder only (Landlock, where
 * the kernel has it), makes no socket (seccomp: neither a network nor what serves the user on this
 * host), gains nothing by exec, and of root's capabilities keeps those to read everything.
 */
#ifndef VOLT_CLI_PROGRAM_H
#define VOLT_CLI_PROGRAM_H

#include <stddef.h>

#include "base/err.h"

struct program {
    const char *package;          /* of Debian, that has it */
    const char *folder;           /* it may write beneath this one */
    const char *const *arguments; /* NULLs among them are left out */
    size_t count;
};

/* Runs it with stdin from /dev/null and stdout on stderr, and waits. 0; -ENOENT with a sentence that
 * names the package when it is not there; -EIO when it fails: what it said is on stderr. */
int program_run(const struct program *program, struct err *err);

#endif
