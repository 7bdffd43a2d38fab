/* SPDX-License-Identifier: Apache-2.0 */
/* Owns manifest.json: the table of its keys, and what must hold between them; see manifest.h. */
#include "snapshot/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "memory/guest_mem.h"
#include "snapshot/file.h"
#include "snapshot/manifest_table.h"
#include "snapshot/sections.h"

/* ---- The names of devices ---- */

static int devices_parse(const struct manifest_source *source, const struct manifest_key *key,
                         const json_t *value, void *manifest, struct err *err)
{
    struct manifest *m = manifest;
    size_t count = json_array_size(value);

    if (!json_is_array(value) || count > MANIFEST_DEVICES_MAX)
        return manifest_key_error(source, key, err, "a list of at most 32 names");
    for (size_t i = 0; i < count; i++) {
        const char *name = manifest_text(json_array_get(value, i));

        if (!name || !state_name_valid(name))
            return manifest_key_error(source, key, err, "names of 1 to 15 of a-z 0-9 - _ .");
        snprintf(m->device[i], sizeof m->device[i], "%s", name);
    }
    m->device_count = (uint32_t)count;
    return 0;
}

static json_t *devices_format(const struct manifest_key *key, const void *manifest)
{
    const struct manifest *m = manifest;
    json_t *list = json_array();

    (void)key;
    for (uint32_t i = 0; i < m->device_count; i++)
        json_array_append_new(list, json_string(m->device[i]));
    return list;
}

static const struct manifest_own devices = { devices_parse, devices_format };

_Static_assert(MANIFEST_DEVICES_MAX == 32, "as the sentence says");

/* ---- The table ---- */

#define KEY(group, name, kind, required, member, least, most)                                      \
    MANIFEST_KEY(struct manifest, group, name, kind, required, member, least, most)

/* In the order of the file. */
static const struct manifest_key keys[] = {
    KEY(NULL, "id", MANIFEST_ID, true, id, 0, 0),
    KEY(NULL, "created", MANIFEST_TIME, true, created, 20, 20),
    KEY(NULL, "volt_version", MANIFEST_STRING, true, volt_version, 1, 31),
    KEY("kernel", "path", MANIFEST_STRING, true, kernel.path, 1, MANIFEST_PATH_BYTES - 1),
    KEY("kernel", "digest", MANIFEST_DIGEST, false, kernel.digest, 0, 0),
    KEY("initrd", "path", MANIFEST_STRING, false, initrd.path, 1, MANIFEST_PATH_BYTES - 1),
    KEY("initrd", "digest", MANIFEST_DIGEST, false, initrd.digest, 0, 0),
    KEY(NULL, "cmdline", MANIFEST_STRING, true, cmdline, 0, MANIFEST_CMDLINE_BYTES - 1),
    KEY(NULL, "warmup", MANIFEST_STRING, false, warmup, 1, MANIFEST_CMDLINE_BYTES - 1),
    KEY(NULL, "memory_bytes", MANIFEST_NUMBER64, true, memory_bytes, GUEST_RAM_BYTES_MIN,
        GUEST_RAM_BYTES_MAX),
    KEY(NULL, "vcpus", MANIFEST_NUMBER32, true, vcpus, 1, MANIFEST_VCPUS_MAX),
    KEY("cpu", "vendor", MANIFEST_STRING, true, cpu.vendor, 1, 12),
    KEY("cpu", "model_name", MANIFEST_STRING, true, cpu.model_name, 0, 48),
    KEY("cpu", "family", MANIFEST_NUMBER32, true, cpu.family, 0, 0xfff),
    KEY("cpu", "model", MANIFEST_NUMBER32, true, cpu.model, 0, 0xff),
    KEY("cpu", "stepping", MANIFEST_NUMBER32, true, cpu.stepping, 0, 0xf),
    KEY("cpu", "software_only_kvm", MANIFEST_BOOL, true, cpu.software_only_kvm, 0, 0),
    MANIFEST_OWN_KEY(NULL, "devices", true, &devices),
    KEY("state", "bytes", MANIFEST_NUMBER64, true, state_bytes, sizeof(struct state_header),
        STATE_FILE_BYTES_MAX),
    KEY("state", "digest", MANIFEST_DIGEST, true, state_digest, 0, 0),
    KEY("memory", "data_bytes", MANIFEST_NUMBER64, true, memory_data_bytes, 0, GUEST_RAM_BYTES_MAX),
    KEY("memory", "digest", MANIFEST_DIGEST, true, memory_digest, 0, 0),
    KEY("disk", "image", MANIFEST_STRING, false, disk_image, 1, 63),
    KEY("disk", "id", MANIFEST_DIGEST, false, disk_id, 0, 0),
    KEY("disk", "path", MANIFEST_STRING, false, disk_path, 1, MANIFEST_PATH_BYTES - 1),
    KEY("disk", "bytes", MANIFEST_NUMBER64, false, disk_bytes, 512, INT64_MAX),
    KEY("disk", "modified_ns", MANIFEST_NUMBER64, false, disk_modified_ns, 1, INT64_MAX),
    KEY("disk", "delta", MANIFEST_DIGEST, false, disk_delta, 0, 0),
    KEY("figures", "cold_boot_ms", MANIFEST_NUMBER64, false, cold_boot_ms, 1, UINT32_MAX),
    KEY("figures", "stopped_us", MANIFEST_NUMBER64, false, stopped_us, 1, UINT32_MAX),
};

