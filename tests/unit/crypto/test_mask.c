/* Vectors: tests/vectors/mask_reference.py. */
#include "crypto/ctr.h"
#include "crypto/vaes.h"
#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/mask.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

typedef struct end {
    uint8_t id[32], secret[32], pub[32];
} end;

static void hash(uint8_t out[32], const char *text)
{
    assert_int_equal(hanse_sha256(out, hanse_bytes_str(text), NULL), HANSE_OK);
}

static end end_named(const char *id, const char *secret)
{
    end e;

    hash(e.id, id);
    hash(e.secret, secret);
    assert_int_equal(hanse_x25519_public(e.pub, e.secret, NULL), HANSE_OK);
    return e;
}

static hanse_mask_party party(const end *e)
{
    return (hanse_mask_party){e->id, e->pub};
}

static void assert_hex(const uint8_t got[32], const char *want)
{
    char hex[65];

    hanse_hex_encode(hex, got, 32);
    assert_string_equal(hex, want);
}

static void self_seed(uint8_t seed[32])
{
    uint8_t b[32], round_id[32], id[32];

    hash(b, "b of a");
    hash(round_id, "round");
    hash(id, "site a");
    assert_int_equal(hanse_mask_self_seed(seed, b, round_id, id, NULL), HANSE_OK);
}

static void test_seeds(void **state)
{
    end a = end_named("site a", "secret a"), b = end_named("site b", "secret b"), bad = b;
    uint8_t round_id[32], psk[32], seed[32];
    hanse_bytes hedge = {psk, 32}, half = {psk, 16};
    bool subtract;
    hanse_err err;

    (void)state;
    hash(round_id, "round");
    hash(psk, "psk");
    assert_int_equal(hanse_mask_pair_seed(seed, &subtract, party(&a), a.secret, party(&b), HANSE_BYTES_EMPTY, round_id, NULL), HANSE_OK);
    assert_hex(seed, "ae3cb5af78e6751a3c061c853d4017e37a651464412dcc1bded2ea64f1f91b99");
    assert_true(subtract); /* a's id is the higher one */
    assert_int_equal(hanse_mask_pair_seed(seed, &subtract, party(&b), b.secret, party(&a), HANSE_BYTES_EMPTY, round_id, NULL), HANSE_OK);
    assert_hex(seed, "ae3cb5af78e6751a3c061c853d4017e37a651464412dcc1bded2ea64f1f91b99");
    assert_false(subtract);
    assert_int_equal(hanse_mask_pair_seed(seed, &subtract, party(&a), a.secret, party(&b), hedge, round_id, NULL), HANSE_OK);
    assert_hex(seed, "4043cc9757ccd0ca42e9198714eef4d9ed0fea29d7c37ae564583dcb9a5b36b7");
    self_seed(seed);
    assert_hex(seed, "902828aea5c3de9ab89ab69f8f107c05aa3411061eb0becfdd2a00c03c017ec8");

    assert_int_equal(hanse_mask_pair_seed(seed, &subtract, party(&a), a.secret, party(&a), hedge, round_id, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_mask_pair_seed(seed, &subtract, party(&a), a.secret, party(&b), half, round_id, &err), HANSE_E_USAGE);
    memset(bad.pub, 0, 32);
    assert_int_equal(hanse_mask_pair_seed(seed, &subtract, party(&a), a.secret, party(&bad), hedge, round_id, &err), HANSE_E_AUTH);
    assert_hex(seed, "902828aea5c3de9ab89ab69f8f107c05aa3411061eb0becfdd2a00c03c017ec8"); /* untouched */
}

static void test_stream(void **state)
{
    static const struct { uint32_t segment; uint64_t at; uint32_t want; } narrow[] = {
        {0, 0, 0x1915eac0}, {0, 1, 0x790d2b7b}, {0, 5, 0xb1d62e31}, {0, 1073741823, 0x208e09eb}, {0, 1073741824, 0x821e21d0},
        {7, 4, 0x92ba3f9b}, {7, 1073741825, 0x8f5b6837}, {7, 1099511627779, 0x831c86d1}, {0, 3, 0xd3bb3749},
    };
    static const struct { uint32_t segment; uint64_t at, want; } wide[] = {
        {0, 0, 0x790d2b7b1915eac0}, {0, 3, 0x40f13b3f52a090da}, {0, 536870911, 0x208e09ebcae9fcbc}, {0, 536870912, 0xd0d72fb0821e21d0},
        {7, 2, 0xb1879cc792ba3f9b}, {7, 1099511627779, 0x6923a7533f8edd35},
    };
    uint8_t seed[32];
    hanse_mask *plus, *minus;
    uint32_t w;
    uint64_t v;

    (void)state;
    self_seed(seed);
    assert_int_equal(hanse_mask_new(&plus, seed, false, NULL), HANSE_OK);
    assert_int_equal(hanse_mask_new(&minus, seed, true, NULL), HANSE_OK);
    for (size_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++) {
        w = 5;
        assert_int_equal(hanse_mask_apply_u32(&plus, 1, narrow[i].segment, narrow[i].at, &w, 1, NULL), HANSE_OK);
        assert_int_equal(w, (uint32_t)(narrow[i].want + 5));
        assert_int_equal(hanse_mask_apply_u32(&minus, 1, narrow[i].segment, narrow[i].at, &w, 1, NULL), HANSE_OK);
        assert_int_equal(w, 5);
    }
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        v = 0;
        assert_int_equal(hanse_mask_apply_u64(&minus, 1, wide[i].segment, wide[i].at, &v, 1, NULL), HANSE_OK);
        assert_true(v == 0 - wide[i].want);
        assert_int_equal(hanse_mask_apply_u64(&plus, 1, wide[i].segment, wide[i].at, &v, 1, NULL), HANSE_OK);
        assert_true(v == 0);
    }
    assert_int_equal(hanse_mask_apply_u32(&plus, 1, 0, HANSE_MASK_WORDS_MAX, &w, 1, NULL), HANSE_E_USAGE);
    assert_int_equal(hanse_mask_apply_u32(&plus, 1, 0, HANSE_MASK_WORDS_MAX - 1, &w, 2, NULL), HANSE_E_USAGE);
    hanse_mask_free(plus);
    hanse_mask_free(minus);
    hanse_mask_free(NULL);
}

