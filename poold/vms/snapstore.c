/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the translation between pools, JSON and the snapshot library; see snapstore.h. */
#include "vms/snapstore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json_text.h"
#include "snapshot/file.h"
#include "snapshot/opened.h"

int snapstore_begin(struct snapstore_job *job, int store_fd, const char *name,
                    const struct pool_spec *spec, const struct pool_files *files, struct err *err)
{
    const struct manifest_machine machine = { .kernel = spec->kernel,
                                              .initrd = spec->initrd,
                                              .kernel_fd = files->kernel_fd,
                                              .initrd_fd = files->initrd_fd,
                                              .cmdline = spec->cmdline,
                                              .warmup = spec->warmup,
                                              .memory_bytes = spec->memory_bytes,
                                              .vcpus = spec->vcpus };

    if (manifest_describe(&job->manifest, &machine, err) < 0)
        return -EINVAL;
    return snapshot_create_begin(store_fd, name, &job->txn, err);
}

int snapstore_commit(struct snapstore_job *job, uint64_t cold_boot_ms, uint64_t stopped_ns,
                     struct err *err)
{
    job->manifest.cold_boot_ms = MIN_OF(cold_boot_ms, UINT32_MAX);
    job->manifest.stopped_us = MIN_OF(stopped_ns / NS_PER_US, UINT32_MAX);
    return snapshot_create_commit(&job->txn, &job->manifest, err);
}

int snapstore_open(int store_fd, const char *name, int *ret_fd, bool *ret_has_working_set,
                   struct err *err)
{
    _cleanup_free_ struct snapshot_info *info = malloc(sizeof *info);
    int rc;

    if (!info)
        return err_set(err, ENOMEM, "out of memory");
    rc = snapshot_inspect(store_fd, name, info, err);
    if (rc < 0)
        return rc;
    if (info->error.code)
        return err_set(err, info->error.code, "%s", info->error.msg);
    *ret_has_working_set = info->working_set_bytes > 0;
    return snapshot_dir_open(store_fd, name, ret_fd, err);
}

int snapstore_record(int store_fd, const char *name, pid_t pid, int *ret_fd, uint64_t *ret_bytes,
                     struct err *err)
{
    _cleanup_free_ struct manifest *manifest = malloc(sizeof *manifest);
    _cleanup_close_ int dir_fd = -1, memory_fd = -1;
    struct working_set set = { 0 };
    uint64_t file_bytes;
    int rc;

    if (!manifest)
        return err_set(err, ENOMEM, "out of memory");
    rc = snapshot_dir_open(store_fd, name, &dir_fd, err);
    if (rc == 0)
        rc = manifest_load(dir_fd, manifest, err);
    if (rc == 0)
        rc = snapshot_file_open(dir_fd, SNAPSHOT_FILE_MEMORY, manifest->memory_bytes,
                                manifest->memory_bytes, &memory_fd, &file_bytes, err);
    if (rc == 0)
        rc = working_set_record(pid, memory_fd, manifest->memory_bytes, &set, err);
    if (rc == 0)
        rc = working_set_store(dir_fd, &manifest->id, &set, err);
    *ret_bytes = working_set_bytes(&set);
    working_set_fini(&set);
    return rc < 0 ? rc
                  : snapshot_file_open(dir_fd, SNAPSHOT_FILE_WORKING_SET, 1, UINT32_MAX, ret_fd,
                                       &file_bytes, err);
}

static json_t *info_json(const struct snapshot_info *info)
{
    const struct manifest *m = &info->manifest;
    char pool[SNAPSHOT_NAME_BYTES]; /* whose it is: hosted_id */

    if (info->error.code)
        return json_pack("{s:o, s:I, s:{s:o}}", "name", json_text(info->name), "disk_bytes",
                         (json_int_t)info->disk_bytes, "error", "message",
                         json_text(info->error.msg));
    snprintf(pool, sizeof pool, "%.*s", (int)strcspn(info->name, "~"), info->name);
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:i, s:o, s:i, s:o}", "name",
                     json_text(info->name), "created", json_text(m->created), "memory_bytes",
                     (json_int_t)m->memory_bytes, "disk_bytes", (json_int_t)info->disk_bytes,
                     "data_bytes", (json_int_t)m->memory_data_bytes, "working_set_bytes",
                     (json_int_t)info->working_set_bytes, "vcpus", (int)m->vcpus, "kernel",
                     json_text(m->kernel.path), "format_version", (int)m->format_version, "pool",
                     json_text(pool));
}

