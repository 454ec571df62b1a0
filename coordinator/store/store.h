/* store.h - what the coordinator must not forget: DIR/state.db (SQLite, WAL, synchronous FULL).
 *
 * Every call is one transaction and durable when it returns. Model files, uploads and private keys lie beside the database,
 * never in it. One owner a thread; several processes (the service and commands beside it) may have it open. The store has no
 * clock: times come in as arguments, wall clock [ms].
 * Errors of all: IO, FULL, NOMEM, CORRUPT (no database of ours, or damaged), VERSION (written by a newer Hanse), LOCKED
 * (another process kept it busy for too long). Each names the file and what to do. */
#ifndef HANSE_STORE_H
#define HANSE_STORE_H

#include "hanse/file.h"
#include "hanse/plan.h"

#define HANSE_STORE_FILE "state.db"
#define HANSE_STORE_SCHEMA 3     /* newest version this program knows */
#define HANSE_STORE_URI_MAX 139 /* characters of urn:hanse:<organisation>:<site>, as in a roster */
#define HANSE_STORE_SERIAL_MAX 40 /* hex digits of a certificate's serial number */
#define HANSE_STORE_REASON_MAX 256
#define HANSE_STORE_TOKEN_MAX 128 /* characters of a submit token */

typedef struct hanse_store hanse_store; /* opaque; body in store_sqlite.h */

/* Open DIR/state.db; `create` makes it if it is missing (init does), else that is NOTFOUND ("not a coordinator's directory").
 * Older schemas are migrated. `out` owned by the caller, see hanse_store_close(). */
HANSE_MUST_CHECK hanse_rc hanse_store_open(hanse_store **out, const char *dir, bool create, hanse_err *err);
void hanse_store_close(hanse_store *store); /* NULL allowed */

