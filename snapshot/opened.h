/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a snapshot for restoring: once, by the template process, before it gives up its rights.
 * Clones that it forks find everything checked and decoded: they parse, hash and open nothing.
 */
#ifndef VOLT_SNAPSHOT_OPENED_H
#define VOLT_SNAPSHOT_OPENED_H

#include "base/err.h"
#include "snapshot/manifest.h"
#include "snapshot/sections.h"
#include "snapshot/workingset.h"

/* Also read all of memory.img and check every chunk (snapshot_verify's part): costs a read of the
 * file's data and about 0.1 ms for each MiB of it. */
#define SNAPSHOT_OPEN_CHECK_MEMORY 0x1u

struct snapshot_opened {
    struct manifest manifest;
    struct state_reader state; /* all digests checked: decode with vm_codec.h and state_codec.h,
                                  then state_reader_check_used, then state_reader_fini to give the
                                  memory back before the first fork */
    int memory_fd;             /* memory.img, read-only, size and footer checked: map
                                  [0, manifest.memory_bytes) with guest_mem_map_private */
    struct working_set working_set; /* empty when none was recorded or it is unusable */
};

/* Reads the state file that the manifest speaks of and checks all its digests. On failure
 * ret_state->fault_section names the section, if it was one. For inspect and verify too. */
int snapshot_state_load(int dirfd, const struct manifest *manifest, struct state_reader *ret_state,
                        struct err *err);

/* Opens the memory.img that the manifest speaks of, of exactly its size, and checks its footer. */
int snapshot_memory_open(int dirfd, const struct manifest *manifest, int *ret_fd, struct err *err);

/* Opens, checks and reads a snapshot's directory (dirfd borrowed): manifest and its digest, host
 * (host.h), state file size and every digest, memory.img's kind, owner, size and footer. flags:
 * SNAPSHOT_OPEN_*. On failure *ret_opened is closed and empty. -EINVAL damaged or altered,
 * -ENOTSUP another kind of host or a newer format, -ENOENT a file is missing; the sentence names
 * the file, the section and what was expected. */
int snapshot_open(int dirfd, unsigned flags, struct snapshot_opened *ret_opened, struct err *err);

/* Closes and frees. Fine after a failed open. */
void snapshot_close(struct snapshot_opened *t);

#endif