/* Any cut into parts, in any order, gives the words of one pass: also across 4 KiB and across a superchunk. */
static void test_parts(void **state)
{
    enum { COUNT = 5003 };
    static uint32_t whole[COUNT], parts[COUNT];
    static uint64_t whole64[COUNT], parts64[COUNT];
    static const uint64_t starts[] = {0, 3, 1073741824 - 2500, 536870912 - 1111};
    static const size_t cuts[] = {COUNT, 4097, 4096, 2047, 1024, 1023, 17, 4, 3, 0};
    uint8_t seed[32];
    hanse_mask *masks[2];

    (void)state;
    self_seed(seed);
    assert_int_equal(hanse_mask_new(&masks[0], seed, false, NULL), HANSE_OK);
    seed[0] ^= 1;
    assert_int_equal(hanse_mask_new(&masks[1], seed, true, NULL), HANSE_OK);
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        memset(whole, 0, sizeof whole);
        memset(parts, 0, sizeof parts);
        memset(whole64, 0, sizeof whole64);
        memset(parts64, 0, sizeof parts64);
        assert_int_equal(hanse_mask_apply_u32(masks, 2, 1, starts[s], whole, COUNT, NULL), HANSE_OK);
        assert_int_equal(hanse_mask_apply_u64(masks, 2, 1, starts[s], whole64, COUNT, NULL), HANSE_OK);
        for (size_t c = 0; c + 1 < sizeof cuts / sizeof cuts[0]; c++) { /* from the back to the front */
            size_t from = cuts[c + 1], count = cuts[c] - from;
            assert_int_equal(hanse_mask_apply_u32(masks, 2, 1, starts[s] + from, parts + from, count, NULL), HANSE_OK);
            assert_int_equal(hanse_mask_apply_u64(masks, 2, 1, starts[s] + from, parts64 + from, count, NULL), HANSE_OK);
        }
        assert_memory_equal(whole, parts, sizeof whole);
        assert_memory_equal(whole64, parts64, sizeof whole64);
        for (size_t k = 0; k < COUNT; k++) /* the oracle: a word at a time */
            if (k % 97 == 0) {
                uint32_t one = 0;
                assert_int_equal(hanse_mask_apply_u32(masks, 2, 1, starts[s] + k, &one, 1, NULL), HANSE_OK);
                assert_int_equal(one, whole[k]);
            }
    }
    assert_int_equal(hanse_mask_apply_u32(masks, 0, 1, 0, parts, COUNT, NULL), HANSE_OK);
    hanse_mask_free(masks[0]);
    hanse_mask_free(masks[1]);
}

static void test_pairs_cancel(void **state)
{
    enum { SITES = 5, COUNT = 301 };
    static const char *const names[SITES] = {"one", "two", "three", "four", "five"};
    uint32_t sum[COUNT], alone[COUNT];
    uint8_t round_id[32], seed[32];
    end ends[SITES];

    (void)state;
    hash(round_id, "round 2");
    memset(sum, 0, sizeof sum);
    for (int i = 0; i < SITES; i++)
        ends[i] = end_named(names[i], names[SITES - 1 - i]);
    for (int i = 0; i < SITES; i++) {
        hanse_mask *masks[SITES];
        size_t count = 0;
        bool subtract;
        for (int j = 0; j < SITES; j++)
            if (j != i) {
                assert_int_equal(hanse_mask_pair_seed(seed, &subtract, party(&ends[i]), ends[i].secret, party(&ends[j]),
                                                      HANSE_BYTES_EMPTY, round_id, NULL), HANSE_OK);
                assert_int_equal(hanse_mask_new(&masks[count++], seed, subtract, NULL), HANSE_OK);
            }
        memset(alone, 0, sizeof alone);
        assert_int_equal(hanse_mask_apply_u32(masks, count, 3, 1001, alone, COUNT, NULL), HANSE_OK);
        size_t zeros = 0;
        for (size_t k = 0; k < COUNT; k++) {
            zeros += alone[k] == 0;
            sum[k] += alone[k];
        }
        assert_true(zeros < 3);
        while (count > 0)
            hanse_mask_free(masks[--count]);
    }
    for (size_t k = 0; k < COUNT; k++)
        assert_int_equal(sum[k], 0);
}

