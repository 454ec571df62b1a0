#include "hanse/parallel.h"

#include <pthread.h>

typedef struct range {
    hanse_range_work work;
    void *context;
    size_t first, count;
    hanse_rc rc;
    hanse_err err;
} range;

static void *run(void *user)
{
    range *r = user;

    r->rc = r->work(r->context, r->first, r->count, &r->err);
    return NULL;
}

hanse_rc hanse_in_parallel(size_t threads, size_t count, size_t step, hanse_range_work work, void *context, hanse_err *err)
{
    range ranges[HANSE_PARALLEL_MAX];
    pthread_t others[HANSE_PARALLEL_MAX];
    bool started[HANSE_PARALLEL_MAX] = {false};
    size_t steps = (count + step - 1) / step, at = 0;

    threads = threads < steps ? threads : steps;
    threads = threads < HANSE_PARALLEL_MAX ? threads : HANSE_PARALLEL_MAX;
    if (threads < 2)
        return count > 0 ? work(context, 0, count, err) : HANSE_OK;
    for (size_t i = 0; i < threads; i++) {
        size_t end = i + 1 == threads ? count : steps * (i + 1) / threads * step;

        ranges[i] = (range){work, context, at, end - at, HANSE_OK, {.rc = HANSE_OK}};
        at = end;
    }
    for (size_t i = 1; i < threads; i++)
        started[i] = pthread_create(&others[i], NULL, run, &ranges[i]) == 0;
    (void)run(&ranges[0]);
    for (size_t i = 1; i < threads; i++) {
        if (started[i])
            pthread_join(others[i], NULL);
        else
            (void)run(&ranges[i]);
    }
    for (size_t i = 0; i < threads; i++)
        if (ranges[i].rc != HANSE_OK) {
            if (err != NULL)
                *err = ranges[i].err;
            return ranges[i].rc;
        }
    return HANSE_OK;
}
