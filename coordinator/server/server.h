/* server.h - the service's own parts and how they hang together. Service thread only, but for what worker.h says.
 *
 *   service.c   start, loop, stop; the control socket          edge_lws.c  libwebsockets and TLS
 *   peers.c     what one address may do                        session.c   one connection: messages in, messages and model chunks out
 *   enrol.c     certificates of sites                          live_run.c  a run in memory, and what is said to its sites
 *   round_edge.c opens and closes rounds                       contribution.c what sites give to a round
 *   jobs.c      what workers do: check contributions, sum them  spool.c     contributions on disk
 *   sealed_work.c    contributions that the coordinator can read    masked_work.c    those that it cannot
 *   masks.c     tickets and specs of masked rounds             unmasking.c from their cut to the answers
 *   sweep.c     leftovers, at the start                       trouble.c   what a full disk stops is tried again
 *   watch.c     metrics, and certificates that expire */
#ifndef HANSE_COORDINATOR_SERVER_H
#define HANSE_COORDINATOR_SERVER_H

#include "coordinator/config.h"
#include "coordinator/round/progress.h"
#include "coordinator/round/round.h"
#include "coordinator/server/peers.h"
#include "coordinator/server/service.h"
#include "coordinator/server/shared.h"
#include "coordinator/server/spool.h"
#include "coordinator/server/worker.h"
#include "coordinator/store/store.h"
#include "hanse/identity.h"
#include "hanse/inbox.h"
#include "hanse/object.h"
#include "hanse/safetensors.h"
#include "hanse/sign.h"
#include "hanse/tensor.h"

struct lws;
struct lws_context;
struct lws_vhost;

typedef struct hanse_server hanse_server;
typedef struct hanse_session hanse_session;
typedef struct hanse_live_run hanse_live_run;
typedef struct hanse_masks hanse_masks; /* masks.h */

/* ---- a run in memory ---- */
typedef struct hanse_member {
    bool answered, accepted; /* the site's answer to the offer, since this service started */
    unsigned changes;        /* of its answer, in the consortium's log */
    bool took_part;          /* has an accepted contribution: it will be told how the run ended */
    hanse_spool spool;       /* of this round's upload; closed (fd -1) when there is none */
    uint64_t *aux;           /* [aux_words], opened; owned; NULL before, and in masked runs */
    hanse_buf receipt, receipt_sig;
    bool kept;      /* the store says that it was accepted */
    bool verify_again; /* they could not be read: see HANSE_STEP_VERIFY ... */
    unsigned readings; /* ... so often */
} hanse_member;

/* What a round is about to do when trouble of ours stops it. */
typedef enum hanse_step { HANSE_STEP_NONE, HANSE_STEP_VERIFY, HANSE_STEP_SUM, HANSE_STEP_PUBLISH, HANSE_STEP_VOID } hanse_step;

struct hanse_live_run {
    hanse_server *server;
    hanse_live_run *next;
    hanse_store_run row;
    hanse_plan *plan;
    hanse_roster roster;
    hanse_layout layout;
    hanse_progress progress;
    uint8_t seal_key[32], key_id[32];
    hanse_masks *masks; /* NULL: a sealed run, or over */
    hanse_member *members; /* [roster.sites_count] */

    hanse_path model_path; /* the current model */
    hanse_buf digests;     /* of its chunks, 32 bytes each */
    hanse_buf best_digests; /* those of the best model, once a site asked for it */
    uint8_t best_digests_of[32]; /* its root */
    uint64_t best_size;

    bool requested;        /* an operator asked for a round (schedule on-demand) */
    bool round_open;
    hanse_round round;     /* while round_open */
    hanse_store_round current;
    hanse_spec spec;
    uint64_t not_before_ms; /* after a void round: do not open the next one before */
    uint32_t void_count;    /* void rounds in a row */
    hanse_buf last_result, last_result_sig; /* empty before the first */
    bool folding;
    hanse_step again;      /* to be tried again ... */
    uint64_t again_ms;     /* ... then [wall ms] */
    unsigned again_count;  /* in a row */
    hanse_rc fold_rc;
    char fold_error[220];  /* why the sum could not be made */
    char stop_reason[128]; /* an operator stops the run */
    uint8_t new_root[32]; /* of the model that was folded, until it is published */
    hanse_buf new_digests;
    uint64_t new_size;
};

