/* The shares that a member is sent are those of the round's tickets for it, whichever members were told before. */
#include "coordinator/server/masks.h"
#include "tests/support/secagg_world.h"
#include "tests/unit/coordinator/fixture.h"

#include <math.h>

enum { SITES = 226, ABSENT = 7 }; /* too many for one block */

static world w;
static hanse_server server;
static hanse_masks masks;
static hanse_live_run run;

static hanse_buf text(const char *of)
{
    hanse_buf out = HANSE_BUF_EMPTY;

    GOOD(hanse_buf_append(&out, of, strlen(of), &w.err));
    return out;
}

static void put_run(void)
{
    hanse_store_run row = {.name = "plan", .next_slot = 1, .best_value = NAN, .plan = text("p"), .roster = text("r"), .roster_sig = text("s"),
                           .offer = text("o"), .offer_sig = text("s")};

    memcpy(row.run_id, w.run, 16);
    GOOD(hanse_store_run_add(server.store, &row, &w.err));
    hanse_store_run_clear(&row);
}

/* A round of everybody but one, who left a ticket that the round does not have. */
static int begin(void **state)
{
    if (dir_setup(state) != 0)
        return -1;
    world_new(&w, SITES, HANSE_SECAGG_CRON, 12);
    GOOD(hanse_store_open(&server.store, *state, true, &w.err));
    put_run();
    masks = (hanse_masks){.shares = NULL};
    run = (hanse_live_run){.server = &server, .masks = &masks};
    memcpy(run.row.run_id, w.run, 16);
    run.roster.sites = hanse_calloc(SITES, sizeof *run.roster.sites);
    run.roster.sites_count = SITES;
    assert_non_null(run.roster.sites);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < SITES; i++) {
        const world_site *site = &w.sites[i];

        memcpy(run.roster.sites[i].id, hanse_secagg_roster_id(w.roster, i), 32);
        if (i == ABSENT)
            GOOD(world_ticket(&w, i, 1));
        else
            GOOD(world_leave(&w, i, 1));
        GOOD(hanse_store_ticket_put(server.store, w.run, 1, run.roster.sites[i].id, hanse_buf_bytes(&site->ticket),
                                    hanse_buf_bytes(&site->ticket_sig), hanse_buf_bytes(&site->cts), &w.err));
    }
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    masks.round = w.round;
    masks.spec.slot = 1;
    return 0;
}

static int end(void **state)
{
    hanse_shares_forget(&masks);
    hanse_free(run.roster.sites);
    hanse_store_close(server.store);
    world_free(&w);
    return dir_teardown(state);
}

static void assert_shares(uint32_t member)
{
    static const uint8_t none[HANSE_SECAGG_CT_LEN] = {0};
    hanse_bytes shares;

    GOOD(hanse_shares_for(&run, member, &shares, &w.err));
    assert_int_equal(shares.len, SITES * HANSE_SECAGG_CT_LEN);
    for (uint32_t i = 0; i < SITES; i++)
        assert_memory_equal(shares.data + (size_t)i * HANSE_SECAGG_CT_LEN, i == ABSENT ? none : world_share(&w, w.round, i, member).data, HANSE_SECAGG_CT_LEN);
}

static void test_shares_of_members(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SITES; i++) /* as when everybody is told in turn: few readings */
        assert_shares(i);
    assert_true(masks.shares_count < SITES);
    assert_shares(0);
    assert_shares(SITES - 1);
    assert_shares(ABSENT);
}

/* What cannot be read, or is damaged, is an error, and no shares of somebody else. */
static void test_shares_that_cannot_be_read(void **state)
{
    hanse_bytes shares;

    (void)state;
    assert_shares(0);
    run.roster.sites_count--; /* the stored ones are for more members than there are */
    masks.shares_count = 0;
    assert_int_equal(hanse_shares_for(&run, 1, &shares, &w.err), HANSE_E_CORRUPT);
    assert_null(masks.shares);
    run.roster.sites_count++;
    run.row.run_id[0] ^= 1; /* nothing of it is there */
    assert_int_equal(hanse_shares_for(&run, 1, &shares, &w.err), HANSE_E_CORRUPT);
    run.row.run_id[0] ^= 1;
    hanse_store_fail_at(0);
    assert_int_equal(hanse_shares_for(&run, 1, &shares, &w.err), HANSE_E_FULL);
    hanse_store_fail_at(-1);
    assert_shares(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares_of_members), cmocka_unit_test(test_shares_that_cannot_be_read)};

    return cmocka_run_group_tests(tests, begin, end);
}
