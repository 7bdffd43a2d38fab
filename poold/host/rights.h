/* SPDX-License-Identifier: Apache-2.0 */
/* What poold keeps of the rights that it was started with, and whom the kernel kills first when the
 * host runs out of memory: VMs, then templates, poold last. */
#ifndef VOLT_POOLD_RIGHTS_H
#define VOLT_POOLD_RIGHTS_H

#include <sys/types.h>

#include "base/err.h"

/* oom_score_adj, see proc(5). */
#define RIGHTS_OOM_VM 600
#define RIGHTS_OOM_TEMPLATE 300
#define RIGHTS_OOM_POOLD (-900)

/* At the start, while there is one thread: drops every capability but those of the table in
 * rights.c, from the bounding set too, so that nothing that is started has others; sets
 * no_new_privs; lowers poold's own oom_score_adj, where it may. 0 or -errno. */
int rights_reduce(struct err *err);

/* Sets the oom_score_adj of process `pid`, if pidfd (-1: not asked) is still its. A hint: without the
 * right nothing happens. Any thread. */
void rights_oom_adjust(pid_t pid, int pidfd, int score);

#endif
