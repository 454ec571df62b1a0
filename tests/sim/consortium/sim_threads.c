/* sim_threads.c - no threads: a site's training and the coordinator's jobs run at a moment of their own, chosen by the seed.
 *
 * The sites' worker (node/work.c) is the real one; the linker hands its pthread_create, pthread_join and the agent's poll to us
 * (--wrap). The coordinator's (worker.h) is replaced. */
#include "tests/sim/consortium/sim.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*entry)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/* How long work takes: mostly a moment, sometimes so long that a deadline passes. */
static uint64_t duration_us(void)
{
    if (!sim.calm && sim_chance(&sim.chance, 20))
        return sim_below(&sim.chance, sim.setup.deadline_ms * 1500);
    return sim_chance(&sim.chance, 700) ? sim_below(&sim.chance, SIM_S) : sim_below(&sim.chance, 6 * SIM_S);
}

/* ---- sites ---- */

static void run_thread(int site)
{
    if (!sim.sites[site].thread_waits)
        return;
    sim.sites[site].thread_waits = false;
    (void)sim.sites[site].thread_main(sim.sites[site].thread_argument);
}

static void fire_trained(const sim_event *event)
{
    int before = sim_enter(event->proc);

    run_thread(event->proc);
    sim_leave(before);
    if (sim.procs[event->proc].up)
        sim_step_soon(event->proc, 0);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*entry)(void *), void *argument)
{
    (void)attr;
    if (sim.current <= SIM_COORDINATOR)
        return EAGAIN; /* the coordinator's sums do without */
    if (sim.sites[sim.current].thread_waits)
        sim_wrong("%s starts a second thread", sim_name(sim.current));
    *thread = (pthread_t)sim.current;
    sim.sites[sim.current].thread_waits = true;
    sim.sites[sim.current].thread_main = entry;
    sim.sites[sim.current].thread_argument = argument;
    sim_plan(sim.now_us + duration_us(), fire_trained, sim.current, NULL);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    run_thread((int)thread); /* it was told to stop */
    if (result != NULL)
        *result = NULL;
    return 0;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (sim.current > SIM_COORDINATOR)
        sim.procs[sim.current].wait_ms = timeout_ms;
    return __real_poll(fds, count, 0);
}

/* ---- the coordinator ---- */

typedef struct place { /* of a job */
    struct place *next;
    hanse_job *job;
    bool worked, finished;
} place;

struct hanse_workers {
    place *places; /* in the order in which they were handed over */
    size_t pending;
};

hanse_rc hanse_workers_new(hanse_workers **out, size_t threads_count, void (*wake)(void *user), void *user, hanse_err *err)
{
    (void)threads_count;
    (void)wake;
    (void)user;
    *out = hanse_calloc(1, sizeof **out);
    return *out != NULL ? HANSE_OK : HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the workers");
}

static void fire_finished(const sim_event *event)
{
    ((place *)event->thing)->finished = true;
    sim_serve();
}

static void fire_work(const sim_event *event)
{
    place *self = event->thing;
    int before = sim_enter(SIM_COORDINATOR);

    self->job->work(self->job);
    self->worked = true;
    sim_leave(before);
    if (sim.procs[SIM_COORDINATOR].up && sim.procs[SIM_COORDINATOR].lives == event->life)
        sim_plan(sim.now_us + duration_us() / 2, fire_finished, SIM_COORDINATOR, self);
}

void hanse_workers_submit(hanse_workers *workers, hanse_job *job)
{
    place *self, **tail = &workers->places;

    sim.own++;
    self = hanse_calloc(1, sizeof *self);
    sim.own--;
    if (self == NULL)
        sim_wrong("no memory for a job");
    self->job = job;
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = self;
    workers->pending++;
    sim_plan(sim.now_us + duration_us() / 2, fire_work, SIM_COORDINATOR, self);
}

hanse_job *hanse_workers_next(hanse_workers *workers)
{
    for (place **at = &workers->places; *at != NULL; at = &(*at)->next)
        if ((*at)->finished) {
            place *self = *at;
            hanse_job *job = self->job;

            *at = self->next;
            workers->pending--;
            hanse_free(self);
            return job;
        }
    return NULL;
}

size_t hanse_workers_pending(hanse_workers *workers)
{
    return workers->pending;
}

void hanse_workers_free(hanse_workers *workers)
{
    if (workers == NULL)
        return;
    while (workers->places != NULL) {
        place *self = workers->places;

        workers->places = self->next;
        self->job->cancelled = !self->worked || sim.procs[SIM_COORDINATOR].killed;
        self->job->done(self->job);
        hanse_free(self);
    }
    hanse_free(workers);
}

void sim_thread_drop(int site)
{
    sim.sites[site].thread_waits = false;
}
