/* Files: a contribution that arrives, a model that is written, the mean and the unmasked sum of a round. Whatever call fails,
 * nothing half-written has its final name, and the next try succeeds. */
#include "coordinator/aggregate/mean.h"
#include "coordinator/aggregate/unmask.h"
#include "coordinator/server/spool.h"
#include "hanse/model_root.h"
#include "hanse/ring.h"
#include "tests/support/secagg_world.h"
#include "tests/unit/faults/fixture.h"

enum { SITES = 3, CHUNKS = 3, CHUNK = 300, WORDS = 3000, AUX = 9 };

static hanse_err err;
static char dir[64];
static hanse_path model, base;
static hanse_layout layout;
static float *values; /* [layout.parameters] */
static uint8_t pieces[CHUNKS * CHUNK]; /* of a contribution */
static const hanse_model_meta meta = {.run = {7}, .round = 3, .plan_hash = {5}};

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pieces; i++)
        pieces[i] = (uint8_t)(i * 7 + i / 256);
    dir_make(dir);
    folder(dir, "spool");
    folder(dir, "models");
    assert_int_equal(hanse_path_join(model, dir, "models/1.safetensors", &err), HANSE_OK);
    assert_int_equal(hanse_path_join(base, dir, "models/0.safetensors", &err), HANSE_OK);
    assert_int_equal(hanse_layout_add(&layout, "a", (size_t[]){WORDS}, 1, &err), HANSE_OK);
    assert_int_equal(hanse_layout_add(&layout, "b", (size_t[]){6}, 1, &err), HANSE_OK);
    values = hanse_calloc(layout.parameters, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < layout.parameters; i++)
        values[i] = (float)(i % 17) - 8;
    assert_int_equal(hanse_model_write(base, &layout, &meta, values, false, &err), HANSE_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hanse_layout_clear(&layout);
    hanse_free(values);
    dir_remove(dir);
    return 0;
}

/* ---- a contribution: header, chunks in pieces, flushed ---- */

static hanse_rc spool_whole(void *user, hanse_err *e)
{
    const uint64_t offsets[CHUNKS + 1] = {0, CHUNK, 2 * CHUNK, 3 * CHUNK};
    hanse_spool_shape shape = {.run = {1}, .site_id = {2}, .slot = 7, .chunks = CHUNKS, .offsets = hanse_calloc(CHUNKS + 1, sizeof *offsets)};
    hanse_spool spool = HANSE_SPOOL_CLOSED, reader = HANSE_SPOOL_CLOSED;
    uint8_t got[CHUNK];
    hanse_rc rc;

    (void)user;
    if (shape.offsets == NULL)
        return HANSE_FAIL(e, HANSE_E_NOMEM, "no memory for the offsets");
    memcpy(shape.offsets, offsets, sizeof offsets);
    rc = hanse_spool_open(&spool, dir, &shape, hanse_bytes_str("a header"), hanse_bytes_str("its signature"), e);
    for (uint64_t i = spool.held; rc == HANSE_OK && i < CHUNKS; i++)
        for (size_t at = 0; rc == HANSE_OK && at < CHUNK; at += 100)
            rc = hanse_spool_put(&spool, i, at, (hanse_bytes){pieces + i * CHUNK + at, 100}, e);
    if (rc == HANSE_OK)
        rc = hanse_spool_share(&reader, &spool, e);
    for (uint64_t i = 0; rc == HANSE_OK && i < CHUNKS; i++) {
        rc = hanse_spool_get(&reader, i, got, e);
        if (rc == HANSE_OK)
            assert_memory_equal(got, pieces + i * CHUNK, CHUNK);
    }
    if (rc == HANSE_OK)
        rc = hanse_spool_sync(&reader, e);
    hanse_spool_close(&reader);
    hanse_spool_close(&spool);
    return rc;
}

static void spool_gone(void *user)
{
    hanse_path path;
    char name[160], run[33] = "01000000000000000000000000000000", site[65] = "02";

    (void)user;
    memset(site + 2, '0', 62);
    (void)snprintf(name, sizeof name, "spool/%s-7-%s", run, site);
    assert_int_equal(hanse_path_join(path, dir, name, &err), HANSE_OK);
    (void)unlink(path);
}

