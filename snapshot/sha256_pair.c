/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the compression of two messages at once: see sha256_pair.h. */
#include "snapshot/sha256_pair.h"

#include <cpuid.h>
#include <immintrin.h>

#define SHA __attribute__((target("sha,sse4.1,ssse3")))
#define LANES 2
#define ROUNDS 64
#define WORDS 4 /* of a vector, and rounds that it feeds */

/* FIPS 180-4, 4.2.2. */
static const uint32_t constants[ROUNDS] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* One message's: the state as the instructions want it (A, B, E, F and C, D, G, H, highest first), and
 * the last 16 words of the message schedule, four a vector. */
struct lane {
    __m128i abef, cdgh, w[4];
};

static bool cpu_has_it(void)
{
    unsigned eax, ebx, ecx, edx;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_SSE4_1) || !(ecx & bit_SSSE3))
        return false;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ebx & bit_SHA;
}

bool sha256_pair_supported(void)
{
    static _Atomic int known; /* 0: not yet. CPUID is an exit where this is a VM itself */

    if (known == 0)
        known = cpu_has_it() ? 1 : -1;
    return known > 0;
}

static inline SHA __attribute__((always_inline)) struct lane lane_load(const uint32_t state[8])
{
    __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);

    return (struct lane){ .abef = _mm_alignr_epi8(cdab, efgh, 8),
                          .cdgh = _mm_blend_epi16(efgh, cdab, 0xf0) };
}

static inline SHA __attribute__((always_inline)) void lane_store(const struct lane *lane,
                                                                 uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(lane->abef, 0x1b), dchg = _mm_shuffle_epi32(lane->cdgh, 0xb1);

    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* The four words for group `i` of rounds: of the message first, then by its schedule (6.2.2, 1). */
static inline SHA __attribute__((always_inline)) __m128i lane_words(struct lane *lane, int i,
                                                                    const uint8_t *block)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i *w = lane->w;

    if (i < 4) {
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)block + i), swap);
        return w[i];
    }
    __m128i last = w[(i + 3) % 4], older = w[(i + 2) % 4];
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]),
                                _mm_alignr_epi8(last, older, 4));
    w[i % 4] = _mm_sha256msg2_epu32(sum, last);
    return w[i % 4];
}

static inline SHA __attribute__((always_inline)) void lane_rounds(struct lane *lane, __m128i words,
                                                                  int i)
{
    __m128i sum =
        _mm_add_epi32(words, _mm_load_si128((const __m128i *)(const void *)constants + i));

    lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, sum);
    lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

SHA void sha256_pair(uint32_t a_state[8], const uint8_t *a, uint32_t b_state[8], const uint8_t *b,
                     size_t blocks)
{
    struct lane x = lane_load(a_state), y = lane_load(b_state);

    for (; blocks > 0; blocks--, a += SHA256_BLOCK_BYTES, b += SHA256_BLOCK_BYTES) {
        const __m128i x_abef = x.abef, x_cdgh = x.cdgh, y_abef = y.abef, y_cdgh = y.cdgh;

#pragma GCC unroll 16
        for (int i = 0; i < ROUNDS / WORDS; i++) {
            __m128i x_words = lane_words(&x, i, a), y_words = lane_words(&y, i, b);

            lane_rounds(&x, x_words, i);
            lane_rounds(&y, y_words, i);
        }
        x.abef = _mm_add_epi32(x.abef, x_abef);
        x.cdgh = _mm_add_epi32(x.cdgh, x_cdgh);
        y.abef = _mm_add_epi32(y.abef, y_abef);
        y.cdgh = _mm_add_epi32(y.cdgh, y_cdgh);
    }
    lane_store(&x, a_state);
    lane_store(&y, b_state);
}
