/* sim_fault.c - what a seed is: the consortium, its plan, and what goes wrong when. */
#include "tests/sim/consortium/sim.h"

#include <inttypes.h>

#define OPERATOR_US (60 * SIM_S) /* an operator looks at a site's log now and then */

static uint64_t seconds(uint64_t low, uint64_t high)
{
    return sim_between(&sim.chance, low * SIM_S, high * SIM_S);
}

/* Mostly short, now and then so long that everybody has noticed. */
static uint64_t outage_us(void)
{
    return sim_chance(&sim.chance, 850) ? sim_between(&sim.chance, SIM_S / 10, 10 * SIM_S) : seconds(20, 150);
}

/* ---- the setup ---- */

static size_t draw_sites(void)
{
    static const size_t large[] = {10, 10, 10, 13, 13, 16, 24};

    if (sim_chance(&sim.chance, 900))
        return (size_t)sim_between(&sim.chance, 3, 8);
    return sim_chance(&sim.chance, 30) ? 50 : large[sim_below(&sim.chance, sizeof large / sizeof *large)];
}

void sim_setup_draw(void)
{
    static const char *const models[] = {"logistic", "softmax", "mlp"};
    sim_rng *chance = &sim.chance;
    sim_setup *setup = &sim.setup;

    *setup = (sim_setup){.sites_count = draw_sites(), .masked = sim_chance(chance, 750), .rounds = (unsigned)sim_between(chance, 2, 4),
                         .model = models[sim_below(chance, 3)]};
    setup->cron = setup->masked && sim_chance(chance, 330);
    setup->deadline_ms = setup->cron ? 1000 * sim_between(chance, 300, 1200) : 1000 * sim_between(chance, 15, 90);
    setup->period_ms = 1000 * sim_between(chance, 20, 120);
    if (sim_chance(chance, 80))
        return; /* nothing goes wrong */
    setup->network = sim_chance(chance, 600);
    setup->crashes = sim_chance(chance, 500);
    setup->clocks = sim_chance(chance, 200);
    setup->disk = sim_chance(chance, 250) || !(setup->network || setup->crashes || setup->clocks);
    setup->calm_us = setup->cron ? seconds(300, 5400) : seconds(30, 600);
    setup->pace_us = seconds(1, setup->cron ? 60 : 15);
}

/* ---- one fault ---- */

static int any_proc(void)
{
    return sim_chance(&sim.chance, 330) ? SIM_COORDINATOR : (int)sim_between(&sim.chance, 1, sim.setup.sites_count);
}

static int any_site(void)
{
    return (int)sim_between(&sim.chance, 1, sim.setup.sites_count);
}

static void network_fault(void)
{
    uint64_t kind = sim_below(&sim.chance, 10), end_us = sim.now_us + outage_us();
    int site = any_site();

    if (kind == 0) { /* the coordinator's line */
        for (site = 1; site <= (int)sim.setup.sites_count; site++)
            sim_cut_off(site, end_us);
    } else if (kind <= 4) {
        sim_cut_off(site, end_us);
    } else {
        for (sim_conn *conn = sim.conns; conn != NULL; conn = conn->next)
            if (conn->link != NULL && conn->edge_open && (conn->site == site || sim_chance(&sim.chance, 100)))
                sim_conn_reset(conn);
    }
}

static void crash(void)
{
    uint64_t kind = sim_below(&sim.chance, 20);
    int proc = any_proc();

    if (kind == 0) { /* the lights go out */
        for (proc = SIM_COORDINATOR; proc <= (int)sim.setup.sites_count; proc++) {
            sim.faults.kills += sim.procs[proc].up;
            sim_silence(proc);
            sim_stop(proc, true, outage_us());
        }
    } else if (kind <= 2) {
        sim.faults.stops += sim.procs[proc].up;
        sim_stop(proc, false, outage_us());
    } else if (kind <= 9) {
        sim.faults.kills += sim.procs[proc].up;
        if (sim_chance(&sim.chance, 300))
            sim_silence(proc);
        sim_stop(proc, true, outage_us());
    } else if (sim.procs[proc].up && sim.procs[proc].disk == SIM_DISK_GOOD) { /* between two writes, or within one */
        sim.faults.kills++;
        sim.procs[proc].disk = SIM_DISK_KILL;
        sim.procs[proc].disk_calls_left = sim_below(&sim.chance, proc == SIM_COORDINATOR ? 120 : 60);
    }
}

