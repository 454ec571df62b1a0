/* The site's store: reopened after every step, as after a kill. */
#include "hanse/file.h"
#include "node/site/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct world {
    char dir[64];
    hanse_site_store *store;
    hanse_offer offer;
    hanse_err err;
} world;

static void reopen(world *w)
{
    hanse_site_store_close(w->store);
    w->store = NULL;
    assert_int_equal(hanse_site_store_open(&w->store, w->dir, &w->err), HANSE_OK);
}

static int setup(void **state)
{
    static world w;
    memset(&w, 0, sizeof w);
    (void)snprintf(w.dir, sizeof w.dir, "/tmp/hanse-site-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    memset(w.offer.run, 1, 16);
    memset(w.offer.plan_hash, 2, 32);
    memset(w.offer.roster_hash, 3, 32);
    memset(w.offer.model_root, 4, 32);
    w.offer.opened_ms = 5;
    reopen(&w);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
    world *w = *state;
    char path[128];
    hanse_site_store_close(w->store);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(w->dir);
}

static bool consume(world *w)
{
    bool found;
    reopen(w);
    assert_int_equal(hanse_site_store_consume(w->store, &w->offer, &found, &w->err), HANSE_OK);
    return found;
}

static void test_acceptance_is_used_once(void **state)
{
    world *w = *state;
    uint8_t earlier[16], none[16] = {0};

    assert_false(consume(w));
    assert_int_equal(hanse_site_store_accept(w->store, &w->offer, 1, earlier, &w->err), HANSE_OK);
    assert_memory_equal(earlier, none, 16);
    w->offer.model_root[0] ^= 1; /* another initial model */
    assert_false(consume(w));
    w->offer.model_root[0] ^= 1;
    assert_true(consume(w));
    assert_true(consume(w)); /* its own run again */
    w->offer.run[0] = 9;     /* a second run of the same plan */
    assert_false(consume(w));
    assert_int_equal(hanse_site_store_accept(w->store, &w->offer, 2, earlier, &w->err), HANSE_OK);
    assert_int_equal(earlier[0], 1);
    assert_int_equal(hanse_site_store_accept(w->store, &w->offer, 3, earlier, &w->err), HANSE_OK); /* twice is once */
    assert_true(consume(w));
    w->offer.run[0] = 10;
    assert_false(consume(w));
}

static void test_round_survives_every_step(void **state)
{
    world *w = *state;
    hanse_site_run run = {.offer = w->offer, .stage = HANSE_STAGE_SPEC}, got;
    hanse_site_work work = {.round = 3, .slot = 7, .attempt = 2, .weight = 42, .data_offset = 88, .data_len = 1000}, back = {0};
    hanse_result result = {.round = 3, .slot = 7, .kind = HANSE_ROUND_TRAINING};
    hanse_buf bytes = HANSE_BUF_EMPTY;
    hanse_site_result_row *rows;
    size_t count;
    uint8_t site_id[32] = {0};

    assert_int_equal(hanse_site_store_run_load(w->store, w->offer.run, &got, &w->err), HANSE_E_NOTFOUND);
    run.spec = (hanse_spec){.round = 3, .slot = 7, .attempt = 2, .kind = HANSE_ROUND_TRAINING, .chunk = HANSE_CHUNK_LEN, .model_size = 100, .deadline_ms = 9};
    memcpy(run.spec.run, run.offer.run, 16);
    memset(run.spec_hash, 6, 32);
    assert_int_equal(hanse_site_store_run_save(w->store, &run, &w->err), HANSE_OK);
    reopen(w);
    assert_int_equal(hanse_site_store_run_load(w->store, w->offer.run, &got, &w->err), HANSE_OK);
    assert_int_equal(got.stage, HANSE_STAGE_SPEC);
    assert_int_equal(got.spec.slot, 7);
    assert_memory_equal(got.spec_hash, run.spec_hash, 32);

    memcpy(work.run, w->offer.run, 16);
    (void)snprintf(work.trained, sizeof work.trained, "a.trained");
    (void)snprintf(work.key, sizeof work.key, "a.key");
    assert_int_equal(hanse_buf_append(&work.aux, "12345678", 8, &w->err), HANSE_OK);
    assert_int_equal(hanse_buf_append(&work.header, "header", 6, &w->err), HANSE_OK);
    assert_int_equal(hanse_buf_append(&work.sig, "sig", 3, &w->err), HANSE_OK);
    assert_int_equal(hanse_site_store_work_save(w->store, &work, &w->err), HANSE_OK);
    reopen(w);
    assert_int_equal(hanse_site_store_run_load(w->store, w->offer.run, &got, &w->err), HANSE_OK);
    assert_int_equal(got.stage, HANSE_STAGE_TRAINED);
    assert_int_equal(hanse_site_store_work_load(w->store, w->offer.run, 7, &back, &w->err), HANSE_OK);
    assert_int_equal(back.weight, 42);
    assert_string_equal(back.key, "a.key");
    assert_true(hanse_bytes_equal(hanse_buf_bytes(&back.header), hanse_buf_bytes(&work.header)));
    assert_int_equal(hanse_site_store_work_load(w->store, w->offer.run, 8, &back, &w->err), HANSE_E_NOTFOUND);

    got.stage = HANSE_STAGE_RECEIVED;
    assert_int_equal(hanse_site_store_receipt_save(w->store, &got, hanse_bytes_str("receipt"), &w->err), HANSE_OK);
    got.has_result = true;
    got.result_slot = 7;
    memset(got.previous, 8, 32);
    memcpy(result.run, w->offer.run, 16);
    assert_int_equal(hanse_result_encode(&bytes, &result, &w->err), HANSE_OK);
    for (int i = 0; i < 2; i++) /* the same result again is harmless */
        assert_int_equal(hanse_site_store_result_save(w->store, &got, &result, hanse_buf_bytes(&bytes), hanse_bytes_str("s"), 1, &w->err), HANSE_OK);
    reopen(w);
    assert_int_equal(hanse_site_store_run_load(w->store, w->offer.run, &got, &w->err), HANSE_OK);
    assert_int_equal(got.stage, HANSE_STAGE_RECEIVED);
    assert_int_equal(got.previous[31], 8);
    assert_int_equal(hanse_site_store_results(w->store, w->offer.run, site_id, &rows, &count, &w->err), HANSE_OK);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].round, 3);
    hanse_free(rows);
    hanse_buf_clear(&bytes);
    hanse_site_work_clear(&work);
    hanse_site_work_clear(&back);
}

