/* SPDX-License-Identifier: Apache-2.0 */
/* Where a copy from a guest goes on the host: which folder is unpacked into, and how what came
 * becomes visible.
 *
 * How it works
 *   The path is walked component by component. Links of the user's own are followed, as `docker cp`
 *   does. A link that an earlier copy brought out of a VM is not (it bears PLACE_LINK_MARK_NS): else
 *   a guest could say where the next copy goes.
 *
 *     there is       a file comes                    a folder comes
 *     a folder       into it                         into it; SOURCE/.: what is in it
 *     a file         replaces it                     refused
 *     a VM's link    replaces it                     refused
 *     a device, ...  refused                         refused
 *     nothing        under that name;                made, and what is in the source goes into it
 *                    refused if it ends in '/'
 *
 *   What is new is unpacked into a folder of its own beside its place (".volt-cp-" and digits) and
 *   renamed when it is whole, so a copy that breaks off leaves nothing. Only what goes into a folder
 *   that is there already is unpacked in place.
 *
 * One thread.
 */
#ifndef VOLT_CLI_HOST_TARGET_H
#define VOLT_CLI_HOST_TARGET_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

/* What comes. */
struct host_source {
    const char *name; /* its last component; "" for "/" */
    bool is_folder;
    bool contents; /* what is in the folder, not the folder */
};

struct host_target {
    int parent_fd;           /* the folder that `name` is in */
    int folder_fd;           /* unpack there */
    bool staged;             /* it is a folder of our own, called `staging` */
    bool is_file;            /* what comes is to be HOST_TARGET_FILE in it, and nothing else */
    char name[NAME_MAX + 1]; /* what it is called at last */
    char staging[24];
    char shown[PATH_MAX]; /* the path, for messages */
};

#define HOST_TARGET_FILE "file"

/* Finds the place and makes it ready. 0, or -errno with a sentence; then nothing is left. */
int host_target_open(struct host_target *target, const char *path, const struct host_source *source,
                     struct err *err);

/* All has come: gives it its name. 0 or -errno; either way the target is done with. */
int host_target_commit(struct host_target *target, struct err *err);

/* Takes away what was staged. What was unpacked in place stays. */
void host_target_discard(struct host_target *target);

#endif
