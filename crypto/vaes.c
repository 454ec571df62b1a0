#include "crypto/vaes.h"

#ifdef __x86_64__
#include "crypto/ctr.h"

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>

#define ROUNDS 14
#define GROUP ((size_t)512) /* bytes made at a time: eight vectors, so that the instructions' latency is hidden */
#define ON_AVX512 __attribute__((target("aes,vaes,avx512f,avx512bw,avx512dq")))
#define ON_AVX2 __attribute__((target("aes,vaes,avx2")))
#ifdef __clang__ /* eight states stay in registers, at -O2 as well */
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* Each round key four times over, as the widest vector takes it. */
typedef struct schedule {
    _Alignas(64) uint8_t keys[ROUNDS + 1][4][16];
} schedule;

static pthread_once_t tried = PTHREAD_ONCE_INIT;
static atomic_size_t width;

/* ---- FIPS 197, 5.2: the round keys of AES-256 ---- */

#define MIX(key, helped) /* key ^ key<<32 ^ key<<64 ^ key<<96 ^ helped */                                                            \
    (key = _mm_xor_si128(key, _mm_slli_si128(key, 4)), key = _mm_xor_si128(key, _mm_slli_si128(key, 8)), key = _mm_xor_si128(key, helped))
#define EVEN(i, constant) (MIX(even, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(odd, constant), 0xff)), put(s, i, even))
#define ODD(i) (MIX(odd, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(even, 0), 0xaa)), put(s, i, odd))

static void put(schedule *s, size_t i, __m128i key)
{
    for (size_t copy = 0; copy < 4; copy++)
        _mm_store_si128((__m128i *)(void *)s->keys[i][copy], key);
}

ON_AVX2 static void expand(schedule *s, const uint8_t key[32])
{
    __m128i even = _mm_loadu_si128((const __m128i *)(const void *)key), odd = _mm_loadu_si128((const __m128i *)(const void *)(key + 16));

    put(s, 0, even);
    put(s, 1, odd);
    EVEN(2, 0x01), ODD(3), EVEN(4, 0x02), ODD(5), EVEN(6, 0x04), ODD(7), EVEN(8, 0x08), ODD(9);
    EVEN(10, 0x10), ODD(11), EVEN(12, 0x20), ODD(13), EVEN(14, 0x40);
}

/* ---- the stream over whole groups ---- */

ON_AVX512 static void fold_512(const schedule *s, uint64_t block, uint8_t *words, size_t groups, hanse_lane lane)
{
    const __m512i big_endian = _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i four = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
    __m512i counter = _mm512_add_epi64(_mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0), _mm512_maskz_set1_epi64(0x55, (long long)block));

    for (; groups > 0; groups--, words += GROUP) {
        __m512i x[8], *to = (__m512i *)(void *)words;

        UNROLL
        for (int j = 0; j < 8; j++, counter = _mm512_add_epi64(counter, four))
            x[j] = _mm512_xor_si512(_mm512_shuffle_epi8(counter, big_endian), _mm512_load_si512(s->keys[0]));
        for (int r = 1; r < ROUNDS; r++) {
            UNROLL
            for (int j = 0; j < 8; j++)
                x[j] = _mm512_aesenc_epi128(x[j], _mm512_load_si512(s->keys[r]));
        }
        UNROLL
        for (int j = 0; j < 8; j++) {
            __m512i word = _mm512_loadu_si512(to + j);

            x[j] = _mm512_aesenclast_epi128(x[j], _mm512_load_si512(s->keys[ROUNDS]));
            if (lane.len == 4)
                word = lane.subtract ? _mm512_sub_epi32(word, x[j]) : _mm512_add_epi32(word, x[j]);
            else
                word = lane.subtract ? _mm512_sub_epi64(word, x[j]) : _mm512_add_epi64(word, x[j]);
            _mm512_storeu_si512(to + j, word);
        }
    }
}

