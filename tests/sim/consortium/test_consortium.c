/* test_consortium.c - seeds, each a history of a whole consortium: see sim.h.
 *
 *   test_consortium --seeds A..B [--jobs J]     every seed in a process of its own; prints those that went wrong
 *   test_consortium --seed N [--verbose]        one, the same again; verbose: everything that happens
 *   test_consortium --countdown S [--jobs J]    no chance: every S-th call of a process is struck, one in each run (sim_blow.c)
 *   test_consortium --blow B [--verbose]        one of those, the same again */
#include "tests/sim/consortium/sim.h"

#include "hanse/config.h"
#include "hanse/log.h"
#include "node/train/blas.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 64
#define TELL_EVERY 1000 /* seeds: a sign of life of a long campaign */
#define PATIENCE_S 300 /* of real time for one seed: it hangs */
#define EVENTS_MAX 3000000

typedef struct options {
    uint64_t first, last, jobs, stride; /* stride 0: no countdown */
    bool verbose;
} options;

/* After the last fault a run must end within this. */
static uint64_t liveness_us(void)
{
    return sim.setup.cron ? 48 * 3600 * SIM_S : 6 * 3600 * SIM_S;
}

static void run_seed(uint64_t seed)
{
    uint64_t until_us;

    sim.seed = seed;
    sim.now_us = 86400 * SIM_S; /* a day after they were enrolled */
    sim.current = SIM_NOBODY;
    sim.trace = 0;
    sim_random_begin(seed);
    sim_home_copy();
    hanse_log_level_set(HANSE_LOG_INFO);
    sim_blow_arm();
    sim_faults_begin();
    until_us = sim.setup.calm_us + liveness_us();
    while (!sim_watch_done()) {
        if (!sim_run_next(until_us))
            sim_wrong("the run does not end");
        if (sim.events_count > EVENTS_MAX)
            sim_wrong("something spins: %d events", EVENTS_MAX);
    }
    until_us = sim.now_us + 30 * SIM_S;
    sim.calm = true;
    while (sim_run_next(until_us))
        continue;
    for (int proc = (int)sim.setup.sites_count; proc >= SIM_COORDINATOR; proc--)
        sim_stop(proc, false, SIM_NEVER);
    sim_watch_end();
    if (sim.verbose)
        printf("seed %" PRIu64 ": good, %zu sites, %s, %.0f s, calm after %.0f s, %" PRIu64 " events, trace %016" PRIx64 "\n"
               "  kills %u, stops %u, resets %u, cuts %u, clocks %u, disk %u, delays %u, twice %u, ends %u, retries %u\n", seed, sim.setup.sites_count,
               sim.setup.cron ? "cron" : sim.setup.masked ? "online" : "sealed", (double)sim.now_us / 1e6 - 86400,
               (double)sim.setup.calm_us / 1e6 - 86400, sim.events_count, sim.trace, sim.faults.kills, sim.faults.stops, sim.faults.resets,
               sim.faults.partitions, sim.faults.jumps, sim.faults.disk, sim.faults.delays, sim.faults.duplicates, sim.faults.exits,
               sim.faults.retries);
    sim_home_clear();
}

/* The setup is drawn twice: here for the template that the seed needs, in its own process for good. */
static void draw(uint64_t seed)
{
    sim.chance.state = seed;
    sim.chance.state = sim_draw(&sim.chance); /* neighbours must not share their numbers */
    if (sim.blow.kind == SIM_BLOW_NONE)
        sim_setup_draw();
    else
        sim_setup_blow();
}

static pid_t begin(uint64_t seed, bool verbose)
{
    pid_t child;

    draw(seed);
    sim_home_template(sim.setup.sites_count);
    (void)fflush(stdout);
    child = fork();
    if (child != 0)
        return child;
    (void)alarm(PATIENCE_S);
    sim.verbose = verbose;
    draw(seed);
    sim.events_count = sim.order = 0;
    run_seed(seed);
    (void)fflush(stdout);
    _exit(sim.blow.kind != SIM_BLOW_NONE && !sim.blow.struck ? SIM_NOT_STRUCK : 0);
}

