/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's agent over a folder of the host, with volt-init's own packing and unpacking, for tests of
 * `voltctl cp`: a cli_fake.h that serves GET and PUT until it is told to stop. */
#ifndef VOLT_TESTS_GUEST_FILES_H
#define VOLT_TESTS_GUEST_FILES_H

#include "cli_fake.h"

/* Serves with `root` (borrowed, absolute) as the guest's root; cli_socket_option leads there. */
void guest_files_start(struct fake *fake, const char *root);
void guest_files_stop(struct fake *fake);

#endif
