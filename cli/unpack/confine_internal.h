/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of confine.h's walls. */
#ifndef VOLT_CLI_UNPACK_CONFINE_INTERNAL_H
#define VOLT_CLI_UNPACK_CONFINE_INTERNAL_H

#include "confine.h"

/* Installs the filter for work behind these walls. */
int confine_filter_install(const struct confine *confine, unsigned walls, struct err *err);

#endif
