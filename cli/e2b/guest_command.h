/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in a sandbox's guest: how they are started, and those of the gateway's own (volt-files). */
#ifndef VOLT_CLI_E2B_GUEST_COMMAND_H
#define VOLT_CLI_E2B_GUEST_COMMAND_H

#include "../agent.h"
#include "e2b/process.h"
#include "e2b/server.h"

/* Opens a session and asks for the command: with the variables of the wish, the sandbox and the image,
 * the image's user and folder unless the wish has others, and /bin/sh for a /bin/bash that is not there.
 * 0; -ENOTCONN: the VM is gone; -EINVAL, -E2BIG or another -errno. */
int guest_command_open(struct agent **ret_agent, struct sandbox *sandbox,
                       const struct process_wish *wish, struct err *err);

/* volt-files at work. */
struct guest_files {
    struct agent *agent;
    uint32_t credit;
    bool over;           /* it has ended */
    bool refused;        /* it has failed, or was never started: what failed is of the guest */
    char complaint[320]; /* what it wrote to stderr */
    size_t complaint_bytes;
    uint8_t *output; /* of all but guest_files_next: what it has printed */
    size_t bytes, room;
};

#define GUEST_FILES_OUTPUT_MAX (8u << 20)

/* Starts an operation; `more` is NULL where it takes one argument. 0 or -errno. */
int guest_files_open(struct guest_files *files, struct sandbox *sandbox, const char *user,
                     const char *operation, const char *path, const char *more, struct err *err);
/* Gives it input. 0 or -errno: why it takes no more. */
int guest_files_write(struct guest_files *files, const void *data, size_t bytes, struct err *err);
/* Ends its input, and gathers what it prints until it ends. 0; -errno of the guest's, with `refused`;
 * any other -errno. */
int guest_files_finish(struct guest_files *files, struct err *err);
/* The next of what it prints: bytes in *ret_data, valid until the next call; 0: none just now, or, with
 * `over`, at its end; or as guest_files_finish, and -ETIMEDOUT at the deadline, which is not the end. */
ssize_t guest_files_next(struct guest_files *files, uint64_t deadline_ns, const uint8_t **ret_data,
                         struct err *err);
/* Adds it to the output. */
void guest_files_keep(struct guest_files *files, const uint8_t *data, size_t bytes);
/* All of an operation. */
int guest_files_run(struct guest_files *files, struct sandbox *sandbox, const char *user,
                    const char *operation, const char *path, const char *more, struct err *err);
void guest_files_close(struct guest_files *files);

/* Takes an entry of volt-files out of data: EntryInfo in JSON, and how many bytes it had in *ret_bytes.
 * NULL: it is not whole, or none. Pure. */
json_t *guest_entry_parse(const uint8_t *data, size_t bytes, size_t *ret_bytes);

#endif
