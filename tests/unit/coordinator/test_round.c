#include "coordinator/round/progress.h"
#include "coordinator/round/round.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define DEADLINE 1000

static hanse_round make(size_t members, size_t min, size_t max, bool needs_weight)
{
    hanse_round round;

    assert_int_equal(hanse_round_init(&round, members, min, max, DEADLINE, needs_weight, NULL), HANSE_OK);
    return round;
}

static hanse_round_actions step(hanse_round *round, hanse_round_event_kind kind, size_t member, uint64_t now)
{
    hanse_round_event event = {.kind = kind, .now_ms = now, .member = member, .weight = 10 + member, .rc = HANSE_OK};

    return hanse_round_step(round, &event);
}

static hanse_round_actions contribute(hanse_round *round, size_t member, uint64_t now)
{
    assert_int_equal(step(round, HANSE_ROUND_EV_UPLOAD, member, now).set, HANSE_ROUND_DO_RESUME);
    assert_int_equal(step(round, HANSE_ROUND_EV_COMPLETE, member, now).set, HANSE_ROUND_DO_VERIFY);
    return step(round, HANSE_ROUND_EV_VERIFIED, member, now);
}

static void all_members_close_the_round(void **state)
{
    hanse_round round = make(3, 2, 0, true);

    (void)state;
    assert_int_equal(contribute(&round, 1, 1).set, HANSE_ROUND_DO_ACCEPT);
    assert_int_equal(contribute(&round, 0, 2).set, HANSE_ROUND_DO_ACCEPT);
    assert_int_equal(contribute(&round, 2, 3).set, HANSE_ROUND_DO_ACCEPT | HANSE_ROUND_DO_FOLD);
    assert_int_equal(round.phase, HANSE_PHASE_CUT);
    assert_int_equal(round.weights[2], 12);
    assert_int_equal(step(&round, HANSE_ROUND_EV_FOLDED, 0, 4).set, HANSE_ROUND_DO_PUBLISH);
    assert_int_equal(round.phase, HANSE_PHASE_PUBLISHED);
    hanse_round_clear(&round);
}

/* The contribution that made the cut could not be stored: as if it had not come yet. */
static void what_is_not_kept_is_not_cut(void **state)
{
    hanse_round round = make(2, 2, 0, true);

    (void)state;
    (void)contribute(&round, 0, 1);
    assert_int_equal(contribute(&round, 1, 2).set, HANSE_ROUND_DO_ACCEPT | HANSE_ROUND_DO_FOLD);
    hanse_round_withdraw(&round, 1);
    assert_int_equal(round.phase, HANSE_PHASE_COLLECT);
    assert_int_equal(round.members[1], HANSE_MEMBER_ABSENT);
    assert_int_equal(step(&round, HANSE_ROUND_EV_TICK, 0, 3).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(contribute(&round, 1, 4).set, HANSE_ROUND_DO_ACCEPT | HANSE_ROUND_DO_FOLD);
    assert_int_equal(round.weights[1], 11);
    hanse_round_clear(&round);
}

static void sites_max_closes_early(void **state)
{
    hanse_round round = make(3, 1, 2, true);

    (void)state;
    (void)contribute(&round, 0, 1);
    assert_int_equal(contribute(&round, 2, 1).set, HANSE_ROUND_DO_ACCEPT | HANSE_ROUND_DO_FOLD);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 1, 2).refusal, HANSE_E_LATE);
    assert_int_equal(round.members[1], HANSE_MEMBER_LATE);
    hanse_round_clear(&round);
}