/* The same masks in several threads at once, as workers use them. */
enum { THREADS = 4, SHARED_WORDS = 40001, SHARED_MASKS = 3 };
static hanse_mask *shared_masks[SHARED_MASKS];
static uint32_t shared_words[THREADS][SHARED_WORDS];

static void *apply_shared(void *words)
{
    return hanse_mask_apply_u32(shared_masks, SHARED_MASKS, 2, 5, words, SHARED_WORDS, NULL) == HANSE_OK ? words : NULL;
}

static void test_threads(void **state)
{
    static uint32_t alone[SHARED_WORDS];
    pthread_t threads[THREADS];
    uint8_t seed[32];

    (void)state;
    self_seed(seed);
    memset(alone, 0, sizeof alone);
    memset(shared_words, 0, sizeof shared_words);
    for (size_t m = 0; m < SHARED_MASKS; m++, seed[0]++)
        assert_int_equal(hanse_mask_new(&shared_masks[m], seed, m == 1, NULL), HANSE_OK);
    for (size_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, apply_shared, shared_words[t]), 0);
    assert_non_null(apply_shared(alone));
    for (size_t t = 0; t < THREADS; t++) {
        void *done = NULL;

        assert_int_equal(pthread_join(threads[t], &done), 0);
        assert_ptr_equal(done, shared_words[t]);
        assert_memory_equal(shared_words[t], alone, sizeof alone);
    }
    for (size_t m = 0; m < SHARED_MASKS; m++)
        hanse_mask_free(shared_masks[m]);
}

static void test_memory(void **state)
{
    uint8_t seed[32] = {1};
    hanse_mask *mask = NULL;
    hanse_err err;

    (void)state;
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_mask_new(&mask, seed, false, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    assert_null(mask);
}

/* Each vector AES beside OpenSSL's stream, word by word: every place in a group of 512 bytes, heads, tails, lanes and signs. */
static void test_widths(void **state)
{
    enum { BYTES = 2048 };
    static const size_t lens[] = {8, 16, 504, 512, 520, 1024, 1032, 2040};
    static uint8_t key[32] = {7}, want[BYTES], got[BYTES];
    hanse_ctr ctr = HANSE_CTR_EMPTY;

    (void)state;
    if (hanse_vaes_width() == 0)
        return;
    for (uint64_t position = 4096 - 512; position <= 4096 + 512; position += 8)
        for (size_t i = 0; i < 4 * (sizeof lens / sizeof *lens); i++) {
            const size_t len = lens[i / 4];
            const hanse_lane lane = {i % 2 == 0 ? 4 : 8, i / 2 % 2 == 1};

            assert_int_equal(hanse_ctr_key(&ctr, key, NULL), HANSE_OK);
            assert_int_equal(hanse_ctr_seek(&ctr, position, NULL), HANSE_OK);
            assert_int_equal(hanse_ctr_next(&ctr, want, len, NULL), HANSE_OK);
            memset(got, 0x5a, sizeof got);
            hanse_vaes_fold(key, position, got, len, lane);
            for (size_t k = 0; k < len; k += lane.len) {
                uint64_t stream = 0, word = 0, was = 0;

                memcpy(&stream, want + k, lane.len);
                memcpy(&word, got + k, lane.len);
                memset(&was, 0x5a, lane.len);
                was = lane.subtract ? was - stream : was + stream;
                assert_true(lane.len == 4 ? (uint32_t)was == word : was == word);
            }
            assert_int_equal(got[len], 0x5a);
        }
    hanse_ctr_clear(&ctr);
}

/* Everything once with each vector AES that this processor has, and with OpenSSL's stream. */
int main(void)
{
    static const size_t widths[] = {64, 32, 0};
    int failed = 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds), cmocka_unit_test(test_stream), cmocka_unit_test(test_parts), cmocka_unit_test(test_pairs_cancel),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_widths), cmocka_unit_test(test_memory),
    };

    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        hanse_vaes_limit(widths[i]);
        if (i > 0 && hanse_vaes_width() != widths[i])
            continue; /* this processor has none of that width */
        print_message("vector AES: %zu bytes\n", hanse_vaes_width());
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