/* The upload goes on behind what arrived, whatever failed while it was opened again. */
static hanse_rc spool_resume(void *user, hanse_err *e)
{
    const uint64_t offsets[CHUNKS + 1] = {0, CHUNK, 2 * CHUNK, 3 * CHUNK};
    hanse_spool_shape shape = {.run = {1}, .site_id = {2}, .slot = 7, .chunks = CHUNKS, .offsets = hanse_calloc(CHUNKS + 1, sizeof *offsets)};
    hanse_spool spool = HANSE_SPOOL_CLOSED;
    hanse_rc rc;

    if (shape.offsets == NULL)
        return HANSE_FAIL(e, HANSE_E_NOMEM, "no memory for the offsets");
    memcpy(shape.offsets, offsets, sizeof offsets);
    rc = user != NULL ? hanse_spool_reopen(&spool, dir, &shape, hanse_bytes_str("a header"), hanse_bytes_str("its signature"), e)
                      : hanse_spool_open(&spool, dir, &shape, hanse_bytes_str("a header"), hanse_bytes_str("its signature"), e);
    assert_true(rc != HANSE_OK || spool.held == CHUNKS);
    hanse_spool_close(&spool);
    return rc;
}

static void nothing(void *user)
{
    (void)user;
}

static void test_spool_resumed(void **state)
{
    fault_walk walk = {.name = "resume", .dir = dir, .where = {"/spool"}, .operate = spool_resume, .undo = nothing};

    (void)state;
    assert_int_equal(spool_whole(NULL, &err), HANSE_OK);
    assert_true(faults_walk(&walk) > 4);
    walk.user = &walk;
    assert_true(faults_walk(&walk) > 4);
    spool_gone(NULL);
    assert_int_equal(spool_resume(&walk, &err), HANSE_E_CORRUPT); /* acknowledged, and gone: never made anew */
    assert_non_null(strstr(err.text, "/spool"));
}

static void test_spool(void **state)
{
    const fault_walk walk = {.name = "spool", .dir = dir, .where = {"/spool"}, .operate = spool_whole, .undo = spool_gone, .grows = true};

    (void)state;
    assert_true(faults_walk(&walk) > 20);
}

/* ---- a model ---- */

static hanse_rc model_write(void *user, hanse_err *e)
{
    (void)user;
    return hanse_model_write(model, &layout, &meta, values, true, e);
}

static void model_is_whole(void *user)
{
    uint8_t root[32];
    uint64_t size;

    (void)user;
    assert_int_equal(hanse_model_root_of_file(root, &size, model, &err), HANSE_OK);
    assert_true(size > 4 * layout.parameters);
}

static void model_gone(void *user)
{
    (void)user;
    (void)unlink(model);
}

static void test_model(void **state)
{
    fault_walk walk = {.name = "model", .dir = dir, .where = {"/models"}, .operate = model_write, .check_done = model_is_whole,
                       .undo = model_gone, .whole = model};

    (void)state;
    assert_true(faults_walk(&walk) > 10);
    model_gone(NULL);
    assert_int_equal(model_write(NULL, &err), HANSE_OK);
    walk.undo = model_is_whole; /* an older file of that name stays as it was */
    assert_true(faults_walk(&walk) > 10);
    model_gone(NULL);
}

/* ---- the mean of sealed contributions ---- */

static hanse_rc site_read(void *context, uint64_t chunk, float *out, size_t count, hanse_err *e)
{
    (void)context, (void)e;
    memcpy(out, values + chunk * (HANSE_MODEL_CHUNK / sizeof(float)), count * sizeof *out);
    return HANSE_OK;
}

static hanse_rc fold_mean(void *user, hanse_err *e)
{
    static const uint8_t ids[SITES][32] = {{1}, {2}, {3}};
    hanse_mean_source sources[SITES];
    uint8_t root[32];

    for (size_t i = 0; i < SITES; i++)
        sources[i] = (hanse_mean_source){ids[i], i + 1, site_read, NULL};
    return hanse_mean_fold(sources, SITES, &layout, &meta, model, *(const size_t *)user, true, root, e);
}

