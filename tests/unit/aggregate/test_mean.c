/* The weighted mean: against a naive oracle, and its promises: order, threads, one site, bad numbers, faults. */
#include "coordinator/aggregate/mean.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define CHUNK (HANSE_MODEL_CHUNK / sizeof(float))
enum { SITES = 11 };

static hanse_err err;
static char dir[] = "/tmp/hanse-mean-XXXXXX";
static char path[64];
static const hanse_model_meta meta = {.run = {7}, .round = 3, .plan_hash = {5}};

typedef struct site {
    uint8_t id[32];
    float *values; /* [P] */
    size_t parameters;
    atomic_long fail_chunk; /* read of this chunk fails; -1: none */
    atomic_ullong reads;
} site;

static site sites[SITES];

static hanse_rc site_read(void *context, uint64_t chunk, float *values, size_t count, hanse_err *e)
{
    site *s = context;
    size_t left = s->parameters - (size_t)chunk * CHUNK;
    if (count != (left < CHUNK ? left : CHUNK))
        return HANSE_FAIL(e, HANSE_E_USAGE, "chunk %llu: asked for %zu", (unsigned long long)chunk, count);
    if (atomic_load(&s->fail_chunk) == (long)chunk)
        return HANSE_FAIL(e, HANSE_E_AUTH, "chunk %llu does not open", (unsigned long long)chunk);
    atomic_fetch_add(&s->reads, 1);
    memcpy(values, s->values + chunk * CHUNK, count * sizeof *values);
    return HANSE_OK;
}

static size_t files_count(void)
{
    size_t count = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        count += e->d_name[0] != '.' || (e->d_name[1] != '\0' && e->d_name[1] != '.');
    closedir(d);
    return count;
}

/* SITES sites of P random numbers of wild range; sources in order of the ids, weights 1, 2, 3, ... */
static hanse_layout make(size_t parameters, hanse_mean_source *sources)
{
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    uint64_t x = 88172645463325252u;
    size_t half = parameters / 2;

    assert_int_equal(hanse_layout_add(&layout, "w", (size_t[]){parameters - half}, 1, &err), HANSE_OK);
    if (half > 0)
        assert_int_equal(hanse_layout_add(&layout, "b", (size_t[]){half}, 1, &err), HANSE_OK);
    for (size_t i = 0; i < SITES; i++) {
        memset(sites[i].id, 0x11, sizeof sites[i].id);
        sites[i].id[30] = (uint8_t)(i * 20); /* > 127 too: bytes compare unsigned */
        sites[i].parameters = parameters;
        atomic_store(&sites[i].fail_chunk, -1);
        atomic_store(&sites[i].reads, 0);
        sites[i].values = hanse_calloc(parameters, sizeof(float));
        assert_non_null(sites[i].values);
        for (size_t j = 0; j < parameters; j++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            sites[i].values[j] = ldexpf((float)(int32_t)(x >> 32) * 0x1p-31f, (int)(x & 31) - 20);
        }
        sources[i] = (hanse_mean_source){sites[i].id, i + 1, site_read, &sites[i]};
    }
    return layout;
}

static void unmake(hanse_layout *layout)
{
    for (size_t i = 0; i < SITES; i++) {
        hanse_free(sites[i].values);
        sites[i].values = NULL;
    }
    hanse_layout_clear(layout);
}

/* The values of the file at `path`, which must have this root. */
static float *load(const uint8_t root[32], size_t parameters)
{
    hanse_model_file file;
    float *values = hanse_calloc(parameters, sizeof *values);

    assert_non_null(values);
    assert_int_equal(hanse_model_root_check(root, path, &err), HANSE_OK);
    assert_int_equal(hanse_model_open(&file, path, &err), HANSE_OK);
    assert_true(file.has_meta && file.meta.round == 3 && file.meta.run[0] == 7);
    assert_int_equal(file.layout.parameters, parameters);
    assert_int_equal(hanse_model_read(&file, 0, values, parameters, &err), HANSE_OK);
    hanse_model_close(&file);
    return values;
}

static int setup(void **state)
{
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void test_oracle(void **state)
{
    (void)state;
    const size_t sizes[] = {1, 14, 1025, CHUNK - 64, CHUNK, CHUNK + 1, 3 * CHUNK + 17};

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        hanse_mean_source sources[SITES];
        hanse_layout layout = make(sizes[s], sources);
        uint8_t root[32];

        sources[3].weight = UINT64_C(1) << 32;
        sources[4].weight = (UINT64_C(1) << 32) - 1;
        assert_int_equal(hanse_mean_fold(sources, SITES, &layout, &meta, path, 2, false, root, &err), HANSE_OK);
        float *got = load(root, sizes[s]);
        long double total = 0;
        for (size_t i = 0; i < SITES; i++)
            total += (long double)sources[i].weight;
        for (size_t j = 0; j < sizes[s]; j++) {
            long double want = 0, size = 0;
            for (size_t i = 0; i < SITES; i++) {
                long double term = (long double)sources[i].weight * (long double)sites[i].values[j] / total;
                want += term;
                size += fabsl(term);
            }
            /* one rounding to float, and doubles' rounding on the terms */
            if (!(fabsl((long double)got[j] - want) <= fabsl(want) * 0x1p-24L * 1.0001L + size * 0x1p-48L + 0x1p-149L))
                fail_msg("size %zu, value %zu: %.9g, want %.9Lg", sizes[s], j, (double)got[j], want);
        }
        for (size_t i = 0; i < SITES; i++)
            assert_int_equal(atomic_load(&sites[i].reads), (sizes[s] + CHUNK - 1) / CHUNK);
        hanse_free(got);
        unmake(&layout);
    }
}

