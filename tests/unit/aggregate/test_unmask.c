/* The sum of masked uploads: the new model is the old one plus the mean of what the survivors put in, to the last bit; a wrong byte shows. */
#include "coordinator/aggregate/unmask.h"
#include "hanse/ring.h"
#include "tests/support/secagg_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

enum { SITES = 5, ABSENT = 3, WIDE = 262144 + 77, SMALL = 6, AUX = 9 };

static world w;
static hanse_layout layout;
static float *base;
static char dir[] = "/tmp/hanse-unmask-XXXXXX", base_path[64], path[64];
static hanse_secagg_spec spec;
static const hanse_model_meta meta = {.run = {7}, .round = 3, .plan_hash = {5}};

/* A whole round of which site ABSENT has gone before its upload, up to the opened secrets. */
static int setup(void **state)
{
    static const size_t shapes[2][1] = {{WIDE}, {SMALL}};
    uint32_t blamed[SITES];

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(base_path, sizeof base_path, "%s/base", dir);
    snprintf(path, sizeof path, "%s/new", dir);
    world_new(&w, SITES, HANSE_SECAGG_CRON, 77);
    world_segment(&w, 0, WIDE, 20, 400000, 0.25);
    world_segment(&w, 1, SMALL, 33, (uint64_t)1 << 31, 4);
    world_segment(&w, 2, AUX, 64, (uint64_t)1 << 50, 0);
    assert_int_equal(hanse_layout_add(&layout, "a", shapes[0], 1, &w.err), HANSE_OK);
    assert_int_equal(hanse_layout_add(&layout, "b", shapes[1], 1, &w.err), HANSE_OK);
    base = hanse_calloc(layout.parameters, sizeof *base);
    assert_non_null(base);
    for (size_t i = 0; i < layout.parameters; i++)
        base[i] = (float)((double)(world_chance(&w) % 2001) / 1000 - 1);
    assert_int_equal(hanse_model_write(base_path, &layout, &meta, base, false, &w.err), HANSE_OK);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < SITES; i++)
        assert_int_equal(world_leave(&w, i, 1), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w.round, w.now_ms, &w.err), HANSE_OK);
    for (uint32_t i = 0; i < SITES; i++) {
        assert_int_equal(world_spec(&w, i, true), HANSE_OK);
        if (i == ABSENT)
            continue;
        assert_int_equal(world_mask(&w, i, 1), HANSE_OK);
        assert_int_equal(world_header(&w, i), HANSE_OK);
        assert_int_equal(world_complete(&w, i), HANSE_OK);
    }
    assert_int_equal(hanse_secagg_round_cut(w.round, &w.err), HANSE_OK);
    for (uint32_t i = 0; i < SITES; i++)
        if (i != ABSENT)
            assert_int_equal(world_answer(&w, i), HANSE_OK);
    assert_int_equal(hanse_secagg_round_reconstruct(w.round, blamed, &w.err), HANSE_OK);
    assert_int_equal(hanse_secagg_spec_decode(&spec, hanse_secagg_round_spec(w.round).bytes, &w.err), HANSE_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(base_path);
    (void)unlink(path);
    (void)rmdir(dir);
    hanse_secagg_spec_clear(&spec);
    hanse_layout_clear(&layout);
    hanse_free(base);
    world_free(&w);
    return 0;
}

static hanse_rc read_upload(void *context, uint64_t at, uint8_t *out, size_t len, hanse_err *err)
{
    const hanse_buf *y = context;

    if (at > y->len || len > y->len - at)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%zu bytes at %llu of %zu", len, (unsigned long long)at, y->len);
    memcpy(out, y->data + at, len);
    return HANSE_OK;
}

static hanse_unmask *unmask_new(size_t threads)
{
    static hanse_unmask_source sources[SITES];
    hanse_unmask *unmask = NULL;
    size_t count = 0;

    for (uint32_t i = 0; i < SITES; i++)
        if (i != ABSENT)
            sources[count++] = (hanse_unmask_source){read_upload, &w.sites[i].y};
    assert_int_equal(hanse_unmask_new(&unmask, w.round, &spec, &layout, sources, count, threads, &w.err), HANSE_OK);
    return unmask;
}

