/* What may be sent twice: never statistics or metrics over other members, whatever the coordinator makes of kinds and models. */
#include "../../support/secagg_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static void open_slot(world *w, uint64_t slot, hanse_round_kind kind)
{
    w->kind = (uint8_t)kind;
    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        assert_int_equal(world_leave(w, i, slot), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w->round, w->now_ms, &w->err), HANSE_OK);
}

/* Member 0 takes part and has sent. */
static hanse_rc send_slot(world *w, uint64_t slot, hanse_round_kind kind)
{
    hanse_rc rc;

    open_slot(w, slot, kind);
    rc = world_spec(w, 0, true);
    return rc == HANSE_OK ? world_mask(w, 0, slot) : rc;
}

static hanse_rc give_result(world *w, uint64_t slot)
{
    hanse_secagg_event result = {.kind = HANSE_SECAGG_EV_RESULT, .slot = slot};

    return world_step(w, 0, &result);
}

static hanse_rc grant_retry(world *w)
{
    hanse_secagg_event retry = {.kind = HANSE_SECAGG_EV_RETRY};

    return world_step(w, 0, &retry);
}

/* Enough members declare the slot of w->round dead, and member 0 sees it. */
static void abort_slot(world *w, uint64_t slot)
{
    hanse_secagg_event cert = {.kind = HANSE_SECAGG_EV_ABORT, .slot = slot};

    for (uint32_t i = 0; i < w->n && !hanse_secagg_round_is_aborted(w->round); i++)
        assert_int_equal(world_dead(w, i, slot), HANSE_OK);
    cert.signatures = hanse_secagg_round_deads(w->round, &cert.signatures_count);
    assert_int_equal(world_step(w, 0, &cert), HANSE_OK);
}

/* Another base model, as a coordinator may name one at will, makes no other statistics. */
static void test_statistics_once_a_run(void **state)
{
    world w;

    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        world_new(&w, 4, HANSE_SECAGG_CRON, 61);
        GOOD(send_slot(&w, 1, HANSE_ROUND_STATISTICS));
        w.model_root[0] ^= 1;
        if (restart)
            world_restart(&w, 0);
        REFUSED(send_slot(&w, 2, HANSE_ROUND_STATISTICS), DIFF); /* a sum of slot 1 may exist */
        GOOD(give_result(&w, 1));
        REFUSED(send_slot(&w, 3, HANSE_ROUND_STATISTICS), DIFF);
        GOOD(send_slot(&w, 4, HANSE_ROUND_TRAINING)); /* control */
        assert_false(w.sites[0].reseed || w.sites[0].told);
        GOOD(give_result(&w, 4));
        if (restart)
            world_restart(&w, 0);
        REFUSED(send_slot(&w, 5, HANSE_ROUND_STATISTICS), DIFF); /* slot 1 is over */
        world_free(&w);
    }
}

static void test_statistics_again(void **state)
{
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 62);
    GOOD(send_slot(&w, 1, HANSE_ROUND_STATISTICS));
    abort_slot(&w, 1);
    GOOD(send_slot(&w, 2, HANSE_ROUND_STATISTICS)); /* no sum of slot 1 will ever be */
    assert_true(w.sites[0].again);
    REFUSED(send_slot(&w, 3, HANSE_ROUND_STATISTICS), DIFF);
    GOOD(grant_retry(&w));
    world_restart(&w, 0);
    GOOD(world_spec(&w, 0, true));
    GOOD(world_mask(&w, 0, 3));
    REFUSED(send_slot(&w, 4, HANSE_ROUND_STATISTICS), DIFF); /* it allowed one */
    world_free(&w);
}

/* Metrics of one base model are in its training and its evaluation. */
static void test_metrics_of_one_model(void **state)
{
    world w;

    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        world_new(&w, 4, HANSE_SECAGG_CRON, 63);
        GOOD(send_slot(&w, 1, HANSE_ROUND_TRAINING));
        assert_false(w.sites[0].told);
        REFUSED(send_slot(&w, 2, HANSE_ROUND_EVALUATION), DIFF);
        GOOD(give_result(&w, 1));
        REFUSED(send_slot(&w, 3, HANSE_ROUND_EVALUATION), DIFF);
        w.model_root[0] ^= 1;
        GOOD(send_slot(&w, 4, HANSE_ROUND_EVALUATION)); /* control */
        if (restart)
            world_restart(&w, 0);
        GOOD(send_slot(&w, 5, HANSE_ROUND_TRAINING)); /* goes on from the evaluated model, as another run may: without the metrics */
        assert_true(w.sites[0].told);
        assert_false(w.sites[0].reseed);
        GOOD(give_result(&w, 5));
        REFUSED(send_slot(&w, 6, HANSE_ROUND_EVALUATION), DIFF);
        world_free(&w);
    }
}

static void test_evaluation_burnt(void **state)
{
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 64);
    for (uint64_t slot = 1; slot <= 3; slot++) { /* as many burnt slots of training as are allowed */
        GOOD(send_slot(&w, slot, HANSE_ROUND_TRAINING));
        assert_int_equal(w.sites[0].told, slot > 1); /* other order and rounding do not change the metrics */
    }
    GOOD(give_result(&w, 3));
    w.model_root[0] ^= 1;
    GOOD(send_slot(&w, 4, HANSE_ROUND_EVALUATION));
    REFUSED(send_slot(&w, 5, HANSE_ROUND_EVALUATION), DIFF);
    GOOD(grant_retry(&w)); /* one is enough: those of training were allowed without */
    GOOD(world_spec(&w, 0, true));
    assert_false(w.sites[0].told); /* the operator allowed it: the sum is of use */
    world_free(&w);
}

/* What was sent as training counts as exact once it is sent again as metrics: one retry allows one more sum, not two. */
static void test_retry_allows_one_sum(void **state)
{
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 65);
    GOOD(send_slot(&w, 1, HANSE_ROUND_TRAINING));
    REFUSED(send_slot(&w, 2, HANSE_ROUND_EVALUATION), DIFF);
    GOOD(grant_retry(&w));
    GOOD(world_spec(&w, 0, true));
    GOOD(world_mask(&w, 0, 2));
    world_restart(&w, 0);
    REFUSED(send_slot(&w, 3, HANSE_ROUND_EVALUATION), DIFF);
    world_free(&w);
}

/* A burnt slot that is declared dead later counts no more. */
static void test_dead_after_all(void **state)
{
    world w;

    (void)state;
    for (int late = 0; late < 2; late++) {
        world_new(&w, 4, HANSE_SECAGG_CRON, 66);
        for (uint64_t slot = 1; slot <= 3; slot++)
            GOOD(send_slot(&w, slot, HANSE_ROUND_TRAINING));
        if (late) {
            open_slot(&w, 4, HANSE_ROUND_TRAINING);
            REFUSED(world_spec(&w, 0, true), DIFF);
        }
        world_round_new(&w, 1, NULL); /* takes the DEADs */
        abort_slot(&w, 1);
        open_slot(&w, 5, HANSE_ROUND_TRAINING);
        GOOD(world_spec(&w, 0, true));
        assert_true(w.sites[0].reseed);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_statistics_once_a_run), cmocka_unit_test(test_statistics_again),
                                       cmocka_unit_test(test_metrics_of_one_model), cmocka_unit_test(test_evaluation_burnt),
                                       cmocka_unit_test(test_retry_allows_one_sum), cmocka_unit_test(test_dead_after_all)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
