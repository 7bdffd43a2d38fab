/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the SHA-256 of snapshots and images; see digest.h for why by functions that OpenSSL would
 * rather see replaced by its larger interface. */
#include "snapshot/digest.h"

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <string.h>

#include "snapshot/sha256_pair.h"

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct digest_work), "room for its state");
_Static_assert(_Alignof(SHA256_CTX) <= _Alignof(struct digest_work), "aligned for its state");
_Static_assert(sizeof(SHA_LONG) == 4, "its state is what sha256_pair takes");
_Static_assert(DIGEST_BYTES == SHA256_DIGEST_LENGTH, "SHA-256 has 32 bytes");

/* None of the three functions can fail: they have a result because others of their kind do. */
void digest_start(struct digest_work *work)
{
    SHA256_Init((SHA256_CTX *)work);
}

void digest_add(struct digest_work *work, const void *bytes, size_t len)
{
    SHA256_Update((SHA256_CTX *)work, bytes, len);
}

/* `bytes` have gone into its state. */
static void count_bytes(SHA256_CTX *work, uint64_t bytes)
{
    uint64_t bits = ((uint64_t)work->Nh << 32 | work->Nl) + 8 * bytes;

    work->Nl = (SHA_LONG)bits;
    work->Nh = (SHA_LONG)(bits >> 32);
}

void digest_add_both(struct digest_work *a, const void *a_bytes, struct digest_work *b,
                     const void *b_bytes, size_t len)
{
    SHA256_CTX *a_work = (SHA256_CTX *)a, *b_work = (SHA256_CTX *)b;
    size_t whole = 0;

    if (a_work->num == 0 && b_work->num == 0 && sha256_pair_supported()) {
        whole = len - len % SHA256_BLOCK_BYTES;
        sha256_pair(a_work->h, a_bytes, b_work->h, b_bytes, whole / SHA256_BLOCK_BYTES);
        count_bytes(a_work, whole);
        count_bytes(b_work, whole);
    }
    digest_add(a, (const uint8_t *)a_bytes + whole, len - whole);
    digest_add(b, (const uint8_t *)b_bytes + whole, len - whole);
}

struct digest digest_end(struct digest_work *work)
{
    struct digest digest;

    SHA256_Final(digest.byte, (SHA256_CTX *)work);
    return digest;
}

struct digest digest_of(const void *bytes, size_t len)
{
    struct digest_work work;

    digest_start(&work);
    digest_add(&work, bytes, len);
    return digest_end(&work);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool digest_is_none(const struct digest *digest)
{
    static const struct digest none;

    return digest_equal(digest, &none);
}

const char *digest_to_hex(const struct digest *digest, char ret_hex[DIGEST_HEX_BYTES])
{
    return hex_format(digest->byte, DIGEST_BYTES, ret_hex);
}

bool digest_from_hex(const char *hex, struct digest *ret_digest)
{
    return hex_parse(hex, ret_digest->byte, DIGEST_BYTES);
}
