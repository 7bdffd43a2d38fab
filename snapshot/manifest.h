/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.json: what a snapshot is, for people and for the checks before a restore.
 *
 * One table in manifest.c serves writing and parsing (manifest_table.h): key, type, range, required
 * or not. The file ends in a digest of all bytes before it, so that any change of a byte is found.
 */
#ifndef VOLT_SNAPSHOT_MANIFEST_H
#define VOLT_SNAPSHOT_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshot/digest.h"
#include "snapshot/unique_id.h"

#define MANIFEST_FORMAT "volt-snapshot"
#define MANIFEST_FORMAT_VERSION 2u /* others are refused with -ENOTSUP */
#define MANIFEST_BYTES_MAX 65536u
#define MANIFEST_DEVICES_MAX 32u
#define MANIFEST_VCPUS_MAX 64u
#define MANIFEST_PATH_BYTES 4096u
#define MANIFEST_CMDLINE_BYTES 2048u

/* The host CPU and KVM a snapshot was taken on. Detected by host_cpu_detect (host.h). */
struct manifest_cpu {
    char vendor[13];
    char model_name[49];
    uint32_t family, model, stepping;
    bool software_only_kvm; /* a KVM without VT-x or SVM (PVM) */
};

struct manifest_blob {
    char path[MANIFEST_PATH_BYTES]; /* for people: where it was when the VM booted */
    struct digest digest;
};

struct manifest {
    uint32_t format_version; /* filled in by snapshot_create_commit, as are all marked (c) */
    struct unique_id id;     /* (c) new for every snapshot */
    char created[32];        /* (c) RFC 3339, UTC, whole seconds */
    char volt_version[32];
    struct manifest_blob kernel;
    struct manifest_blob initrd; /* optional: path empty when there was none */
    char cmdline[MANIFEST_CMDLINE_BYTES];
    char warmup[MANIFEST_CMDLINE_BYTES]; /* optional: command run before the snapshot */
    uint64_t memory_bytes;
    uint32_t vcpus;
    struct manifest_cpu cpu;
    char device[MANIFEST_DEVICES_MAX][16]; /* (c) section names of devices, in machine order */
    uint32_t device_count;                 /* (c) */
    uint64_t state_bytes;                  /* (c) of the state file */
    struct digest state_digest;            /* (c) of the whole file */
    uint64_t memory_data_bytes;            /* (c) in data extents of memory.img when it was made */
    struct digest memory_digest;           /* (c) of the whole file memory.digests */
    /* The disk; all empty: there was none. */
    char disk_image[64];                 /* for people: its name when the VM booted; "": none */
    struct digest disk_id;               /* of the image */
    char disk_path[MANIFEST_PATH_BYTES]; /* or a file or block device */
    uint64_t disk_bytes;
    uint64_t disk_modified_ns; /* of a file: its mtime, CLOCK_REALTIME */
    struct digest disk_delta;  /* (c) of what the VM had written; zero: read-only, no file */
    /* Optional figures. */
    uint64_t cold_boot_ms; /* VM start to banner */
    uint64_t stopped_us;   /* how long the guest was stopped for the snapshot */
};

/* The file's bytes, malloc'ed, the caller's. -EINVAL when a field is out of its range (the sentence
 * names the key), -ENOMEM. */
int manifest_format(const struct manifest *m, char **ret_text, size_t *ret_len, struct err *err);

/* Parses text[0..len), untrusted. -EINVAL with a sentence that starts with "manifest.json" and
 * names the key and what was expected; -ENOTSUP for another format version; *ret_manifest is
 * untouched on failure. Any thread. */
int manifest_parse(const char *text, size_t len, struct manifest *ret_manifest, struct err *err);

/* The same for format version 1, whose checksums come in place of digests (manifest_table.h): for
 * upgrading. */
int manifest_parse_v1(const char *text, size_t len, struct manifest *ret_manifest, struct err *err);

/* Reads manifest.json from a snapshot's directory through the gate of file.h, and parses it. */
int manifest_load(int dirfd, struct manifest *ret_manifest, struct err *err);

/* A machine, as whoever boots it knows it. Texts may be NULL: none. */
struct manifest_machine {
    const char *kernel, *initrd; /* paths of regular files of at most 1 GiB */
    int kernel_fd, initrd_fd;    /* the files themselves; -1: by their paths */
    const char *cmdline, *warmup;
    uint64_t memory_bytes;
    uint32_t vcpus;
};

/* Fills in a manifest of it, on this host, by this build: all but what is marked (c), the disk and
 * the figures. Digests kernel and initrd: blocks on the disk. 0 or -errno with a sentence. */
int manifest_describe(struct manifest *ret_manifest, const struct manifest_machine *machine,
                      struct err *err);

#endif
