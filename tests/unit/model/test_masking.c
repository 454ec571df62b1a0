/* What follows from a plan for masked rounds: thresholds, words, clips; and everything that a coordinator might say otherwise. */
#include "hanse/digest.h"
#include "hanse/masking.h"
#include "hanse/ring.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const char head[] = "hanse: 1\nname: m\n"
                           "data: {name: d, format: csv, target: {column: y, classes: [a, b]}, features: [{name: p, low: 0, high: 1}, {name: q, low: 0, high: 1}]}\n"
                           "scaling: none\nmodel: {kind: logistic}\ntrain: {rate: 1, epochs: 1}\nrounds: {count: 1, deadline: 5m, min_sites: 3}\n";

typedef struct world {
    hanse_plan *plan;
    hanse_layout layout;
    hanse_masking_state state;
    hanse_err err;
} world;

#define GOOD(call)                                                           \
    do {                                                                     \
        if ((call) != HANSE_OK)                                              \
            fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #call, w->err.text); \
    } while (0)

static void begin(world *w, const char *aggregation)
{
    char text[1024];

    *w = (world){.layout = HANSE_LAYOUT_EMPTY};
    snprintf(text, sizeof text, "%s%s", head, aggregation);
    GOOD(hanse_plan_parse(&w->plan, hanse_bytes_str(text), "plan", &w->err));
    GOOD(hanse_layout_of_plan(&w->layout, w->plan, &w->err));
    GOOD(hanse_masking_state_init(&w->state, w->plan, &w->layout, &w->err));
}

static void end(world *w)
{
    hanse_masking_state_clear(&w->state);
    hanse_layout_clear(&w->layout);
    hanse_plan_free(w->plan);
}

static void test_params(void **state)
{
    hanse_secagg_params params;
    world all, *w = &all;

    (void)state;
    begin(w, "");
    GOOD(hanse_masking_params(&params, w->plan, 10, &w->err));
    assert_int_equal(params.c, 2);
    assert_int_equal(params.m, 8);
    assert_int_equal(params.t, 7);
    assert_int_equal(params.profile, HANSE_SECAGG_ONLINE);
    assert_int_equal(hanse_masking_params(&params, w->plan, 2, &w->err), HANSE_E_QUORUM);
    end(w);
    begin(w, "aggregation: {profile: cron, collusion: 3, survivors: 9}\n");
    GOOD(hanse_masking_params(&params, w->plan, 10, &w->err));
    assert_int_equal(params.c, 3);
    assert_true(2 * params.t > params.n + params.c);
    assert_true(params.m >= 9);
    assert_int_equal(params.profile, HANSE_SECAGG_CRON);
    end(w);
    begin(w, "aggregation: {collusion: 9}\n");
    assert_int_equal(hanse_masking_params(&params, w->plan, 10, &w->err), HANSE_E_QUORUM);
    end(w);
    begin(w, "aggregation: {allow_two: true}\n");
    GOOD(hanse_masking_params(&params, w->plan, 2, &w->err));
    end(w);
}

/* Sparse where the plan says so, or by itself for many sites with a large model, where there is such a graph. */
static void test_graph(void **state)
{
    static const struct { const char *rest; size_t sites; uint32_t degree; } rows[] = {
        {"", 400, 0},                                              /* a small model */
        {"aggregation: {graph: sparse}\n", 400, 320},
        {"aggregation: {graph: sparse, trusted_coordinator: true}\n", 400, 66},
        {"model: {kind: mlp, hidden: [4096, 1024]}\n", 300, 0},    /* 4.2 million numbers */
        {"model: {kind: mlp, hidden: [4096, 1024]}\n", 400, 320},
        {"model: {kind: mlp, hidden: [4096, 1024]}\naggregation: {graph: complete}\n", 400, 0},
        {"model: {kind: mlp, hidden: [4096, 1024]}\naggregation: {profile: cron}\n", 400, 0},
        {"model: {kind: mlp, hidden: [4096, 1024]}\naggregation: {collusion: 100}\n", 301, 0}, /* none is enough: all pairs */
    };
    const char *const plain = strstr(head, "model: {kind: logistic}\n");
    hanse_secagg_params params;
    hanse_plan *plan;
    hanse_err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const bool own_model = strncmp(rows[i].rest, "model", 5) == 0;
        char text[2048];

        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(plain - head), head, plain + (own_model ? strlen("model: {kind: logistic}\n") : 0), rows[i].rest);
        if (hanse_plan_parse(&plan, hanse_bytes_str(text), "plan", &err) != HANSE_OK
            || hanse_masking_params(&params, plan, rows[i].sites, &err) != HANSE_OK)
            fail_msg("row %zu: %s", i, err.text);
        if (params.degree != rows[i].degree)
            fail_msg("row %zu: degree %u", i, params.degree);
        hanse_plan_free(plan);
    }
    for (int i = 0; i < 2; i++) {
        char text[1024];

        (void)snprintf(text, sizeof text, "%saggregation: {graph: sparse, %s}\n", head, i == 0 ? "privacy: sealed" : "profile: cron");
        assert_int_equal(hanse_plan_parse(&plan, hanse_bytes_str(text), "plan", &err), HANSE_E_INVALID);
        assert_non_null(strstr(err.text, "aggregation.graph"));
    }
}

