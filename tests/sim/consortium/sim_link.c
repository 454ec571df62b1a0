/* sim_link.c - hanse/link.h for sites in the simulation: what is sent leaves at the next step, what has arrived is handed on there. */
#include "tests/sim/consortium/sim.h"

typedef struct waiting {
    struct waiting *next;
    hanse_buf bytes;
} waiting;

struct hanse_link {
    sim_conn *conn;
    int site;
    hanse_inbox inbox;
    sim_piece *arrived, *arrived_tail;
    waiting *queue, *queue_tail;
    size_t queued;
    bool failed;
};

static bool is_dying(const hanse_link *link)
{
    return sim.procs[link->site].killed;
}

hanse_rc hanse_link_open(hanse_link **out, const hanse_link_config *config, hanse_err *err)
{
    hanse_link *link = hanse_calloc(1, sizeof *link);

    if (link == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a connection");
    link->site = sim.current;
    link->conn = is_dying(link) ? NULL : sim_conn_open(link->site, link, config->cert_pem);
    if (link->conn == NULL) {
        hanse_free(link);
        return HANSE_FAIL(err, HANSE_E_LINK, "the coordinator cannot be reached");
    }
    hanse_inbox_init(&link->inbox, config->ops, config->user, HANSE_FROM_COORDINATOR);
    *out = link;
    return HANSE_OK;
}

hanse_rc hanse_link_send(hanse_link *link, hanse_bytes message, hanse_err *err)
{
    waiting *entry;
    hanse_rc rc;

    if (link->failed)
        return HANSE_FAIL(err, HANSE_E_LINK, "the connection is closed");
    entry = hanse_calloc(1, sizeof *entry);
    if (entry == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to send");
    rc = hanse_buf_append(&entry->bytes, message.data, message.len, err);
    if (rc != HANSE_OK) {
        hanse_free(entry);
        return rc;
    }
    if (link->queue_tail != NULL)
        link->queue_tail->next = entry;
    else
        link->queue = entry;
    link->queue_tail = entry;
    link->queued += message.len;
    return HANSE_OK;
}

hanse_rc hanse_link_send_message(hanse_link *link, const hanse_message *message, hanse_err *err)
{
    hanse_buf bytes = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_message_encode(&bytes, message, err);

    if (rc == HANSE_OK)
        rc = hanse_link_send(link, hanse_buf_bytes(&bytes), err);
    hanse_buf_clear(&bytes);
    return rc;
}

hanse_rc hanse_link_send_chunk(hanse_link *link, const hanse_msg_chunk *chunk, hanse_err *err)
{
    hanse_message message = {.kind = HANSE_CHUNK, .chunk = *chunk};

    return hanse_link_send_message(link, &message, err);
}

size_t hanse_link_queued(const hanse_link *link)
{
    return link->queued;
}

/* Said twice by the network's users, not by the network: after a reconnect, say. None that a connection has one of. */
static bool may_repeat(hanse_bytes message)
{
    hanse_message decoded;

    if (!sim.setup.network || sim.calm || !sim_chance(&sim.chance, 10) ||
        hanse_message_decode(&decoded, message, HANSE_FROM_NODE, NULL) != HANSE_OK)
        return false;
    return decoded.kind != HANSE_HELLO && decoded.kind != HANSE_CHUNK && decoded.kind != HANSE_ENROL;
}

static void put(sim_conn *conn, hanse_bytes message)
{
    size_t first = sim_chance(&sim.chance, 200) ? (size_t)sim_below(&sim.chance, message.len) : 0;

    if (first > 0)
        sim_conn_send(conn, true, (hanse_bytes){message.data, first}, false);
    sim_conn_send(conn, true, (hanse_bytes){message.data + first, message.len - first}, true);
}

static void flush(hanse_link *link)
{
    while (link->queue != NULL) {
        waiting *entry = link->queue;
        const hanse_bytes message = hanse_buf_bytes(&entry->bytes);

        link->queue = entry->next;
        if (!is_dying(link)) {
            sim_watch_sent(link->site, message);
            put(link->conn, message);
            if (may_repeat(message)) {
                sim.faults.duplicates++;
                put(link->conn, message);
            }
        }
        hanse_buf_clear(&entry->bytes);
        hanse_free(entry);
    }
    link->queue_tail = NULL;
    link->queued = 0;
}

void sim_link_arrive(hanse_link *link, sim_piece *piece)
{
    piece->next = NULL;
    if (link->arrived_tail != NULL)
        link->arrived_tail->next = piece;
    else
        link->arrived = piece;
    link->arrived_tail = piece;
    if (sim.procs[link->site].up)
        sim_step_soon(link->site, 0);
}

hanse_rc hanse_link_step(hanse_link *link, int timeout_ms, int wake_fd, hanse_err *err)
{
    const uint64_t until_us = sim.now_us + (uint64_t)timeout_ms * 1000;
    hanse_rc rc = HANSE_OK;

    (void)wake_fd;
    if (link->failed)
        return HANSE_FAIL(err, HANSE_E_LINK, "the connection is closed");
    flush(link);
    sim.procs[link->site].wait_ms = timeout_ms;
    if (!sim.firing) { /* a command that waits: the world goes on meanwhile */
        int before = sim_enter(SIM_NOBODY);

        while (link->arrived == NULL && sim_run_next(until_us))
            continue;
        sim_leave(before);
    }
    while (rc == HANSE_OK && link->arrived != NULL) {
        sim_piece *piece = link->arrived;

        link->arrived = piece->next;
        if (link->arrived == NULL)
            link->arrived_tail = NULL;
        rc = piece->end ? HANSE_FAIL(err, HANSE_E_LINK, "the connection was closed")
                        : hanse_inbox_feed(&link->inbox, (hanse_bytes){piece->data, piece->len}, piece->last, err);
        hanse_free(piece);
    }
    link->failed = rc != HANSE_OK;
    return rc;
}

int hanse_link_fd(const hanse_link *link)
{
    (void)link;
    return -1;
}

short hanse_link_wants(const hanse_link *link, int *timeout_ms)
{
    (void)link;
    *timeout_ms = 0;
    return 0;
}

hanse_rc hanse_link_ca_pem(const hanse_link *link, hanse_buf *pem, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, sim.procs[SIM_COORDINATOR].dir, HANSE_CA_CERT_FILE, err);

    (void)link;
    return rc == HANSE_OK ? hanse_file_read(pem, path, HANSE_CERT_PEM_MAX, err) : rc;
}

void hanse_link_close(hanse_link *link, int linger_ms)
{
    if (link == NULL)
        return;
    if (linger_ms > 0 && !link->failed)
        flush(link);
    while (link->queue != NULL) {
        waiting *entry = link->queue;

        link->queue = entry->next;
        hanse_buf_clear(&entry->bytes);
        hanse_free(entry);
    }
    while (link->arrived != NULL) {
        sim_piece *piece = link->arrived;

        link->arrived = piece->next;
        hanse_free(piece);
    }
    sim_conn_end(link->conn, true);
    link->conn->link = NULL;
    hanse_inbox_clear(&link->inbox);
    hanse_free(link);
}
