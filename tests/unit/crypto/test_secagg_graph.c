/* Sparse graphs: degree and threshold, the ring of a slot, whole rounds over it, and a coordinator that tries to cut it up.
 *   test_secagg_graph --large N   one round of N sites (400: some minutes) */
#include "../../support/secagg_world.h"

#include "hanse/secagg_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Values of an independent program, tests/vectors/graph_reference.py. */
static const struct { uint32_t n, c, d; unsigned lambda; uint32_t k, t; } degrees[] = {
    {100, 5, 5, 40, 22, 17},          {300, 15, 15, 40, 58, 45},         {500, 25, 25, 40, 76, 60},        {500, 25, 25, 104, 86, 69},
    {1000, 50, 50, 40, 90, 71},       {1000, 50, 50, 104, 138, 114},     {1000, 100, 50, 40, 138, 114},    {1000, 100, 50, 104, 208, 179},
    {100, 10, 10, 40, 42, 32},        {200, 20, 20, 40, 80, 61},         {500, 50, 50, 40, 150, 116},      {500, 50, 50, 104, 176, 139},
    {1000, 100, 100, 40, 196, 152},   {1000, 100, 100, 104, 278, 223},   {1000, 100, 200, 40, 374, 262},   {1000, 100, 200, 104, 456, 327},
    {1000, 200, 100, 40, 392, 325},   {1000, 200, 100, 104, 512, 433},   {1000, 200, 200, 104, 768, 585},  {400, 80, 80, 104, 320, 241},
    {40, 0, 4, 104, 10, 6},
};

static void test_degrees(void **state)
{
    uint32_t k, t;
    hanse_err err;

    (void)state;
    for (size_t i = 0; i < sizeof degrees / sizeof degrees[0]; i++) {
        assert_int_equal(hanse_secagg_graph_find(&k, &t, degrees[i].n, degrees[i].c, degrees[i].d, degrees[i].lambda, &err), HANSE_OK);
        if (k != degrees[i].k || t != degrees[i].t)
            fail_msg("n %u c %u D %u: k %u t %u", degrees[i].n, degrees[i].c, degrees[i].d, k, t);
    }
    assert_int_equal(hanse_secagg_graph_find(&k, &t, 10, 2, 2, HANSE_SECAGG_GRAPH_LAMBDA, &err), HANSE_E_QUORUM);
    assert_int_equal(hanse_secagg_graph_find(&k, &t, 100, 60, 1, HANSE_SECAGG_GRAPH_LAMBDA, &err), HANSE_E_QUORUM);
}