static pid_t begin_blow(void)
{
    return begin(1, false);
}

static int run_all(const options *wanted)
{
    pid_t children[JOBS_MAX] = {0};
    uint64_t seeds[JOBS_MAX] = {0}, next = wanted->first;
    size_t running = 0, over = 0, wrong = 0;

    while (next <= wanted->last || running > 0) {
        int status = 0;
        pid_t ended;
        size_t slot = 0;

        while (running < wanted->jobs && next <= wanted->last) {
            for (slot = 0; children[slot] != 0; slot++)
                continue;
            seeds[slot] = next++;
            children[slot] = begin(seeds[slot], wanted->verbose);
            if (children[slot] < 0)
                return 1;
            running++;
        }
        ended = waitpid(-1, &status, 0);
        for (slot = 0; slot < JOBS_MAX && children[slot] != ended; slot++)
            continue;
        if (ended <= 0 || slot == JOBS_MAX)
            return 1;
        children[slot] = 0;
        running--;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            wrong++;
            if (WIFSIGNALED(status))
                printf("seed %" PRIu64 ": ended by signal %d\n", seeds[slot], WTERMSIG(status));
            if (sim.blow.kind == SIM_BLOW_NONE)
                printf("again: test_consortium --seed %" PRIu64 " --verbose\n", seeds[slot]);
            else if (WIFEXITED(status) && WEXITSTATUS(status) == SIM_NOT_STRUCK)
                printf("%s: there is no such call\n", sim_blow_text());
        }
        if (++over % TELL_EVERY == 0)
            printf("%zu seeds so far, %zu wrong\n", over, wrong);
        (void)fflush(stdout);
    }
    printf("%" PRIu64 " seeds, %zu wrong\n", wanted->last - wanted->first + 1, wrong);
    return wrong > 0;
}

static bool number(const char *text, uint64_t *out)
{
    return text != NULL && hanse_parse_uint(text, 0, UINT64_MAX, out, "number", NULL) == HANSE_OK;
}

static bool read_options(int argc, char **argv, options *out)
{
    *out = (options){.first = 1, .last = 20, .jobs = 1};
    for (int i = 1; i < argc; i++) {
        char *value = i + 1 < argc ? argv[i + 1] : NULL, *dots;

        if (strcmp(argv[i], "--verbose") == 0) {
            out->verbose = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--seed") == 0 && number(value, &out->first)) {
            out->last = out->first;
        } else if (strcmp(argv[i - 1], "--jobs") == 0 && number(value, &out->jobs) && out->jobs > 0 && out->jobs <= JOBS_MAX) {
            continue;
        } else if (strcmp(argv[i - 1], "--countdown") == 0 && number(value, &out->stride) && out->stride > 0) {
            continue;
        } else if (strcmp(argv[i - 1], "--blow") == 0 && value != NULL && sim_blow_parse(value)) {
            out->last = out->first;
        } else if (strcmp(argv[i - 1], "--seeds") == 0 && value != NULL && (dots = strstr(value, "..")) != NULL) {
            *dots = '\0';
            if (!number(value, &out->first) || !number(dots + 2, &out->last) || out->last < out->first)
                return false;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    options wanted;
    const char *where = getenv("TMPDIR");
    hanse_err err = {0};
    int code;

    if (!read_options(argc, argv, &wanted)) {
        (void)fprintf(stderr, "usage: test_consortium [--seeds A..B | --countdown STRIDE] [--jobs J] | --seed N [--verbose] | --blow B [--verbose]\n");
        return 4;
    }
    sim_must(hanse_blas_load(&err), &err, "OpenBLAS"); /* once, not in each seed's process */
    sim_home_make(where != NULL ? where : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    code = wanted.stride > 0 ? sim_blow_all(wanted.stride, wanted.jobs, begin_blow) > 0 : run_all(&wanted);
    sim_home_drop();
    return code;
}