static void test_order_and_threads(void **state)
{
    (void)state;
    hanse_mean_source sources[SITES], shuffled[SITES];
    hanse_layout layout = make(5 * CHUNK + 333, sources);
    uint8_t first[32], root[32];
    const size_t threads[] = {1, 2, 5, 64};

    for (size_t j = 0; j < sites[0].parameters; j += 50) { /* what comes between the two large ones is lost: order shows */
        sites[0].values[j] = 0x1p80f;
        sites[7].values[j] = -0x1p80f;
    }
    sources[7].weight = sources[0].weight;
    assert_int_equal(hanse_mean_fold(sources, SITES, &layout, &meta, path, 1, true, first, &err), HANSE_OK);
    for (size_t k = 0; k < 8; k++) {
        for (size_t i = 0; i < SITES; i++)
            shuffled[(i * (k + 1) + k) % SITES] = sources[i]; /* 11 is prime: a permutation */
        memset(root, 0, sizeof root);
        assert_int_equal(hanse_mean_fold(shuffled, SITES, &layout, &meta, path, threads[k % 4], false, root, &err), HANSE_OK);
        assert_memory_equal(root, first, 32); /* the whole file, bit by bit */
        assert_int_equal(files_count(), 1);
    }
    assert_int_equal(hanse_model_root_check(root, path, &err), HANSE_OK);
    sources[0].weight++;
    assert_int_equal(hanse_mean_fold(sources, SITES, &layout, &meta, path, 2, false, root, &err), HANSE_OK);
    assert_memory_not_equal(root, first, 32);
    unmake(&layout);
}

static void test_one_site(void **state)
{
    (void)state;
    enum { P = CHUNK + 100 };
    hanse_mean_source sources[SITES];
    hanse_layout layout = make(P, sources);
    uint8_t root[32];
    const uint64_t weights[] = {1, 3, 242, (UINT64_C(1) << 32) - 1, UINT64_C(1) << 32};

    memcpy(sites[2].values, (const float[]){-0.0f, 0.0f, 1e-45f, -1e-45f, 3.4028235e38f, -3.4028235e38f}, 6 * sizeof(float));
    for (size_t k = 0; k < sizeof weights / sizeof *weights; k++) {
        sources[2].weight = weights[k];
        assert_int_equal(hanse_mean_fold(&sources[2], 1, &layout, &meta, path, 2, false, root, &err), HANSE_OK);
        float *got = load(root, P);
        assert_memory_equal(got, sites[2].values, P * sizeof *got);
        hanse_free(got);
    }
    /* beside sites of weight 0, whatever they hold */
    for (size_t i = 0; i < SITES; i++)
        sources[i].weight = i == 2 ? 17 : 0;
    sites[0].values[0] = NAN;
    assert_int_equal(hanse_mean_fold(sources, SITES, &layout, &meta, path, 2, false, root, &err), HANSE_OK);
    float *got = load(root, P);
    assert_memory_equal(got, sites[2].values, P * sizeof *got);
    hanse_free(got);
    unmake(&layout);
}

static void test_equal_sites(void **state)
{
    (void)state;
    enum { P = 1000 };
    hanse_mean_source sources[SITES];
    hanse_layout layout = make(P, sources);
    uint8_t root[32];

    memcpy(sites[1].values, sites[0].values, P * sizeof(float));
    memcpy(sites[2].values, sites[0].values, P * sizeof(float));
    for (size_t n = 2; n <= 3; n++) {
        sources[1].weight = n == 2 ? 1 : 5;
        assert_int_equal(hanse_mean_fold(sources, n, &layout, &meta, path, 1, false, root, &err), HANSE_OK);
        float *got = load(root, P);
        for (size_t j = 0; j < P; j++)
            if (!(fabsf(got[j] - sites[0].values[j]) <= 1e-6f * fabsf(sites[0].values[j])))
                fail_msg("%zu equal sites: value %zu differs", n, j);
        hanse_free(got);
    }
    unmake(&layout);
}