static void test_crl_never_goes_back(void **state)
{
    world *w = *state;
    assert_int_equal(hanse_site_store_crl_seen(w->store, 3, &w->err), HANSE_OK);
    reopen(w);
    assert_int_equal(hanse_site_store_crl_seen(w->store, 3, &w->err), HANSE_OK);
    assert_int_equal(hanse_site_store_crl_seen(w->store, 2, &w->err), HANSE_E_IDENTITY);
    assert_int_equal(hanse_site_store_crl_seen(w->store, 4, &w->err), HANSE_OK);
}

static void test_evaluations(void **state)
{
    world *w = *state;
    const uint64_t words[2] = {1, UINT64_MAX};
    uint64_t round = UINT64_MAX, *got;
    size_t count;

    assert_int_equal(hanse_site_store_evaluation_load(w->store, w->offer.run, HANSE_GLOBAL_MODEL, &round, &got, &count, &w->err), HANSE_E_NOTFOUND);
    for (uint64_t r = 1; r <= 3; r++)
        assert_int_equal(hanse_site_store_evaluation_save(w->store, w->offer.run, HANSE_GLOBAL_MODEL, r, words, 2, &w->err), HANSE_OK);
    reopen(w);
    assert_int_equal(hanse_site_store_evaluation_load(w->store, w->offer.run, HANSE_GLOBAL_MODEL, &round, &got, &count, &w->err), HANSE_OK);
    assert_int_equal(round, 3);
    assert_int_equal(count, 2);
    assert_true(got[1] == UINT64_MAX);
    hanse_free(got);
}

static hanse_rc take_fact(void *user, hanse_bytes key, hanse_bytes value, hanse_err *err)
{
    hanse_buf *all = user;
    hanse_rc rc = hanse_buf_append(all, key.data, key.len, err);

    return rc == HANSE_OK ? hanse_buf_append(all, value.data, value.len, err) : rc;
}

static void assert_facts(world *w, const char *want)
{
    hanse_buf all = HANSE_BUF_EMPTY;

    reopen(w);
    assert_int_equal(hanse_site_store_facts(w->store, take_fact, &all, &w->err), HANSE_OK);
    assert_int_equal(all.len, strlen(want));
    if (all.len > 0)
        assert_memory_equal(all.data, want, all.len);
    hanse_buf_clear(&all);
}

/* Does any file of the store hold the text? */
static bool holds(const world *w, const char *text)
{
    static const char *const names[] = {"state.db", "state.db-wal"};
    bool found = false;

    for (size_t i = 0; i < 2; i++) {
        hanse_buf bytes = HANSE_BUF_EMPTY;
        char path[128];

        (void)snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        if (hanse_file_read(&bytes, path, 16 << 20, NULL) == HANSE_OK && bytes.len > 0)
            found |= memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
        hanse_buf_clear(&bytes);
    }
    return found;
}

