/* What comes late: a spec of an earlier slot beside the current one, an upload that is sent again after its deadline, anything of a
 * slot that is over. */
#include "../../support/secagg_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static void open_round(world *w, uint64_t slot)
{
    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        assert_int_equal(world_leave(w, i, slot), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w->round, w->now_ms, &w->err), HANSE_OK);
}

static void upload(world *w, uint32_t i, uint64_t slot)
{
    assert_int_equal(world_spec(w, i, true), HANSE_OK);
    assert_int_equal(world_mask(w, i, slot), HANSE_OK);
    assert_int_equal(world_header(w, i), HANSE_OK);
    assert_int_equal(world_complete(w, i), HANSE_OK);
}

/* A site trains for slot 2 when the coordinator asks it, as a holder, about slot 1, which it missed: both go on. */
static void test_older_slot_beside_the_current(void **state)
{
    hanse_secagg_round *first;
    bool equal = false;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 31);
    open_round(&w, 1);
    for (uint32_t i = 1; i < w.n; i++)
        upload(&w, i, 1); /* site 0 is away, and site 3 leaves after its upload: two answers, three are needed */
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    GOOD(world_answer(&w, 1));
    GOOD(world_answer(&w, 2));
    first = w.round;
    w.round = NULL;

    world_random(&w, w.model_root, 32);
    open_round(&w, 2);
    GOOD(world_spec(&w, 0, true));
    GOOD(world_spec_of(&w, 0, first, false)); /* late, and as a holder only */
    GOOD(world_mask(&w, 0, 2));               /* the masks are those of slot 2 */
    GOOD(world_header(&w, 0));
    GOOD(world_complete(&w, 0));
    GOOD(world_cut_of(&w, 0, first, false));
    GOOD(hanse_secagg_round_add_answer(first, 0, hanse_buf_bytes(&w.sites[0].extra), &w.err));
    for (uint32_t i = 1; i < w.n; i++)
        upload(&w, i, 2);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i < w.n; i++)
        GOOD(world_answer(&w, i)); /* slot 1 in between has not pushed slot 2 out */
    GOOD(world_finish(&w, &equal, NULL));
    assert_true(equal);
    GOOD(hanse_secagg_round_reconstruct(first, (uint32_t[4]){0}, &w.err));
    hanse_secagg_round_free(first);
    world_free(&w);
}

/* However many old specs a coordinator shows: the slot of the upload stays, and what was pushed out says so and comes again. */
static void test_many_older_slots(void **state)
{
    enum { OLDER = 7 };
    hanse_secagg_round *older[OLDER];
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_CRON, 32);
    for (size_t k = 0; k < OLDER; k++) {
        open_round(&w, k + 1);
        for (uint32_t i = 1; i < w.n; i++) {
            GOOD(world_spec(&w, i, true));
            GOOD(world_mask(&w, i, k + 1));
            GOOD(world_header(&w, i));
            GOOD(world_complete(&w, i));
        }
        upload(&w, 0, k + 1);
        GOOD(hanse_secagg_round_cut(w.round, &w.err));
        older[k] = w.round;
        w.round = NULL;
        world_random(&w, w.model_root, 32);
    }
    open_round(&w, OLDER + 1);
    GOOD(world_spec(&w, 0, true));
    for (size_t k = 0; k < OLDER; k++)
        GOOD(world_spec_of(&w, 0, older[k], false));
    GOOD(world_mask(&w, 0, OLDER + 1));
    GOOD(world_header(&w, 0));
    REFUSED(world_cut_of(&w, 0, older[0], false), REPLAY); /* pushed out */
    GOOD(world_cut_of(&w, 0, older[OLDER - 1], false));
    GOOD(world_spec_of(&w, 0, older[0], false));
    GOOD(world_cut_of(&w, 0, older[0], false));
    for (size_t k = 0; k < OLDER; k++)
        hanse_secagg_round_free(older[k]);
    world_free(&w);
}

