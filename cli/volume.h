/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and folders that a lease is given: what --volume and --share ask for, and their making.
 *
 * A folder of the host is shared as it is when it is asked for: an erofs is made of it, with the rights
 * of the user, and is a volume then. Its name is the digest of what a look at every file's inode tells
 * (names, sizes, owners, times), so the same folder is not made twice. */
#ifndef VOLT_CLI_VOLUME_H
#define VOLT_CLI_VOLUME_H

#include "api.h"
#include "image_build.h"
#include "options.h"
#include "volume_key.h"

#define VOLUME_TIMEOUT_MS (10u * 60 * 1000) /* what waits for all of one to be written or copied */

struct volume_options {
    struct option_list volumes; /* NAME:PATH[:ro|:copy|:rw] each */
    struct option_list shares;  /* DIR:PATH each */
};

#define VOLUME_SPECS(given)                                                                        \
    { "volume",                                                                                    \
      'v',                                                                                         \
      OPTION_LIST,                                                                                 \
      &(given)->volumes,                                                                           \
      "NAME:PATH[:ro|:rw]",                                                                        \
      "mount a volume there: with ro as it is, with rw to keep what is written when the lease is " \
      "released (one lease at a time); else writes are thrown away" },                             \
    {                                                                                              \
        "share", 0, OPTION_LIST, &(given)->shares, "DIR:PATH",                                     \
            "mount what is in a folder of ours there, as it is now, read-only"                     \
    }

static inline void volume_options_fini(struct volume_options *given)
{
    option_list_fini(&given->volumes);
    option_list_fini(&given->shares);
}

/* Whether one of them keeps what is written. */
bool volumes_write(const struct volume_options *given);

#define VOLUME_FOLDER_BYTES (VOLUME_KEY_BYTES + 8)

/* The volumes of the folders, in the order of given->shares. */
struct volume_folders {
    char (*names)[VOLUME_FOLDER_BYTES]; /* owned; NULL: there are none */
};

static inline void volume_folders_fini(struct volume_folders *folders)
{
    free(folders->names);
}
#define _cleanup_volume_folders_ __attribute__((cleanup(volume_folders_fini)))

/* Before a VM is acquired: checks what is asked for, and makes the volumes of folders that are not there
 * yet. *folders is zeroed at first, and the caller's also after a failure. 0 or -errno. */
int volumes_prepare(struct api *api, const struct volume_options *given,
                    struct volume_folders *folders, struct err *err);
/* Gives them to a lease, in their order, volumes first. One that another lease writes is waited for,
 * wait_ms for all. 0 or -errno: it may have some of them. */
int volumes_give(struct api *api, const char *lease, const struct volume_options *given,
                 const struct volume_folders *folders, uint64_t wait_ms, struct err *err);

/* Stores a file system as a volume: what lies behind its last data is not sent. *ret_json: the volume,
 * may be NULL. 0 or -errno. */
int volume_store(struct api *api, const char *name, bool folder, const struct image_built *built,
                 json_t **ret_json, struct err *err);

#endif
