/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the translation of struct state_desc tables; see state_codec.h. */
#include "snapshot/state_codec.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"

/* Host and file are both little-endian (asserted in state_builder.c), so a field is a copy. */
static size_t field_bytes(const struct state_field *field)
{
    size_t width = field->kind == STATE_BYTES ? 1 : field->kind;

    return width * field->count;
}

size_t state_desc_bytes(const struct state_desc *desc, uint32_t version)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < desc->field_count; i++) {
        const struct state_field *field = &desc->field[i];

        assert(field->offset + field_bytes(field) <= desc->struct_bytes);
        if (field->since <= version)
            bytes += field_bytes(field);
    }
    return bytes;
}

int state_encode(struct state_builder *b, const char *name, const struct state_desc *desc,
                 const void *state)
{
    size_t len = state_desc_bytes(desc, desc->version);
    _cleanup_free_ uint8_t *bytes = malloc(len + 1);
    size_t at = 0;

    if (!bytes) {
        b->error = b->error ? b->error : -ENOMEM;
        return b->error;
    }
    for (unsigned i = 0; i < desc->field_count; i++) {
        const struct state_field *field = &desc->field[i];

        assert(field->since >= 1 && field->since <= desc->version);
        memcpy(bytes + at, (const uint8_t *)state + field->offset, field_bytes(field));
        at += field_bytes(field);
    }
    return state_builder_add(b, name, desc->version, 0, bytes, len);
}

int state_decode(struct state_reader *r, const char *name, const struct state_desc *desc,
                 void *ret_state, struct err *err)
{
    struct state_section section;
    int rc = state_reader_find(r, name, &section, err);

    if (rc < 0)
        return rc;
    if (section.version > desc->version)
        return err_set(err, ENOTSUP, "state: section '%s': version %u, this program knows up to %u",
                       name, section.version, desc->version);
    if (section.version == 0)
        return err_set(err, EINVAL, "state: section '%s': version 0, expected 1 to %u", name,
                       desc->version);
    size_t expected = state_desc_bytes(desc, section.version);
    if (section.len != expected)
        return err_set(err, EINVAL, "state: section '%s': %zu bytes, expected %zu for version %u",
                       name, section.len, expected, section.version);
    memset(ret_state, 0, desc->struct_bytes);
    size_t at = 0;
    for (unsigned i = 0; i < desc->field_count; i++) {
        const struct state_field *field = &desc->field[i];

        if (field->since > section.version)
            continue;
        memcpy((uint8_t *)ret_state + field->offset, section.bytes + at, field_bytes(field));
        at += field_bytes(field);
    }
    rc = desc->post_load ? desc->post_load(ret_state, err) : 0;
    if (rc < 0)
        err_wrap(err, "state: section '%s'", name);
    return rc;
}