static int64_t plain_sum(size_t s, uint64_t k)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < SITES; i++)
        sum += i == ABSENT ? 0 : w.sites[i].q[s][k];
    return (int64_t)sum;
}

static void test_aux(void **state)
{
    hanse_unmask *unmask = unmask_new(1);
    uint64_t words[AUX];

    (void)state;
    assert_int_equal(hanse_unmask_aux(unmask, words, &w.err), HANSE_OK);
    for (uint64_t k = 0; k < AUX; k++)
        assert_int_equal(words[k], (uint64_t)plain_sum(2, k));
    hanse_unmask_free(unmask);
}

static void test_fold(void **state)
{
    const uint64_t share = HANSE_RING_SHARE_ONE / 5 * 4 + 3;
    float *values = hanse_calloc(layout.parameters, sizeof *values);
    uint8_t root[32], again[32];

    (void)state;
    assert_non_null(values);
    for (size_t threads = 1; threads <= 3; threads += 2) {
        hanse_unmask *unmask = unmask_new(threads);
        hanse_model_file file = {.fd = -1};

        if (hanse_unmask_fold(unmask, share, base_path, &meta, path, threads == 1 ? root : again, &w.err) != HANSE_OK)
            fail_msg("%s", w.err.text);
        hanse_unmask_free(unmask);
        assert_int_equal(hanse_model_open(&file, path, &w.err), HANSE_OK);
        assert_int_equal(hanse_model_read(&file, 0, values, layout.parameters, &w.err), HANSE_OK);
        hanse_model_close(&file);
        for (size_t t = 0; t < 2; t++)
            for (size_t k = 0; k < layout.tensors[t].count; k++) {
                double clip, mean;
                size_t at = layout.tensors[t].offset + k;

                memcpy(&clip, &w.segments[t].clip, sizeof clip);
                mean = (double)plain_sum(t, k) * clip / ((double)w.segments[t].bound * ((double)share / (double)HANSE_RING_SHARE_ONE));
                if (values[at] < base[at] + (float)mean - 1e-7f || values[at] > base[at] + (float)mean + 1e-7f)
                    fail_msg("tensor %zu value %zu: %g, want %g + %g", t, k, (double)values[at], (double)base[at], mean);
            }
    }
    assert_memory_equal(root, again, 32); /* threads change nothing */
    hanse_free(values);
}

/* One wrong byte in the last words of a tensor is seen at its sanity words; bits behind the last value at once. */
static void test_wrong_bytes(void **state)
{
    hanse_buf *y = &w.sites[0].y;
    const size_t end = hanse_ring_packed_len(WIDE + HANSE_SECAGG_SANITY_WORDS, 20);
    uint8_t root[32];
    hanse_unmask *unmask = unmask_new(1);

    (void)state;
    (void)unlink(path);
    y->data[end - 3] ^= 0x10;
    assert_int_equal(hanse_unmask_fold(unmask, HANSE_RING_SHARE_ONE, base_path, &meta, path, root, &w.err), hanse_secagg_reason_rc(HANSE_SECAGG_SANITY));
    assert_non_null(strstr(w.err.text, "E_SANITY"));
    assert_int_not_equal(access(path, F_OK), 0);
    y->data[end - 3] ^= 0x10;
    hanse_unmask_free(unmask);
    unmask = unmask_new(1);
    y->data[y->len - 1] ^= 1; /* of the aux words' sanity words */
    assert_int_not_equal(hanse_unmask_aux(unmask, (uint64_t[AUX]){0}, &w.err), HANSE_OK);
    y->data[y->len - 1] ^= 1;
    hanse_unmask_free(unmask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_aux), cmocka_unit_test(test_fold), cmocka_unit_test(test_wrong_bytes)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
