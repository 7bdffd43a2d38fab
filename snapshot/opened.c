/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the opening of snapshots for restores; see opened.h. */
#include "snapshot/opened.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/host.h"
#include "snapshot/memory.h"

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
                   "state: digest is %s, manifest.json says %s: another snapshot's file",
                   digest_to_hex(&digest, found), digest_to_hex(&manifest->state_digest, expected));
}

int snapshot_memory_open(int dirfd, const struct manifest *manifest, int *ret_fd, struct err *err)
{
    struct snapshot_memory_expect expect = snapshot_memory_expect_of(manifest);
    uint64_t size = snapshot_memory_file_bytes(expect.ram_bytes);
    _cleanup_close_ int fd = -1;
    int rc = snapshot_file_open(dirfd, SNAPSHOT_FILE_MEMORY, size, size, &fd, &size, err);

    if (rc == 0)
        rc = snapshot_memory_check(fd, &expect, NULL, err);
    if (rc == 0)
        *ret_fd = take_fd(&fd);
    return rc;
}

static int open_parts(int dirfd, unsigned flags, struct snapshot_opened *t, struct err *err)
{
    struct manifest_cpu here;
    int rc = manifest_load(dirfd, &t->manifest, err);

    if (rc < 0)
        return rc;
    host_cpu_detect(&here);
    rc = host_cpu_check(&t->manifest.cpu, &here, err);
    if (rc < 0)
        return rc;
    rc = snapshot_state_load(dirfd, &t->manifest, &t->state, err);
    if (rc < 0)
        return rc;
    rc = snapshot_memory_open(dirfd, &t->manifest, &t->memory_fd, err);
    if (rc < 0)
        return rc;
    if (flags & SNAPSHOT_OPEN_CHECK_MEMORY) {
        struct snapshot_memory_expect expect = snapshot_memory_expect_of(&t->manifest);

        rc = snapshot_memory_verify(t->memory_fd, &expect, NULL, NULL, NULL, err);
        if (rc < 0)
            return rc;
    }
    /* A hint only: without one, or with a bad one, restores still work. */
    working_set_load(dirfd, &t->manifest.id, t->manifest.memory_bytes, &t->working_set, NULL);
    return 0;
}

int snapshot_open(int dirfd, unsigned flags, struct snapshot_opened *ret_opened, struct err *err)
{
    memset(ret_opened, 0, sizeof *ret_opened);
    ret_opened->memory_fd = -1;
    int rc = open_parts(dirfd, flags, ret_opened, err);
    if (rc < 0)
        snapshot_close(ret_opened);
    return rc;
}

void snapshot_close(struct snapshot_opened *t)
{
    state_reader_fini(&t->state);
    working_set_fini(&t->working_set);
    close_fd(&t->memory_fd);
}