/* By the organisations' names in the roster: a policy asks for what the plan must give. */
static void test_params_of_a_roster(void **state)
{
    static const char *const alone[5] = {"a", "b", "c", "d", "e"}, *const two_of_one[5] = {"a", "b", "c", "d", "b"};
    const hanse_secagg_policy policy = {.survivors_min = 0};
    hanse_roster_site sites[5];
    hanse_roster roster = {.sites = sites, .sites_count = 5};
    hanse_secagg_params params;
    world all, *w = &all;

    (void)state;
    memset(sites, 0, sizeof sites);
    for (size_t i = 0; i < 5; i++)
        hanse_text_copy(sites[i].organisation, sizeof sites[i].organisation, hanse_bytes_str(alone[i]));
    begin(w, "");
    GOOD(hanse_masking_params(&params, w->plan, 5, &w->err));
    GOOD(hanse_masking_params_check(&params, &policy, &roster, &w->err));
    for (size_t i = 0; i < 5; i++)
        hanse_text_copy(sites[i].organisation, sizeof sites[i].organisation, hanse_bytes_str(two_of_one[i]));
    assert_int_equal(hanse_masking_params_check(&params, &policy, &roster, &w->err), HANSE_E_QUORUM);
    assert_int_equal(hanse_secagg_reason_of(&w->err), HANSE_SECAGG_COHORT);
    roster.sites_count = 4;
    assert_int_equal(hanse_masking_params_check(&params, &policy, &roster, &w->err), HANSE_E_USAGE);
    end(w);
    roster.sites_count = 5;
    begin(w, "aggregation: {collusion: 2}\n");
    GOOD(hanse_masking_params(&params, w->plan, 5, &w->err));
    GOOD(hanse_masking_params_check(&params, &policy, &roster, &w->err));
    end(w);
}

/* Four times up when somebody was above, half down when nobody came near, and never past the plan's bounds. */
static void test_clips(void **state)
{
    static const struct { double used; uint32_t above, near; double next; } rows[] = {
        {0.5, 0, 2, 0.5}, {0.5, 1, 1, 2}, {2, 3, 3, 4}, {4, 1, 1, 4}, {0.5, 0, 0, 0.25}, {0.015625, 0, 0, 0.015625}, {0.02, 0, 0, 0.015625}};
    world all, *w = &all;

    (void)state;
    begin(w, "");
    assert_int_equal(w->state.tensors_count, 2);
    assert_true(w->state.clips[0] == 4 && w->state.clips[1] == 4);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        w->state.used[1] = rows[i].used;
        w->state.above[1] = rows[i].above;
        w->state.near[1] = rows[i].near;
        w->state.used[0] = 4;
        hanse_masking_clips_next(&w->state, w->plan);
        if (w->state.clips[1] != rows[i].next)
            fail_msg("row %zu: %g, want %g", i, w->state.clips[1], rows[i].next);
    }
    end(w);
}

static void flip(hanse_buf *bytes, size_t at, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, 8);
    for (size_t i = 0; i < 8; i++)
        bytes->data[at + i] = (uint8_t)(bits >> (56 - 8 * i));
}