/* Weaker degrees than the tail allows are refused; stricter ones are not. */
static void test_params(void **state)
{
    const hanse_secagg_policy policy = {.survivors_min = 0};
    hanse_secagg_params params, bad;
    uint32_t k, t;

    (void)state;
    assert_int_equal(hanse_secagg_params_default(&params, 1000, HANSE_SECAGG_ONLINE, &policy, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_shares_needed(&params), params.t);
    assert_int_equal(hanse_secagg_retry_count(&params), 1000 - params.t + 1 + 200);
    assert_int_equal(hanse_secagg_params_sparse(&params, NULL), HANSE_OK);
    k = params.degree;
    t = params.degree_t;
    assert_int_equal(k, 768);
    assert_int_equal(hanse_secagg_shares_needed(&params), t);
    assert_int_equal(hanse_secagg_retry_count(&params), 1000 - 458 + 1 + 200); /* 600 * 585 / 768, rounded up: below t */
    assert_int_equal(hanse_secagg_params_check(&params, &policy, NULL), HANSE_OK);
    for (int i = 0; i < 6; i++) {
        bad = params;
        if (i == 0) bad.degree_t--;
        if (i == 1) bad.degree = k - 1;
        if (i == 2) bad.degree_t = k + 1;
        if (i == 3) bad.profile = HANSE_SECAGG_CRON;
        if (i == 4) bad.degree = 0;
        if (i == 5) bad.degree = 1000;
        assert_int_equal(hanse_secagg_params_check(&bad, &policy, NULL), HANSE_E_QUORUM);
    }
    bad = params;
    bad.degree_t++;
    assert_int_equal(hanse_secagg_params_check(&bad, &policy, NULL), HANSE_OK);
    params.profile = HANSE_SECAGG_CRON;
    params.degree = params.degree_t = 0;
    assert_int_equal(hanse_secagg_params_sparse(&params, NULL), HANSE_E_QUORUM);
}

static void test_ring(void **state)
{
    const uint8_t run[16] = {1, 2, 3}, roster[32] = {4, 5, 6}, other[32] = {4, 5, 7};
    hanse_secagg_params params = {.n = 101, .degree = 10};
    hanse_secagg_graph graph, again;
    unsigned edges_apart[3] = {0};

    (void)state;
    assert_int_equal(hanse_secagg_graph_open(&graph, &params, run, 9, roster, NULL), HANSE_OK);
    for (uint32_t i = 0; i < params.n; i++) {
        uint32_t neighbours = 0;

        for (uint32_t j = 0; j < params.n; j++) {
            neighbours += hanse_secagg_graph_pairs(&graph, i, j);
            assert_int_equal(hanse_secagg_graph_pairs(&graph, i, j), hanse_secagg_graph_pairs(&graph, j, i));
        }
        assert_int_equal(neighbours, 10);
        assert_false(hanse_secagg_graph_holds(&graph, i, i));
    }
    for (int what = 0; what < 3; what++) { /* another run, slot or roster is another ring */
        uint8_t run2[16];

        memcpy(run2, run, 16);
        run2[0] ^= what == 0;
        assert_int_equal(hanse_secagg_graph_open(&again, &params, run2, what == 1 ? 10 : 9, what == 2 ? other : roster, NULL), HANSE_OK);
        for (uint32_t i = 0; i < params.n; i++)
            for (uint32_t j = 0; j < i; j++)
                edges_apart[what] += hanse_secagg_graph_pairs(&graph, i, j) != hanse_secagg_graph_pairs(&again, i, j);
        assert_true(edges_apart[what] > 700); /* of 1010; 909 expected */
        hanse_secagg_graph_clear(&again);
    }
    hanse_secagg_graph_clear(&graph);
    params.degree = 0;
    assert_int_equal(hanse_secagg_graph_open(&graph, &params, run, 9, roster, NULL), HANSE_OK);
    assert_true(hanse_secagg_graph_holds(&graph, 3, 3));
    assert_false(hanse_secagg_graph_pairs(&graph, 3, 3));
    assert_true(hanse_secagg_graph_pairs(&graph, 3, 77));
    hanse_secagg_graph_clear(&graph);
}

/* The same ring in another language: graph_reference.py. */
static void test_ring_vector(void **state)
{
    static const uint32_t want[12] = {6, 5, 0, 2, 4, 1, 11, 8, 3, 7, 9, 10};
    uint8_t run[16], roster[32];
    hanse_secagg_params params = {.n = 12, .degree = 4};
    hanse_secagg_graph graph;

    (void)state;
    memset(run, 0x11, sizeof run);
    memset(roster, 0x22, sizeof roster);
    assert_int_equal(hanse_secagg_graph_open(&graph, &params, run, 3, roster, NULL), HANSE_OK);
    assert_memory_equal(graph.place, want, sizeof want);
    hanse_secagg_graph_clear(&graph);
}

/* --- rounds --- */

static void sparse_world(world *w, uint32_t n, uint32_t d_max, bool trusted, uint64_t seed)
{
    const hanse_secagg_policy policy = {.trusted_coordinator = trusted, .survivors_min = n - d_max};
    hanse_secagg_params params;

    assert_int_equal(hanse_secagg_params_default(&params, n, HANSE_SECAGG_ONLINE, &policy, NULL), HANSE_OK);
    assert_int_equal(params.d_max, d_max);
    assert_int_equal(hanse_secagg_params_sparse(&params, NULL), HANSE_OK);
    world_new_with(w, &params, &policy, seed);
}

static void open_graph(const world *w, uint64_t slot, hanse_secagg_graph *graph)
{
    assert_int_equal(hanse_secagg_graph_open(graph, &w->params, w->run, slot, hanse_secagg_roster_hash(w->roster), NULL), HANSE_OK);
}

/* Tickets of all, spec to all, uploads of those that are not `gone`, cut, certificate. */
static void up_to_cut(world *w, uint64_t slot, const bool *gone)
{
    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        assert_int_equal(world_leave(w, i, slot), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w->round, w->now_ms, &w->err), HANSE_OK);
    for (uint32_t i = 0; i < w->n; i++) {
        if (world_spec(w, i, true) != HANSE_OK || world_mask(w, i, slot) != HANSE_OK)
            fail_msg("site %u: %s", i, w->err.text);
        if (gone[i])
            continue;
        assert_int_equal(world_header(w, i), HANSE_OK);
        assert_int_equal(world_complete(w, i), HANSE_OK);
    }
    assert_int_equal(hanse_secagg_round_cut(w->round, &w->err), HANSE_OK);
    for (uint32_t i = 0; i < w->n; i++)
        assert_int_equal(world_sign_cut(w, i), HANSE_OK);
}

