/* store.h - what a site must not forget: DIR/state.db (SQLite, WAL, synchronous FULL).
 *
 * Every call is durable when it returns. Blobs of size lie beside the database (DIR/plans, DIR/rosters, DIR/work,
 * DIR/models); it holds their names. One owner a thread; several processes may have it open.
 * Errors of all: IO, FULL, NOMEM, CORRUPT (the file is no database of ours), VERSION (of a newer Hanse). */
#ifndef HANSE_SITE_STORE_H
#define HANSE_SITE_STORE_H

#include "node/site/site.h"

#define HANSE_SITE_STORE_SCHEMA 2 /* newest version this program knows */

typedef struct hanse_site_store hanse_site_store; /* opaque; body in store_query.h */

/* Open or create DIR/state.db; older schemas are migrated, all or nothing. `out` owned by the caller, see hanse_site_store_close(). */
HANSE_MUST_CHECK hanse_rc hanse_site_store_open(hanse_site_store **out, const char *dir, hanse_err *err);
/* The same with other migrations than its own, `steps` [steps_count]: for tests of an update from an older schema. Its own are
 * hanse_site_store_steps() [HANSE_SITE_STORE_SCHEMA]. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_open_steps(hanse_site_store **out, const char *dir, const char *const *steps, int steps_count,
                                                      hanse_err *err);
const char *const *hanse_site_store_steps(void);
void hanse_site_store_close(hanse_site_store *store); /* NULL allowed */

/* ---- consent ---- */
/* The operator accepts. `earlier` gets the run that used up the last acceptance of the same three, else zeros. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_accept(hanse_site_store *store, const hanse_offer *offer, uint64_t now_ms,
                                                  uint8_t earlier[16], hanse_err *err);
/* Is there an acceptance that `offer->run` uses or may use? Changes nothing. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_accepted(hanse_site_store *store, const hanse_offer *offer, bool *found, hanse_err *err);
/* The same, and from now on it is this run's. Repeating it is harmless. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_consume(hanse_site_store *store, const hanse_offer *offer, bool *found, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_pin_roster(hanse_site_store *store, const uint8_t hash[32], hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_pinned_roster(hanse_site_store *store, uint8_t hash[32], bool *found, hanse_err *err);
/* Newest revocation list seen; one with a lower number is refused. Errors: IDENTITY. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_crl_seen(hanse_site_store *store, uint64_t number, hanse_err *err);

/* ---- offers and runs ---- */
typedef struct hanse_site_offer_row {
    hanse_offer offer;
    uint64_t seen_ms;
    bool joined; /* this site takes or took part */
    int state;   /* hanse_run_state */
    uint64_t rounds_done, best_round;
} hanse_site_offer_row;

HANSE_MUST_CHECK hanse_rc hanse_site_store_offer(hanse_site_store *store, const hanse_offer *offer, uint64_t now_ms, hanse_err *err);
/* All offers, newest first; `rows` owned by the caller (hanse_free). */
HANSE_MUST_CHECK hanse_rc hanse_site_store_offers(hanse_site_store *store, hanse_site_offer_row **rows, size_t *count, hanse_err *err);
/* Save what changed: offer, spec, stage, results' tail. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_run_save(hanse_site_store *store, const hanse_site_run *run, hanse_err *err);
/* Errors: NOTFOUND. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_run_load(hanse_site_store *store, const uint8_t run_id[16], hanse_site_run *run,
                                                    hanse_err *err);
/* Words of the statistics round: they belong to the model, whoever uses it later. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_statistics_save(hanse_site_store *store, const uint8_t run_id[16], hanse_bytes words,
                                                           hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_statistics_load(hanse_site_store *store, const uint8_t run_id[16], hanse_buf *words,
                                                           hanse_err *err);

/* ---- work: one finished contribution a slot ---- */
typedef struct hanse_site_work {
    uint8_t run[16];
    uint64_t round, slot;
    uint32_t attempt;
    char trained[128];  /* file name in DIR/work; empty: no data segment */
    uint64_t data_offset, data_len; /* of the data segment in it */
    uint64_t weight;
    hanse_buf aux;      /* words, little-endian */
    hanse_buf header, sig; /* signed `upload` object, masked: `secagg-upload` */
    char key[128];      /* file name in DIR/work of the HPKE ephemeral; masked: empty */
    hanse_buf masks;    /* masked: the `secagg-spec` that gives the shape of `trained`; empty: sealed */
} hanse_site_work;

