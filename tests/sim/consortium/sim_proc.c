/* sim_proc.c - processes: they start, step, end by themselves, are stopped, and are killed. */
#include "tests/sim/consortium/sim.h"

#define RESTART_US (10 * SIM_S) /* what the service manager waits: configs/systemd */

static const hanse_service_options serve_options; /* until it is stopped */

int sim_enter(int proc)
{
    int before = sim.current;

    sim.current = proc;
    return before;
}

void sim_leave(int before)
{
    int proc = sim.current;

    sim.current = before;
    if (proc != SIM_NOBODY && sim.procs[proc].killed && sim.procs[proc].up)
        sim_stop(proc, true, sim_between(&sim.chance, SIM_S / 10, 20 * SIM_S));
}

static void fire_start(const sim_event *event)
{
    sim_start((int)((sim_proc *)event->thing - sim.procs));
}

static void close_coordinator(bool killed)
{
    if (!killed) {
        hanse_server_bye(&sim.server);
        for (sim_conn *conn = sim.conns; conn != NULL; conn = conn->next) {
            uint8_t room[4096];
            bool first, last;
            size_t len;

            while (conn->edge_open && (len = hanse_session_fill(&conn->session, room, sizeof room, &first, &last)) > 0)
                sim_conn_send(conn, false, (hanse_bytes){room, len}, last);
        }
    }
    hanse_server_close(&sim.server);
}

static void close_site(int proc)
{
    sim_site *site = &sim.sites[proc];

    hanse_agent_close(site->agent);
    site->agent = NULL;
    sim_thread_drop(proc);
    hanse_node_config_clear(&site->config);
}

void sim_stop(int proc, bool killed, uint64_t down_us)
{
    sim_proc *self = &sim.procs[proc];
    int before;

    if (!self->up)
        return;
    sim_trace("%s process=%s", killed ? "killed" : "stopped", self->name);
    self->killed = killed;
    before = sim_enter(proc);
    if (proc == SIM_COORDINATOR)
        close_coordinator(killed);
    else
        close_site(proc);
    sim.current = before;
    self->up = self->killed = false;
    if (sim.blow.kind == SIM_BLOW_NONE)
        self->disk = SIM_DISK_GOOD; /* else its next life counts on */
    self->lives++;
    self->planned_us = SIM_NEVER;
    if (down_us != SIM_NEVER)
        sim_plan(sim.now_us + down_us, fire_start, SIM_NOBODY, self);
}

static hanse_rc start_coordinator(hanse_err *err)
{
    hanse_rc rc = hanse_coordinator_config_load(&sim.config, sim.procs[SIM_COORDINATOR].dir, err);

    sim.server = (hanse_server){.dir = sim.procs[SIM_COORDINATOR].dir, .config = &sim.config, .options = &serve_options};
    if (rc == HANSE_OK)
        rc = hanse_server_open(&sim.server, err);
    if (rc != HANSE_OK)
        hanse_server_close(&sim.server);
    return rc;
}

static hanse_rc start_site(int proc, hanse_err *err)
{
    sim_site *site = &sim.sites[proc];
    const hanse_agent_options options = {.once = sim.setup.cron};
    hanse_rc rc = hanse_node_config_load(&site->config, sim.procs[proc].dir, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_open(&site->agent, sim.procs[proc].dir, &site->config, &options, err);
    if (rc != HANSE_OK)
        hanse_node_config_clear(&site->config);
    return rc;
}

void sim_start(int proc)
{
    sim_proc *self = &sim.procs[proc];
    hanse_err err = {0};
    hanse_rc rc;
    int before;

    if (self->up)
        return;
    self->killed = false;
    self->planned_us = SIM_NEVER;
    self->lives++;
    before = sim_enter(proc);
    sim_trace("started");
    rc = proc == SIM_COORDINATOR ? start_coordinator(&err) : start_site(proc, &err);
    self->up = rc == HANSE_OK;
    if (rc != HANSE_OK) { /* the disk is full, say: the service manager tries again */
        sim_trace("did not start: %s", err.text);
        if (sim.calm)
            sim_wrong("%s does not start: %s", self->name, err.text);
        self->killed = false;
        sim.current = before;
        sim_plan(sim.now_us + RESTART_US, fire_start, SIM_NOBODY, self);
        return;
    }
    sim_leave(before);
    if (self->up)
        sim_step_soon(proc, 0);
}

/* ---- steps ---- */

void sim_serve(void)
{
    sim_proc *self = &sim.procs[SIM_COORDINATOR];
    uint64_t wait_ms;
    int before;

    if (!self->up)
        return;
    before = sim_enter(SIM_COORDINATOR);
    wait_ms = hanse_server_serve(&sim.server);
    sim_leave(before);
    if (!self->up)
        return;
    if (sim.server.stopping) {
        sim_trace("the coordinator ends: %s", sim.server.outcome_err.text);
        sim.faults.exits++;
        sim_stop(SIM_COORDINATOR, false, RESTART_US);
        return;
    }
    sim_step_soon(SIM_COORDINATOR, wait_ms * 1000);
}

/* When does the agent look again by itself? */
static uint64_t site_wait_us(int proc)
{
    const sim_proc *self = &sim.procs[proc];
    const hanse_agent *agent = sim.sites[proc].agent;

    if (agent->link != NULL && hanse_link_queued(agent->link) > 0)
        return sim_below(&sim.chance, 2000);
    return self->wait_ms < 0 ? 1000 : (uint64_t)self->wait_ms * 1000;
}

static void site_ended(int proc)
{
    sim_site *site = &sim.sites[proc];
    uint64_t down_us = RESTART_US;

    if (sim.setup.cron) {
        site->heard_end |= sim_watch_put_away(site->agent);
        while (site->next_contact_us <= sim.now_us)
            site->next_contact_us += sim.setup.period_ms * 1000;
        down_us = site->next_contact_us - sim.now_us;
    } else {
        sim.faults.exits++;
        sim_trace("%s ends: %s", sim_name(proc), site->agent->outcome.text);
    }
    sim_stop(proc, false, down_us);
}

static void step_site(int proc)
{
    unsigned life = sim.procs[proc].lives;
    int before = sim_enter(proc);
    bool goes_on;

    sim.procs[proc].wait_ms = -1;
    goes_on = hanse_agent_step(sim.sites[proc].agent, 1000);
    sim_leave(before);
    if (!sim.procs[proc].up || sim.procs[proc].lives != life)
        return;
    if (goes_on)
        sim_step_soon(proc, site_wait_us(proc));
    else
        site_ended(proc);
}

static void fire_step(const sim_event *event)
{
    sim_proc *self = &sim.procs[event->proc];

    if (event->at_us != self->planned_us)
        return; /* it was stepped earlier than planned */
    self->planned_us = SIM_NEVER;
    if (event->proc == SIM_COORDINATOR)
        sim_serve();
    else
        step_site(event->proc);
}

void sim_step_soon(int proc, uint64_t in_us)
{
    sim_proc *self = &sim.procs[proc];

    if (!self->up || sim.now_us + in_us >= self->planned_us)
        return;
    self->planned_us = sim.now_us + in_us;
    sim_plan(self->planned_us, fire_step, proc, NULL);
}