static void test_state_bytes(void **state)
{
    static const struct { size_t at; double value; } wrong[] = { /* of tensor 0: clip at 12, used at 20 */
        {12, NAN}, {12, -1}, {12, 8}, {12, 1}, {20, NAN}, {20, INFINITY}, {20, 1e-9}, {20, 2}};
    hanse_masking_state back = HANSE_MASKING_STATE_EMPTY;
    hanse_buf bytes = HANSE_BUF_EMPTY, spoiled = HANSE_BUF_EMPTY;
    world all, *w = &all;

    (void)state;
    begin(w, "");
    w->state.weight_total = 183;
    w->state.used[0] = w->state.used[1] = 4;
    w->state.near[1] = 3;
    hanse_masking_clips_next(&w->state, w->plan); /* 2, 4 */
    GOOD(hanse_masking_state_encode(&bytes, &w->state, &w->err));
    assert_int_equal(bytes.len, 8 + 4 + 2 * 24);
    GOOD(hanse_masking_state_decode(&back, w->plan, &w->layout, hanse_buf_bytes(&bytes), &w->err));
    assert_int_equal(back.weight_total, 183);
    assert_true(back.clips[0] == 2 && back.clips[1] == 4 && back.used[0] == 4 && back.near[1] == 3);
    hanse_masking_state_clear(&back);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        spoiled.len = 0;
        GOOD(hanse_buf_append(&spoiled, bytes.data, bytes.len, &w->err));
        flip(&spoiled, wrong[i].at, wrong[i].value);
        if (hanse_masking_state_decode(&back, w->plan, &w->layout, hanse_buf_bytes(&spoiled), &w->err) != HANSE_E_PROTOCOL)
            fail_msg("row %zu was taken", i);
    }
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(hanse_masking_state_decode(&back, w->plan, &w->layout, (hanse_bytes){bytes.data, len}, &w->err), HANSE_E_PROTOCOL);
    GOOD(hanse_buf_append(&bytes, "", 1, &w->err));
    assert_int_equal(hanse_masking_state_decode(&back, w->plan, &w->layout, hanse_buf_bytes(&bytes), &w->err), HANSE_E_PROTOCOL);
    hanse_buf_clear(&bytes);
    hanse_buf_clear(&spoiled);
    end(w);
}

static void make_spec(world *w, hanse_secagg_spec *spec, hanse_spec *plain, int kind)
{
    *plain = (hanse_spec){.slot = 3, .kind = (uint8_t)kind, .deadline_ms = 1000};
    *spec = (hanse_secagg_spec){.slot = 3, .kind = (uint8_t)kind, .upload_deadline_ms = 1000, .params = {.n = 4},
                                .weight_total = kind == HANSE_ROUND_TRAINING ? w->state.weight_total : 0};
    memset(plain->run, 1, 16);
    memset(spec->run, 1, 16);
    memset(plain->model_root, 2, 32);
    memset(spec->model_root, 2, 32);
    memset(plain->plan_hash, 3, 32);
    memset(spec->plan_hash, 3, 32);
    memset(spec->spec_hash, 4, 32);
    GOOD(hanse_masking_segments(&spec->segments, &spec->segments_count, w->plan, &w->layout, kind, 4, &w->state, &w->err));
    spec->chunk_words = hanse_masking_chunk_words(spec->segments, spec->segments_count);
}

static void test_segments(void **state)
{
    hanse_secagg_spec spec;
    hanse_spec plain;
    uint64_t *offsets = NULL, chunks = 0;
    world all, *w = &all;

    (void)state;
    begin(w, "");
    make_spec(w, &spec, &plain, HANSE_ROUND_TRAINING);
    assert_int_equal(spec.segments_count, 3);
    assert_int_equal(spec.segments[0].count, 2);
    assert_int_equal(spec.segments[0].bits, 20); /* the usual precision at four sites */
    assert_int_equal(spec.segments[0].scaled, 1);
    assert_int_equal(spec.segments[2].bits, 64);
    assert_int_equal(spec.segments[2].count, 2 + 2 * 2 + hanse_aux_words(w->plan, 1));
    assert_int_equal(spec.segments[2].bound, INT64_MAX / 4);
    GOOD(hanse_masking_offsets(&offsets, &chunks, &spec, &w->err));
    assert_int_equal(chunks, 3);
    assert_int_equal(offsets[0], 0);
    assert_int_equal(offsets[1], hanse_ring_packed_len(2 + 5, 20));
    assert_int_equal(offsets[3], hanse_secagg_upload_len(&spec));
    hanse_free(offsets);
    hanse_free(spec.segments);
    make_spec(w, &spec, &plain, HANSE_ROUND_STATISTICS); /* without federated scaling only rows are counted */
    assert_int_equal(spec.segments_count, 1);
    assert_int_equal(spec.segments[0].count, 2);
    hanse_free(spec.segments);
    end(w);
    begin(w, "aggregation: {bits: 12}\n");
    make_spec(w, &spec, &plain, HANSE_ROUND_TRAINING);
    assert_int_equal(spec.segments[0].bits, 12);
    assert_true(2 * (spec.segments[0].bound + 4) + 1 <= 1 << 12);
    hanse_free(spec.segments);
    end(w);
}

