/* Answers that open, signed by their sender, and say what they must not: another kind of share, shares that it does not hold, another cut, or
 * not an answer at all. */
#include "../../support/secagg_forge.h"

#include "hanse/secagg_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define ABSENT 3 /* in the list, not in S */
#define NO_TICKET 4
#define N 10

static hanse_rc give(world *w, uint32_t i)
{
    return hanse_secagg_round_add_answer(w->round, i, hanse_buf_bytes(&w->sites[i].extra), &w->err);
}

static void a_sk_of_survivor(hanse_secagg_answer *a) { a->kinds[1] = HANSE_SECAGG_SHARE_SK; }
static void a_b_of_absent(hanse_secagg_answer *a) { a->kinds[ABSENT] = HANSE_SECAGG_SHARE_B; }
static void a_no_ticket(hanse_secagg_answer *a) { a->kinds[NO_TICKET] = HANSE_SECAGG_SHARE_SK; }
static void a_fewer(hanse_secagg_answer *a) { a->n--; }
static void a_more(hanse_secagg_answer *a) { a->n++; }
static void a_round(hanse_secagg_answer *a) { a->round_id[0] ^= 1; }
static void a_cut(hanse_secagg_answer *a) { a->cut_hash[0] ^= 1; }
static void a_site(hanse_secagg_answer *a) { a->site_id[0] ^= 1; }

static const struct { const char *name; void (*change)(hanse_secagg_answer *answer); hanse_secagg_reason want; } changes[] = {
    {"the pair key of a member in S", a_sk_of_survivor, HANSE_SECAGG_CUT_OVERLAP},
    {"the self mask of a member outside S", a_b_of_absent, HANSE_SECAGG_CUT_OVERLAP},
    {"a share of a member without a ticket", a_no_ticket, HANSE_SECAGG_CUT_OVERLAP},
    {"about fewer members", a_fewer, HANSE_SECAGG_CUT_OVERLAP},
    {"about more members", a_more, HANSE_SECAGG_CUT_OVERLAP},
    {"to another round, sealed for this one", a_round, HANSE_SECAGG_CUT_CONFLICT},
    {"to another cut, sealed for this one", a_cut, HANSE_SECAGG_CUT_CONFLICT},
    {"of another site, sealed as this one", a_site, HANSE_SECAGG_CUT_CONFLICT},
};

/* Room for one member more. */
static void copy_answer(hanse_secagg_answer *to, uint8_t kinds[N + 1], uint8_t (*shares)[32], const hanse_secagg_answer *from)
{
    *to = *from;
    to->kinds = kinds;
    to->shares = shares;
    memset(kinds, 0, N + 1);
    memset(shares, 0, (N + 1) * sizeof *shares);
    memcpy(kinds, from->kinds, from->n);
    memcpy(shares, from->shares, from->n * sizeof *shares);
}

static void test_answers(void **state)
{
    hanse_secagg_answer answer, changed;
    uint8_t kinds[N + 1], shares[N + 1][32];
    bool equal = false;
    world w;

    (void)state;
    world_new(&w, N, HANSE_SECAGG_CRON, 81);
    world_uploads(&w, 1, 1u << ABSENT, 1u << NO_TICKET);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    GOOD(world_cut_of(&w, 0, w.round, false));
    forge_answer_open(&w, 0, &answer);
    assert_int_equal(answer.kinds[ABSENT], HANSE_SECAGG_SHARE_SK);
    assert_int_equal(answer.kinds[NO_TICKET], HANSE_SECAGG_SHARE_NONE);
    for (size_t k = 0; k < sizeof changes / sizeof changes[0]; k++) {
        copy_answer(&changed, kinds, shares, &answer);
        changes[k].change(&changed);
        forge_answer_seal(&w, 0, &changed);
        if (give(&w, 0) == HANSE_OK || hanse_secagg_reason_of(&w.err) != changes[k].want)
            fail_msg("%s: %s", changes[k].name, w.err.text);
        assert_int_equal(hanse_secagg_round_answers(w.round), 0);
    }
    forge_answer_seal(&w, 0, &answer); /* control: the same without a change */
    GOOD(give(&w, 0));
    assert_int_equal(hanse_secagg_round_answers(w.round), 1);
    hanse_secagg_answer_clear(&answer);
    for (uint32_t i = 1; i < w.n; i++)
        GOOD(world_answer(&w, i));
    GOOD(world_finish(&w, &equal, NULL));
    assert_true(equal);
    world_free(&w);
}