static void test_refuses(void **state)
{
    (void)state;
    enum { P = 2 * CHUNK };
    hanse_mean_source sources[SITES], bad[SITES];
    hanse_layout layout = make(P, sources);
    uint8_t root[32], kept[32];
    const float poison[] = {NAN, INFINITY, -INFINITY};

    assert_int_equal(hanse_mean_fold(sources, 3, &layout, &meta, path, 1, false, kept, &err), HANSE_OK);
    memcpy(root, kept, 32);
    for (size_t k = 0; k < 3; k++) {
        float good = sites[1].values[P / 2 + 5];
        sites[1].values[P / 2 + 5] = poison[k];
        assert_int_equal(hanse_mean_fold(sources, 3, &layout, &meta, path, 2, false, root, &err), HANSE_E_NONFINITE);
        assert_non_null(strstr(err.text, "tensor b: the mean at index 5 "));
        sites[1].values[P / 2 + 5] = good;
    }
    memcpy(bad, sources, sizeof bad);
    for (size_t i = 0; i < SITES; i++)
        bad[i].weight = 0;
    assert_int_equal(hanse_mean_fold(bad, SITES, &layout, &meta, path, 1, false, root, &err), HANSE_E_WEIGHT);
    assert_int_equal(hanse_mean_fold(bad, 0, &layout, &meta, path, 1, false, root, &err), HANSE_E_WEIGHT);
    bad[0].weight = bad[1].weight = UINT64_C(1) << 63;
    assert_int_equal(hanse_mean_fold(bad, 2, &layout, &meta, path, 1, false, root, &err), HANSE_E_WEIGHT);
    bad[0].weight = bad[1].weight = 1;
    bad[1].site_id = bad[0].site_id;
    assert_int_equal(hanse_mean_fold(bad, 2, &layout, &meta, path, 1, false, root, &err), HANSE_E_DUPLICATE);
    assert_int_equal(hanse_mean_fold(sources, 2, &layout, &meta, path, 0, false, root, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_mean_fold(sources, 2, &layout, &meta, path, HANSE_MEAN_THREADS_MAX + 1, false, root, &err), HANSE_E_USAGE);
    for (size_t i = 0; i < 3; i++) {
        atomic_store(&sites[i].fail_chunk, (long)i % 2);
        assert_int_equal(hanse_mean_fold(sources, 3, &layout, &meta, path, 2, false, root, &err), HANSE_E_AUTH);
        atomic_store(&sites[i].fail_chunk, -1);
    }
    assert_memory_equal(root, kept, 32);
    assert_int_equal(hanse_model_root_check(kept, path, &err), HANSE_OK);
    assert_int_equal(files_count(), 1);
    unmake(&layout);
}

static void test_faults(void **state)
{
    (void)state;
    hanse_mean_source sources[SITES];
    hanse_layout layout = make(2 * CHUNK + 1, sources);
    uint8_t root[32];

    for (int pass = 0; pass < 4; pass++) {
        void (*fail_at)(long) = pass % 2 == 0 ? hanse_model_fail_at : hanse_alloc_fail_at;
        hanse_rc want = pass % 2 == 0 ? HANSE_E_IO : HANSE_E_NOMEM, rc = want;
        long k;
        for (k = 0; rc != HANSE_OK; k++) {
            fail_at(k);
            rc = hanse_mean_fold(sources, 3, &layout, &meta, path, 1 + (size_t)pass / 2, false, root, &err);
            fail_at(-1);
            if (rc != HANSE_OK) {
                assert_int_equal(rc, want);
                assert_int_equal(files_count(), 0);
            }
        }
        assert_true(k > 4);
        assert_int_equal(hanse_model_root_check(root, path, &err), HANSE_OK);
        unlink(path);
    }
    unmake(&layout);
}

static void test_aux_add(void **state)
{
    (void)state;
    uint64_t sum[3] = {0, UINT64_MAX - 5, 7}, kept[3];

    assert_int_equal(hanse_aux_add(sum, (const uint64_t[]){1, 5, (uint64_t)1 << 63}, 3, &err), HANSE_OK);
    assert_true(sum[0] == 1 && sum[1] == UINT64_MAX && sum[2] == ((uint64_t)1 << 63) + 7);
    memcpy(kept, sum, sizeof sum);
    assert_int_equal(hanse_aux_add(sum, (const uint64_t[]){1, 1, 1}, 3, &err), HANSE_E_PROTOCOL);
    assert_int_equal(hanse_aux_add(sum, (const uint64_t[]){1, 0, (uint64_t)1 << 63}, 3, &err), HANSE_E_PROTOCOL);
    assert_memory_equal(sum, kept, sizeof sum);
    assert_int_equal(hanse_aux_add(sum, NULL, 0, &err), HANSE_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_oracle),  TEST(test_order_and_threads), TEST(test_one_site), TEST(test_equal_sites),
        TEST(test_refuses), TEST(test_faults),            cmocka_unit_test(test_aux_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
