/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the text of image manifests: the table of its keys; see image_manifest.h. */
#include "snapshot/image/image_manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/image/image_config.h"
#include "snapshot/manifest_table.h"

#define ROW_BYTES 112 /* of a chunk's text */

void image_manifest_fini(struct image_manifest *manifest)
{
    free_pointer(&manifest->chunk);
    free_pointer(&manifest->config);
    manifest->chunk_count = 0;
}

/* ---- Ids ---- */

struct digest image_manifest_id(const struct image_manifest *manifest)
{
    struct row {
        uint64_t index;
        struct digest digest;
    } row = { .index = manifest->bytes };
    struct digest_work work;

    digest_start(&work);
    digest_add(&work, &row, sizeof row);
    for (uint32_t i = 0; i < manifest->chunk_count; i++) {
        row = (struct row){ manifest->chunk[i].index, manifest->chunk[i].digest };
        digest_add(&work, &row, sizeof row);
    }
    return digest_end(&work);
}

struct checksum image_manifest_id_v1(const struct image_manifest *manifest)
{
    struct row {
        uint64_t index;
        struct checksum checksum;
    };
    _cleanup_free_ struct row *rows = calloc(manifest->chunk_count + 1u, sizeof *rows);

    if (!rows) /* no image has this id: what it is compared with is refused */
        return (struct checksum){ 0 };
    rows[0].index = manifest->bytes;
    for (uint32_t i = 0; i < manifest->chunk_count; i++) {
        rows[i + 1].index = manifest->chunk[i].index;
        memcpy(&rows[i + 1].checksum, &manifest->chunk[i].digest, sizeof(struct checksum));
    }
    return checksum_of(rows, (manifest->chunk_count + 1u) * sizeof *rows);
}

/* ---- Chunks: "INDEX DIGEST PACK SLOT", the one text that each has ---- */

static void row_format(const struct image_chunk *chunk, size_t digest_bytes,
                       char ret_row[ROW_BYTES])
{
    char hex[DIGEST_HEX_BYTES];

    snprintf(ret_row, ROW_BYTES, "%u %s %u %u", chunk->index,
             hex_format(chunk->digest.byte, digest_bytes, hex), chunk->pack, chunk->slot);
}

static bool row_parse(uint32_t version, const char *text, struct image_chunk *ret_chunk)
{
    struct image_chunk chunk;
    char hex[DIGEST_HEX_BYTES], again[ROW_BYTES];

    if (!text ||
        sscanf(text, "%u %64[0-9a-f] %u %u", &chunk.index, hex, &chunk.pack, &chunk.slot) != 4 ||
        !manifest_digest_parse(version, hex, &chunk.digest))
        return false;
    row_format(&chunk, version > 1 ? DIGEST_BYTES : CHECKSUM_BYTES, again);
    if (strcmp(again, text) != 0)
        return false;
    *ret_chunk = chunk;
    return true;
}

static int chunks_parse(const struct manifest_source *source, const struct manifest_key *key,
                        const json_t *value, void *manifest, struct err *err)
{
    struct image_manifest *m = manifest;
    size_t count = json_array_size(value);
    uint64_t chunks = (m->bytes + IMAGE_CHUNK_BYTES - 1) / IMAGE_CHUNK_BYTES;

    if (!json_is_array(value) || count > chunks)
        return err_set(err, EINVAL, "%s: chunks: expected a list of at most %llu", source->file,
                       (unsigned long long)chunks);
    m->chunk = calloc(count + 1, sizeof *m->chunk);
    if (!m->chunk)
        return err_set_errno(err, ENOMEM, "%s", source->file);
    for (size_t i = 0; i < count; i++) {
        struct image_chunk *chunk = &m->chunk[i];

        if (!row_parse(source->version, manifest_text(json_array_get(value, i)), chunk) ||
            chunk->index >= chunks || (i > 0 && chunk->index <= chunk[-1].index) ||
            chunk->pack >= m->pack_count || chunk->slot >= IMAGE_CHUNKS_MAX)
            return err_set(err, EINVAL,
                           "%s: %s: entry %zu: expected \"INDEX DIGEST PACK SLOT\", ascending and "
                           "in range",
                           source->file, key->name, i);
    }
    m->chunk_count = (uint32_t)count;
    return 0;
}

static json_t *chunks_format(const struct manifest_key *key, const void *manifest)
{
    const struct image_manifest *m = manifest;
    json_t *list = json_array();
    char row[ROW_BYTES];

    (void)key;
    for (uint32_t i = 0; i < m->chunk_count; i++) {
        row_format(&m->chunk[i], DIGEST_BYTES, row);
        json_array_append_new(list, json_string(row));
    }
    return list;
}

static const struct manifest_own chunks = { chunks_parse, chunks_format };

/* ---- Packs: their names ---- */

static int packs_parse(const struct manifest_source *source, const struct manifest_key *key,
                       const json_t *value, void *manifest, struct err *err)
{
    struct image_manifest *m = manifest;
    size_t count = json_array_size(value);

    if (!json_is_array(value) || count > IMAGE_PACKS_MAX)
        return err_set(err, EINVAL, "%s: packs: expected a list of at most %u names", source->file,
                       IMAGE_PACKS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!unique_id_from_hex(manifest_text(json_array_get(value, i)), &m->pack[i]))
            return manifest_key_error(source, key, err, "32 lower-case hex digits");
    }
    m->pack_count = (uint32_t)count;
    return 0;
}