void hanse_site_work_clear(hanse_site_work *work);
/* Save the work and stage TRAINED of the run in one transaction. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_work_save(hanse_site_store *store, const hanse_site_work *work, hanse_err *err);
/* Errors: NOTFOUND. `out` is cleared first. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_work_load(hanse_site_store *store, const uint8_t run_id[16], uint64_t slot,
                                                     hanse_site_work *out, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_work_delete(hanse_site_store *store, const uint8_t run_id[16], hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_receipt_save(hanse_site_store *store, const hanse_site_run *run, hanse_bytes receipt,
                                                        hanse_err *err);

/* ---- secure aggregation ---- */
/* A record of hanse/secagg_site.h; an empty value deletes it, and its bytes with it. They hold secrets. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_fact_put(hanse_site_store *store, hanse_bytes key, hanse_bytes value, hanse_err *err);
/* All of them, in any order, until `take` fails. */
typedef hanse_rc (*hanse_site_fact_take)(void *user, hanse_bytes key, hanse_bytes value, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_facts(hanse_site_store *store, hanse_site_fact_take take, void *user, hanse_err *err);
/* Let go of the log too, which may still hold what was deleted. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_scrub(hanse_site_store *store, hanse_err *err);
/* `masking` of the last result that had one; empty before. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_masking_load(hanse_site_store *store, const uint8_t run_id[16], hanse_buf *masking, hanse_err *err);

/* What a command asks of the service about a run: one more try after burnt slots, or to begin anew after an old state was restored. */
typedef enum hanse_site_ask { HANSE_SITE_ASK_RETRY, HANSE_SITE_ASK_RECOVER } hanse_site_ask;
HANSE_MUST_CHECK hanse_rc hanse_site_store_ask(hanse_site_store *store, hanse_site_ask what, const uint8_t run_id[16], hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_asked(hanse_site_store *store, hanse_site_ask what, const uint8_t run_id[16], bool *found, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_ask_done(hanse_site_store *store, hanse_site_ask what, const uint8_t run_id[16], hanse_err *err);

/* When an older copy of the directory was restored, as its operator said: runs that were open by then may have been forgotten whole. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_recovered(hanse_site_store *store, uint64_t now_ms, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_site_store_recovered_at(hanse_site_store *store, uint64_t *at_ms, hanse_err *err); /* 0: never */

/* The retry that was asked for is granted: the record that says so, and the asking done with, in one transaction. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_retry_put(hanse_site_store *store, const uint8_t run_id[16], hanse_bytes key, hanse_bytes value, hanse_err *err);

/* ---- results and evaluations ---- */
/* Append the signed bytes and save `run` and the result's masking, in one transaction. The same result again is harmless. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_result_save(hanse_site_store *store, const hanse_site_run *run,
                                                       const hanse_result *result, hanse_bytes object, hanse_bytes sig, uint64_t now_ms,
                                                       hanse_err *err);

typedef struct hanse_site_result_row {
    uint64_t round, slot, time_ms;
    uint32_t attempt;
    int kind, status, state;
    size_t participants_count;
    bool took_part; /* this site did */
    char reason[HANSE_REASON_MAX + 1];
} hanse_site_result_row;

/* Of one run, ascending by slot; `rows` owned by the caller (hanse_free). */
HANSE_MUST_CHECK hanse_rc hanse_site_store_results(hanse_site_store *store, const uint8_t run_id[16], const uint8_t site_id[32],
                                                   hanse_site_result_row **rows, size_t *count, hanse_err *err);

typedef enum hanse_whose { HANSE_GLOBAL_MODEL, HANSE_ALONE_MODEL } hanse_whose;

/* This site's own metrics (hanse_metrics_encode) of the model after `round`. */
HANSE_MUST_CHECK hanse_rc hanse_site_store_evaluation_save(hanse_site_store *store, const uint8_t run_id[16], hanse_whose whose,
                                                           uint64_t round, const uint64_t *words, size_t words_count, hanse_err *err);
/* `round`: UINT64_MAX for the last there is; it gets the round found. Errors: NOTFOUND. `words` owned (hanse_free). */
HANSE_MUST_CHECK hanse_rc hanse_site_store_evaluation_load(hanse_site_store *store, const uint8_t run_id[16], hanse_whose whose,
                                                           uint64_t *round, uint64_t **words, size_t *words_count, hanse_err *err);

#endif
