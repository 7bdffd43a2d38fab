/* SPDX-License-Identifier: Apache-2.0 */
/* Copying of files and folders between host and guest; names as in `docker cp`. */
#ifndef VOLT_CLI_COPY_H
#define VOLT_CLI_COPY_H

#include "api.h"

struct copy_options {
    bool owners; /* keep owners and groups; else all belongs to who copies */
    bool follow; /* a link that the source is */
    bool quiet;  /* no progress */
};

/* Copies host_path into the VM of that lease; "-": unpacks the tar stream on standard input into the
 * folder guest_path. guest_path is absolute. 0 or -errno. */
int copy_to_guest(struct api *api, const char *lease, const char *host_path, const char *guest_path,
                  const struct copy_options *options, struct err *err);

/* Copies guest_path (absolute) of the VM to host_path; "-": writes a tar stream to standard output.
 * 0 or -errno. */
int copy_from_guest(struct api *api, const char *lease, const char *guest_path,
                    const char *host_path, const struct copy_options *options, struct err *err);

#endif
