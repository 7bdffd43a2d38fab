/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors 0 to 2, which a program may be started without. */
#ifndef VOLT_BASE_STD_FDS_H
#define VOLT_BASE_STD_FDS_H

/* Opens those of 0 to 2 that are closed, so that no file or socket that is opened later gets their
 * numbers and what is written to them. Reading from one, or writing to one, fails with EBADF as if
 * it were closed still. The first thing in main. Needs /dev/null; without it they stay closed. */
void std_fds_ensure(void);

#endif