static void test_facts(void **state)
{
    world *w = *state;
    const char *secret = "the seed of a ticket, which is destroyed";

    assert_facts(w, "");
    assert_int_equal(hanse_site_store_fact_put(w->store, hanse_bytes_str("S1"), hanse_bytes_str(secret), &w->err), HANSE_OK);
    assert_int_equal(hanse_site_store_fact_put(w->store, hanse_bytes_str("S2"), hanse_bytes_str(secret), &w->err), HANSE_OK);
    assert_true(holds(w, secret));
    assert_int_equal(hanse_site_store_fact_put(w->store, hanse_bytes_str("S1"), hanse_bytes_str("-"), &w->err), HANSE_OK);
    assert_int_equal(hanse_site_store_fact_put(w->store, hanse_bytes_str("S2"), HANSE_BYTES_EMPTY, &w->err), HANSE_OK);
    assert_int_equal(hanse_site_store_scrub(w->store, &w->err), HANSE_OK);
    assert_false(holds(w, secret)); /* neither where it was nor in the log */
    assert_facts(w, "S1-");
}

static void test_asks(void **state)
{
    world *w = *state;
    const uint8_t other[16] = {9};
    bool found;

    for (size_t i = 0; i < 2; i++)
        assert_int_equal(hanse_site_store_ask(w->store, HANSE_SITE_ASK_RETRY, w->offer.run, &w->err), HANSE_OK);
    reopen(w);
    assert_int_equal(hanse_site_store_asked(w->store, HANSE_SITE_ASK_RETRY, w->offer.run, &found, &w->err), HANSE_OK);
    assert_true(found);
    assert_int_equal(hanse_site_store_asked(w->store, HANSE_SITE_ASK_RECOVER, w->offer.run, &found, &w->err), HANSE_OK);
    assert_false(found);
    assert_int_equal(hanse_site_store_asked(w->store, HANSE_SITE_ASK_RETRY, other, &found, &w->err), HANSE_OK);
    assert_false(found);
    assert_int_equal(hanse_site_store_ask_done(w->store, HANSE_SITE_ASK_RETRY, w->offer.run, &w->err), HANSE_OK);
    assert_int_equal(hanse_site_store_asked(w->store, HANSE_SITE_ASK_RETRY, w->offer.run, &found, &w->err), HANSE_OK);
    assert_false(found);
}

static void test_not_a_database(void **state)
{
    world *w = *state;
    char path[128];
    hanse_site_store *store = NULL;
    FILE *file;

    hanse_site_store_close(w->store);
    w->store = NULL;
    (void)snprintf(path, sizeof path, "%s/state.db", w->dir);
    file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        (void)fputs("not a database ", file);
    (void)fclose(file);
    assert_int_equal(hanse_site_store_open(&store, w->dir, &w->err), HANSE_E_CORRUPT);
    assert_null(store);
}

/* From every schema that was ever published to ours, and on to one that does not exist yet. */
static void test_migrations(void **state)
{
    world *w = *state;
    const char *steps[HANSE_SITE_STORE_SCHEMA + 1];
    const uint8_t hash[32] = {7};
    uint8_t got[32];
    char path[128];
    bool found = false;

    (void)snprintf(path, sizeof path, "%s/state.db", w->dir);
    memcpy(steps, hanse_site_store_steps(), HANSE_SITE_STORE_SCHEMA * sizeof *steps);
    for (int old = 1; old <= HANSE_SITE_STORE_SCHEMA; old++) {
        hanse_site_store_close(w->store);
        w->store = NULL;
        assert_int_equal(unlink(path), 0);
        assert_int_equal(hanse_site_store_open_steps(&w->store, w->dir, steps, old, &w->err), HANSE_OK);
        assert_int_equal(hanse_site_store_pin_roster(w->store, hash, &w->err), HANSE_OK);
        reopen(w);
        hanse_site_store_close(w->store);
        w->store = NULL;
        steps[HANSE_SITE_STORE_SCHEMA] = "CREATE TABLE extra(x); INSERT INTO nowhere VALUES(1);";
        assert_int_not_equal(hanse_site_store_open_steps(&w->store, w->dir, steps, HANSE_SITE_STORE_SCHEMA + 1, &w->err), HANSE_OK);
        reopen(w); /* still our schema, and no table `extra` */
        hanse_site_store_close(w->store);
        w->store = NULL;
        steps[HANSE_SITE_STORE_SCHEMA] = "CREATE TABLE extra(x); INSERT INTO extra VALUES(1);";
        for (int again = 0; again < 2; again++) { /* no step twice */
            assert_int_equal(hanse_site_store_open_steps(&w->store, w->dir, steps, HANSE_SITE_STORE_SCHEMA + 1, &w->err), HANSE_OK);
            assert_int_equal(hanse_site_store_pinned_roster(w->store, got, &found, &w->err), HANSE_OK);
            assert_true(found && memcmp(got, hash, 32) == 0);
            hanse_site_store_close(w->store);
            w->store = NULL;
        }
        assert_int_equal(hanse_site_store_open(&w->store, w->dir, &w->err), HANSE_E_VERSION);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_acceptance_is_used_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_survives_every_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crl_never_goes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_evaluations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_migrations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_database, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
