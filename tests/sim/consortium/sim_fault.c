/* sim_fault.c - what a seed is: the consortium, its plan, and what goes wrong when. */
#include "tests/sim/consortium/sim.h"

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
}

static void fire_accept(const sim_event *event)
{
    sim_home_accept((int)((sim_proc *)event->thing - sim.procs));
}

void sim_faults_begin(void)
{
    sim.calm = true;
    sim_start(SIM_COORDINATOR);
    for (int site = 1; site <= (int)sim.setup.sites_count; site++) {
        sim.sites[site].latency_us = sim_between(&sim.chance, 500, sim_chance(&sim.chance, 200) ? 150000 : 5000);
        sim_plan(sim.now_us + sim_below(&sim.chance, 5 * SIM_S), fire_accept, SIM_NOBODY, &sim.procs[site]);
        sim_start(site);
    }
}
