/* Whole rounds of secure aggregation in one process: sites leave at each of seven points, and the sum of those who stayed
 * must equal the plain sum bit for bit. HANSE_SEED picks another seed; the campaign of drop-outs is in secagg_dropouts.c:
 *   test_secagg --seeds N [--first SEED] */
#include "secagg_dropouts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { BEFORE_TICKET, BEFORE_SPEC, AFTER_SPEC, MID_UPLOAD, AFTER_UPLOAD, AFTER_CUTSIG, MID_UNMASK, POINTS, STAYS = POINTS };

static void run_round(world *w, uint64_t slot, const int *leaves)
{
    uint32_t survivors = 0;
    bool equal = false;

    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        if (leaves[i] != BEFORE_TICKET)
            assert_int_equal(world_leave(w, i, slot), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w->round, w->now_ms, &w->err), HANSE_OK);
    for (uint32_t i = 0; i < w->n; i++) {
        if (leaves[i] <= BEFORE_SPEC)
            continue;
        assert_int_equal(world_spec(w, i, true), HANSE_OK);
        if (leaves[i] == AFTER_SPEC)
            continue;
        if (world_chance(w) % 4 == 0) { /* crash between: the ticket stays bound to its round */
            world_restart(w, i);
            assert_int_equal(world_spec(w, i, true), HANSE_OK);
        }
        assert_int_equal(world_mask(w, i, slot), HANSE_OK);
        assert_int_equal(world_header(w, i), HANSE_OK);
        if (leaves[i] != MID_UPLOAD) {
            assert_int_equal(world_complete(w, i), HANSE_OK);
            survivors++;
        }
    }
    assert_int_equal(hanse_secagg_round_complete(w->round), survivors);
    assert_int_equal(hanse_secagg_round_cut(w->round, &w->err), HANSE_OK);
    for (uint32_t i = 0; w->params.profile == HANSE_SECAGG_ONLINE && i < w->n; i++)
        if (leaves[i] >= AFTER_CUTSIG)
            assert_int_equal(world_sign_cut(w, i), HANSE_OK);
    for (uint32_t i = 0; i < w->n; i++) {
        if (leaves[i] < MID_UNMASK)
            continue;
        if (leaves[i] == STAYS) {
            assert_int_equal(world_answer(w, i), HANSE_OK);
            continue;
        }
        /* torn off on the way: half of the answer arrives, and is nothing */
        assert_int_equal(world_cut_of(w, i, w->round, true), HANSE_OK);
        assert_int_not_equal(hanse_secagg_round_add_answer(w->round, i, (hanse_bytes){w->sites[i].extra.data, w->sites[i].extra.len / 2}, &w->err), HANSE_OK);
        assert_int_equal(hanse_secagg_reason_of(&w->err), HANSE_SECAGG_SHARE_AUTH);
    }
    if (world_finish(w, &equal, NULL) != HANSE_OK)
        fail_msg("slot %llu: %s", (unsigned long long)slot, w->err.text);
    assert_true(equal);
    for (uint32_t i = 0; i < w->n; i++) {
        hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_RESULT, .slot = slot};

        if (leaves[i] > AFTER_SPEC)
            assert_int_equal(world_step(w, i, &event), HANSE_OK);
    }
    world_random(w, w->model_root, 32); /* the next round has another model */
}

static void rounds(uint32_t n, hanse_secagg_profile profile)
{
    const char *text = getenv("HANSE_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 7, slot = 0;
    int *leaves = hanse_calloc(n, sizeof *leaves);
    world w;

    print_message("n %u, %s, seed %llu\n", n, profile == HANSE_SECAGG_CRON ? "cron" : "online", (unsigned long long)seed);
    world_new(&w, n, profile, seed);
    for (uint32_t i = 0; i < n; i++)
        leaves[i] = STAYS;
    run_round(&w, ++slot, leaves);
    for (int point = 0; point < POINTS && w.params.d_max > 0; point++) {
        if (n == 50 && point % 3 != 0)
            continue; /* large rounds: three points are enough for a test of every day */
        for (uint32_t i = 0; i < n; i++)
            leaves[i] = STAYS;
        for (uint32_t gone = 0; gone < w.params.d_max; gone++) /* as many as may; a site may be drawn twice */
            leaves[world_chance(&w) % n] = point;
        run_round(&w, ++slot, leaves);
    }
    for (unsigned mixed = 0; mixed < (n == 50 ? 1 : 4) && w.params.d_max > 0; mixed++) {
        for (uint32_t i = 0; i < n; i++)
            leaves[i] = STAYS;
        for (uint32_t gone = 0; gone < w.params.d_max; gone++)
            leaves[world_chance(&w) % n] = (int)(world_chance(&w) % POINTS);
        run_round(&w, ++slot, leaves);
    }
    hanse_free(leaves);
    world_free(&w);
}

static void test_three(void **state) { (void)state; rounds(3, HANSE_SECAGG_ONLINE); rounds(3, HANSE_SECAGG_CRON); }
static void test_four(void **state) { (void)state; rounds(4, HANSE_SECAGG_ONLINE); rounds(4, HANSE_SECAGG_CRON); }
static void test_five(void **state) { (void)state; rounds(5, HANSE_SECAGG_ONLINE); }
static void test_ten(void **state) { (void)state; rounds(10, HANSE_SECAGG_ONLINE); rounds(10, HANSE_SECAGG_CRON); }
static void test_fifty(void **state) { (void)state; rounds(50, HANSE_SECAGG_ONLINE); }

static void test_dropouts(void **state)
{
    (void)state;
    dropouts_campaign(1, 120);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_three), cmocka_unit_test(test_four), cmocka_unit_test(test_five),
                                       cmocka_unit_test(test_ten), cmocka_unit_test(test_fifty), cmocka_unit_test(test_dropouts)};
    uint64_t seeds = 0, first = 1;

    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--first") == 0)
            first = strtoull(argv[i + 1], NULL, 10);
    if (seeds > 0) {
        dropouts_campaign(first, seeds);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
