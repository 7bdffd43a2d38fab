/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the full check of a snapshot, for `snapshot verify`; see store.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/disk.h"
#include "snapshot/file.h"
#include "snapshot/opened.h"
#include "snapshot/store.h"

static int verify_state(int dirfd, const struct manifest *m, struct snapshot_verify_report *report,
                        struct err *err)
{
    struct state_reader *state = malloc(sizeof *state);
    int rc;

    if (!state)
        return err_set_errno(err, ENOMEM, "state");
    rc = snapshot_state_load(dirfd, m, state, err);
    if (rc == 0)
        report->checked_bytes += state->len;
    else
        snprintf(report->section, sizeof report->section, "%s", state->fault_section);
    state_reader_fini(state);
    free(state);
    return rc;
}

static int verify_memory(int dirfd, const struct manifest *m, memory_progress_fn progress,
                         void *data, struct snapshot_verify_report *report, const char **ret_file,
                         struct err *err)
{
    struct snapshot_memory memory;
    uint32_t chunk = UINT32_MAX;
    int rc = snapshot_memory_open(dirfd, m, &memory, err);

    if (rc == 0)
        rc = snapshot_memory_verify(&memory, progress, data, &chunk, err);
    snapshot_memory_close(&memory);
    *ret_file = memory.file;
    if (rc == 0)
        report->checked_bytes += m->memory_bytes;
    else if (chunk != UINT32_MAX)
        snprintf(report->section, sizeof report->section, "chunk %u", chunk);
    return rc;
}

static int verify_disk(int dirfd, const struct manifest *m, struct snapshot_verify_report *report,
                       struct err *err)
{
    _cleanup_close_ int fd = -1;
    struct stat st;

    if (digest_is_none(&m->disk_delta))
        return 0;
    int rc = snapshot_disk_open(dirfd, m, &fd, err);
    if (rc == 0 && fstat(fd, &st) == 0)
        report->checked_bytes += (uint64_t)st.st_size;
    return rc;
}

static int verify_working_set(int dirfd, const struct manifest *m,
                              struct snapshot_verify_report *report, struct err *err)
{
    struct working_set set;
    struct stat st;

    if (fstatat(dirfd, SNAPSHOT_FILE_WORKING_SET, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return 0;
    int rc = working_set_load(dirfd, &m->id, m->memory_bytes, &set, err);
    if (rc == 0) {
        report->checked_bytes += (uint64_t)st.st_size;
        working_set_fini(&set);
    }
    return rc;
}

static int verify_files(int dirfd, struct manifest *m, memory_progress_fn progress, void *data,
                        struct snapshot_verify_report *report, struct err *err)
{
    const char *file = SNAPSHOT_FILE_MANIFEST;
    int rc = manifest_load(dirfd, m, err);

    if (rc == 0) {
        file = SNAPSHOT_FILE_STATE;
        rc = verify_state(dirfd, m, report, err);
    }
    if (rc == 0)
        rc = verify_memory(dirfd, m, progress, data, report, &file, err);
    if (rc == 0) {
        file = SNAPSHOT_FILE_DISK;
        rc = verify_disk(dirfd, m, report, err);
    }
    if (rc == 0) {
        file = SNAPSHOT_FILE_WORKING_SET;
        rc = verify_working_set(dirfd, m, report, err);
    }
    if (rc < 0)
        snprintf(report->file, sizeof report->file, "%s", file);
    return rc;
}

int snapshot_verify(int dirfd, memory_progress_fn progress, void *data,
                    struct snapshot_verify_report *ret_report, struct err *err)
{
    struct manifest *m = malloc(sizeof *m);

    *ret_report = (struct snapshot_verify_report){ 0 };
    if (!m)
        return err_set_errno(err, ENOMEM, "manifest.json");
    int rc = verify_files(dirfd, m, progress, data, ret_report, err);
    free(m);
    return rc;
}