/* SENT is SENT: after the deadline, the cut and a restart the same bytes may go out again, and no others. */
static void test_send_again_after_the_deadline(void **state)
{
    hanse_secagg_event again = {.kind = HANSE_SECAGG_EV_UPLOAD, .slot = 1};
    hanse_secagg_masker *masker = NULL;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 33);
    open_round(&w, 1);
    for (uint32_t i = 0; i + 1 < w.n; i++)
        upload(&w, i, 1);
    GOOD(world_spec(&w, 3, true)); /* bound, not sent */
    memcpy(again.root, w.sites[0].root, 32);
    w.now_ms += 60001;
    GOOD(world_spec(&w, 3, true)); /* its clock may be ahead of the coordinator's */
    w.now_ms += HANSE_SECAGG_SKEW_MS;
    for (int cut = 0; cut < 2; cut++) {
        world_restart(&w, 0);
        GOOD(world_spec(&w, 0, true));
        GOOD(hanse_secagg_masker_new(&masker, w.sites[0].site, &w.err)); /* the masked file may be lost, too */
        hanse_secagg_masker_free(masker);
        GOOD(world_step(&w, 0, &again));
        again.root[0] ^= 1;
        REFUSED(world_step(&w, 0, &again), TICKET_REUSED);
        again.root[0] ^= 1;
        REFUSED(world_spec(&w, 3, true), LATE); /* control: nothing was sent */
        if (cut == 0) {
            GOOD(hanse_secagg_round_cut(w.round, &w.err));
            GOOD(world_answer(&w, 0));
        }
    }
    world_free(&w);
}

/* With the result of a later one a slot is over: nothing of it is answered, before a restart and after it, in whatever order the
 * records are read; what it was trained on stays known. */
static void test_slot_that_is_over(void **state)
{
    enum { SLOTS = 4 };
    uint8_t roots[SLOTS + 1][32];
    hanse_secagg_round *old[SLOTS + 1];
    hanse_secagg_event dead = {.kind = HANSE_SECAGG_EV_DEAD, .slot = 2};
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_CRON, 34);
    for (uint64_t slot = 1; slot <= SLOTS; slot++) {
        hanse_secagg_event result = {.kind = HANSE_SECAGG_EV_RESULT, .slot = slot};

        world_random(&w, w.model_root, 32);
        memcpy(roots[slot], w.model_root, 32);
        world_whole_round(&w, slot);
        old[slot] = w.round;
        w.round = NULL;
        if (slot > 1)
            GOOD(world_spec_of(&w, 0, old[slot - 1], false)); /* control: before the result */
        GOOD(world_step(&w, 0, &result));
    }
    for (int start = 0; start < 3; start++) {
        REFUSED(world_spec_of(&w, 0, old[2], false), REPLAY);
        REFUSED(world_cut_of(&w, 0, old[2], false), REPLAY);
        REFUSED(world_step(&w, 0, &dead), REPLAY);
        REFUSED(world_ticket(&w, 0, 2), REPLAY);
        GOOD(world_spec_of(&w, 0, old[SLOTS], false)); /* not over: others may still need this site's answer */
        GOOD(world_cut_of(&w, 0, old[SLOTS], false));
        for (size_t i = 0, k = w.sites[0].store_count; start == 1 && i < --k; i++) { /* in the other order */
            world_record other = w.sites[0].store[i];

            w.sites[0].store[i] = w.sites[0].store[k];
            w.sites[0].store[k] = other;
        }
        world_restart(&w, 0);
    }
    for (uint64_t slot = 1; slot <= SLOTS; slot++) {
        memcpy(w.model_root, roots[slot], 32);
        open_round(&w, SLOTS + slot);
        REFUSED(world_spec(&w, 0, true), DIFF);
    }
    world_random(&w, w.model_root, 32);
    open_round(&w, 2 * SLOTS + 1);
    GOOD(world_spec(&w, 0, true));
    for (uint64_t slot = 1; slot <= SLOTS; slot++)
        hanse_secagg_round_free(old[slot]);
    world_free(&w);
}

/* Slots that were burnt count for the whole run, those that are over too. */
static void test_burnt_slots_that_are_over(void **state)
{
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_CRON, 35);
    for (uint64_t slot = 1; slot <= HANSE_SECAGG_BURNT_MAX + 1; slot++) {
        hanse_secagg_event result = {.kind = HANSE_SECAGG_EV_RESULT, .slot = 2 * slot};

        world_random(&w, w.model_root, 32);
        open_round(&w, 2 * slot - 1);
        upload(&w, 0, 2 * slot - 1);
        open_round(&w, 2 * slot); /* the same base model: its sum never came */
        if (slot == HANSE_SECAGG_BURNT_MAX + 1) {
            REFUSED(world_spec(&w, 0, true), DIFF);
            break;
        }
        GOOD(world_spec(&w, 0, true));
        assert_true(w.sites[0].reseed);
        GOOD(world_mask(&w, 0, 2 * slot));
        GOOD(world_step(&w, 0, &result));
        if (slot == 1)
            world_restart(&w, 0);
    }
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_older_slot_beside_the_current), cmocka_unit_test(test_many_older_slots),
                                       cmocka_unit_test(test_send_again_after_the_deadline), cmocka_unit_test(test_slot_that_is_over),
                                       cmocka_unit_test(test_burnt_slots_that_are_over)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