static void deadline_decides_by_quorum(void **state)
{
    hanse_round enough = make(4, 2, 0, true), few = make(4, 2, 0, true);

    (void)state;
    (void)contribute(&enough, 0, 1);
    (void)contribute(&enough, 1, 1);
    assert_int_equal(step(&enough, HANSE_ROUND_EV_TICK, 0, DEADLINE - 1).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(step(&enough, HANSE_ROUND_EV_TICK, 0, DEADLINE).set, HANSE_ROUND_DO_FOLD);
    (void)contribute(&few, 3, 1);
    assert_int_equal(step(&few, HANSE_ROUND_EV_TICK, 0, DEADLINE).set, HANSE_ROUND_DO_VOID);
    assert_string_equal(few.reason, "deadline: 1 of 4 sites contributed, the plan needs 2");
    hanse_round_clear(&enough);
    hanse_round_clear(&few);
}

static void deadline_waits_for_what_is_being_verified(void **state)
{
    hanse_round round = make(2, 1, 0, true);

    (void)state;
    (void)step(&round, HANSE_ROUND_EV_UPLOAD, 0, 1);
    (void)step(&round, HANSE_ROUND_EV_COMPLETE, 0, DEADLINE - 1);
    assert_int_equal(step(&round, HANSE_ROUND_EV_TICK, 0, DEADLINE + 5).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(step(&round, HANSE_ROUND_EV_VERIFIED, 0, DEADLINE + 6).set, HANSE_ROUND_DO_ACCEPT | HANSE_ROUND_DO_FOLD);
    hanse_round_clear(&round);
}

static void too_many_lost_voids_at_once(void **state)
{
    hanse_round round = make(3, 2, 0, true);

    (void)state;
    assert_int_equal(step(&round, HANSE_ROUND_EV_DECLINE, 0, 1).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(step(&round, HANSE_ROUND_EV_DECLINE, 1, 2).set, HANSE_ROUND_DO_VOID);
    assert_string_equal(round.reason, "quorum: 0 of 3 sites contributed, the plan needs 2");
    hanse_round_clear(&round);
}

static void refusals(void **state)
{
    hanse_round round = make(3, 2, 0, true);
    hanse_round_event zero = {.kind = HANSE_ROUND_EV_VERIFIED, .now_ms = 1, .member = 0, .weight = 0};
    hanse_round_event bad = {.kind = HANSE_ROUND_EV_INVALID, .now_ms = 1, .member = 1, .rc = HANSE_E_NONFINITE};
    hanse_round_actions actions;

    (void)state;
    (void)step(&round, HANSE_ROUND_EV_UPLOAD, 0, 1);
    (void)step(&round, HANSE_ROUND_EV_COMPLETE, 0, 1);
    actions = hanse_round_step(&round, &zero);
    assert_int_equal(actions.refusal, HANSE_E_WEIGHT);
    assert_int_equal(round.members[0], HANSE_MEMBER_REJECTED);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 0, 1).refusal, HANSE_E_DUPLICATE);
    (void)step(&round, HANSE_ROUND_EV_UPLOAD, 1, 1);
    (void)step(&round, HANSE_ROUND_EV_COMPLETE, 1, 1);
    actions = hanse_round_step(&round, &bad);
    assert_int_equal(actions.refusal, HANSE_E_NONFINITE);
    assert_true(actions.set & HANSE_ROUND_DO_VOID); /* one left of two needed */
    hanse_round_clear(&round);
}

static void repeats_are_answered(void **state)
{
    hanse_round round = make(2, 2, 0, true);

    (void)state;
    (void)contribute(&round, 0, 1);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 0, 2).set, HANSE_ROUND_DO_RECEIPT);
    assert_int_equal(step(&round, HANSE_ROUND_EV_DECLINE, 0, 2).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(hanse_round_accepted(&round), 1);
    /* a site that reconnects begins its upload again, as often as it likes */
    (void)step(&round, HANSE_ROUND_EV_UPLOAD, 1, 3);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 1, 4).set, HANSE_ROUND_DO_RESUME);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 1, DEADLINE).refusal, HANSE_E_LATE);
    hanse_round_clear(&round);
}

static void nothing_moves_a_closed_round(void **state)
{
    static const hanse_round_event_kind kinds[] = {HANSE_ROUND_EV_UPLOAD,  HANSE_ROUND_EV_COMPLETE, HANSE_ROUND_EV_VERIFIED,
                                                   HANSE_ROUND_EV_INVALID, HANSE_ROUND_EV_DECLINE,  HANSE_ROUND_EV_FOLDED,
                                                   HANSE_ROUND_EV_TICK,    HANSE_ROUND_EV_STOP};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        hanse_round round = make(2, 1, 0, true);

        assert_int_equal(step(&round, HANSE_ROUND_EV_STOP, 0, 1).set, HANSE_ROUND_DO_VOID);
        assert_false(step(&round, kinds[i], 1, 2).set & ~(unsigned)HANSE_ROUND_DO_REFUSE);
        assert_int_equal(round.phase, HANSE_PHASE_VOID);
        assert_int_equal(hanse_round_accepted(&round), 0);
        hanse_round_clear(&round);
    }
}

