/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of volt-vmm. */
#ifndef VOLT_VMM_OPTIONS_H
#define VOLT_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "sandbox/sandbox.h"
#include "volt-vmm/net_source.h"

#define OPTIONS_CMDLINE_BYTES 2048u

struct options {
    /* Machine to boot. */
    const char *kernel, *initrd; /* NULL: none */
    uint64_t memory_bytes;
    uint32_t vcpu_count;
    bool pit, pmu;
    const char *cmdline; /* added to the default one */
    const char *cpu_template;
    const char *console_log; /* a file; under poold console_fd, a pipe */
    int console_fd;
    struct net_source net; /* given: it has a network card */
    bool balloon;
    uint32_t volumes;    /* slots for them */
    bool huge_pages;     /* memory in pages of 2 MiB */
    const char *of_boot; /* what of these was given that a restored VM has from its snapshot */
    /* Without a daemon. */
    const char *restore;     /* directory of a snapshot to restore instead of booting */
    const char *snapshot_to; /* directory to snapshot to at the first PARK */
    bool memory_known;       /* its memory has been compared before: snapshot/memory_mark.h */
    const char *disk;        /* FILE[,ro|,rw] */
    const char *api_socket;  /* where to listen */
    bool console;            /* join the terminal to the serial console */
    /* Sockets and files that poold passes by number; -1: not given. */
    int control_fd, bell_fd, snapshot_fd;
    int kernel_fd, initrd_fd; /* of a boot VM, in place of their paths */
    /* Its disk: a file or block device, or a disk map with the disk_files fds behind it. */
    int disk_fd, disk_map_fd;
    uint32_t disk_files;
    int disk_delta_fd;       /* of a boot VM: what it writes to; -1: the disk is read-only */
    bool disk_in_place;      /* without a delta, writes go to disk_fd itself */
    uint64_t disk_bandwidth; /* bytes a second; 0: no limit */
    uint32_t disk_iops;
    /* Of a boot VM under poold: uid and gid to run as, SANDBOX_KEEP_ID: keep; cgroup.procs files
     * to join by, cgroup_fds of them from cgroup_fd on. */
    uint32_t uid;
    int cgroup_fd;
    uint32_t cgroup_fds;
    uint32_t oom_score_adj; /* of the process and its clones, proc(5); 0: as it is */
    struct sandbox_config sandbox;
};

/* Parses the arguments behind the subcommand. -EINVAL with a sentence for anything that is unknown,
 * malformed or out of range. Strings stay argv's. */
int options_parse(struct options *ret_options, int argc, char **argv, struct err *err);

/* What --help and the manual page say of an option. */
struct option_text {
    const char *name, *argument, *help; /* argument NULL: a flag */
};

/* The i-th of all options, from 0. False: there is none. */
bool options_text(size_t i, struct option_text *ret_text);

/* The ways in which it is called, and examples; NULL ends them. */
extern const char *const options_usage[], *const options_examples[];

#endif