static const struct manifest_table table = {
    .format = MANIFEST_FORMAT,
    .version = MANIFEST_FORMAT_VERSION,
    .if_older =
        "poold upgrades the snapshots of its store when it starts, or says in its log why it "
        "can't; make it again",
    .text_bytes_max = MANIFEST_BYTES_MAX,
    .key = keys,
    .key_count = ARRAY_LEN(keys),
};

/* ---- Relations that a table of ranges can't say ---- */

static int check_disk(const struct manifest *m, struct err *err)
{
    bool image = m->disk_image[0], path = m->disk_path[0];

    if ((image && path) || (m->disk_bytes != 0) != (image || path))
        return err_set(err, EINVAL,
                       "manifest.json: disk: expected bytes and either image or path, or nothing");
    if (image == digest_is_none(&m->disk_id))
        return err_set(err, EINVAL, "manifest.json: disk: expected image and id, or neither");
    if (!m->disk_bytes && (m->disk_modified_ns || !digest_is_none(&m->disk_delta)))
        return err_set(err, EINVAL,
                       "manifest.json: disk: expected modified_ns and delta only with bytes");
    return 0;
}

static int check_whole(const struct manifest *m, struct err *err)
{
    if (m->memory_bytes % MIB(2) != 0)
        return err_set(err, EINVAL, "manifest.json: memory_bytes: expected a multiple of 2 MiB");
    if (m->memory_data_bytes > m->memory_bytes)
        return err_set(err, EINVAL, "manifest.json: memory.data_bytes: expected at most %llu",
                       (unsigned long long)m->memory_bytes);
    int rc = check_disk(m, err);
    if (rc < 0)
        return rc;
    if (!m->initrd.path[0] && !digest_is_none(&m->initrd.digest))
        return err_set(err, EINVAL, "manifest.json: initrd: expected a digest only with a path");
    return 0;
}

/* ---- Reading and writing ---- */

static int parse_version(uint32_t version, const char *text, size_t len,
                         struct manifest *ret_manifest, struct err *err)
{
    const struct manifest_source source = { SNAPSHOT_FILE_MANIFEST, version };
    _cleanup_free_ struct manifest *m = calloc(1, sizeof *m);

    if (!m)
        return err_set_errno(err, ENOMEM, "manifest.json");
    int rc = manifest_table_parse(&table, &source, text, len, m, err);
    if (rc == 0)
        rc = check_whole(m, err);
    m->format_version = version;
    if (rc == 0)
        *ret_manifest = *m;
    return rc;
}

int manifest_parse(const char *text, size_t len, struct manifest *ret_manifest, struct err *err)
{
    return parse_version(MANIFEST_FORMAT_VERSION, text, len, ret_manifest, err);
}

int manifest_parse_v1(const char *text, size_t len, struct manifest *ret_manifest, struct err *err)
{
    return parse_version(1, text, len, ret_manifest, err);
}

int manifest_load(int dirfd, struct manifest *ret_manifest, struct err *err)
{
    _cleanup_free_ uint8_t *text = NULL;
    size_t len;
    int rc =
        snapshot_file_read(dirfd, SNAPSHOT_FILE_MANIFEST, MANIFEST_BYTES_MAX, &text, &len, err);

    return rc < 0 ? rc : manifest_parse((const char *)text, len, ret_manifest, err);
}

/* What is written is parsed again: a manifest that could not be read back must not be stored. */
int manifest_format(const struct manifest *m, char **ret_text, size_t *ret_len, struct err *err)
{
    _cleanup_free_ struct manifest *again = malloc(sizeof *again);
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    int rc = again ? manifest_table_format(&table, SNAPSHOT_FILE_MANIFEST, m, &text, &len, err)
                   : err_set_errno(err, ENOMEM, "manifest.json");

    if (rc == 0)
        rc = manifest_parse(text, len, again, err);
    if (rc < 0)
        return rc;
    *ret_text = take_pointer(&text);
    *ret_len = len;
    return 0;
}
