/* SPDX-License-Identifier: Apache-2.0 */
/* What poold is told: its options (settings.h), where its directories and its guest kernel are, and
 * the pools that its configuration declares.
 *
 * A setting is the command line's, else the environment's, else that of the last file that has it,
 * else its default. The files are poold.conf and, in the order of their names, poold.conf.d/'*'.conf
 * beside it. A reload reads all of it again, with the same command line. */
#ifndef VOLT_POOLD_CONFIG_H
#define VOLT_POOLD_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "api/api_settings.h"
#include "base/err.h"
#include "base/log.h"
#include "vms/vms_settings.h"

struct declarations;

struct config {
    char file[PATH_MAX];      /* the configuration file; "": none is there, and none was named */
    char run_dir[PATH_MAX];   /* vms/ID/, the socket */
    char state_dir[PATH_MAX]; /* pools/NAME.json, snapshots/NAME/, the lock */
    char socket[PATH_MAX];
    char volt_gate[PATH_MAX];
    char volt_e2b[PATH_MAX];
    /* The gateway for E2B's clients (e2b.h): where it listens, "": there is none; its keys, its templates'
     * pools, its certificate; "": none. */
    char e2b[128], e2b_keys[PATH_MAX], e2b_pool[64], e2b_templates[4096];
    char e2b_tls_cert[PATH_MAX], e2b_tls_key[PATH_MAX];
    struct vms_settings vms;
    char policy[PATH_MAX]; /* "": the built-in one */
    char group[64];        /* of the socket; "": unchanged */
    char listen[64];       /* ADDR:PORT for callers by TCP; "": none */
    char listen_callers[PATH_MAX];
    char listen_cert[PATH_MAX], listen_key[PATH_MAX]; /* TLS; "": without */
    bool listen_plain;                                /* without it on any address */
    enum log_level log_level;
    /* Uids of VMs, when root (vm_uids.h); base 0: none of their own. */
    uint32_t uid_base, uid_count;
    char uid_locks[PATH_MAX];
    bool idle_vms;
    uint64_t setup_timeout_ms, awake_timeout_ms, ready_timeout_ms;
    uint64_t surplus_ms;
    uint64_t request_timeout_ms, transfer_timeout_ms, idle_timeout_ms; /* of clients (http.h) */
    uint32_t connections_per_client;
    struct api_settings api;
    bool check_only, show_help, show_version;
};

/* Reads files, environment and command line; ret_declarations is the caller's to free, on failure
 * too. Blocks: start-up, and the thread pool. 0; -EINVAL: the command line or the environment is
 * wrong; -EBADMSG: a file is, or can't be read; any other -errno; all with a sentence. */
int config_load(struct config *ret_config, struct declarations *ret_declarations, int argc,
                char *const *argv, struct err *err);

void config_print_help(FILE *out);

/* ---- For config_load's parts ---- */

/* Where the directories and the configuration file are when nobody says so (config_paths.c). */
void config_default_dirs(struct config *config);
void config_default_file(struct config *config);
/* Finds programs and guest kernels that nobody named, beside poold and where they are installed. */
void config_find_programs(struct config *config);
void config_find_kernel(struct config *config);
/* Everything is used from a daemon that others start: relative paths would surprise. */
int config_make_absolute(struct config *config, struct err *err);

/* Reads config->file and its drop-ins, if there are any (config_file.c). named: it must be there. */
int config_read_files(struct config *config, bool named, struct declarations *declarations,
                      struct err *err);

#endif
