/* Workers: what a stop does to jobs that run and to jobs that wait. */
#include "coordinator/server/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <semaphore.h>
#include <unistd.h>

typedef struct counting_job {
    hanse_job job;
    sem_t *begun;
    int worked, done;
    bool cancelled;
} counting_job;

static void work(hanse_job *job)
{
    counting_job *self = (counting_job *)job;

    self->worked++;
    sem_post(self->begun);
    usleep(100000); /* so that the stop comes while it runs */
}

static void done(hanse_job *job)
{
    counting_job *self = (counting_job *)job;

    self->done++;
    self->cancelled = job->cancelled;
}

static void wake(void *user)
{
    (void)user;
}

static void test_stop(void **state)
{
    hanse_workers *workers = NULL;
    sem_t begun;
    counting_job jobs[3];

    (void)state;
    assert_int_equal(sem_init(&begun, 0, 0), 0);
    assert_int_equal(hanse_workers_new(&workers, 1, wake, NULL, NULL), HANSE_OK);
    for (int i = 0; i < 3; i++) {
        jobs[i] = (counting_job){.job = {.work = work, .done = done}, .begun = &begun};
        hanse_workers_submit(workers, &jobs[i].job);
    }
    sem_wait(&begun);
    hanse_workers_free(workers);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jobs[i].done, 1);
        assert_int_equal(jobs[i].cancelled, jobs[i].worked == 0);
    }
    assert_int_equal(jobs[0].worked, 1);
    assert_int_equal(jobs[2].worked, 0);
    sem_destroy(&begun);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stop)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
