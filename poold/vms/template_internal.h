/* SPDX-License-Identifier: Apache-2.0 */
/* What template.c (the process) and template_keep.c (what of it outlives poold) share; nobody else
 * includes it. */
#ifndef VOLT_POOLD_TEMPLATE_INTERNAL_H
#define VOLT_POOLD_TEMPLATE_INTERNAL_H

#include "host/link.h"
#include "vms/pool_disk.h"
#include "vms/template.h"

struct template
{
    struct link link;
    struct hosted_pool *hosted;
    pid_t pid; /* 0: not running */
    bool ready, killed;
    bool has_working_set; /* its snapshot */
    bool said_why;        /* it told in EXITED why it ends: trying again is of no use */
    struct list unborn;   /* clones whose CLONED has not come */
    uint64_t next_cookie;
    char detail[ERR_MSG_BYTES];
    int snapshot_fd;
    struct pool_disk disk; /* until the process has it */
    bool disk_writable;
    struct list node;             /* retired: in hosted->retired */
    bool retired;                 /* not hosted->template */
    uint32_t record;              /* in the ledger; LEDGER_NONE: it has none */
    struct ledger_template entry; /* what is in it */
};

/* Without a process. NULL without memory. */
struct template *template_create(struct hosted_pool *hosted);

/* Which program it runs: an upgrade brings another one, at the same path. */
void template_note_program(const char *path, struct ledger_template *ret);
/* What the next poold has to know of one that is ready; and that it has ended. */
void template_record_fill(struct template *template);
void template_record_end(struct template *template);

#endif
