/* SPDX-License-Identifier: Apache-2.0 */
/* What a lease has of volumes, as its file says it to the next poold (volume_files.h). Loop thread, but
 * where it says otherwise. */
#ifndef VOLT_POOLD_VOLUME_LEASE_H
#define VOLT_POOLD_VOLUME_LEASE_H

#include "vms/volumes.h"

/* The file's text, as things stand; saved: what it has written will be the volumes'. malloc'ed; NULL
 * without memory. */
char *volume_lease_text(const struct volumes *volumes, const char *lease, bool saved);

/* One that is in the list, with its volume counted; its caller fills in the rest. NULL without memory. */
struct attachment *attachment_add(struct vms *vms, const char *lease, struct volume *volume);
/* Takes it out and frees it. */
void attachment_free(struct attachment *attachment);

/* Any thread, blocks: the volume's contents are the copy's from now on, which is on disk; what they were
 * is still to be removed. *record is changed alike. 0 or -errno. */
int volume_contents_put(const struct volume_dirs *dirs, const char *id,
                        struct volume_record *record, const char *work, struct err *err);

#endif
