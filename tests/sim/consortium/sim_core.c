/* sim_core.c - events, chance, and the trace of what happened. */
#include "tests/sim/consortium/sim.h"

#include "hanse/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define LINES_KEPT 60 /* of the trace, for a failure that nobody watched */
#define LINE_MAX_LEN 400

sim_world sim = {.current = SIM_NOBODY};
static char lines[LINES_KEPT][LINE_MAX_LEN];
static size_t lines_count;

/* ---- chance: splitmix64 (Steele, Lea, Flood 2014) ---- */

uint64_t sim_draw(sim_rng *rng)
{
    uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_below(sim_rng *rng, uint64_t bound)
{
    return sim_draw(rng) % bound;
}

uint64_t sim_between(sim_rng *rng, uint64_t low, uint64_t high)
{
    return low + sim_below(rng, high - low + 1);
}

bool sim_chance(sim_rng *rng, unsigned per_mille)
{
    return sim_below(rng, 1000) < per_mille;
}

/* ---- events: a binary heap, the earliest on top; of two at one time the one planned first ---- */

static bool earlier(const sim_event *a, const sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_plan(uint64_t at_us, void (*fire)(const sim_event *event), int proc, void *thing)
{
    sim_event event = {.at_us = at_us > sim.now_us ? at_us : sim.now_us, .order = ++sim.order, .fire = fire, .proc = proc,
                       .life = proc == SIM_NOBODY ? 0 : sim.procs[proc].lives, .thing = thing};
    size_t i = sim.heap_count;

    if (sim.heap_count == sim.heap_cap) {
        sim.heap_cap = sim.heap_cap == 0 ? 256 : 2 * sim.heap_cap;
        sim.own++;
        sim.heap = hanse_realloc(sim.heap, sim.heap_cap, sizeof *sim.heap);
        sim.own--;
        if (sim.heap == NULL)
            sim_wrong("no memory for events");
    }
    sim.heap_count++;
    for (; i > 0 && earlier(&event, &sim.heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim.heap[i] = sim.heap[(i - 1) / 2];
    sim.heap[i] = event;
}

static sim_event take_first(void)
{
    sim_event first = sim.heap[0], last = sim.heap[--sim.heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= sim.heap_count)
            break;
        if (child + 1 < sim.heap_count && earlier(&sim.heap[child + 1], &sim.heap[child]))
            child++;
        if (!earlier(&sim.heap[child], &last))
            break;
        sim.heap[i] = sim.heap[child];
        i = child;
    }
    sim.heap[i] = last;
    return first;
}

bool sim_run_next(uint64_t until_us)
{
    sim_event event;
    bool outer = sim.firing;

    if (sim.heap_count == 0 || sim.heap[0].at_us > until_us) {
        sim.now_us = until_us > sim.now_us ? until_us : sim.now_us;
        return false;
    }
    event = take_first();
    sim.now_us = event.at_us;
    if (event.proc != SIM_NOBODY && (!sim.procs[event.proc].up || sim.procs[event.proc].lives != event.life))
        return true;
    sim.events_count++;
    sim.firing = true;
    event.fire(&event);
    sim.firing = outer;
    return true;
}

/* ---- the trace ---- */

const char *sim_name(int proc)
{
    return proc == SIM_NOBODY ? "world" : sim.procs[proc].name;
}

static void keep(const char *who, const char *text, size_t len)
{
    char *line = lines[lines_count++ % LINES_KEPT];

    for (size_t i = 0; i < len; i++) /* FNV-1a */
        sim.trace = (sim.trace ^ (uint8_t)text[i]) * 0x100000001b3u;
    sim.trace = (sim.trace ^ sim.now_us) * 0x100000001b3u;
    (void)snprintf(line, LINE_MAX_LEN, "%10.3f %-5s %.*s", (double)sim.now_us / 1e6, who, (int)len, text);
    if (sim.verbose)
        (void)fprintf(stdout, "%s\n", line);
}

void sim_trace(const char *format, ...)
{
    char text[LINE_MAX_LEN];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    keep(sim_name(sim.current), text, strlen(text));
}

void sim_trace_line(const char *line, size_t len)
{
    size_t stamp = HANSE_TIME_LEN; /* the time is in ours */

    while (len > 0 && line[len - 1] == '\n')
        len--;
    if (len > stamp)
        keep(sim_name(sim.current), line + stamp, len - stamp);
}

_Noreturn void sim_wrong(const char *format, ...)
{
    char text[LINE_MAX_LEN];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sim.current = SIM_NOBODY;
    (void)fflush(stdout);
    if (!sim.verbose)
        for (size_t i = lines_count > LINES_KEPT ? lines_count - LINES_KEPT : 0; i < lines_count; i++)
            (void)fprintf(stdout, "%s\n", lines[i % LINES_KEPT]);
    (void)fprintf(stdout, "seed %" PRIu64 ": WRONG at %.3f s: %s\n", sim.seed, (double)sim.now_us / 1e6, text);
    (void)fflush(stdout);
    _exit(1);
}

void sim_must(hanse_rc rc, const hanse_err *err, const char *what)
{
    if (rc != HANSE_OK)
        sim_wrong("%s: %s: %s", what, hanse_rc_name(rc), err != NULL ? err->text : "");
}
