/* Bar 10: the coordinator asks for the one kind of share over one connection and for the other over another. Whichever comes first, at
 * most that one leaves the site, also when everybody else signed both cuts. */
#include "../../support/secagg_forge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* The cut with everybody's signature, as if all colluded. */
static hanse_rc show_certified(world *w, uint32_t i, const forged_cut *f)
{
    hanse_signed list[FORGE_SITES];
    forged signatures[FORGE_SITES];
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_CUT, .object = forged_signed(&f->object), .uploads = f->uploads, .signatures = list,
                                .signatures_count = w->n};
    hanse_secagg_cutsig cutsig;
    hanse_rc rc;

    memcpy(cutsig.round_id, hanse_secagg_round_id(w->round), 32);
    assert_int_equal(hanse_secagg_hash(cutsig.cut_hash, "cut", hanse_buf_bytes(&f->object.bytes), NULL), HANSE_OK);
    for (uint32_t k = 0; k < w->n; k++) {
        memcpy(cutsig.site_id, hanse_secagg_roster_id(w->roster, k), 32);
        signatures[k] = FORGED_EMPTY;
        assert_int_equal(hanse_secagg_cutsig_encode(&signatures[k].bytes, &cutsig, NULL), HANSE_OK);
        forge_sign(&signatures[k], w->sites[k].key, HANSE_SECAGG_CUTSIG_LABEL);
        list[k] = forged_signed(&signatures[k]);
    }
    rc = world_step(w, i, &event);
    for (uint32_t k = 0; k < w->n; k++)
        forged_clear(&signatures[k]);
    return rc;
}

static void test_two_cuts(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 8; how++) {
        const unsigned asked = how & 1, restarts = how & 2, online = how & 4;
        hanse_secagg_answer answer;
        forged_cut cuts[2];
        world w;

        world_new(&w, 5, online ? HANSE_SECAGG_ONLINE : HANSE_SECAGG_CRON, 50 + how);
        world_uploads(&w, 1, 0, 0);
        GOOD(hanse_secagg_round_cut(w.round, &w.err));
        forge_cut(&w, &cuts[0], 0);
        forge_cut(&w, &cuts[1], 1u << 2); /* member 2 outside: its other secret */
        GOOD(show_certified(&w, 0, &cuts[asked]));
        forge_answer_open_to(&w, 0, &cuts[asked], &answer);
        assert_int_equal(answer.kinds[2], asked ? HANSE_SECAGG_SHARE_SK : HANSE_SECAGG_SHARE_B);
        hanse_secagg_answer_clear(&answer);
        if (restarts) {
            world_restart(&w, 0);
            GOOD(world_spec(&w, 0, false));
        }
        REFUSED(show_certified(&w, 0, &cuts[!asked]), CUT_CONFLICT);
        REFUSED(show_certified(&w, 0, &cuts[asked]), CUT_CONFLICT);
        REFUSED(world_dead(&w, 0, 1), DEAD);
        assert_int_equal(w.sites[0].answers, 1);
        if (online) { /* a signature is a promise: the other cut gets nothing, whoever else signed it */
            GOOD(forged_cut_show(&w, 1, &cuts[asked]));
            REFUSED(show_certified(&w, 1, &cuts[!asked]), CUT_CONFLICT);
            assert_int_equal(w.sites[1].answers, 0);
        }
        GOOD(world_dead(&w, 3, 1));
        REFUSED(show_certified(&w, 3, &cuts[asked]), DEAD);
        assert_int_equal(w.sites[3].answers, 0);
        for (unsigned k = 0; k < 2; k++)
            forged_cut_clear(&cuts[k]);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_cuts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
