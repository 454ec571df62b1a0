/* Fold n sites of P floats held in memory into a model file, beside what memcpy makes of the same bytes.
 * Usage: bench_mean [SITES [PARAMETERS [THREADS [FOLDER]]]]; defaults 10, 1e7, 2, /dev/shm. */
#include "coordinator/aggregate/mean.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <pthread.h>

#define CHUNK (HANSE_MODEL_CHUNK / sizeof(float))
enum { REPEATS = 7 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static hanse_rc read_memory(void *context, uint64_t chunk, float *values, size_t count, hanse_err *err)
{
    (void)err;
    memcpy(values, (const float *)context + chunk * CHUNK, count * sizeof *values);
    return HANSE_OK;
}

typedef struct copy_job {
    float *to;
    const float *from;
    size_t count;
} copy_job;

static void *copy(void *context)
{
    copy_job *job = context;
    memcpy(job->to, job->from, job->count * sizeof(float));
    return NULL;
}

/* Best time to copy P floats with `threads` threads. */
static double copy_s(float *to, const float *from, size_t parameters, size_t threads)
{
    double best = 1e9;
    for (int r = 0; r < REPEATS; r++) {
        pthread_t workers[HANSE_MEAN_THREADS_MAX];
        copy_job jobs[HANSE_MEAN_THREADS_MAX];
        size_t part = parameters / threads;
        double start = now_s();
        for (size_t t = 0; t < threads; t++) {
            jobs[t] = (copy_job){to + t * part, from + t * part, part};
            if (pthread_create(&workers[t], NULL, copy, &jobs[t]) != 0)
                exit(7);
        }
        for (size_t t = 0; t < threads; t++)
            pthread_join(workers[t], NULL);
        double took = now_s() - start;
        best = took < best ? took : best;
    }
    return best;
}

static size_t argument(int argc, char **argv, int idx, size_t default_value)
{
    char *end = NULL;
    if (idx >= argc)
        return default_value;
    unsigned long long value = strtoull(argv[idx], &end, 10);
    if (*end != '\0' || value == 0) {
        fprintf(stderr, "bench_mean: '%s' is no count\n", argv[idx]);
        exit(4);
    }
    return (size_t)value;
}

int main(int argc, char **argv)
{
    size_t n = argument(argc, argv, 1, 10), P = argument(argc, argv, 2, 10000000), threads = argument(argc, argv, 3, 2);
    const char *folder = argc > 4 ? argv[4] : "/dev/shm";
    hanse_mean_source *sources = hanse_calloc(n, sizeof *sources);
    uint8_t(*ids)[32] = hanse_calloc(n, 32), root[32];
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    hanse_model_meta meta = {0};
    float *spare = hanse_calloc(P, sizeof *spare);
    char path[4096];
    hanse_err err;
    double best = 1e9;

    snprintf(path, sizeof path, "%s/bench-mean-%ld.safetensors", folder, (long)getpid());
    if (sources == NULL || ids == NULL || spare == NULL || threads > HANSE_MEAN_THREADS_MAX
        || hanse_layout_add(&layout, "vector", &P, 1, &err) != HANSE_OK)
        return 7;
    for (size_t i = 0; i < n; i++) {
        float *values = hanse_calloc(P, sizeof *values);
        if (values == NULL)
            return 7;
        hanse_layout_init_values(&layout, i, 0, P, values);
        ids[i][0] = (uint8_t)i;
        ids[i][1] = (uint8_t)(i >> 8);
        sources[i] = (hanse_mean_source){ids[i], 100 + i, read_memory, values};
    }
    for (int r = 0; r < REPEATS; r++) {
        double start = now_s();
        if (hanse_mean_fold(sources, n, &layout, &meta, path, threads, false, root, &err) != HANSE_OK) {
            fprintf(stderr, "bench_mean: %s\n", err.text);
            return hanse_rc_exit_code(err.rc);
        }
        double took = now_s() - start;
        best = took < best ? took : best;
    }
    unlink(path);
    for (size_t j = 0; j < P; j++)
        spare[j] = 1; /* touch the pages */
    double memcpy_s = copy_s(spare, sources[0].context, P, threads), gb = 4e-9 * (double)n * (double)P;
    printf("fold %zu x %zu float32, %zu threads, with file and root: %.3f s, %.2f GB/s in; memcpy %.2f GB/s; ratio %.2f\n", n, P, threads,
           best, gb / best, 4e-9 * (double)P / memcpy_s, (gb / best) / (4e-9 * (double)P / memcpy_s));
    for (size_t i = 0; i < n; i++)
        hanse_free(sources[i].context);
    hanse_free(spare);
    hanse_free(ids);
    hanse_free(sources);
    hanse_layout_clear(&layout);
    return 0;
}
