/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a snapshot for restoring: once, by the template process, before it gives up its rights.
 * Clones that it forks find everything checked and decoded: they parse, hash and open nothing.
 *
 * Memory takes longest to check, so other threads may begin with it while the caller decodes the
 * state and makes a VM; snapshot_check ends it. Before that has returned 0 nothing may run with that
 * memory. */
#ifndef VOLT_SNAPSHOT_OPENED_H
#define VOLT_SNAPSHOT_OPENED_H

#include "base/err.h"
#include "snapshot/manifest.h"
#include "snapshot/memory.h"
#include "snapshot/sections.h"
#include "snapshot/workingset.h"

struct snapshot_opened {
    struct manifest manifest;
    struct state_reader state;     /* all digests checked: decode with vm_codec.h and state_codec.h,
                                  then state_reader_check_used, then state_reader_fini to give the
                                  memory back before the first fork */
    struct snapshot_memory memory; /* its fd: memory.img, read-only, to be mapped with
                                      guest_mem_map_private */
    struct working_set working_set; /* empty when none was recorded or it is unusable */
};

/* Reads the state file that the manifest speaks of and checks all its digests. On failure
 * ret_state->fault_section names the section, if it was one. For inspect and verify too. */
int snapshot_state_load(int dirfd, const struct manifest *manifest, struct state_reader *ret_state,
                        struct err *err);

/* Opens, checks and reads a snapshot's directory (dirfd borrowed): manifest and its digest, host
 * (host.h), state file size and every digest, memory.digests, memory.img's kind, owner and size: not
 * yet what is in the latter. On failure *ret_opened is closed and empty. -EINVAL damaged or altered,
 * -ENOTSUP another kind of host or another format version, -ENOENT a file is missing; the sentence
 * names the file, the section and what was expected. */
int snapshot_open(int dirfd, struct snapshot_opened *ret_opened, struct err *err);

/* Begins to compare the memory with its digests, on other threads, which are gone when
 * snapshot_check, or snapshot_close, returns: not before a fork that is to have them. 0 or -ENOMEM. */
int snapshot_check_begin(struct snapshot_opened *t, struct err *err);

/* Compares, or helps with what has begun, and waits until all is done. Once. -EINVAL: damaged; the
 * sentence says where. */
int snapshot_check(struct snapshot_opened *t, struct err *err);

/* Closes and frees. Fine after a failed open. */
void snapshot_close(struct snapshot_opened *t);

#endif