/* A coordinator that turns any one of its numbers is found out. */
static void test_spec_check(void **state)
{
    uint8_t hash[32];
    hanse_spec plain;
    world all, *w = &all;

    (void)state;
    memset(hash, 4, 32);
    begin(w, "");
    w->state.weight_total = 183;
    for (int turn = 0; turn <= 14; turn++) {
        hanse_secagg_spec spec;
        hanse_rc rc;

        make_spec(w, &spec, &plain, HANSE_ROUND_TRAINING);
        switch (turn) {
        case 1: spec.segments[0].clip += 1; break;
        case 2: spec.segments[0].bits = 21; break;
        case 3: spec.segments[0].bound--; break;
        case 4: spec.segments[1].count++; break;
        case 5: spec.segments[1].scaled = 0; break;
        case 6: spec.segments[2].bound++; break;
        case 7: spec.segments[0].name_hash[0] ^= 1; break;
        case 8: spec.chunk_words /= 2; break;
        case 9: spec.weight_total--; break;
        case 10: spec.spec_hash[0] ^= 1; break;
        case 11: spec.model_root[0] ^= 1; break;
        case 12: spec.kind = HANSE_ROUND_EVALUATION; break;
        case 13: spec.upload_deadline_ms++; break;
        case 14: spec.segments_count--; break;
        default: break;
        }
        rc = hanse_masking_spec_check(&spec, w->plan, &w->layout, 4, &w->state, &plain, hash, &w->err);
        if ((rc == HANSE_OK) != (turn == 0))
            fail_msg("turn %d: %s", turn, hanse_rc_name(rc));
        hanse_free(spec.segments);
    }
    end(w);
}

static void test_lists(void **state)
{
    const hanse_signed list[] = {{hanse_bytes_str("one"), hanse_bytes_str("sig")}, {HANSE_BYTES_EMPTY, HANSE_BYTES_EMPTY}, {hanse_bytes_str("three"), hanse_bytes_str("s")}};
    hanse_buf bytes = HANSE_BUF_EMPTY;
    hanse_signed *back = NULL;
    size_t count = 0;
    hanse_err err = {0};

    (void)state;
    assert_int_equal(hanse_signed_list_encode(&bytes, list, 3, &err), HANSE_OK);
    assert_int_equal(hanse_signed_list_decode(&back, &count, hanse_buf_bytes(&bytes), 3, &err), HANSE_OK);
    assert_int_equal(count, 3);
    assert_true(hanse_bytes_equal(back[2].bytes, list[2].bytes) && back[1].bytes.len == 0);
    hanse_free(back);
    assert_int_equal(hanse_signed_list_decode(&back, &count, hanse_buf_bytes(&bytes), 2, &err), HANSE_E_PROTOCOL);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(hanse_signed_list_decode(&back, &count, (hanse_bytes){bytes.data, len}, 3, &err), HANSE_E_PROTOCOL);
    assert_int_equal(hanse_signed_list_decode(&back, &count, (hanse_bytes){(const uint8_t *)"\xff\xff\xff\xff", 4}, SIZE_MAX, &err), HANSE_E_PROTOCOL);
    hanse_buf_clear(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_params), cmocka_unit_test(test_params_of_a_roster), cmocka_unit_test(test_graph), cmocka_unit_test(test_clips), cmocka_unit_test(test_state_bytes),
                                       cmocka_unit_test(test_segments), cmocka_unit_test(test_spec_check), cmocka_unit_test(test_lists)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