/* ---- one connection ---- */
#define HANSE_OUT_QUEUE_MAX ((size_t)32 << 20) /* bytes, offers aside: more means that the peer does not read */

typedef struct hanse_download { /* a model on its way to a site */
    int fd;            /* -1: none */
    uint32_t transfer; /* 0: none */
    uint64_t size, chunks, index;
    size_t offset; /* bytes of the current CHUNK message already sent */
    hanse_buf digests;
} hanse_download;

typedef struct hanse_connection { /* from accept() on, before there is a session */
    hanse_peer_address address;
    char text[HANSE_PEER_TEXT_MAX]; /* of the address, for logs */
    int fd;
    bool counted, upgraded;
} hanse_connection;

struct hanse_session {
    hanse_server *server;
    struct lws *wsi;
    const hanse_connection *connection; /* outlives the session */
    hanse_allowance messages, lines, renewals;
    uint64_t unlogged; /* lines, since the last that was written */
    hanse_session *next;
    uint64_t id;
    bool has_cert, greeted, closing;
    bool hurried; /* closing, and its time for that runs */
    bool unknown; /* a certificate of ours, but of no active site */
    uint8_t site_id[32]; /* of the site that the TLS certificate names */
    hanse_name name;     /* for logs */
    uint64_t since_ms;
    hanse_inbox inbox;

    struct hanse_out {
        struct hanse_out *next;
        hanse_parts bytes;
        size_t sent, counted;
    } *out_head, *out_tail;
    size_t out_bytes; /* of what is queued, offers aside */

    hanse_download down, then; /* `then` waits for the end of the CHUNK message under way */
    struct { /* an upload under way */
        hanse_live_run *run; /* NULL: none */
        size_t member;
        uint32_t transfer;
        uint64_t slot;
    } up;
    uint32_t transfers; /* last transfer number given */
};

struct hanse_server {
    const char *dir;
    const hanse_coordinator_config *config;
    hanse_store *store;
    hanse_workers *workers;
    struct lws_context *context;
    struct lws_vhost *vhost;
    hanse_peers *peers;
    int refused_fd; /* of the connection whose refusal was logged last, until it is closed */
    hanse_session *sessions;
    size_t sessions_count;
    hanse_shared *queued[HANSE_KINDS_END]; /* the newest large message of each kind that is in a queue */
    uint64_t session_ids;
    hanse_live_run *runs;
    uint64_t watch_ms, warn_ms; /* hanse_watch() looks, and warns, again then [wall ms] */
    uint64_t load_ms;   /* a run could not be loaded: try again then [wall ms]; 0: all are here */
    hanse_err load_err; /* of the run that was asked for; rc OK: it is here */
    hanse_key *sign_key;
    hanse_cert *ca;
    hanse_buf sign_cert_pem, crl_pem;
    hanse_crl *crl;
    uint64_t crl_in_use;  /* number of the list that the listener and the runs have */
    uint64_t requests_ms; /* what commands left could not be taken: try again then [wall ms]; 0: all is taken */
    void *ssl_ctx; /* SSL_CTX of the listener, to change the revocation list */
    uint8_t *bounce; /* LWS_PRE + HANSE_FRAGMENT bytes to send from */
    const hanse_service_options *options;
    bool stopping;
    hanse_rc outcome; /* of the one round that was asked for */
    hanse_err outcome_err;
};

#define HANSE_FRAGMENT ((size_t)64 << 10) /* bytes of a websocket frame, at most */

/* One session's part of 4 MiB for bytes on their way in, or out: `most` bytes, less where there are many sessions, in pages; 16 KiB, a TLS
 * record, from 255 on. A part that was taken does not shrink. libwebsockets keeps what of a frame a socket does not take. */
static inline size_t hanse_server_part(const hanse_server *server, size_t most)
{
    const size_t all = (size_t)4 << 20, least = (size_t)16 << 10, part = all / (server->sessions_count + 1) & ~(size_t)4095;

    return part > most ? most : part < least ? least : part;
}

/* `due_ms`, or `at_ms` where that comes before it. What is due by now was looked at: if it still is, it waits for something else than time,
 * and must not hide what is to come. */
static inline uint64_t hanse_sooner(uint64_t now_ms, uint64_t due_ms, uint64_t at_ms)
{
    return at_ms > now_ms && at_ms < due_ms ? at_ms : due_ms;
}

