/* sim_net.c - connections: each direction delivers in order; connections overtake each other, break, and are cut off. */
#include "tests/sim/consortium/sim.h"

#define SILENCE_US (60 * SIM_S) /* after which either end gives a connection up: keep-alives, not modelled as messages */

static uint64_t delay_us(int site)
{
    uint64_t base = sim.sites[site].latency_us, delay = base + sim_below(&sim.chance, base / 2 + 1);

    if (sim.setup.network && !sim.calm && sim_chance(&sim.chance, 15)) {
        delay += sim_between(&sim.chance, SIM_S / 10, 3 * SIM_S);
        sim.faults.delays++;
    }
    return delay;
}

sim_piece *sim_pipe_take(sim_pipe *pipe)
{
    sim_piece *piece = pipe->head;

    pipe->head = piece->next;
    if (pipe->head == NULL)
        pipe->tail = NULL;
    return piece;
}

static void arrive(sim_conn *conn, bool up)
{
    sim_pipe *pipe = up ? &conn->up : &conn->down;
    sim_piece *piece = pipe->head;

    if (piece == NULL || piece->at_us > sim.now_us)
        return; /* it was lost on the way */
    piece = sim_pipe_take(pipe);
    if (!up && conn->link != NULL) {
        sim_link_arrive(conn->link, piece);
        return;
    }
    if (up && conn->edge_open)
        sim_edge_arrive(conn, piece);
    hanse_free(piece);
}

static void fire_arrive(const sim_event *event, bool up)
{
    sim_conn *conn = event->thing;
    const uint64_t back_us = sim.sites[conn->site].cut_off_until_us;

    if (back_us > sim.now_us) /* it is sent again and again, until it comes through */
        sim_plan(back_us, event->fire, SIM_NOBODY, conn);
    else
        arrive(conn, up);
}

static void fire_arrive_up(const sim_event *event)
{
    fire_arrive(event, true);
}

static void fire_arrive_down(const sim_event *event)
{
    fire_arrive(event, false);
}

static void put(sim_conn *conn, bool up, hanse_bytes bytes, bool last, bool end, uint64_t at_us)
{
    sim_pipe *pipe = up ? &conn->up : &conn->down;
    sim_piece *piece;

    sim.own++;
    piece = hanse_calloc(1, sizeof *piece + bytes.len);
    sim.own--;
    if (piece == NULL)
        sim_wrong("no memory for the network");
    *piece = (sim_piece){.last = last, .end = end, .len = bytes.len, .at_us = at_us > pipe->last_us ? at_us : pipe->last_us};
    if (bytes.len > 0)
        memcpy(piece->data, bytes.data, bytes.len);
    pipe->last_us = piece->at_us;
    if (pipe->tail != NULL)
        pipe->tail->next = piece;
    else
        pipe->head = piece;
    pipe->tail = piece;
    sim_plan(piece->at_us, up ? fire_arrive_up : fire_arrive_down, SIM_NOBODY, conn);
}

void sim_conn_send(sim_conn *conn, bool up, hanse_bytes bytes, bool last)
{
    if (!(up ? &conn->up : &conn->down)->ended)
        put(conn, up, bytes, last, false, sim.now_us + delay_us(conn->site));
}

void sim_conn_end(sim_conn *conn, bool up)
{
    sim_pipe *pipe = up ? &conn->up : &conn->down;

    if (!pipe->ended)
        put(conn, up, HANSE_BYTES_EMPTY, false, true, sim.now_us + delay_us(conn->site));
    pipe->ended = true;
}

/* ---- opening ---- */

static void fire_established(const sim_event *event)
{
    sim_conn *conn = event->thing;

    if (conn->down.ended)
        return;
    if (sim.procs[SIM_COORDINATOR].up)
        sim_edge_established(conn);
    else
        sim_conn_end(conn, false); /* nobody listens any more */
}

sim_conn *sim_conn_open(int site, hanse_link *link, hanse_bytes cert_pem)
{
    sim_conn *conn;
    uint64_t at_us = sim.now_us + delay_us(site);

    if (!sim.procs[SIM_COORDINATOR].up || sim.sites[site].cut_off_until_us > sim.now_us)
        return NULL;
    sim.own++;
    conn = hanse_calloc(1, sizeof *conn);
    if (conn == NULL || hanse_buf_append(&conn->cert_pem, cert_pem.data, cert_pem.len, NULL) != HANSE_OK)
        sim_wrong("no memory for a connection");
    sim.own--;
    conn->site = site;
    conn->serial = ++sim.conns_count;
    conn->link = link;
    conn->up.last_us = conn->down.last_us = at_us;
    conn->next = sim.conns;
    sim.conns = conn;
    sim_plan(at_us, fire_established, SIM_NOBODY, conn);
    return conn;
}

