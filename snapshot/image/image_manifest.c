/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the text of image manifests; see image_manifest.h. */
#include "snapshot/image/image_manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/sealed_json.h"

#define ROW_BYTES 80 /* of a chunk's text */

void image_manifest_fini(struct image_manifest *manifest)
{
    free_pointer(&manifest->chunk);
    manifest->chunk_count = 0;
}

struct digest image_manifest_id(const struct image_manifest *manifest)
{
    struct row {
        uint64_t index;
        struct digest digest;
    };
    struct row *rows = calloc(manifest->chunk_count + 1u, sizeof *rows);
    struct digest id = { 0 };

    if (!rows) /* no image has this id: what it is compared with is refused */
        return id;
    rows[0].index = manifest->bytes;
    for (uint32_t i = 0; i < manifest->chunk_count; i++)
        rows[i + 1] = (struct row){ manifest->chunk[i].index, manifest->chunk[i].digest };
    id = digest_of(rows, (manifest->chunk_count + 1u) * sizeof *rows);
    free(rows);
    return id;
}

/* "INDEX DIGEST PACK SLOT": the one text that a chunk has. */
static void row_format(const struct image_chunk *chunk, char ret_row[ROW_BYTES])
{
    char hex[DIGEST_HEX_BYTES];

    snprintf(ret_row, ROW_BYTES, "%u %s %u %u", chunk->index, digest_to_hex(&chunk->digest, hex),
             chunk->pack, chunk->slot);
}

/* ---- Parsing ---- */

static bool row_parse(const char *text, struct image_chunk *ret_chunk)
{
    struct image_chunk chunk;
    char hex[DIGEST_HEX_BYTES], again[ROW_BYTES];

    if (!text ||
        sscanf(text, "%u %32[0-9a-f] %u %u", &chunk.index, hex, &chunk.pack, &chunk.slot) != 4 ||
        !digest_from_hex(hex, &chunk.digest))
        return false;
    row_format(&chunk, again);
    if (strcmp(again, text) != 0)
        return false;
    *ret_chunk = chunk;
    return true;
}

static int parse_chunks(const char *file, const json_t *rows, struct image_manifest *m,
                        struct err *err)
{
    size_t count = json_array_size(rows);
    uint64_t chunks = (m->bytes + IMAGE_CHUNK_BYTES - 1) / IMAGE_CHUNK_BYTES;

    if (!json_is_array(rows) || count > chunks)
        return err_set(err, EINVAL, "%s: chunks: expected a list of at most %llu", file,
                       (unsigned long long)chunks);
    m->chunk = calloc(count + 1, sizeof *m->chunk);
    if (!m->chunk)
        return err_set_errno(err, ENOMEM, "%s", file);
    for (size_t i = 0; i < count; i++) {
        struct image_chunk *chunk = &m->chunk[i];

        if (!row_parse(json_string_value(json_array_get(rows, i)), chunk) ||
            chunk->index >= chunks || (i > 0 && chunk->index <= chunk[-1].index) ||
            chunk->pack >= m->pack_count || chunk->slot >= IMAGE_CHUNKS_MAX)
            return err_set(err, EINVAL,
                           "%s: chunks: entry %zu: expected \"INDEX DIGEST PACK SLOT\", ascending "
                           "and in range",
                           file, i);
    }
    m->chunk_count = (uint32_t)count;
    return 0;
}

static int parse_packs(const char *file, const json_t *packs, struct image_manifest *m,
                       struct err *err)
{
    size_t count = json_array_size(packs);

    if (!json_is_array(packs) || count > IMAGE_PACKS_MAX)
        return err_set(err, EINVAL, "%s: packs: expected a list of at most %u names", file,
                       IMAGE_PACKS_MAX);
    for (size_t i = 0; i < count; i++) {
        json_t *name = json_array_get(packs, i);

        if (json_string_length(name) != 2 * DIGEST_BYTES ||
            !digest_from_hex(json_string_value(name), &m->pack[i]))
            return err_set(err, EINVAL, "%s: packs: expected 32 lower-case hex digits", file);
    }
    m->pack_count = (uint32_t)count;
    return 0;
}

static bool take_text(char *ret_text, size_t room, const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len >= room)
        return false;
    memcpy(ret_text, text, len + 1);
    return true;
}

