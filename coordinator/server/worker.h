/* worker.h - threads for what would hold up the service thread: opening contributions, summing, syncing to disk.
 *
 * A job runs on a worker; when it is done, `wake` is called there, and the service thread collects it with
 * hanse_workers_next() and runs its `done`. Jobs hold ids, not pointers to connections, which may be gone by then. */
#ifndef HANSE_COORDINATOR_WORKER_H
#define HANSE_COORDINATOR_WORKER_H

#include "hanse/error.h"

typedef struct hanse_job hanse_job;
struct hanse_job {
    void (*work)(hanse_job *job); /* on a worker; may touch only the job */
    void (*done)(hanse_job *job); /* on the service thread; releases the job */
    bool cancelled;               /* the workers were stopped before `work` ran: there is nothing to take from it */
    hanse_job *next;
};

typedef struct hanse_workers hanse_workers;

/* Start `threads_count` >= 1 workers. `wake(user)` must be callable from any thread. Errors: NOMEM, IO. */
HANSE_MUST_CHECK hanse_rc hanse_workers_new(hanse_workers **out, size_t threads_count, void (*wake)(void *user), void *user,
                                            hanse_err *err);
/* Hand over a job; it belongs to the workers until hanse_workers_next() returns it. */
void hanse_workers_submit(hanse_workers *workers, hanse_job *job);
/* A finished job or NULL. Service thread only. */
hanse_job *hanse_workers_next(hanse_workers *workers);
size_t hanse_workers_pending(hanse_workers *workers); /* submitted and not yet returned */
/* Finish the job each thread is in, then stop them; returns what has not been collected through `done`, what has not begun as
 * cancelled. NULL allowed. */
void hanse_workers_free(hanse_workers *workers);

#endif
