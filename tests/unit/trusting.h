/* SPDX-License-Identifier: Apache-2.0 */
/* An unpacker that believes all that an archive says, as it may be after a fault: what the second
 * wall has to hold alone, and the proof that the hostile archives do harm where nothing holds. */
#ifndef VOLT_TESTS_TRUSTING_H
#define VOLT_TESTS_TRUSTING_H

/* Unpacks the stream below the folder, follows every link and name, and goes on after failures.
 * `top` is stripped from names if it is not NULL. */
void trusting_unpack(int input_fd, int target_fd, const char *top);

#endif