static void bad_quorums(void **state)
{
    hanse_round round;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_round_init(&round, 3, 0, 0, 1, true, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_round_init(&round, 3, 4, 0, 1, true, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_round_init(&round, 3, 3, 2, 1, true, &err), HANSE_E_USAGE);
}

static void a_run_goes_through_its_rounds(void **state)
{
    hanse_plan plan = {.scaling = HANSE_SCALING_FEDERATED, .rounds = {.count = 2}, .best_by = HANSE_METRIC_ACCURACY};
    static const hanse_round_kind kinds[] = {HANSE_ROUND_STATISTICS, HANSE_ROUND_TRAINING, HANSE_ROUND_TRAINING, HANSE_ROUND_EVALUATION};
    static const uint64_t correct[] = {0, 10, 8, 5}; /* of the initial model, of round 1's, of round 2's */
    hanse_progress progress;
    hanse_round_kind kind;
    uint64_t round;

    (void)state;
    hanse_progress_init(&progress, &plan);
    for (uint64_t i = 0; i < 4; i++) {
        hanse_metrics metrics;

        assert_int_equal(hanse_metrics_init(&metrics, 2, NULL), HANSE_OK);
        metrics.samples = 10;
        metrics.correct = correct[i];
        assert_true(hanse_progress_next(&progress, &kind, &round));
        assert_int_equal(kind, kinds[i]);
        assert_int_equal(round, i);
        hanse_progress_published(&progress, kind, round, i == 0 ? NULL : &metrics);
        hanse_metrics_clear(&metrics);
    }
    assert_false(hanse_progress_next(&progress, &kind, &round));
    assert_int_equal(progress.best_round, 1); /* .8 beats .5; the initial model's 1.0 does not count */
}

/* The better of two models by each metric: of rows scored p for class 1, the first model's scores are right, the second's are not. */
static void the_best_model_is_best_by_the_plans_metric(void **state)
{
    static const hanse_metric metrics_by[] = {HANSE_METRIC_ACCURACY, HANSE_METRIC_AUC, HANSE_METRIC_LOSS, HANSE_METRIC_NONE};
    static const float scores[2][2][2] = {{{.9f, .1f}, {.2f, .8f}}, {{.1f, .9f}, {.8f, .2f}}}; /* [model][truth][class] */

    (void)state;
    for (size_t by = 0; by < sizeof metrics_by / sizeof *metrics_by; by++) {
        hanse_plan plan = {.rounds = {.count = 2}, .best_by = metrics_by[by]};
        hanse_progress progress;

        hanse_progress_init(&progress, &plan);
        for (uint64_t round = 1; round <= 3; round++) {
            hanse_metrics metrics;

            assert_int_equal(hanse_metrics_init(&metrics, 2, NULL), HANSE_OK);
            for (size_t truth = 0; truth < 2; truth++)
                hanse_metrics_add_row(&metrics, truth, scores[round == 2 ? 0 : 1][truth]);
            hanse_progress_published(&progress, round <= 2 ? HANSE_ROUND_TRAINING : HANSE_ROUND_EVALUATION, round, &metrics);
            hanse_metrics_clear(&metrics);
        }
        assert_int_equal(progress.best_round, metrics_by[by] == HANSE_METRIC_NONE ? 2 : 1); /* without a metric the last one */
    }
}

/* What comes at the wrong time changes nothing, and only what asks for an answer gets one. */
static void what_comes_out_of_turn_changes_nothing(void **state)
{
    hanse_round round = make(4, 2, 0, true);

    (void)state;
    assert_int_equal(step(&round, HANSE_ROUND_EV_COMPLETE, 0, 1).set, HANSE_ROUND_DO_NOTHING); /* of no upload */
    assert_int_equal(step(&round, HANSE_ROUND_EV_VERIFIED, 0, 1).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(step(&round, HANSE_ROUND_EV_INVALID, 0, 1).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(step(&round, HANSE_ROUND_EV_FOLDED, 0, 1).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(round.members[0], HANSE_MEMBER_ABSENT);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 0, 1).set, HANSE_ROUND_DO_RESUME);
    assert_int_equal(step(&round, HANSE_ROUND_EV_COMPLETE, 0, 1).set, HANSE_ROUND_DO_VERIFY);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 0, 1).set, HANSE_ROUND_DO_NOTHING); /* its answer is on its way */
    assert_int_equal(step(&round, HANSE_ROUND_EV_VERIFIED, 0, 1).set, HANSE_ROUND_DO_ACCEPT);
    assert_int_equal(step(&round, HANSE_ROUND_EV_DECLINE, 0, 1).set, HANSE_ROUND_DO_NOTHING); /* it was accepted */
    assert_int_equal(round.members[0], HANSE_MEMBER_ACCEPTED);
    assert_int_equal(step(&round, HANSE_ROUND_EV_DECLINE, 1, 1).set, HANSE_ROUND_DO_NOTHING);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 1, 1).refusal, HANSE_E_DUPLICATE);
    assert_int_equal(step(&round, HANSE_ROUND_EV_UPLOAD, 2, 1).set, HANSE_ROUND_DO_RESUME);
    assert_int_equal(step(&round, HANSE_ROUND_EV_COMPLETE, 2, DEADLINE).refusal, HANSE_E_LATE); /* the last byte came too late */
    assert_string_equal(hanse_member_state_name(round.members[2]), "late");
    hanse_round_clear(&round);
    hanse_round_clear(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_members_close_the_round), cmocka_unit_test(sites_max_closes_early),
        cmocka_unit_test(deadline_decides_by_quorum),  cmocka_unit_test(deadline_waits_for_what_is_being_verified),
        cmocka_unit_test(too_many_lost_voids_at_once), cmocka_unit_test(refusals),
        cmocka_unit_test(repeats_are_answered),        cmocka_unit_test(nothing_moves_a_closed_round),
        cmocka_unit_test(what_is_not_kept_is_not_cut), cmocka_unit_test(what_comes_out_of_turn_changes_nothing),
        cmocka_unit_test(the_best_model_is_best_by_the_plans_metric),
        cmocka_unit_test(bad_quorums),                 cmocka_unit_test(a_run_goes_through_its_rounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