static void test_mean(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 2; threads++) {
        const fault_walk walk = {.name = "mean", .dir = dir, .where = {"/models"}, .operate = fold_mean, .check_done = model_is_whole,
                                 .undo = model_gone, .whole = model, .user = &threads};

        assert_true(faults_walk(&walk) > 15);
    }
}

/* ---- the sum of masked contributions ---- */

static world w;
static hanse_secagg_spec spec;
static hanse_path uploads[SITES]; /* as they lie in the spool */

static void masked_round(void)
{
    uint32_t blamed[SITES];

    world_new(&w, SITES, HANSE_SECAGG_CRON, 77);
    world_segment(&w, 0, WORDS, 20, 400000, 0.25);
    world_segment(&w, 1, 6, 33, (uint64_t)1 << 31, 4);
    world_segment(&w, 2, AUX, 64, (uint64_t)1 << 50, 0);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < SITES; i++)
        assert_int_equal(world_leave(&w, i, 1), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w.round, w.now_ms, &w.err), HANSE_OK);
    for (uint32_t i = 0; i < SITES; i++) {
        char name[32];

        assert_int_equal(world_spec(&w, i, true), HANSE_OK);
        assert_int_equal(world_mask(&w, i, 1), HANSE_OK);
        assert_int_equal(world_header(&w, i), HANSE_OK);
        assert_int_equal(world_complete(&w, i), HANSE_OK);
        (void)snprintf(name, sizeof name, "spool/%u", i);
        assert_int_equal(hanse_path_join(uploads[i], dir, name, &err), HANSE_OK);
        assert_int_equal(hanse_file_write(uploads[i], hanse_buf_bytes(&w.sites[i].y), HANSE_MODE_SECRET, &err), HANSE_OK);
    }
    assert_int_equal(hanse_secagg_round_cut(w.round, &w.err), HANSE_OK);
    for (uint32_t i = 0; i < SITES; i++)
        assert_int_equal(world_answer(&w, i), HANSE_OK);
    assert_int_equal(hanse_secagg_round_reconstruct(w.round, blamed, &w.err), HANSE_OK);
    assert_int_equal(hanse_secagg_spec_decode(&spec, hanse_secagg_round_spec(w.round).bytes, &w.err), HANSE_OK);
}

static hanse_rc read_upload(void *context, uint64_t at, uint8_t *out, size_t len, hanse_err *e)
{
    FILE *file = fopen(context, "rb"); /* not counted: what reads spools is walked above */

    (void)e;
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fread(out, 1, len, file), len);
    (void)fclose(file);
    return HANSE_OK;
}

static hanse_rc fold_masked(void *user, hanse_err *e)
{
    hanse_unmask_source sources[SITES];
    hanse_unmask *unmask = NULL;
    uint64_t words[AUX];
    uint8_t root[32];
    hanse_rc rc;

    for (size_t i = 0; i < SITES; i++)
        sources[i] = (hanse_unmask_source){read_upload, uploads[i]};
    rc = hanse_unmask_new(&unmask, w.round, &spec, &layout, sources, SITES, *(const size_t *)user, e);
    if (rc == HANSE_OK)
        rc = hanse_unmask_aux(unmask, words, e);
    if (rc == HANSE_OK)
        rc = hanse_unmask_fold(unmask, HANSE_RING_SHARE_ONE, base, &meta, model, root, e);
    hanse_unmask_free(unmask);
    return rc;
}

static void test_unmask(void **state)
{
    (void)state;
    masked_round();
    for (size_t threads = 1; threads <= 2; threads++) {
        const fault_walk walk = {.name = "unmask", .dir = dir, .where = {"/models"}, .operate = fold_masked, .check_done = model_is_whole,
                                 .undo = model_gone, .whole = model, .user = &threads};

        assert_true(faults_walk(&walk) > 20);
    }
    hanse_secagg_spec_clear(&spec);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_spool), cmocka_unit_test(test_spool_resumed), cmocka_unit_test(test_model),
                                       cmocka_unit_test(test_mean), cmocka_unit_test(test_unmask)};

    faults_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
