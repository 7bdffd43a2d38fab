/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest devices.c and its test agree on. */
#ifndef VOLT_TESTS_DEVICES_H
#define VOLT_TESTS_DEVICES_H

/* Bits of the READY status: which device did not do what it should. */
#define DEVICES_FAILED_RNG 0x1u
#define DEVICES_FAILED_DISK 0x2u
#define DEVICES_FAILED_NET 0x4u
#define DEVICES_FAILED_VSOCK 0x8u
#define DEVICES_FAILED_BALLOON 0x10u
#define DEVICES_FAILED_START 0x20u

/* Frames in both directions: the round in the first byte, then its complement. */
#define DEVICES_FRAME_BYTES 64u

/* Where a round writes on the disk: two sectors, filled with the round and with its complement. */
#define DEVICES_SECTOR(round) (2u * (round))

#endif
