/* site.h - a site's part in one run, as a pure machine: (state, event) -> (state, actions).
 *
 * The drawing stands in site.c. Signatures are verified before an event is made (policy.h); what is checked here is
 * whether an event fits the run and its history. Time comes in events; sends, stores and work leave as actions, to be
 * done in their order. A lost link changes `connected` and nothing else. Pure: no I/O, clock or globals. */
#ifndef HANSE_SITE_SITE_H
#define HANSE_SITE_SITE_H

#include "hanse/object.h"

#define HANSE_CLOCK_SKEW_MS ((uint64_t)5 * 60 * 1000) /* tolerated between machines */

typedef enum hanse_site_state {
    HANSE_SITE_IDLE,
    HANSE_SITE_OFFERED,  /* waits for the verdict of the policy */
    HANSE_SITE_REFUSED,
    HANSE_SITE_APPROVED, /* in the run; no round is under way here */
    HANSE_SITE_FETCHING,
    HANSE_SITE_TRAINING,
    HANSE_SITE_UPLOADING, /* the contribution is finished and durable; until its receipt */
    HANSE_SITE_WAITING,   /* until the round's result */
    HANSE_SITE_DONE,
    HANSE_SITE_STATES_END,
} hanse_site_state;

/* How far the work for the last slot came, as the store says. */
typedef enum hanse_site_stage {
    HANSE_STAGE_NONE,     /* no spec yet; or the run is over and its work is put away */
    HANSE_STAGE_SPEC,     /* spec taken */
    HANSE_STAGE_TRAINED,  /* contribution durable, header signed */
    HANSE_STAGE_RECEIVED, /* receipt durable */
    HANSE_STAGE_CLOSED,   /* declined, rejected, abandoned or its result is here */
} hanse_site_stage;

/* What is durable about a run: the store's row, and what a restart goes on from. */
typedef struct hanse_site_run {
    hanse_offer offer;
    hanse_site_stage stage;  /* of the slot below */
    hanse_spec spec;         /* last taken; zeros: none */
    uint8_t spec_hash[32];
    bool has_result;
    uint8_t previous[32];    /* hash of the last result; zeros: none */
    uint64_t result_slot;
    uint8_t best_root[32], model_root[32]; /* as of the last result */
    uint64_t best_round, rounds_done;
    hanse_run_state run_state;
    uint64_t counted; /* masked: rows of this site in the run's total; 0: none yet */
} hanse_site_run;

typedef struct hanse_site {
    hanse_site_state state;
    bool connected;
    bool synced; /* the spec under way came over this very connection: an upload is in turn */
    hanse_site_run run;
} hanse_site;

typedef enum hanse_site_event_kind {
    HANSE_SITE_EV_CONNECTED, /* WELCOME came */
    HANSE_SITE_EV_OFFER,     /* verified; `run` as stored, or fresh with only `offer` filled */
    HANSE_SITE_EV_VERDICT,   /* of the policy on it; `rc`, `words` */
    HANSE_SITE_EV_SPEC,      /* verified; `spec`, `hash` */
    HANSE_SITE_EV_FETCHED,   /* the model of the spec is here whole; `rc` */
    HANSE_SITE_EV_TRAINED,   /* the contribution is durable, or `rc` says why there is none */
    HANSE_SITE_EV_RESUME,    /* `transfer`, `chunks` */
    HANSE_SITE_EV_RECEIPT,   /* verified; `receipt` */
    HANSE_SITE_EV_REJECT,    /* `round`, `attempt`, `rc`, `words` */
    HANSE_SITE_EV_RESULT,    /* verified; `result`, `hash` */
    HANSE_SITE_EV_LOST,
    HANSE_SITE_EV_TICK,
    HANSE_SITE_EVENTS_END,
} hanse_site_event_kind;

typedef struct hanse_site_event {
    hanse_site_event_kind kind;
    uint64_t now_ms; /* wall clock */
    const uint8_t *run_id; /* [16]; REJECT */
    const hanse_site_run *run;
    const hanse_spec *spec;
    const hanse_receipt *receipt;
    const hanse_result *result;
    const uint8_t *hash;   /* [32] of the object's bytes */
    hanse_bytes object, sig; /* RECEIPT, RESULT: as they came, for the store; the machine does not look at them */
    const uint8_t *upload_hash; /* [32] RECEIPT: of our header's bytes */
    const uint8_t *site_id;     /* [32] RECEIPT, RESULT: ours */
    uint64_t rows;              /* RESULT: of our contribution to its slot; 0: none */
    uint64_t round;
    uint32_t attempt;
    uint32_t transfer;
    uint64_t chunks;
    hanse_rc rc;
    const char *words; /* one line; NULL: none */
} hanse_site_event;

typedef enum hanse_site_action_kind {
    HANSE_SITE_DO_JUDGE,       /* ask the policy about the offer, then VERDICT */
    HANSE_SITE_DO_ANSWER,      /* rc OK: accept */
    HANSE_SITE_DO_SAVE_SPEC,   /* run.spec is taken: durable before any work on it */
    HANSE_SITE_DO_FETCH,       /* the model of run.spec, from the first chunk not held; then FETCHED */
    HANSE_SITE_DO_WORK,        /* statistics, training or evaluation by run.spec; then TRAINED */
    HANSE_SITE_DO_UPLOAD,      /* send the header; RESUME follows */
    HANSE_SITE_DO_SEND,        /* chunks from `chunks` on, as `transfer` */
    HANSE_SITE_DO_SAVE_RECEIPT,
    HANSE_SITE_DO_SAVE_RESULT, /* with the newest and best model of it kept */
    HANSE_SITE_DO_DECLINE,     /* tell the coordinator; rc, words */
    HANSE_SITE_DO_DROP,        /* stop work on the slot and delete its files: nothing more will come of it */
    HANSE_SITE_DO_REPORT,      /* the round or run ended for this site with `rc`: log, exit code of --once */
    HANSE_SITE_DO_FINISH,      /* the run is over: fetch what is missing of its models, delete work, take the next offer */
} hanse_site_action_kind;

#define HANSE_SITE_ACTIONS_MAX 6
#define HANSE_SITE_WORDS_MAX 257

typedef struct hanse_site_action {
    hanse_site_action_kind kind;
    hanse_rc rc;
    char words[HANSE_SITE_WORDS_MAX];
    uint32_t transfer;
    uint64_t chunks;
} hanse_site_action;

typedef struct hanse_site_actions {
    hanse_site_action items[HANSE_SITE_ACTIONS_MAX];
    size_t count;
} hanse_site_actions;

void hanse_site_init(hanse_site *site);

/* A result before the last one that this site took in: after each connection the coordinator repeats that of the site's own last round. */
bool hanse_site_is_past(const hanse_site *site, const hanse_result *result);

/* Advance. `actions` is filled, also on error.
 * Errors: PROTOCOL (out of turn, or not of this run: close the link, keep the state), POLICY never: that is a REPORT. */
HANSE_MUST_CHECK hanse_rc hanse_site_step(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions,
                                          hanse_err *err);

const char *hanse_site_state_name(hanse_site_state state);

#endif
