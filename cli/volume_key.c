/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the look at a folder; see volume_key.h. */
#define OPENSSL_SUPPRESS_DEPRECATED /* the EVP interface would link all of libcrypto */
#include "volume_key.h"

#include <errno.h>
#include <fts.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* The name stands behind what has a fixed length, with its NUL: no two entries look alike. */
static void entry_add(SHA256_CTX *sha, const FTSENT *entry, size_t root_bytes)
{
    const struct stat *st = entry->fts_statp;
    const char *name = entry->fts_path + root_bytes;
    const int64_t words[] = {
        (int64_t)st->st_dev, (int64_t)st->st_ino,   (int64_t)st->st_mode, (int64_t)st->st_uid,
        (int64_t)st->st_gid, (int64_t)st->st_nlink, (int64_t)st->st_size, st->st_mtim.tv_sec,
        st->st_mtim.tv_nsec, st->st_ctim.tv_sec,    st->st_ctim.tv_nsec,
    };

    SHA256_Update(sha, words, sizeof words);
    SHA256_Update(sha, name, strlen(name) + 1);
}

static int walk(FTS *tree, size_t root_bytes, SHA256_CTX *sha, struct err *err)
{
    FTSENT *entry;

    while ((errno = 0, entry = fts_read(tree))) {
        if (entry->fts_info == FTS_DP)
            continue;
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
            return err_set_errno(err, entry->fts_errno, "%s", entry->fts_path);
        entry_add(sha, entry, root_bytes);
    }
    return errno ? err_set_errno(err, errno, "reading the folder") : 0;
}

int volume_key(const char *dir, char ret_key[VOLUME_KEY_BYTES], struct err *err)
{
    char *paths[] = { (char *)(uintptr_t)dir, NULL };
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX sha;

    if (!tree)
        return err_set_errno(err, errno, "%s", dir);
    SHA256_Init(&sha);
    int rc = walk(tree, strlen(dir), &sha, err);
    fts_close(tree);
    SHA256_Final(digest, &sha);
    for (unsigned i = 0; i < (VOLUME_KEY_BYTES - 1) / 2; i++)
        snprintf(ret_key + (size_t)2 * i, 3, "%02x", digest[i]);
    return rc;
}
