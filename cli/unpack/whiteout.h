/* SPDX-License-Identifier: Apache-2.0 */
/* Names by which a layer takes away what is below it (OCI image specification, layer.md). */
#ifndef VOLT_CLI_UNPACK_WHITEOUT_H
#define VOLT_CLI_UNPACK_WHITEOUT_H

#include "place.h"

/* Whether a member's path is such a name. */
bool whiteout_is(const char *path);

/* Does what it says: ".wh.NAME" removes NAME, ".wh..wh..opq" all that is in its folder; what
 * place->layer has stays. Other names of ".wh..wh." mean nothing here. 0 or -errno with a sentence.
 */
int whiteout_apply(struct place *place, const char *path, struct err *err);

#endif