static void whole_round(uint32_t n, uint32_t d_max, bool trusted, uint64_t seed)
{
    bool *gone = hanse_calloc(n, sizeof *gone), equal = false;
    uint32_t streams = 0, absent = 0;
    hanse_secagg_unmasker *unmasker = NULL;
    hanse_secagg_graph graph;
    world w;

    sparse_world(&w, n, d_max, trusted, seed);
    assert_true(w.params.degree + 1 < n);
    while (absent < d_max) {
        uint32_t i = (uint32_t)(world_chance(&w) % n);

        absent += !gone[i];
        gone[i] = true;
    }
    up_to_cut(&w, 1, gone);
    open_graph(&w, 1, &graph);
    for (uint32_t i = 0; i < n; i++) { /* nobody holds what is not its neighbours' */
        size_t sealed = 0;

        for (uint32_t h = 0; h < n; h++) {
            const hanse_bytes ct = world_share(&w, w.round, i, h);

            for (size_t b = 0; b < ct.len; b++)
                if (ct.data[b] != 0) {
                    sealed++;
                    break;
                }
            streams += gone[i] && !gone[h] && hanse_secagg_graph_pairs(&graph, i, h);
        }
        assert_int_equal(sealed, w.params.degree);
        if (gone[i])
            REFUSED(world_answer(&w, i), COHORT); /* only who is in S helps to open it */
        else
            GOOD(world_answer(&w, i));
    }
    GOOD(world_finish(&w, &equal, NULL));
    assert_true(equal);
    GOOD(hanse_secagg_unmasker_new(&unmasker, w.round, &w.err));
    assert_int_equal(hanse_secagg_unmasker_streams(unmasker), n - absent + streams);
    hanse_secagg_unmasker_free(unmasker);
    hanse_secagg_graph_clear(&graph);
    hanse_free(gone);
    world_free(&w);
}

static void test_rounds(void **state)
{
    (void)state;
    whole_round(32, 3, true, 51);
    whole_round(40, 2, false, 52); /* 8 collude */
}

static uint32_t site_at(const hanse_secagg_graph *graph, uint32_t place)
{
    for (uint32_t i = 0; i < graph->n; i++)
        if (graph->place[i] == place % graph->n)
            return i;
    return UINT32_MAX;
}

/* The coordinator chooses who drops out when it knows the ring: all k neighbours of a victim, or k/2 on either side of an arc.
 * As many as D allows, so the cut as such passes and is signed; those at the edge give nothing, and so nothing opens. */
static void isolate(uint32_t arc)
{
    bool gone[32] = {false}, equal;
    hanse_secagg_graph graph;
    uint32_t half, start, refused = 0;
    world w;

    sparse_world(&w, 32, 6, true, 60 + arc);
    w.params.degree = 6; /* D = k, what a large consortium has: 2 * 3 drop-outs cut the ring into two */
    w.params.degree_t = 4;
    for (uint32_t i = 0; i < w.n; i++) {
        w.sites[i].config.params = w.params;
        world_restart(&w, i);
    }
    open_graph(&w, 1, &graph);
    half = graph.k / 2;
    start = graph.place[7];
    for (uint32_t k = 1; k <= half; k++)
        gone[site_at(&graph, start + graph.n - k)] = gone[site_at(&graph, start + arc - 1 + k)] = true;
    up_to_cut(&w, 1, gone);
    for (uint32_t i = 0; i < w.n; i++) {
        hanse_rc rc = world_answer(&w, i);

        if (rc != HANSE_OK) {
            assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_COHORT);
            refused += !gone[i];
        }
    }
    for (uint32_t k = 0; k < arc; k += arc > 1 ? arc - 1 : 1) { /* the victim, or both ends of the arc */
        REFUSED(world_answer(&w, site_at(&graph, start + k)), COHORT);
    }
    assert_true(refused >= (arc > 1 ? 4u : 3u)); /* the ends of what is left of the ring, too */
    REFUSED(world_finish(&w, &equal, NULL), COHORT);
    assert_false(equal);
    hanse_secagg_graph_clear(&graph);
    world_free(&w);
}

static void test_isolation(void **state)
{
    (void)state;
    isolate(1);
    isolate(9);
}

static uint32_t weaker_t;
static void weaken(hanse_secagg_spec *spec) { spec->params.degree_t = weaker_t; }

/* A spec with another threshold than the accepted one, be it stricter. */
static void test_other_degree(void **state)
{
    world w;

    (void)state;
    sparse_world(&w, 20, 2, true, 70);
    for (uint32_t delta = 0; delta < 2; delta++) {
        weaker_t = w.params.degree_t + delta;
        world_round_new(&w, 1, weaken);
        for (uint32_t i = 0; i < w.n; i++)
            GOOD(world_leave(&w, i, 1));
        GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
        if (delta > 0)
            REFUSED(world_spec(&w, 0, true), COHORT);
    }
    world_free(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_degrees), cmocka_unit_test(test_params), cmocka_unit_test(test_ring),
                                       cmocka_unit_test(test_ring_vector), cmocka_unit_test(test_rounds), cmocka_unit_test(test_isolation),
                                       cmocka_unit_test(test_other_degree)};

    if (argc == 3 && strcmp(argv[1], "--large") == 0) {
        uint32_t n = (uint32_t)strtoul(argv[2], NULL, 10);

        whole_round(n, n / 10, false, n);
        printf("%u sites, %u missing: exact\n", n, n / 10);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
