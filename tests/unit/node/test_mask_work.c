/* A contribution on its way under its masks: what must not get there is refused before a byte is written that lasts. */
#include "node/mask_work.h"
#include "tests/support/secagg_world.h"
#include "tests/unit/coordinator/fixture.h"

#include "hanse/ring.h"
#include "hanse/safetensors.h"

#include <float.h>
#include <math.h>

enum { SITES = 3, SELF = 1, WORDS = 4, ROWS = 10, VALUES = 3 }; /* WORDS of aux.h; a logistic model of two features */

static const char plan_text[] =
    "hanse: 1\nname: m\n"
    "data: {name: d, format: csv, target: {column: y, classes: [a, b]}, features: [{name: p, low: 0, high: 1}, {name: q, low: 0, high: 1}]}\n"
    "scaling: none\nmodel: {kind: logistic}\ntrain: {rate: 1, epochs: 1}\nrounds: {count: 1, deadline: 5m, min_sites: 3}\n";

static world w;
static hanse_plan *plan;
static hanse_layout layout;
static size_t head; /* words before those of aux.h */
static uint64_t bound;

static void shape(size_t i, uint64_t count, uint32_t bits, uint64_t most, double clip)
{
    w.segments[i].count = count;
    w.segments[i].bits = bits;
    w.segments[i].bound = most;
    w.segments[i].scaled = clip > 0;
    memcpy(&w.segments[i].clip, &clip, sizeof clip);
}

/* A training round up to the site's TRAIN: segments as its plan makes them. */
static int setup(void **state)
{
    if (dir_setup(state) != 0)
        return -1;
    assert_int_equal(hanse_plan_parse(&plan, hanse_bytes_str(plan_text), "plan", &w.err), HANSE_OK);
    assert_int_equal(hanse_layout_of_plan(&layout, plan, &w.err), HANSE_OK);
    assert_int_equal(layout.count + 1, WORLD_SEGMENTS);
    assert_int_equal(layout.parameters, VALUES);
    head = hanse_masking_aux_head(&layout, HANSE_ROUND_TRAINING);
    bound = INT64_MAX / SITES;
    world_new(&w, SITES, HANSE_SECAGG_ONLINE, 5);
    for (size_t i = 0; i < layout.count; i++)
        shape(i, layout.tensors[i].count, 20, 400000, 1);
    shape(layout.count, head + WORDS, 64, bound, 0);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < SITES; i++)
        GOOD(world_leave(&w, i, 1));
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    GOOD(world_spec(&w, SELF, true));
    return 0;
}

static int teardown(void **state)
{
    world_free(&w);
    hanse_layout_clear(&layout);
    hanse_plan_free(plan);
    return dir_teardown(state);
}

/* The work with these weights and words; afterwards there is a file if and only if it is good. */
static hanse_rc run(const char *dir, const float in[VALUES], const float out[VALUES], const uint64_t aux[WORDS])
{
    const hanse_spec plain = {.kind = HANSE_ROUND_TRAINING, .round = 1, .slot = 1};
    const hanse_model_meta meta = {.round = 0};
    const hanse_bytes spec = hanse_secagg_round_spec(w.round).bytes;
    const atomic_bool stop = false;
    hanse_mask_work work = {.counted = ROWS};
    hanse_path model_in, model_out;
    hanse_rc rc;

    GOOD(hanse_path_join(model_in, dir, "in", &w.err));
    GOOD(hanse_path_join(model_out, dir, "out", &w.err));
    GOOD(hanse_path_join(work.path, dir, "masked", &w.err));
    GOOD(hanse_model_write(model_in, &layout, &meta, in, false, &w.err));
    GOOD(hanse_model_write(model_out, &layout, &meta, out, false, &w.err));
    GOOD(hanse_buf_append(&work.spec, spec.data, spec.len, &w.err));
    GOOD(hanse_secagg_masker_new(&work.masker, w.sites[SELF].site, &w.err));
    rc = hanse_mask_work_run(&work, plan, &plain, model_in, model_out, ROWS, aux, WORDS, &stop, &w.err);
    assert_int_equal(hanse_file_exists(work.path), rc == HANSE_OK);
    hanse_mask_work_clear(&work);
    return rc;
}

static const float zeros[VALUES] = {0};

/* The coordinator sees sums only: each site holds its own words to the bound that the sums need. */
static void test_words_within_bound(void **state)
{
    const uint64_t most[WORDS] = {bound, bound, bound, bound};
    char where[64];

    GOOD(run(*state, zeros, zeros, most));
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t words[WORDS] = {bound, 0, 1, bound};

        words[i] = i % 2 == 0 ? bound + 1 : UINT64_MAX;
        REFUSED(run(*state, zeros, zeros, words), RANGE);
        assert_int_equal(w.err.rc, HANSE_E_WEIGHT);
        (void)snprintf(where, sizeof where, "aux word %zu of %zu is above its bound of %llu", head + i, head + WORDS, (unsigned long long)bound);
        assert_non_null(strstr(w.err.text, where));
    }
}

/* Both models may be finite where their difference is not; one that is not finite itself is neither. */
static void test_update_is_finite(void **state)
{
    const uint64_t words[WORDS] = {ROWS, 1, 0, 0};
    const float small[VALUES] = {0, 0.5f, -0.5f}, low[VALUES] = {0, 0, -FLT_MAX}, high[VALUES] = {0, 0, FLT_MAX}, nan[VALUES] = {0, NAN, 0};

    GOOD(run(*state, zeros, small, words));
    assert_int_equal(run(*state, low, high, words), HANSE_E_NONFINITE);
    assert_non_null(strstr(w.err.text, "tensor linear.bias: the update at index 0 "));
    assert_int_equal(run(*state, zeros, nan, words), HANSE_E_NONFINITE);
    assert_non_null(strstr(w.err.text, "tensor linear.weight: the update at index 1 "));
}

/* Scaled down to its clip up to eight times, never cut. */
static void test_update_beyond_its_clip(void **state)
{
    const uint64_t words[WORDS] = {ROWS, 1, 0, 0};
    const float eight[VALUES] = {0, 8, 0}, more[VALUES] = {0, 0, 8.001f};

    GOOD(run(*state, zeros, eight, words));
    REFUSED(run(*state, zeros, more, words), RANGE);
    assert_non_null(strstr(w.err.text, "tensor linear.bias is 8"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_within_bound),
        cmocka_unit_test(test_update_is_finite),
        cmocka_unit_test(test_update_beyond_its_clip),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
