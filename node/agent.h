/* agent.h - the edges of a site around its pure machine: link, store, worker, files, clock.
 *
 *   agent.c    connecting, the loop, when --once is done      agent_in.c   messages -> events
 *   agent_do.c actions -> sends, stores, work        agent_masks.c the other machine, of masked rounds
 *   renew.c    certificates */
#ifndef HANSE_NODE_AGENT_H
#define HANSE_NODE_AGENT_H

#include "node/fetch.h"
#include "node/keys.h"
#include "node/outgoing.h"
#include "node/work.h"

#define HANSE_AGENT_REFUSED_MAX 16

typedef struct hanse_agent_options {
    bool once;
    uint64_t wait_ms; /* with once */
    bool look;        /* only take the offers, answer none (check) */
} hanse_agent_options;

typedef struct hanse_agent {
    const char *dir;
    const hanse_node_config *config;
    hanse_agent_options options;
    hanse_node_keys keys;
    hanse_site_store *store;
    hanse_site site;
    hanse_link *link;
    int wake_fd; /* eventfd: the worker is done, or a signal came */

    hanse_site_offer offer; /* of the run under way; its certificates are not to be used: the message is gone */
    hanse_buf plan_text, roster_bytes, statistics;
    struct hanse_agent_masks *masks; /* of a masked run; NULL: none */
    uint64_t masks_tick_ms;

    hanse_node_worker *worker;
    bool work_wanted;       /* begin when the stale job is gone */
    uint64_t job_slot;
    uint8_t job_run[16];
    bool job_stale;

    bool window_closed;      /* models and contributions wait */
    bool fetch_waits;        /* the window's opening asks for the model */
    hanse_node_fetch fetch;
    hanse_site_work work;   /* being uploaded */
    hanse_node_outgoing outgoing;
    struct {
        bool active;
        uint32_t transfer;
        uint64_t next;
        uint8_t *room; /* [HANSE_PAYLOAD_MAX] */
    } up;

    struct {               /* models of the finished run still to come */
        bool active;
        uint8_t roots[2][32];
        size_t count, next;
    } final;

    hanse_offer refused[HANSE_AGENT_REFUSED_MAX]; /* for want of an acceptance: looked at again now and then */
    size_t refused_count;
    bool others;           /* another run was offered while one is under way */
    bool reconnect;        /* ask for everything afresh */
    bool welcomed;
    bool renewing;          /* asked for certificates on this connection */
    uint64_t renew_look_ms, expiry_warned_ms, metrics_ms; /* ask for new ones, warn of what ends, and write metrics, again then [wall ms] */
    int64_t skew_ms;       /* coordinator's clock minus ours, at WELCOME */
    uint64_t began_us, rtt_us, hello_us, active_us, retry_us, tick_us; /* monotonic */
    int wait_max_ms;       /* of one wait in the loop */
    unsigned failures;     /* connections that failed in a row */
    unsigned troubles;     /* of the coordinator's disk or memory, or with what it says, since it last gave a receipt */
    bool took_round;       /* in this process */
    bool round_over;       /* that one ended: --once is done */
    bool reported;         /* a round ended, or a run was refused */
    hanse_err outcome;     /* of it; rc OK: well */
    bool fatal;            /* the loop ends with `outcome` */
} hanse_agent;

/* Until SIGTERM, or until --once is done. The caller holds the directory's lock unless options->look.
 * Errors: the outcome, see docs/operate.md. */
HANSE_MUST_CHECK hanse_rc hanse_agent_run(const char *dir, const hanse_node_config *config, const hanse_agent_options *options,
                                          int64_t *skew_ms, hanse_err *err);

/* The same in steps, for a caller with a loop of its own. `dir` and `config` borrowed. Errors: as hanse_node_keys_load(), IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_agent_open(hanse_agent **out, const char *dir, const hanse_node_config *config,
                                           const hanse_agent_options *options, hanse_err *err);
/* Wait for the link, the worker or a second, at most wait_max_ms, and do what is due. False: it is over, agent->outcome says how. */
bool hanse_agent_step(hanse_agent *agent, int wait_max_ms);
void hanse_agent_close(hanse_agent *agent); /* says good-bye when connected */

/* ---- among the three files ---- */
extern const hanse_inbox_ops hanse_agent_ops;
/* Step the machine and do what it says. */
HANSE_MUST_CHECK hanse_rc hanse_agent_feed(hanse_agent *agent, hanse_site_event *event, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_do(hanse_agent *agent, const hanse_site_action *action, const hanse_site_event *event, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_worked(hanse_agent *agent, hanse_err *err); /* a job ended */
HANSE_MUST_CHECK hanse_rc hanse_agent_pump(hanse_agent *agent, hanse_err *err);   /* fill the send queue from the upload */
/* Look at the clock: does the transfer window open or close? */
HANSE_MUST_CHECK hanse_rc hanse_agent_window_tick(hanse_agent *agent, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_final_next(hanse_agent *agent, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_run_over(hanse_agent *agent, hanse_err *err);
/* Flush the models kept of the run: when it or the process ends. Until then a power cut may cost them, and the next round brings them again. */
void hanse_agent_models_sync(const hanse_agent *agent);
void hanse_agent_upload_stop(hanse_agent *agent);
/* Whatever goes out when nobody is connected is not lost: the reconnect repeats the question. */
HANSE_MUST_CHECK hanse_rc hanse_agent_send(hanse_agent *agent, const hanse_message *message, hanse_err *err);

#endif
