/* SPDX-License-Identifier: Apache-2.0 */
/* The names of an archive's members: the first wall. Pure text; what links may do to them on the
 * way is the business of place.h.
 *
 * A name that is accepted has become a path of components that are none of "", "." and "..", none
 * longer than NAME_MAX, all of it shorter than NAME_PATH_BYTES; "" is the target itself.
 */
#ifndef VOLT_CLI_UNPACK_NAMES_H
#define VOLT_CLI_UNPACK_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define NAME_PATH_BYTES 4096u /* with the NUL */

struct name_rules {
    /* NULL: an archive of anybody, of a whole root: leading slashes, "." and doubled slashes mean
     * nothing. Else it comes from an agent, which packs one thing and calls it that; any name that
     * an agent would not have given is refused. */
    const char *top;
    const char *as; /* what `top` is called in the target; "": it is the target itself */
    bool only_top;  /* `top` is a file: nothing is beneath it */
};

/* 0; -EPERM for a name that leads out or is another's, -ENAMETOOLONG, with a sentence that has the
 * name as it was. */
int name_confine(const struct name_rules *rules, const char *name, char ret_path[NAME_PATH_BYTES],
                 struct err *err);

/* The name as it may be shown (base/text.h); text_bytes is at least 16. Returns `text`. */
const char *name_printable(const char *name, char *text, size_t text_bytes);

#endif
