/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: two contents hashed at once have the digests that each has alone, whatever went before and
 * however they lie in memory, with the CPU's SHA instructions and without.
 * Method: digest_add_both against digest_add, which is OpenSSL's, over lengths around blocks, odd
 * addresses, earlier pieces that end within a block, and one content that is far ahead of the other.
 */
#include "snapshot/digest.h"

#include "snapshot/sha256_pair.h"
#include "snapshot_test.h"

#define ROOM 8192u

static uint8_t room[2][ROOM];

static void fill_room(void)
{
    uint64_t random = 88172645463325252u;

    for (size_t i = 0; i < sizeof room; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        room[i / ROOM][i % ROOM] = (uint8_t)random;
    }
}

/* `before` bytes of each go in alone, then `bytes` of both at once, then a few more. */
static void check_both(const size_t before[2], const size_t skip[2], size_t bytes)
{
    struct digest_work both[2], alone[2];

    for (int i = 0; i < 2; i++) {
        digest_start(&both[i]);
        digest_add(&both[i], room[i], before[i]);
    }
    digest_add_both(&both[0], room[0] + skip[0], &both[1], room[1] + skip[1], bytes);
    for (int i = 0; i < 2; i++) {
        digest_start(&alone[i]);
        digest_add(&alone[i], room[i], before[i]);
        digest_add(&alone[i], room[i] + skip[i], bytes);
        digest_add(&alone[i], room[1 - i], 77);
        digest_add(&both[i], room[1 - i], 77);
        struct digest expected = digest_end(&alone[i]), found = digest_end(&both[i]);
        ck_assert_msg(digest_equal(&expected, &found),
                      "content %d, %zu bytes behind %zu and %zu, at %zu and %zu", i, bytes,
                      before[0], before[1], skip[0], skip[1]);
    }
}

START_TEST(both_are_as_alone)
{
    static const size_t befores[] = { 0, 1, 63, 64, 65, 4096 };
    unsigned cases = 0;

    fill_room();
    for (size_t bytes = 0; bytes < 260; bytes++) {
        for (size_t i = 0; i < ARRAY_LEN(befores) * ARRAY_LEN(befores); i++, cases++) {
            const size_t before[2] = { befores[i % ARRAY_LEN(befores)],
                                       befores[i / ARRAY_LEN(befores)] };

            check_both(before, (const size_t[2]){ i % 16, bytes % 16 }, bytes);
        }
    }
    check_both((const size_t[2]){ 0, 64 }, (const size_t[2]){ 0, 1 }, ROOM - 1);
    test_note("%u pairs%s", cases + 1,
              sha256_pair_supported() ? "" : ", without SHA instructions: this CPU has none");
}
END_TEST

/* The length that goes into a digest is counted in two halves. */
START_TEST(lengths_beyond_a_half)
{
    struct digest_work both[2], alone;
    const size_t bytes = MIB(1);
    _cleanup_free_ uint8_t *block = calloc(1, bytes);

    ck_assert_ptr_nonnull(block);
    digest_start(&both[0]);
    digest_start(&both[1]);
    digest_start(&alone);
    for (unsigned i = 0; i < 520; i++) { /* above 2^32 bits */
        digest_add_both(&both[0], block, &both[1], block, bytes);
        digest_add(&alone, block, bytes);
    }
    struct digest expected = digest_end(&alone);
    for (int i = 0; i < 2; i++) {
        struct digest found = digest_end(&both[i]);
        ck_assert(digest_equal(&expected, &found));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { both_are_as_alone, lengths_beyond_a_half };

    return test_main("snapshot_digest", tests, ARRAY_LEN(tests));
}
