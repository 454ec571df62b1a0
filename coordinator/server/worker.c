#include "coordinator/server/worker.h"

#include "hanse/bytes.h"

#include <pthread.h>

typedef struct queue {
    hanse_job *head, *tail;
} queue;

struct hanse_workers {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    queue todo, finished;
    size_t pending;
    bool stopping;
    void (*wake)(void *user);
    void *user;
    size_t threads_count;
    pthread_t *threads;
};

static void push(queue *q, hanse_job *job)
{
    job->next = NULL;
    if (q->tail != NULL)
        q->tail->next = job;
    else
        q->head = job;
    q->tail = job;
}

static hanse_job *pop(queue *q)
{
    hanse_job *job = q->head;

    if (job != NULL) {
        q->head = job->next;
        if (q->head == NULL)
            q->tail = NULL;
    }
    return job;
}

static void *run(void *arg)
{
    hanse_workers *workers = arg;

    pthread_mutex_lock(&workers->mutex);
    for (;;) {
        hanse_job *job = workers->stopping ? NULL : pop(&workers->todo);

        if (job == NULL) {
            if (workers->stopping)
                break;
            pthread_cond_wait(&workers->more, &workers->mutex);
            continue;
        }
        pthread_mutex_unlock(&workers->mutex);
        job->work(job);
        pthread_mutex_lock(&workers->mutex);
        push(&workers->finished, job);
        workers->wake(workers->user);
    }
    pthread_mutex_unlock(&workers->mutex);
    return NULL;
}

hanse_rc hanse_workers_new(hanse_workers **out, size_t threads_count, void (*wake)(void *user), void *user, hanse_err *err)
{
    hanse_workers *workers = hanse_calloc(1, sizeof *workers);

    if (workers == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the workers");
    workers->threads = hanse_calloc(threads_count, sizeof *workers->threads);
    if (workers->threads == NULL) {
        hanse_free(workers);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu workers", threads_count);
    }
    workers->wake = wake;
    workers->user = user;
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->more, NULL);
    for (; workers->threads_count < threads_count; workers->threads_count++) {
        if (pthread_create(&workers->threads[workers->threads_count], NULL, run, workers) != 0) {
            hanse_workers_free(workers);
            return HANSE_FAIL_ERRNO(err, "worker thread");
        }
    }
    *out = workers;
    return HANSE_OK;
}

void hanse_workers_submit(hanse_workers *workers, hanse_job *job)
{
    pthread_mutex_lock(&workers->mutex);
    push(&workers->todo, job);
    workers->pending++;
    pthread_cond_signal(&workers->more);
    pthread_mutex_unlock(&workers->mutex);
}

hanse_job *hanse_workers_next(hanse_workers *workers)
{
    hanse_job *job;

    pthread_mutex_lock(&workers->mutex);
    job = pop(&workers->finished);
    if (job != NULL)
        workers->pending--;
    pthread_mutex_unlock(&workers->mutex);
    return job;
}

size_t hanse_workers_pending(hanse_workers *workers)
{
    size_t pending;

    pthread_mutex_lock(&workers->mutex);
    pending = workers->pending;
    pthread_mutex_unlock(&workers->mutex);
    return pending;
}

void hanse_workers_free(hanse_workers *workers)
{
    hanse_job *job;

    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->mutex);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->more);
    pthread_mutex_unlock(&workers->mutex);
    for (size_t i = 0; i < workers->threads_count; i++)
        pthread_join(workers->threads[i], NULL);
    while ((job = pop(&workers->todo)) != NULL) {
        job->cancelled = true;
        push(&workers->finished, job);
    }
    while ((job = pop(&workers->finished)) != NULL)
        job->done(job);
    pthread_cond_destroy(&workers->more);
    pthread_mutex_destroy(&workers->mutex);
    hanse_free(workers->threads);
    hanse_free(workers);
}