static int parse_root(const char *file, json_t *root, struct image_manifest *m, struct err *err)
{
    const char *format, *id, *created, *version, *filesystem, *digest;
    json_int_t format_version, bytes;
    json_t *packs, *chunks;
    json_error_t error;

    if (json_unpack_ex(root, &error, 0, "{s:s, s:I}", "format", &format, "format_version",
                       &format_version) < 0 ||
        strcmp(format, IMAGE_FORMAT) != 0)
        return err_set(err, EINVAL, "%s: this is no manifest of an image", file);
    if (format_version != IMAGE_FORMAT_VERSION)
        return err_set(err, ENOTSUP, "%s: format_version %lld, this program knows %u", file,
                       (long long)format_version, IMAGE_FORMAT_VERSION);
    /* "!": what is not named here is refused. */
    if (json_unpack_ex(root, &error, JSON_STRICT,
                       "{s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:s}", "format", &format,
                       "format_version", &format_version, "id", &id, "created", &created,
                       "volt_version", &version, "filesystem", &filesystem, "bytes", &bytes,
                       "packs", &packs, "chunks", &chunks, "digest", &digest) < 0)
        return err_set(err, EINVAL, "%s: %s", file, error.text);
    if (strlen(id) != 2 * DIGEST_BYTES || !digest_from_hex(id, &m->id) ||
        !take_text(m->created, sizeof m->created, created) ||
        !take_text(m->volt_version, sizeof m->volt_version, version))
        return err_set(err, EINVAL, "%s: id, created or volt_version: out of form", file);
    if ((strcmp(filesystem, "erofs") != 0 && strcmp(filesystem, "ext4") != 0) ||
        !take_text(m->filesystem, sizeof m->filesystem, filesystem))
        return err_set(err, EINVAL, "%s: filesystem: expected \"erofs\" or \"ext4\"", file);
    if (bytes < 512 || bytes % 512 || (uint64_t)bytes > IMAGE_BYTES_MAX)
        return err_set(err, EINVAL, "%s: bytes: expected a multiple of 512 up to %llu", file,
                       IMAGE_BYTES_MAX);
    m->bytes = (uint64_t)bytes;
    int rc = parse_packs(file, packs, m, err);
    return rc < 0 ? rc : parse_chunks(file, chunks, m, err);
}

static int check_id(const char *file, const struct image_manifest *m, struct err *err)
{
    struct digest id = image_manifest_id(m);
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];

    if (digest_equal(&id, &m->id))
        return 0;
    return err_set(err, EINVAL, "%s: its chunks make the id %s, but it says %s", file,
                   digest_to_hex(&id, found), digest_to_hex(&m->id, expected));
}

int image_manifest_parse(const char *file, const char *text, size_t len,
                         struct image_manifest *ret_manifest, struct err *err)
{
    struct image_manifest m = { 0 };
    json_error_t where;
    int rc = sealed_json_check(file, text, len, IMAGE_MANIFEST_BYTES_MAX, err);

    if (rc < 0)
        return rc;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, EINVAL, "%s: line %d: %s", file, where.line, where.text);
    rc = parse_root(file, root, &m, err);
    if (rc == 0)
        rc = check_id(file, &m, err);
    json_decref(root);
    if (rc < 0)
        image_manifest_fini(&m);
    else
        *ret_manifest = m;
    return rc;
}

/* ---- Writing ---- */

static json_t *packs_json(const struct image_manifest *m)
{
    json_t *list = json_array();
    char hex[DIGEST_HEX_BYTES];

    for (uint32_t i = 0; i < m->pack_count; i++)
        json_array_append_new(list, json_string(digest_to_hex(&m->pack[i], hex)));
    return list;
}

static json_t *chunks_json(const struct image_manifest *m)
{
    json_t *list = json_array();
    char row[ROW_BYTES];

    for (uint32_t i = 0; i < m->chunk_count; i++) {
        row_format(&m->chunk[i], row);
        json_array_append_new(list, json_string(row));
    }
    return list;
}

/* What is written is parsed again: what could not be read back must not be stored. */
int image_manifest_format(const struct image_manifest *manifest, char **ret_text, size_t *ret_len,
                          struct err *err)
{
    static const char file[] = "image manifest";
    char hex[DIGEST_HEX_BYTES];
    struct image_manifest again;
    json_t *root = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "format",
                             IMAGE_FORMAT, "format_version", (int)IMAGE_FORMAT_VERSION, "id",
                             digest_to_hex(&manifest->id, hex), "created", manifest->created,
                             "volt_version", manifest->volt_version, "filesystem",
                             manifest->filesystem, "bytes", (json_int_t)manifest->bytes, "packs",
                             packs_json(manifest), "chunks", chunks_json(manifest));
    _cleanup_free_ char *body = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    _cleanup_free_ char *text = NULL;
    size_t len = 0;

    json_decref(root);
    int rc = body ? sealed_json_seal(file, body, &text, &len, err)
                  : err_set_errno(err, ENOMEM, "%s", file);
    if (rc == 0)
        rc = image_manifest_parse(file, text, len, &again, err);
    if (rc < 0)
        return rc;
    image_manifest_fini(&again);
    *ret_text = take_pointer(&text);
    *ret_len = len;
    return 0;
}