/* --- texts that are no answers --- */

static void test_no_answer(void **state)
{
    uint8_t text[1 + HANSE_SIG_MAX] = {64};
    hanse_buf whole = HANSE_BUF_EMPTY;
    hanse_secagg_answer answer;
    forged f = FORGED_EMPTY;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 82);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    GOOD(world_cut_of(&w, 0, w.round, false));
    forge_answer_open(&w, 0, &answer);
    for (size_t len = 0; len <= 64; len += len == 1 ? 63 : 1) { /* 0, 1, 64: the signature's length is there, the signature is not */
        forge_answer_seal_text(&w, 0, (hanse_bytes){text, len});
        if (len == 0)
            REFUSED(give(&w, 0), SHARE_AUTH); /* not even its length */
        else
            REFUSED(give(&w, 0), ENCODING);
    }
    forge_answer_seal_text(&w, 0, (hanse_bytes){text, 65}); /* a signature, of nothing */
    REFUSED(give(&w, 0), SIG);
    GOOD(hanse_secagg_answer_encode(&f.bytes, &answer, &w.err));
    f.bytes.len--; /* one byte of its last share is missing, which its sender has signed */
    forge_sign(&f, w.sites[0].key, HANSE_SECAGG_ANSWER_LABEL);
    memcpy(text + 1, f.sig, f.sig_len);
    GOOD(hanse_buf_append(&whole, text, 1 + f.sig_len, &w.err));
    GOOD(hanse_buf_append(&whole, f.bytes.data, f.bytes.len, &w.err));
    forge_answer_seal_text(&w, 0, hanse_buf_bytes(&whole));
    REFUSED(give(&w, 0), ENCODING);
    whole.data[1] ^= 1;
    forge_answer_seal_text(&w, 0, hanse_buf_bytes(&whole));
    REFUSED(give(&w, 0), SIG);
    hanse_buf_clear(&whole);
    assert_int_equal(hanse_secagg_round_answers(w.round), 0);
    forge_answer_seal(&w, 0, &answer); /* control */
    GOOD(give(&w, 0));
    hanse_secagg_answer_clear(&answer);
    forged_clear(&f);
    world_free(&w);
}

/* --- sparse graphs: who is no neighbour holds no share --- */

static void test_not_a_holder(void **state)
{
    const hanse_secagg_policy policy = {.trusted_coordinator = true};
    hanse_secagg_graph graph = HANSE_SECAGG_GRAPH_EMPTY;
    hanse_secagg_params params;
    hanse_secagg_answer answer;
    uint32_t other = 1;
    world w;

    (void)state;
    assert_int_equal(hanse_secagg_params_default(&params, 30, HANSE_SECAGG_ONLINE, &policy, NULL), HANSE_OK);
    params.d_max = 2;
    params.m = 28;
    assert_int_equal(hanse_secagg_params_sparse(&params, NULL), HANSE_OK);
    world_new_with(&w, &params, &policy, 83);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i < w.params.t; i++)
        GOOD(world_sign_cut(&w, i));
    GOOD(world_cut_of(&w, 0, w.round, true));
    forge_answer_open(&w, 0, &answer);
    GOOD(hanse_secagg_graph_open(&graph, &params, w.run, 1, hanse_secagg_roster_hash(w.roster), &w.err));
    while (hanse_secagg_graph_holds(&graph, other, 0))
        other++;
    assert_int_equal(answer.kinds[other], HANSE_SECAGG_SHARE_NONE);
    answer.kinds[other] = HANSE_SECAGG_SHARE_B;
    forge_answer_seal(&w, 0, &answer);
    REFUSED(give(&w, 0), CUT_OVERLAP);
    assert_int_equal(hanse_secagg_round_answers(w.round), 0);
    answer.kinds[other] = HANSE_SECAGG_SHARE_NONE;
    forge_answer_seal(&w, 0, &answer);
    GOOD(give(&w, 0)); /* control */
    assert_int_equal(hanse_secagg_round_answers(w.round), 1);
    hanse_secagg_answer_clear(&answer);
    hanse_secagg_graph_clear(&graph);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_no_answer), cmocka_unit_test(test_not_a_holder)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
