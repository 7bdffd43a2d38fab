/* SPDX-License-Identifier: Apache-2.0 */
/* volt-files, the command that works with a guest's files for the host (guest_abi.h has what it takes
 * and prints). It is volt-init under another name, in a process and with the rights of its own, so that
 * no file of a guest holds up PID 1. */
#ifndef GUEST_FILES_H
#define GUEST_FILES_H

/* argv[0] is its name. Returns the exit code. */
int files_main(int argc, char **argv);

#endif