/* ---- service.c, in steps: for a caller with a loop of its own ---- */
/* `dir`, `config` and `options` are set, the directory's lock is held. hanse_server_close() afterwards, also after an error.
 * Errors: INVALID, IDENTITY, NOTFOUND (options->run_id), IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_server_open(hanse_server *server, hanse_err *err);
/* Do what is due; returns the time until something is due again [ms]. With `stopping` set afterwards there is no more. */
uint64_t hanse_server_serve(hanse_server *server);
void hanse_server_bye(hanse_server *server); /* queued for every session, which closes behind it */
void hanse_server_close(hanse_server *server);

/* ---- edge_lws.c ---- */
HANSE_MUST_CHECK hanse_rc hanse_edge_open(hanse_server *server, hanse_err *err);
void hanse_edge_close(hanse_server *server);
void hanse_edge_want_write(hanse_session *session);
/* May a refusal of that peer be logged? A peer that is refused again and again must not fill the disk: see peers.h. */
bool hanse_edge_may_log(hanse_server *server, const hanse_peer_address *address, const char *text);
/* Log how many refusals were not logged. */
void hanse_edge_log_unlogged(hanse_server *server);
/* Reload crl.pem: refuse revoked sites from now on and end their sessions. */
HANSE_MUST_CHECK hanse_rc hanse_edge_reload_crl(hanse_server *server, hanse_err *err);

/* ---- session.c ---- */
/* What the site sent; what is wrong with it is said to it, and ends the session. */
void hanse_session_feed(hanse_session *session, hanse_bytes piece, bool last);
void hanse_session_init(hanse_session *session, hanse_server *server, struct lws *wsi, const hanse_connection *connection);
void hanse_session_clear(hanse_session *session);
/* Queue a message; a peer that does not read is closed. */
void hanse_session_send(hanse_session *session, const hanse_message *message);
/* Say why, then close. */
void hanse_session_refuse(hanse_session *session, hanse_rc rc, const char *reason);
/* May what this site said be logged? A flood is counted, and the count is logged. NULL, a site that has gone meanwhile: yes. */
bool hanse_session_may_log(hanse_session *session);
/* The next fragment into `room` (<= cap bytes): its length, 0 when there is nothing to send. */
size_t hanse_session_fill(hanse_session *session, uint8_t *room, size_t cap, bool *first, bool *last);
bool hanse_session_has_output(const hanse_session *session);
hanse_session *hanse_session_of_site(hanse_server *server, const uint8_t site_id[32]);

/* ---- sweep.c ---- */
void hanse_server_sweep(const hanse_server *server); /* leftovers of runs that do not exist */

/* ---- trouble.c ---- */
/* Trouble of this machine that may pass: disk, memory, a database that somebody else holds. */
bool hanse_is_passing(hanse_rc rc);
/* If it may pass: the open round stays as it is, and `step` is tried again by hanse_live_run_try_again(). False: it will not. */
bool hanse_live_run_put_off(hanse_live_run *run, hanse_step step, hanse_rc rc, const hanse_err *err);
void hanse_live_run_try_again(hanse_live_run *run, uint64_t now_ms); /* when it is time */
/* A contribution whose bytes are all here could not be checked or stored, or is damaged: no fault of its site, which sends again what
 * is not here any more. The caller has made the member absent. */
void hanse_live_run_not_kept(hanse_live_run *run, size_t member, hanse_rc rc, const hanse_err *err);

/* ---- enrol.c ---- */
void hanse_enrol(hanse_session *session, const hanse_msg_enrol *request);
/* Once a minute: warnings of certificates, and DIR/metrics.prom. */
void hanse_watch(hanse_server *server, uint64_t now_ms);
/* New certificates for the keys of the site; it is told why not, where they cannot be made. */
void hanse_renew(hanse_session *session, const hanse_msg_renew *request);

