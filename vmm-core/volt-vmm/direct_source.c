/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the snapshot that a VM without a daemon is restored from: opened once, for this process and
 * the VM's; see direct_internal.h. */
#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "volt-vmm/direct_internal.h"

int direct_source_open(struct direct *d, struct err *err)
{
    struct options *o = d->options;

    o->snapshot_fd = open(o->restore, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->snapshot_fd < 0)
        return err_set_errno(err, errno, "opening the snapshot '%s'", o->restore);
    int rc = manifest_load(o->snapshot_fd, &d->manifest, err);
    if (rc < 0)
        return err_wrap(err, "'%s'", o->restore), rc;
    d->opened_ns = clock_ns(CLOCK_REALTIME);
    d->has_mark = memory_mark_make(o->snapshot_fd, &d->manifest.memory_digest, &d->mark);
    o->memory_known = d->has_mark && memory_mark_is_left(o->snapshot_fd, &d->mark);
    return 0;
}

void direct_source_worked(struct direct *d)
{
    if (d->has_mark && !d->options->memory_known)
        memory_mark_leave(d->options->snapshot_fd, &d->mark, d->opened_ns);
    d->has_mark = false;
    close_fd(&d->options->snapshot_fd);
}
