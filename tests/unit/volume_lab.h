/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes for tests of poold (poold_daemon.h): making them, giving them to leases, and looking at what is
 * left. fake_vmm writes to each volume that it mounts. */
#ifndef VOLT_TESTS_VOLUME_LAB_H
#define VOLT_TESTS_VOLUME_LAB_H

#include <stdbool.h>
#include <stdint.h>

#define VOLUME_BYTES (1u << 20)
#define VOLUME_HEAD_BYTES 8192u

/* The first bytes of an empty ext4 or erofs of that size. */
void volume_head(uint8_t head[VOLUME_HEAD_BYTES], bool ext4, uint32_t bytes);
/* Sends them; the status. */
unsigned volume_send(const char *name, const char *query, const uint8_t *head);
/* A volume of VOLUME_BYTES; the status. */
unsigned volume_make(const char *name, bool ext4);
/* A pool whose VMs have two slots. */
void volume_pool_make(void);

/* What fake_vmm writes, if it is in the volume's contents; else "". */
const char *volume_contents(const char *name);
/* Takes them away, or puts them back. */
void volume_contents_hide(const char *name, bool hide);
/* Waits until a folder of volumes/ has so many files: they go a moment after who had them. */
void volume_await_files(const char *folder, unsigned count);

/* lease: its path. */
void volume_attach(const char *lease, unsigned status, const char *body);
void volume_release(const char *lease, unsigned status, const char *query);
/* A pool, the volume "cache", and a lease that writes it, at /c. */
void volume_writer_make(char ret_lease[64]);
/* How many volumes the lease's file says that it has; 0: there is no file. */
unsigned volume_lease_entries(const char *lease);
/* Changes what the lease's file says of its first volume; what it said before. */
bool volume_lease_set(const char *lease, const char *key, bool value);

/* kill -9. */
void volume_poold_kill(void);

#endif