static json_t *packs_format(const struct manifest_key *key, const void *manifest)
{
    const struct image_manifest *m = manifest;
    json_t *list = json_array();
    char hex[UNIQUE_ID_HEX_BYTES];

    (void)key;
    for (uint32_t i = 0; i < m->pack_count; i++)
        json_array_append_new(list, json_string(unique_id_to_hex(&m->pack[i], hex)));
    return list;
}

static const struct manifest_own packs = { packs_parse, packs_format };

/* ---- How its programs are started ---- */

static int config_parse(const struct manifest_source *source, const struct manifest_key *key,
                        const json_t *value, void *manifest, struct err *err)
{
    struct image_manifest *m = manifest;
    int rc = image_config_format(value, &m->config, err);

    return rc < 0 ? err_wrap(err, "%s: %s", source->file, key->name) : 0;
}

static json_t *config_format(const struct manifest_key *key, const void *manifest)
{
    const struct image_manifest *m = manifest;

    (void)key;
    return m->config ? json_loads(m->config, 0, NULL) : NULL;
}

static const struct manifest_own config = { config_parse, config_format };

/* ---- The table ---- */

#define KEY(name, kind, member, least, most)                                                       \
    MANIFEST_KEY(struct image_manifest, NULL, name, kind, true, member, least, most)

/* In the order of the file; chunks are checked against bytes and packs. */
static const struct manifest_key keys[] = {
    KEY("id", MANIFEST_DIGEST, id, 0, 0),
    KEY("created", MANIFEST_TIME, created, 0, 0),
    KEY("volt_version", MANIFEST_STRING, volt_version, 1, 31),
    KEY("filesystem", MANIFEST_STRING, filesystem, 4, 5),
    KEY("bytes", MANIFEST_NUMBER64, bytes, 512, IMAGE_BYTES_MAX),
    MANIFEST_OWN_KEY(NULL, "packs", true, &packs),
    MANIFEST_OWN_KEY(NULL, "chunks", true, &chunks),
    MANIFEST_OWN_KEY(NULL, "config", false, &config),
};

static const struct manifest_table table = {
    .format = IMAGE_FORMAT,
    .version = IMAGE_FORMAT_VERSION,
    .if_older = "poold upgrades it when it starts, or its log says why it can't; then delete the "
                "image and import it again",
    .text_bytes_max = IMAGE_MANIFEST_BYTES_MAX,
    .key = keys,
    .key_count = ARRAY_LEN(keys),
};

/* ---- Reading and writing ---- */

static int check_id(const char *file, uint32_t version, const struct image_manifest *m,
                    struct err *err)
{
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];
    struct checksum id_v1;
    struct digest id;

    if (version > 1) {
        id = image_manifest_id(m);
    } else {
        id_v1 = image_manifest_id_v1(m);
        id = digest_from_checksum(&id_v1);
    }
    if (digest_equal(&id, &m->id))
        return 0;
    return err_set(err, EINVAL, "%s: its chunks make the id %s, but it says %s", file,
                   digest_to_hex(&id, found), digest_to_hex(&m->id, expected));
}

static int check_whole(const char *file, const struct image_manifest *m, struct err *err)
{
    if (strcmp(m->filesystem, "erofs") != 0 && strcmp(m->filesystem, "ext4") != 0)
        return err_set(err, EINVAL, "%s: filesystem: expected \"erofs\" or \"ext4\"", file);
    if (m->bytes % 512)
        return err_set(err, EINVAL, "%s: bytes: expected a multiple of 512", file);
    return 0;
}

static int parse_version(uint32_t version, const char *file, const char *text, size_t len,
                         struct image_manifest *ret_manifest, struct err *err)
{
    const struct manifest_source source = { file, version };
    struct image_manifest m = { 0 };
    int rc = manifest_table_parse(&table, &source, text, len, &m, err);

    if (rc == 0)
        rc = check_whole(file, &m, err);
    if (rc == 0)
        rc = check_id(file, version, &m, err);
    if (rc < 0)
        image_manifest_fini(&m);
    else
        *ret_manifest = m;
    return rc;
}

int image_manifest_parse(const char *file, const char *text, size_t len,
                         struct image_manifest *ret_manifest, struct err *err)
{
    return parse_version(IMAGE_FORMAT_VERSION, file, text, len, ret_manifest, err);
}

int image_manifest_parse_v1(const char *file, const char *text, size_t len,
                            struct image_manifest *ret_manifest, struct err *err)
{
    return parse_version(1, file, text, len, ret_manifest, err);
}

/* What is written is parsed again: what could not be read back must not be stored. */
int image_manifest_format(const struct image_manifest *manifest, char **ret_text, size_t *ret_len,
                          struct err *err)
{
    static const char file[] = "image manifest";
    _cleanup_free_ char *text = NULL;
    struct image_manifest again;
    size_t len = 0;
    int rc = manifest_table_format(&table, file, manifest, &text, &len, err);

    if (rc == 0)
        rc = image_manifest_parse(file, text, len, &again, err);
    if (rc < 0)
        return rc;
    image_manifest_fini(&again);
    *ret_text = take_pointer(&text);
    *ret_len = len;
    return 0;
}
