/* SPDX-License-Identifier: Apache-2.0 */
/* What the child that unpacks does: without the child, for tests of the first wall alone. */
#ifndef VOLT_CLI_UNPACK_UNPACK_WORK_H
#define VOLT_CLI_UNPACK_UNPACK_WORK_H

#include "unpack.h"

/* Unpacks the stream into the folder, with what these walls (CONFINE_*) allow. 0 or -errno with a
 * sentence; *ret_tally says either way how far it came. */
int unpack_work(const struct unpack_spec *spec, unsigned walls, int input_fd, int target_fd,
                struct place_tally *ret_tally, struct err *err);

#endif