json_t *snapstore_list(int store_fd, struct err *err)
{
    struct snapshot_info *infos = NULL;
    size_t count = 0;
    json_t *array;

    if (snapshot_list(store_fd, &infos, &count, err) < 0)
        return NULL;
    array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, info_json(&infos[i]));
    free(infos);
    return json_pack("{s:o}", "snapshots", array);
}

static json_t *sections_json(int dir_fd, struct err *err)
{
    json_t *array = NULL;
    struct state_reader reader = { 0 };
    uint8_t *bytes = NULL;
    size_t len = 0;

    if (snapshot_file_read(dir_fd, SNAPSHOT_FILE_STATE, STATE_FILE_BYTES_MAX, &bytes, &len, err) <
        0)
        return NULL;
    if (state_reader_open(&reader, bytes, len, err) < 0) {
        free(bytes);
        return NULL;
    }
    array = json_array();
    for (uint32_t i = 0; i < reader.section_count; i++) {
        struct state_section section = state_reader_at(&reader, i);

        json_array_append_new(array, json_pack("{s:o, s:i, s:I}", "name", json_text(section.name),
                                               "version", (int)section.version, "bytes",
                                               (json_int_t)section.len));
    }
    state_reader_fini(&reader);
    return array;
}

json_t *snapstore_inspect(int store_fd, const char *name, struct err *err)
{
    _cleanup_free_ struct snapshot_info *info = malloc(sizeof *info);
    _cleanup_close_ int dir_fd = -1;
    _cleanup_free_ uint8_t *text = NULL;
    json_t *summary, *sections;
    size_t len = 0;

    if (!info || snapshot_inspect(store_fd, name, info, err) < 0 ||
        snapshot_dir_open(store_fd, name, &dir_fd, err) < 0)
        return NULL;
    summary = info_json(info);
    if (info->error.code)
        return summary;
    if (snapshot_file_read(dir_fd, SNAPSHOT_FILE_MANIFEST, MANIFEST_BYTES_MAX, &text, &len, NULL) ==
        0)
        json_object_set_new(summary, "manifest", json_loadb((char *)text, len, 0, NULL));
    sections = sections_json(dir_fd, err);
    if (sections)
        json_object_set_new(summary, "sections", sections);
    else
        json_object_set_new(summary, "error", json_pack("{s:o}", "message", json_text(err->msg)));
    return summary;
}

json_t *snapstore_verify(int store_fd, const char *name, struct err *err)
{
    _cleanup_close_ int dir_fd = -1;
    struct snapshot_verify_report report = { 0 };
    uint64_t began_ns = now_ns();
    json_int_t elapsed_ms;
    int rc;

    if (snapshot_dir_open(store_fd, name, &dir_fd, err) < 0)
        return NULL;
    rc = snapshot_verify(dir_fd, NULL, NULL, &report, err);
    elapsed_ms = (json_int_t)((now_ns() - began_ns) / NS_PER_MS);
    if (rc == 0)
        return json_pack("{s:b, s:I, s:I}", "ok", 1, "checked_bytes",
                         (json_int_t)report.checked_bytes, "elapsed_ms", elapsed_ms);
    return json_pack("{s:b, s:I, s:I, s:{s:o, s:o, s:o}}", "ok", 0, "checked_bytes",
                     (json_int_t)report.checked_bytes, "elapsed_ms", elapsed_ms, "error", "file",
                     json_text(report.file), "section", json_text(report.section), "message",
                     json_text(err->msg));
}