ON_AVX2 static void fold_256(const schedule *s, uint64_t block, uint8_t *words, size_t groups, hanse_lane lane)
{
    const __m256i big_endian = _mm256_broadcastsi128_si256(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m256i two = _mm256_set_epi64x(0, 2, 0, 2);
    __m256i counter = _mm256_set_epi64x(0, (long long)(block + 1), 0, (long long)block);

    for (size_t halves = 2 * groups; halves > 0; halves--, words += GROUP / 2) {
        __m256i x[8], *to = (__m256i *)(void *)words;

        UNROLL
        for (int j = 0; j < 8; j++, counter = _mm256_add_epi64(counter, two))
            x[j] = _mm256_xor_si256(_mm256_shuffle_epi8(counter, big_endian), _mm256_load_si256((const __m256i *)(const void *)s->keys[0]));
        for (int r = 1; r < ROUNDS; r++) {
            UNROLL
            for (int j = 0; j < 8; j++)
                x[j] = _mm256_aesenc_epi128(x[j], _mm256_load_si256((const __m256i *)(const void *)s->keys[r]));
        }
        UNROLL
        for (int j = 0; j < 8; j++) {
            __m256i word = _mm256_loadu_si256(to + j);

            x[j] = _mm256_aesenclast_epi128(x[j], _mm256_load_si256((const __m256i *)(const void *)s->keys[ROUNDS]));
            if (lane.len == 4)
                word = lane.subtract ? _mm256_sub_epi32(word, x[j]) : _mm256_add_epi32(word, x[j]);
            else
                word = lane.subtract ? _mm256_sub_epi64(word, x[j]) : _mm256_add_epi64(word, x[j]);
            _mm256_storeu_si256(to + j, word);
        }
    }
}

static void fold_groups(size_t wide, const schedule *s, uint64_t block, uint8_t *words, size_t groups, hanse_lane lane)
{
    if (wide == 64)
        fold_512(s, block, words, groups, lane);
    else
        fold_256(s, block, words, groups, lane);
}

/* Part of a group, from byte `skip` of it on. */
static void fold_part(size_t wide, const schedule *s, uint64_t block, size_t skip, uint8_t *words, size_t len, hanse_lane lane)
{
    _Alignas(64) uint8_t group[GROUP] = {0};

    memcpy(group + skip, words, len);
    fold_groups(wide, s, block, group, 1, lane);
    memcpy(words, group + skip, len);
    hanse_wipe(group, sizeof group); /* the bytes around are stream */
}

/* Compilers keep copies on the stack as they like: stream, keys, and words without their mask. The frames of what ran before lie here. */
__attribute__((noinline)) static void wipe_below(void)
{
    uint8_t below[8192];

    hanse_wipe(below, sizeof below);
}

static void fold(size_t wide, const uint8_t key[32], uint64_t position, uint8_t *words, size_t len, hanse_lane lane)
{
    uint64_t block = position / GROUP * (GROUP / 16);
    size_t skip = position % GROUP, head = skip == 0 ? 0 : GROUP - skip;
    size_t groups;
    schedule s;

    head = head < len ? head : len;
    expand(&s, key);
    if (head > 0) {
        fold_part(wide, &s, block, skip, words, head, lane);
        words += head;
        len -= head;
        block += GROUP / 16;
    }
    groups = len / GROUP;
    fold_groups(wide, &s, block, words, groups, lane);
    if (len % GROUP > 0)
        fold_part(wide, &s, block + groups * (GROUP / 16), 0, words + groups * GROUP, len % GROUP, lane);
    hanse_wipe(&s, sizeof s);
    wipe_below();
}

/* ---- does it work here ---- */

/* A head, whole groups and a tail beside OpenSSL's stream, around a carry out of the counter's lowest 32 bits. */
static bool gives_openssl_bytes(size_t wide)
{
    enum { LEN = 3 * 512 };
    static const uint8_t key[32] = "thirty-one bytes and a zero now";
    const uint64_t position = ((uint64_t)16 << 32) - 2 * GROUP + 40;
    _Alignas(64) uint8_t want[LEN], got[LEN] = {0};
    hanse_ctr ctr = HANSE_CTR_EMPTY;
    bool same = hanse_ctr_key(&ctr, key, NULL) == HANSE_OK && hanse_ctr_seek(&ctr, position, NULL) == HANSE_OK
             && hanse_ctr_next(&ctr, want, LEN, NULL) == HANSE_OK;

    hanse_ctr_clear(&ctr);
    fold(wide, key, position, got, LEN, (hanse_lane){4, false});
    same = same && memcmp(got, want, LEN) == 0;
    fold(wide, key, position, got, LEN, (hanse_lane){8, true}); /* the lanes are the same bytes once they started from zero */
    for (size_t i = 0; i < LEN; i++)
        same = same && got[i] == 0;
    return same;
}

static void try(void)
{
    unsigned a, b, c, d; /* __builtin_cpu_supports() of older compilers does not know VAES; that of AVX asks the system, too */
    bool vaes = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & bit_VAES) != 0 && __builtin_cpu_supports("aes");
    bool avx2 = vaes && __builtin_cpu_supports("avx2");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");

    if (avx512 && gives_openssl_bytes(64))
        width = 64;
    else if (avx2 && gives_openssl_bytes(32))
        width = 32;
}

size_t hanse_vaes_width(void)
{
    (void)pthread_once(&tried, try);
    return width;
}

void hanse_vaes_limit(size_t most)
{
    if (hanse_vaes_width() > most)
        width = most < 32 ? 0 : 32;
}

void hanse_vaes_fold(const uint8_t key[32], uint64_t position, uint8_t *words, size_t len, hanse_lane lane)
{
    fold(hanse_vaes_width(), key, position, words, len, lane);
}

#else

size_t hanse_vaes_width(void)
{
    return 0;
}

void hanse_vaes_limit(size_t most)
{
    (void)most;
}

void hanse_vaes_fold(const uint8_t key[32], uint64_t position, uint8_t *words, size_t len, hanse_lane lane)
{
    (void)key, (void)position, (void)words, (void)len, (void)lane;
}

#endif