/* ---- live_run.c ---- */
HANSE_MUST_CHECK hanse_rc hanse_live_runs_load(hanse_server *server, hanse_err *err); /* also: those submitted since */
/* run->round for a round of `kind`, with the quorum of the plan and of its masks. Errors: USAGE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_live_run_round_init(hanse_live_run *run, uint64_t deadline_ms, uint8_t kind, hanse_err *err);
/* The run is over: nothing sealed for it will be opened again. */
void hanse_live_run_forget_key(hanse_live_run *run);
void hanse_live_run_free(hanse_live_run *run);
/* Delete this run's uploads but those of its open round: a crash leaves some that nobody comes back for. */
void hanse_live_run_sweep(const hanse_live_run *run);
hanse_live_run *hanse_live_run_find(hanse_server *server, const uint8_t run_id[16]);
/* The site's place in the roster; false when it is not in it. */
bool hanse_live_run_member(const hanse_live_run *run, const uint8_t site_id[32], size_t *member);
void hanse_live_run_greet(hanse_live_run *run, hanse_session *session);  /* OFFER, after WELCOME */
void hanse_live_run_answer(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_answer *answer);
void hanse_live_run_send_spec(hanse_live_run *run, size_t member);
void hanse_live_run_send_result(hanse_live_run *run, size_t member);

/* ---- renewed.c ---- */
/* The roster with the certificates that the sites have now. Errors: CORRUPT, IO, NOMEM; then it may be tried again. */
HANSE_MUST_CHECK hanse_rc hanse_live_run_renew(hanse_live_run *run, hanse_err *err);
void hanse_live_runs_renew(hanse_server *server); /* all that are open: a site has renewed its own */

/* ---- contribution.c ---- */
void hanse_live_run_upload(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_signed *upload);
void hanse_live_run_masked_upload(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_signed *upload);
void hanse_live_run_complete(hanse_live_run *run, size_t member); /* its last byte is spooled */
void hanse_live_run_decline(hanse_live_run *run, size_t member, const hanse_msg_refusal *decline);
void hanse_live_run_event(hanse_live_run *run, const hanse_round_event *event, hanse_err *why); /* `why`: of INVALID and DECLINE */

/* ---- round_edge.c ---- */
void hanse_live_run_tick(hanse_live_run *run, uint64_t now_ms); /* deadlines; opens what is due */
void hanse_live_run_stop(hanse_live_run *run, const char *reason);
/* Next time behind `now_ms` that tick has something to do [wall ms]; UINT64_MAX: nothing planned. */
uint64_t hanse_live_run_due(const hanse_live_run *run, uint64_t now_ms);
void hanse_live_run_cut(hanse_live_run *run); /* the survivors are fixed: sum them, or ask for what opens their sum */
/* The sum is there (rc OK: root, digests and size of the new model; NULL and 0 where the round makes none), or cannot be made. */
void hanse_live_run_folded(hanse_live_run *run, hanse_rc rc, const uint8_t root[32], hanse_buf *digests, uint64_t size, hanse_err *err);
void hanse_live_run_close(hanse_live_run *run, bool published); /* publish, or void with the round's reason */

/* ---- jobs.c ---- */
void hanse_job_verify(hanse_live_run *run, size_t member);
void hanse_job_fold(hanse_live_run *run);
HANSE_MUST_CHECK hanse_rc hanse_model_digests(hanse_buf *digests, uint64_t *size, const char *path, hanse_err *err);

/* ---- sealed_work.c, masked_work.c: on a worker, but for the shape ---- */
/* The chunks of an upload; shape->offsets is the caller's. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_sealed_shape(hanse_spool_shape *out, const hanse_upload *header, hanse_err *err);
/* Open all of it and check what can be checked: *aux [hanse_aux_words()] is the caller's. Errors: AUTH, WEIGHT, PROTOCOL, NONFINITE, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_sealed_verify(const hanse_live_run *run, uint8_t kind, const hanse_spool *spool, const hanse_upload *header,
                                              uint64_t **aux, hanse_err *err);
/* The new model at `path`. */
HANSE_MUST_CHECK hanse_rc hanse_sealed_fold(const hanse_live_run *run, const size_t *accepted, size_t accepted_count, const hanse_model_meta *meta,
                                            const char *path, uint8_t root[32], hanse_err *err);
/* Merkle root over the chunks as they came: all that can be checked of a masked upload. Errors: IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masked_root(const hanse_spool *spool, uint8_t root[32], hanse_err *err);
/* Sums of the aux words (run->masks->sums) and, of a training round, the new model. Errors: E_RANGE (their weights are more than
 * all), E_SANITY, CORRUPT (a contribution is damaged), NONFINITE, IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masked_fold(hanse_live_run *run, const size_t *accepted, size_t accepted_count, const hanse_model_meta *meta,
                                            const char *path, uint8_t root[32], hanse_err *err);

#endif
