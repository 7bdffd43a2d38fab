/* SPDX-License-Identifier: Apache-2.0 */
/* A folder to unpack into, and beside it what must stay as it is. */
#ifndef VOLT_TESTS_FUZZ_CANARY_H
#define VOLT_TESTS_FUZZ_CANARY_H

/* Opens the folder, made on the first call; the caller closes it. */
int canary_open(void);

/* Aborts unless all beside the folder is as it was; then empties the folder. */
void canary_check(void);

#endif