static void clock_jump(void)
{
    int proc = any_proc();
    int64_t most_ms = sim_chance(&sim.chance, 850) ? 240000 : 720000; /* tolerated are five minutes between two */

    sim.faults.jumps++;
    sim.procs[proc].skew_ms = (int64_t)sim_below(&sim.chance, 2 * (uint64_t)most_ms) - most_ms;
    sim_trace("clock of %s is off by %" PRId64 " ms", sim.procs[proc].name, sim.procs[proc].skew_ms);
}

static void fire_room_again(const sim_event *event)
{
    sim_proc *proc = event->thing;

    if (proc->disk == SIM_DISK_FULL)
        proc->disk = SIM_DISK_GOOD;
}

static void disk_fault(void)
{
    sim_proc *proc = &sim.procs[any_proc()];

    if (!proc->up || proc->disk != SIM_DISK_GOOD)
        return;
    sim.faults.disk++;
    if (sim_chance(&sim.chance, 300)) {
        sim_trace("disk of %s is full", proc->name);
        proc->disk = SIM_DISK_FULL;
        sim_plan(sim.now_us + outage_us(), fire_room_again, SIM_NOBODY, proc);
    } else {
        proc->disk = SIM_DISK_ERROR;
        proc->disk_calls_left = sim_below(&sim.chance, 80);
        proc->bad_reads = (unsigned)sim_below(&sim.chance, 3);
    }
}

static void one_fault(void)
{
    void (*kinds[4])(void);
    size_t count = 0;

    if (sim.setup.network)
        kinds[count++] = network_fault;
    if (sim.setup.crashes)
        kinds[count++] = crash;
    if (sim.setup.clocks)
        kinds[count++] = clock_jump;
    if (sim.setup.disk)
        kinds[count++] = disk_fault;
    if (count > 0)
        kinds[sim_below(&sim.chance, count)]();
}

/* ---- the course of a seed ---- */

/* From now on nothing goes wrong. */
static void calm_down(void)
{
    sim_trace("calm");
    sim.calm = true;
    for (int proc = SIM_COORDINATOR; proc <= (int)sim.setup.sites_count; proc++) {
        sim.procs[proc].disk = SIM_DISK_GOOD;
        sim.procs[proc].bad_reads = 0;
        sim.procs[proc].skew_ms = (int64_t)sim_below(&sim.chance, 60000) - 30000;
        sim.sites[proc].cut_off_until_us = 0;
    }
}

static void fire_fault(const sim_event *event)
{
    (void)event;
    if (sim.calm)
        return;
    if (sim.now_us >= sim.setup.calm_us) {
        calm_down();
        return;
    }
    one_fault();
    sim_plan(sim.now_us + sim_below(&sim.chance, 2 * sim.setup.pace_us), fire_fault, SIM_NOBODY, NULL);
}

static void fire_accept(const sim_event *event)
{
    sim_home_accept((int)((sim_proc *)event->thing - sim.procs));
}

/* Operators do what the log of their site asks for. */
static void fire_operators(const sim_event *event)
{
    (void)event;
    for (int site = 1; site <= (int)sim.setup.sites_count; site++) {
        if (!sim.sites[site].wants_retry)
            continue;
        sim.sites[site].wants_retry = false;
        sim.faults.retries++;
        sim_home_retry(site); /* whether its process runs or not */
    }
    sim_plan(sim.now_us + OPERATOR_US, fire_operators, SIM_NOBODY, NULL);
}

void sim_faults_begin(void)
{
    sim.setup.calm_us += sim.now_us;
    sim.calm = sim.setup.pace_us == 0;
    sim_start(SIM_COORDINATOR);
    for (int site = 1; site <= (int)sim.setup.sites_count; site++) {
        sim.sites[site].latency_us = sim_between(&sim.chance, 500, sim_chance(&sim.chance, 200) ? 150000 : 5000);
        sim_plan(sim.now_us + sim_below(&sim.chance, 5 * SIM_S), fire_accept, SIM_NOBODY, &sim.procs[site]);
        sim_start(site);
    }
    sim_plan(sim.now_us + OPERATOR_US, fire_operators, SIM_NOBODY, NULL);
    if (!sim.calm)
        sim_plan(sim.now_us + sim_below(&sim.chance, 2 * sim.setup.pace_us), fire_fault, SIM_NOBODY, NULL);
}
