/* SPDX-License-Identifier: Apache-2.0 */
/* Where a copy goes in a guest: what is at a path of it, links followed as `docker cp` does, and
 * which folder a tar stream is unpacked in to make it so.
 *
 *     target        source a file               source a folder
 *     is a folder   into it                     into it (SOURCE/.: what is in it)
 *     is a file     replaces it                 refused
 *     is special    refused                     refused
 *     is missing    under that name;            under that name, with the source's mode and time
 *                   refused if it ends in '/'   (of "/" what is in it, into a folder that is made)
 */
#ifndef VOLT_CLI_GUEST_TARGET_H
#define VOLT_CLI_GUEST_TARGET_H

#include "api.h"
#include "copy_path.h"

enum guest_kind { GUEST_MISSING, GUEST_FILE, GUEST_FOLDER };

struct guest_target {
    struct split_path path; /* with all links at its end resolved */
    enum guest_kind kind;
};

/* Looks what is there: the beginning of a GET tells, and is all that is read. */
int guest_target_find(struct guest_target *target, struct api *api, const char *lease,
                      const char *path, struct err *err);

/* What is to be done with the tar stream. Texts are borrowed of the target. */
struct guest_plan {
    const char *folder;    /* unpack there */
    const char *rename_to; /* NULL: keep the name */
    bool contents;         /* only what is in the source folder */
};

/* The table above. */
int guest_target_plan(const struct guest_target *target, const struct split_path *source,
                      bool source_is_folder, struct guest_plan *ret, struct err *err);

#endif