/* ---- breaking ---- */

/* All but the first pieces are lost, and the reader hears of the end at `at_us`. */
static void break_off(sim_conn *conn, bool up, uint64_t at_us)
{
    sim_pipe *pipe = up ? &conn->up : &conn->down;
    size_t count = 0, kept;
    sim_piece *piece = pipe->head;

    for (const sim_piece *p = pipe->head; p != NULL; p = p->next)
        count++;
    kept = count > 0 ? (size_t)sim_below(&sim.chance, count + 1) : 0;
    pipe->tail = NULL;
    for (size_t i = 0; i < kept; i++) {
        pipe->tail = piece;
        piece = piece->next;
    }
    if (pipe->tail != NULL)
        pipe->tail->next = NULL;
    else
        pipe->head = NULL;
    while (piece != NULL) {
        sim_piece *next = piece->next;

        hanse_free(piece);
        piece = next;
    }
    pipe->last_us = pipe->tail != NULL ? pipe->tail->at_us : 0;
    put(conn, up, HANSE_BYTES_EMPTY, false, true, at_us);
    pipe->ended = true;
}

static uint64_t hears_us(void)
{
    return sim.now_us + (sim_chance(&sim.chance, 800) ? sim_below(&sim.chance, 5 * SIM_S)
                                                      : sim_between(&sim.chance, SILENCE_US, SILENCE_US + 20 * SIM_S));
}

void sim_conn_reset(sim_conn *conn)
{
    sim_trace("reset connection=%u site=%s", conn->serial, sim_name(conn->site));
    sim.faults.resets++;
    break_off(conn, true, hears_us());
    break_off(conn, false, hears_us());
}

static void fire_given_up(const sim_event *event)
{
    sim_conn *conn = event->thing;

    if (sim.sites[conn->site].cut_off_until_us <= sim.now_us)
        return; /* it came through in time */
    if (conn->link != NULL)
        break_off(conn, false, sim.now_us);
    if (conn->edge_open)
        break_off(conn, true, sim.now_us);
}

void sim_cut_off(int site, uint64_t until_us)
{
    sim_trace("cut off site=%s seconds=%.1f", sim_name(site), (double)(until_us - sim.now_us) / 1e6);
    sim.faults.partitions++;
    if (until_us > sim.sites[site].cut_off_until_us)
        sim.sites[site].cut_off_until_us = until_us;
    for (sim_conn *conn = sim.conns; conn != NULL; conn = conn->next)
        if (conn->site == site && (conn->link != NULL || conn->edge_open))
            sim_plan(sim.now_us + SILENCE_US + sim_below(&sim.chance, 20 * SIM_S), fire_given_up, SIM_NOBODY, conn);
}

void sim_silence(int proc)
{
    for (sim_conn *conn = sim.conns; conn != NULL; conn = conn->next) {
        if (conn->edge_open && (proc == SIM_COORDINATOR || conn->site == proc))
            break_off(conn, true, sim.now_us + SILENCE_US + sim_below(&sim.chance, 20 * SIM_S));
        if (conn->link != NULL && (proc == SIM_COORDINATOR || conn->site == proc))
            break_off(conn, false, sim.now_us + SILENCE_US + sim_below(&sim.chance, 20 * SIM_S));
    }
}

/* ---- the end ---- */

static void drop(sim_pipe *pipe)
{
    while (pipe->head != NULL) {
        sim_piece *next = pipe->head->next;

        hanse_free(pipe->head);
        pipe->head = next;
    }
}

void sim_net_clear(void)
{
    while (sim.conns != NULL) {
        sim_conn *next = sim.conns->next;

        drop(&sim.conns->up);
        drop(&sim.conns->down);
        hanse_buf_clear(&sim.conns->cert_pem);
        hanse_buf_clear(&sim.conns->told);
        hanse_buf_clear(&sim.conns->masks);
        hanse_free(sim.conns);
        sim.conns = next;
    }
}