/* Small named values ("crl_number"). get: `found` false leaves *value. */
HANSE_MUST_CHECK hanse_rc hanse_store_number_get(hanse_store *store, const char *key, int64_t *value, bool *found, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_number_set(hanse_store *store, const char *key, int64_t value, hanse_err *err);

/* ---- sites and invitations ---- */
typedef enum hanse_store_status { HANSE_STORE_ACTIVE, HANSE_STORE_REVOKED } hanse_store_status;

typedef struct hanse_store_site {
    hanse_name name, organisation;
    char uri[HANSE_STORE_URI_MAX + 1];
    uint8_t site_id[32];                        /* SHA-256 of the signing key's SPKI */
    hanse_buf cert_tls, cert_sign;              /* DER */
    char serial_tls[HANSE_STORE_SERIAL_MAX + 1]; /* hex */
    char serial_sign[HANSE_STORE_SERIAL_MAX + 1];
    hanse_store_status status;
    uint64_t enrolled_ms, revoked_ms, seen_ms;  /* 0: never */
} hanse_store_site;

/* All sites by name. `out` [count] owned by the caller: hanse_store_sites_free(). */
HANSE_MUST_CHECK hanse_rc hanse_store_sites(hanse_store *store, hanse_store_site **out, size_t *count, hanse_err *err);
void hanse_store_sites_free(hanse_store_site *sites, size_t count);
/* One site by its name, its id, or the URI of its certificates. `out` owned: hanse_store_site_clear(). Errors: NOTFOUND. */
HANSE_MUST_CHECK hanse_rc hanse_store_site_find(hanse_store *store, const char *name, hanse_store_site *out, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_site_by_id(hanse_store *store, const uint8_t site_id[32], hanse_store_site *out, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_site_by_uri(hanse_store *store, const char *uri, hanse_store_site *out, hanse_err *err);
void hanse_store_site_clear(hanse_store_site *site);
/* The site connected, or said BYE: for `sites`. Unknown ids are ignored. */
HANSE_MUST_CHECK hanse_rc hanse_store_site_seen(hanse_store *store, const uint8_t site_id[32], uint64_t now_ms, hanse_err *err);
/* Other certificates for the keys of an active site (certs, serials and site_id of `site`). Those that it had are good until they expire, so
 * revoking takes them too. Errors: IDENTITY (revoked, or not enrolled), LATE (renewed within the last hour). */
HANSE_MUST_CHECK hanse_rc hanse_store_site_renew(hanse_store *store, const hanse_store_site *site, uint64_t now_ms, hanse_err *err);
/* Mark it revoked; its serials join those of hanse_store_revoked(). Repeating is harmless. Errors: NOTFOUND. */
HANSE_MUST_CHECK hanse_rc hanse_store_site_revoke(hanse_store *store, const char *name, uint64_t now_ms, hanse_err *err);
/* Every serial ever revoked. `serials` [count] owned by the caller (hanse_free). */
typedef char hanse_store_serial[HANSE_STORE_SERIAL_MAX + 1];
HANSE_MUST_CHECK hanse_rc hanse_store_revoked(hanse_store *store, hanse_store_serial **serials, uint64_t **times_ms, size_t *count,
                                              hanse_err *err);

typedef struct hanse_store_invitation {
    uint8_t token_hash[32]; /* SHA-256 of the token; the token itself is never kept */
    hanse_name site, organisation;
    uint64_t expires_ms;
    bool bound;              /* a key pair has been enrolled with it */
    uint8_t keys_hash[32];   /* of both CSRs' public keys, when bound */
    hanse_buf reply;         /* the answer given then, to be given again */
} hanse_store_invitation;

/* Add an invitation; unused ones of the same site are withdrawn. Errors: INVALID (an active site has that name: revoke first). */
HANSE_MUST_CHECK hanse_rc hanse_store_invite(hanse_store *store, const hanse_store_invitation *invitation, uint64_t now_ms, hanse_err *err);
/* May these keys enrol? `keys_hash` = SHA-256(SPKI of the TLS key || SPKI of the signing key), the service's to compute.
 * OK with out->bound: the same keys came before; answer with out->reply. OK without: make the certificates, then hanse_store_enrol().
 * Errors: IDENTITY (unknown, expired, or bound to another key; written to the log). `out` owned: hanse_store_invitation_clear(). */
HANSE_MUST_CHECK hanse_rc hanse_store_invitation_find(hanse_store *store, const uint8_t token_hash[32], const uint8_t keys_hash[32],
                                                      uint64_t now_ms, hanse_store_invitation *out, hanse_err *err);
void hanse_store_invitation_clear(hanse_store_invitation *invitation);
/* Bind the token, add the site (or put it in the place of a revoked one) and keep the reply, all or nothing.
 * Errors: IDENTITY (bound meanwhile, or an active site has that name or key). */
HANSE_MUST_CHECK hanse_rc hanse_store_enrol(hanse_store *store, const uint8_t token_hash[32], const uint8_t keys_hash[32],
                                            const hanse_store_site *site, hanse_bytes reply, uint64_t now_ms, hanse_err *err);

/* ---- runs ---- */
typedef enum hanse_store_run_state { HANSE_STORE_RUN_OPEN, HANSE_STORE_RUN_DONE, HANSE_STORE_RUN_FAILED, HANSE_STORE_RUN_STOPPED } hanse_store_run_state;
const char *hanse_store_run_state_name(hanse_store_run_state state);

typedef struct hanse_store_run {
    /* fixed at submission */
    uint8_t run_id[16];
    hanse_name name;         /* of the plan */
    hanse_buf plan;          /* YAML text as it came */
    uint8_t plan_hash[32];
    hanse_buf roster, roster_sig;
    uint8_t roster_hash[32];
    hanse_buf offer, offer_sig;
    uint8_t initial_root[32];
    char token[HANSE_STORE_TOKEN_MAX + 1]; /* empty: none */
    uint64_t created_ms;
    /* advanced by hanse_store_publish() */
    hanse_store_run_state state;
    char reason[HANSE_STORE_REASON_MAX + 1]; /* of FAILED, STOPPED */
    uint64_t rounds_done;    /* training rounds published */
    bool evaluated;          /* the last model has been evaluated */
    uint64_t model_round;    /* the newest model is DIR/models/RUN/<model_round>.safetensors; 0: the initial one */
    uint8_t model_root[32];
    uint64_t model_size;     /* bytes */
    uint8_t previous[32];    /* SHA-256 of the newest result; zeros before the first */
    hanse_buf statistics;    /* u64 words, little-endian, of the statistics round; empty before it */
    uint64_t best_round;     /* 0: none yet */
    uint8_t best_root[32];
    double best_value;       /* NaN: none yet */
    hanse_buf masking;       /* where a masked run stands (hanse_masking_state_encode); empty before its statistics round and in sealed runs */
    /* advanced by hanse_store_round_open() */
    uint64_t next_slot;
} hanse_store_run;

/* Errors: DUPLICATE (run-id or token taken). next_slot begins as given. */
HANSE_MUST_CHECK hanse_rc hanse_store_run_add(hanse_store *store, const hanse_store_run *run, hanse_err *err);
/* `out` is overwritten; owned by the caller: hanse_store_run_clear(). Errors: NOTFOUND. */
HANSE_MUST_CHECK hanse_rc hanse_store_run_get(hanse_store *store, const uint8_t run_id[16], hanse_store_run *out, hanse_err *err);
void hanse_store_run_clear(hanse_store_run *run);
/* All runs, oldest first, without plan, roster, offer and statistics (empty). */
HANSE_MUST_CHECK hanse_rc hanse_store_runs(hanse_store *store, hanse_store_run **out, size_t *count, hanse_err *err);
void hanse_store_runs_free(hanse_store_run *runs, size_t count);
/* The run whose hex id begins with `prefix`. Errors: NOTFOUND, INVALID (none but hex digits; several runs). */
HANSE_MUST_CHECK hanse_rc hanse_store_run_find(hanse_store *store, const char *prefix, uint8_t run_id[16], hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_run_by_token(hanse_store *store, const char *token, uint8_t run_id[16], bool *found, hanse_err *err);

/* ---- rounds ---- */
typedef enum hanse_store_round_state { HANSE_STORE_ROUND_OPEN, HANSE_STORE_ROUND_PUBLISHED, HANSE_STORE_ROUND_VOID } hanse_store_round_state;
const char *hanse_store_round_state_name(hanse_store_round_state state);

typedef struct hanse_store_round {
    uint8_t run_id[16];
    uint64_t round;
    uint32_t attempt;
    uint64_t slot;
    uint8_t kind; /* 0 statistics, 1 training, 2 evaluation */
    hanse_buf spec, spec_sig;
    bool unopened;   /* it was shown to nobody and is not in the store: hanse_store_publish() adds it */
    hanse_buf masks, masks_sig; /* signed object `secagg-spec` of a masked round; written by round_open, read by hanse_store_masks_get() */
    uint8_t spec_hash[32];
    uint8_t model_before[32];
    uint64_t opened_ms, deadline_ms;
    /* set when it closes */
    hanse_store_round_state state;
    hanse_rc code;             /* of VOID: QUORUM, LATE, FAILED...: the exit code of `round` */
    char reason[HANSE_STORE_REASON_MAX + 1];
    uint8_t model_after[32];
    uint64_t weight;           /* sum over the accepted contributions */
    uint8_t metrics_of[32];    /* root of the model that `metrics` describes */
    hanse_buf metrics;         /* u64 words, little-endian (hanse_metrics_encode); empty: none */
    uint64_t closed_ms;
    hanse_buf result, result_sig;
} hanse_store_round;

/* The round is announced: row added and next_slot = slot + 1, in one transaction; "open" requests of the run are done with.
 * Errors: DUPLICATE (another round of the run is open, or slot < next_slot). */
HANSE_MUST_CHECK hanse_rc hanse_store_round_open(hanse_store *store, const hanse_store_round *round, hanse_err *err);
/* The round is over, published or void: in one transaction the round closes with its result, the run advances to the fields of
 * `run` (see there), and contributions that were still uploading become late; requests of a run that is over are dropped.
 * Errors: DUPLICATE (not open any more; `unopened`: as hanse_store_round_open()). */
HANSE_MUST_CHECK hanse_rc hanse_store_publish(hanse_store *store, const hanse_store_round *round, const hanse_store_run *run, hanse_err *err);
/* The open round of a run (`found`), or the newest round of any state. `out` overwritten when found: hanse_store_round_clear(). */
HANSE_MUST_CHECK hanse_rc hanse_store_round_current(hanse_store *store, const uint8_t run_id[16], hanse_store_round *out, bool *found, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_round_newest(hanse_store *store, const uint8_t run_id[16], hanse_store_round *out, bool *found, hanse_err *err);
/* The newest published round, evaluations aside, that has an accepted contribution of the site. */
HANSE_MUST_CHECK hanse_rc hanse_store_round_counted(hanse_store *store, const uint8_t run_id[16], const uint8_t site_id[32], hanse_store_round *out,
                                                    bool *found, hanse_err *err);
/* Every attempt of every round, by slot. */
HANSE_MUST_CHECK hanse_rc hanse_store_rounds(hanse_store *store, const uint8_t run_id[16], hanse_store_round **out, size_t *count, hanse_err *err);
void hanse_store_round_clear(hanse_store_round *round);
void hanse_store_rounds_free(hanse_store_round *rounds, size_t count);

/* ---- contributions: one row a site, round and attempt ---- */
typedef enum hanse_store_part {
    HANSE_STORE_PART_UPLOADING,
    HANSE_STORE_PART_ACCEPTED,
    HANSE_STORE_PART_REJECTED,
    HANSE_STORE_PART_DECLINED,
    HANSE_STORE_PART_LATE,
    HANSE_STORE_PART_ABSENT,
} hanse_store_part;
const char *hanse_store_part_name(hanse_store_part part);

typedef struct hanse_store_contribution {
    uint8_t run_id[16];
    uint64_t round;
    uint32_t attempt;
    uint8_t site_id[32];
    hanse_store_part state;
    char code[17];          /* as on the wire; empty: none */
    char reason[HANSE_STORE_REASON_MAX + 1];
    hanse_buf header, header_sig; /* signed object `upload` */
    uint64_t weight, bytes; /* samples; bytes received */
    hanse_buf receipt, receipt_sig;
    uint64_t time_ms;
} hanse_store_contribution;

/* Add or replace. What is accepted stays so, and a closed round takes LATE and ABSENT only. Errors: DUPLICATE. */
HANSE_MUST_CHECK hanse_rc hanse_store_contribution_put(hanse_store *store, const hanse_store_contribution *contribution, hanse_err *err);
/* What was accepted in an open round is lost on our side: the site is absent again, and may send it once more. `reason` goes to the log. */
HANSE_MUST_CHECK hanse_rc hanse_store_contribution_lost(hanse_store *store, const hanse_store_contribution *contribution, uint64_t now_ms,
                                                        const char *reason, hanse_err *err);
/* Those of one attempt, by site id. */
HANSE_MUST_CHECK hanse_rc hanse_store_contributions(hanse_store *store, const uint8_t run_id[16], uint64_t round, uint32_t attempt,
                                                    hanse_store_contribution **out, size_t *count, hanse_err *err);
void hanse_store_contributions_free(hanse_store_contribution *contributions, size_t count);

/* ---- masked rounds ---- */
typedef struct hanse_store_masks {
    hanse_buf spec, spec_sig; /* signed object `secagg-spec` */
    hanse_buf cut, cut_sig;   /* signed object; empty before the cut */
    hanse_buf deads;          /* list of signed DEADs that abort the slot; empty: not aborted */
    uint64_t slot;
} hanse_store_masks;

/* What members left: an epoch, a ticket with its sealed shares, or an answer (sealed, no signature). */
typedef struct hanse_store_left {
    uint8_t site_id[32];
    hanse_buf object, sig, extra;
} hanse_store_left;

void hanse_store_masks_clear(hanse_store_masks *masks);
void hanse_store_left_free(hanse_store_left *rows, size_t count);
/* The newest epoch statement of a site: replaced. All of them, by site id. */
HANSE_MUST_CHECK hanse_rc hanse_store_epoch_put(hanse_store *store, const uint8_t site_id[32], hanse_bytes object, hanse_bytes sig, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_epochs(hanse_store *store, hanse_store_left **out, size_t *count, hanse_err *err);
/* A site's ticket for a slot: the first one stays. Those of a slot, by site id, without their shares (`extra` is empty). */
HANSE_MUST_CHECK hanse_rc hanse_store_ticket_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, const uint8_t site_id[32],
                                                 hanse_bytes object, hanse_bytes sig, hanse_bytes shares, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_tickets(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_left **out, size_t *count,
                                              hanse_err *err);
/* The same with their shares, one after the other: of n sites they are n^2. `row` is the store's; an error of `take` ends it. */
typedef hanse_rc hanse_store_take_left(void *context, const hanse_store_left *row, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_each_ticket(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_take_left *take,
                                                  void *context, hanse_err *err);
/* Of a slot. Errors: NOTFOUND. `out` owned: hanse_store_masks_clear(). */
HANSE_MUST_CHECK hanse_rc hanse_store_masks_get(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_masks *out, hanse_err *err);
/* The cut is fixed: before anybody sees it. Errors: DUPLICATE (another one is there). */
HANSE_MUST_CHECK hanse_rc hanse_store_cut_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_bytes cut, hanse_bytes sig,
                                              hanse_err *err);
/* The slot is aborted: enough members have declared it dead. */
HANSE_MUST_CHECK hanse_rc hanse_store_deads_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_bytes deads, hanse_err *err);
/* The aborted slots since the last published one, ascending: slot and deads only. `out` [count] owned: clear each, hanse_free. */
HANSE_MUST_CHECK hanse_rc hanse_store_aborted(hanse_store *store, const uint8_t run_id[16], hanse_store_masks **out, size_t *count, hanse_err *err);
/* A holder's answer to the cut. */
HANSE_MUST_CHECK hanse_rc hanse_store_answer_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, const uint8_t site_id[32],
                                                 hanse_bytes sealed, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_answers(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_left **out, size_t *count,
                                              hanse_err *err);

/* ---- the run's log, and what commands ask of the service ---- */
typedef struct hanse_store_event {
    uint64_t time_ms;
    char text[HANSE_ERR_TEXT_MAX];
} hanse_store_event;

/* run_id NULL: of the consortium (enrolments, revocations). Control characters become '?'. */
HANSE_MUST_CHECK hanse_rc hanse_store_event_add(hanse_store *store, const uint8_t *run_id, uint64_t now_ms, hanse_err *err,
                                                const char *fmt, ...) HANSE_PRINTF(5, 6);
/* Oldest first; `out` [count] owned by the caller (hanse_free). */
HANSE_MUST_CHECK hanse_rc hanse_store_events(hanse_store *store, const uint8_t *run_id, hanse_store_event **out, size_t *count, hanse_err *err);

typedef enum hanse_store_request_kind { HANSE_STORE_ASK_ROUND, HANSE_STORE_ASK_STOP } hanse_store_request_kind;
typedef struct hanse_store_request {
    int64_t id;
    hanse_store_request_kind kind;
    uint8_t run_id[16];
} hanse_store_request;

/* Wake the service afterwards (coordinator/server/control.h). The same request twice is one. ASK_ROUND is
 * dropped while a round of the run is open: whoever asks follows that one. */
HANSE_MUST_CHECK hanse_rc hanse_store_request_add(hanse_store *store, hanse_store_request_kind kind, const uint8_t run_id[16],
                                                  uint64_t now_ms, hanse_err *err);
/* Oldest first; `out` [count] owned by the caller (hanse_free). */
HANSE_MUST_CHECK hanse_rc hanse_store_requests(hanse_store *store, hanse_store_request **out, size_t *count, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_request_done(hanse_store *store, int64_t id, hanse_err *err);

/* ---- backup and restore ---- */
/* Copy the database, consistent as of one moment while others write, to the new file `path` (0600). Errors: IO, FULL. */
HANSE_MUST_CHECK hanse_rc hanse_store_snapshot(hanse_store *store, const char *path, hanse_err *err);
#define HANSE_STORE_SLOTS_SKIPPED 1000000 /* more attempts than a lost coordinator can have made: they are a second apart */
/* The store is a copy of an older moment: check every page; rounds that were open then become void without a result, and
 * every open run goes on HANSE_STORE_SLOTS_SKIPPED slots later. So no slot is used twice and no cut is signed twice.
 *   voided  how many rounds became void */
HANSE_MUST_CHECK hanse_rc hanse_store_restored(hanse_store *store, uint64_t now_ms, size_t *voided, hanse_err *err);

/* ---- the files beside it ---- */
/* DIR/models/RUN/ROUND.safetensors; round 0 is the initial model. */
HANSE_MUST_CHECK hanse_rc hanse_store_model_path(hanse_path out, const char *dir, const uint8_t run_id[16], uint64_t round, hanse_err *err);
/* DIR/runs/RUN/seal.key (0600): the 32 raw bytes of the run's X25519 private key. */
HANSE_MUST_CHECK hanse_rc hanse_store_seal_path(hanse_path out, const char *dir, const uint8_t run_id[16], hanse_err *err);

/* Tests: let the k-th statement from now fail as if the disk were full (0 = the next one); negative switches this off. */
void hanse_store_fail_at(long countdown);

#endif
