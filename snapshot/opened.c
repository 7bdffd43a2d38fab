/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the opening of snapshots for restores; see opened.h. */
#include "snapshot/opened.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/host.h"

int snapshot_state_load(int dirfd, const struct manifest *manifest, struct state_reader *ret_state,
                        struct err *err)
{
    _cleanup_free_ uint8_t *bytes = NULL;
    char found[DIGEST_HEX_BYTES], expected[DIGEST_HEX_BYTES];
    size_t len;

    *ret_state = (struct state_reader){ 0 };
    int rc =
        snapshot_file_read(dirfd, SNAPSHOT_FILE_STATE, STATE_FILE_BYTES_MAX, &bytes, &len, err);
    if (rc < 0)
        return rc;
    if (len != manifest->state_bytes)
        return err_set(err, EINVAL, "state: %zu bytes long, manifest.json says %llu", len,
                       (unsigned long long)manifest->state_bytes);
    /* The sections first: they name the place, the digest of the whole only says that there is
     * one. */
    rc = state_reader_open(ret_state, bytes, len, err);
    if (rc < 0)
        return rc;
    struct digest digest = digest_of(take_pointer(&bytes), len);
    if (digest_equal(&digest, &manifest->state_digest))
        return 0;
    state_reader_fini(ret_state);
    return err_set(err, EINVAL,
                   "state: digest is %s, manifest.json says %s: altered, or another snapshot's "
                   "file",
                   digest_to_hex(&digest, found), digest_to_hex(&manifest->state_digest, expected));
}

static int open_parts(int dirfd, struct snapshot_opened *t, struct err *err)
{
    struct manifest_cpu here;
    int rc = manifest_load(dirfd, &t->manifest, err);

    if (rc < 0)
        return rc;
    host_cpu_detect_kind(&here);
    rc = host_cpu_check(&t->manifest.cpu, &here, err);
    if (rc == 0)
        rc = snapshot_memory_open(dirfd, &t->manifest, &t->memory, err);
    if (rc == 0)
        rc = snapshot_state_load(dirfd, &t->manifest, &t->state, err);
    /* A hint only: without one, or with a bad one, restores still work. */
    if (rc == 0)
        working_set_load(dirfd, &t->manifest.id, t->manifest.memory_bytes, &t->working_set, NULL);
    return rc;
}

int snapshot_open(int dirfd, struct snapshot_opened *ret_opened, struct err *err)
{
    memset(ret_opened, 0, sizeof *ret_opened);
    ret_opened->memory = SNAPSHOT_MEMORY_INIT;
    int rc = open_parts(dirfd, ret_opened, err);
    if (rc < 0)
        snapshot_close(ret_opened);
    return rc;
}

int snapshot_check_begin(struct snapshot_opened *t, struct err *err)
{
    return snapshot_memory_begin(&t->memory, err);
}

int snapshot_check(struct snapshot_opened *t, struct err *err)
{
    return snapshot_memory_verify(&t->memory, NULL, NULL, NULL, err);
}

void snapshot_close(struct snapshot_opened *t)
{
    state_reader_fini(&t->state);
    working_set_fini(&t->working_set);
    snapshot_memory_close(&t->memory);
}
