/* secagg_site.h - a site's half of secure aggregation for one run: (state, event) -> (state, actions).
 *
 * Pure: time and randomness come in the event. What must survive a crash leaves as PUT actions, to be made durable
 * BEFORE the next action is done; after a restart every record goes back through hanse_secagg_site_load(). When a PUT
 * cannot be made durable the object is ahead of the disk: free it and load again.
 *
 *   ticket of a slot:  NONE -TICKET-> UNUSED -SPEC-> BOUND(round_id) -UPLOAD-> SENT(root)
 *                      any -RESULT of this slot or a later one, OVER-> (secrets destroyed)
 *                      UNUSED, BOUND, SENT -DEAD, RECOVER-> DEAD
 *   as a holder:       - -SPEC-> round_id -CUT-> cut signed (ONLINE) -CUT with t signatures-> answered
 *                      anything but answered -DEAD-> dead;   a second cut -> conflict: answers nothing any more
 *
 * For ever: a (run, slot) has one round_id and one cut, a ticket gives one kind of share, and after DEAD none.
 * A refused event changes nothing (but a second cut, and what shows that this site's state went back, which are recorded) and
 * leaves no actions besides. */
#ifndef HANSE_SECAGG_SITE_H
#define HANSE_SECAGG_SITE_H

#include "hanse/secagg_object.h"

#define HANSE_SECAGG_SLOTS_AHEAD 4 /* tickets are left for at most that many slots above the run's newest */
#define HANSE_SECAGG_BURNT_MAX 2   /* slots of training without usable result before the operator is asked; of other kinds none */

#define HANSE_SECAGG_LIFE_MAX_MS ((uint64_t)180 * 86400000) /* the longest ticket life of a plan */
#define HANSE_SECAGG_SKEW_MS ((uint64_t)5 * 60 * 1000) /* a deadline is on the coordinator's clock: such a difference is no lateness */

typedef struct hanse_secagg_site hanse_secagg_site; /* opaque */

/* From the accepted plan, offer and roster; nothing of it comes from a spec. All borrowed, outlives the site. */
typedef struct hanse_secagg_site_config {
    const hanse_secagg_roster *roster;
    uint32_t self;        /* own place in it */
    const hanse_key *key; /* own signing key */
    uint8_t run[16];
    uint8_t plan_hash[32];
    uint8_t seal_key[32]; /* the coordinator's for this run */
    hanse_secagg_params params;
    hanse_secagg_policy policy;
    uint64_t ticket_life_ms; /* L: a ticket expires, and an epoch's secret is destroyed, at most this after not_after */
    uint32_t share_max_ppm;  /* decline if w_i / W is above this many millionths */
} hanse_secagg_site_config;

typedef enum hanse_secagg_event_kind {
    HANSE_SECAGG_EV_EPOCH,   /* begin an own epoch: epoch, seed (of its key), from_ms, until_ms; epoch 0: state the newest again */
    HANSE_SECAGG_EV_PEER,    /* another member's epoch statement: object */
    HANSE_SECAGG_EV_TICKET,  /* leave a ticket: slot, newest_slot, until_ms (expiry), seed */
    HANSE_SECAGG_EV_SPEC,    /* object, tickets, shares; to take part: take_part, model_root, weight */
    HANSE_SECAGG_EV_UPLOAD,  /* all chunks are masked: slot, root */
    HANSE_SECAGG_EV_RECEIPT, /* a verified receipt for the own upload: slot */
    HANSE_SECAGG_EV_CUT,     /* object, uploads, signatures, seed */
    HANSE_SECAGG_EV_DEAD,    /* the coordinator asks to declare a slot dead: slot */
    HANSE_SECAGG_EV_ABORT,   /* an AbortCert: slot, signatures (DEADs) */
    HANSE_SECAGG_EV_RESULT,  /* a verified usable result of the slot: slot */
    HANSE_SECAGG_EV_OVER,    /* the run is over: no ticket of it will be used */
    HANSE_SECAGG_EV_RETRY,   /* the operator allows one more burnt slot */
    HANSE_SECAGG_EV_RECOVER, /* the state was rolled back: slot is the first that may be answered again */
    HANSE_SECAGG_EV_TICK,    /* destroys epoch secrets that are past their life */
} hanse_secagg_event_kind;

/* Fields not named for a kind are ignored. Everything is borrowed. */
typedef struct hanse_secagg_event {
    hanse_secagg_event_kind kind;
    uint64_t now_ms; /* wall clock */
    uint64_t slot, newest_slot;
    uint64_t from_ms, until_ms;
    uint32_t epoch;
    uint8_t seed[32]; /* fresh random bytes */
    hanse_signed object;
    const hanse_signed *tickets;    /* [n] empty: none */
    hanse_bytes shares;             /* [n][HANSE_SECAGG_CT_LEN] of these tickets, sealed to this site; zeros: none */
    const hanse_signed *uploads;    /* [n] headers of S */
    const hanse_signed *signatures; /* [signatures_count] */
    size_t signatures_count;
    bool take_part;
    uint8_t model_root[32]; /* computed over the bytes that were loaded */
    uint64_t weight;        /* w_i, samples */
    uint8_t root[32];
} hanse_secagg_event;

typedef enum hanse_secagg_action_kind {
    HANSE_SECAGG_DO_PUT,   /* store value under key, durably; empty value: delete. Both hold secrets */
    HANSE_SECAGG_DO_SEND,  /* value signed by sig, extra beside it; label says what */
    HANSE_SECAGG_DO_TRAIN, /* train and mask: hanse_secagg_masker_new() */
    HANSE_SECAGG_DO_ALARM, /* label says of what: tell the operator */
} hanse_secagg_action_kind;

#define HANSE_SECAGG_ALARM_TWO_CUTS "two_cuts"       /* of one slot, both signed by the coordinator; value, sig: the second */
#define HANSE_SECAGG_ALARM_ROLLED_BACK "rolled_back" /* others hold later objects of this site: it does nothing more until RECOVER */

typedef struct hanse_secagg_action {
    hanse_secagg_action_kind kind;
    const char *label; /* SEND: HANSE_SECAGG_*_LABEL; ALARM: HANSE_SECAGG_ALARM_* */
    hanse_buf key, value, sig;
    hanse_buf extra;   /* ticket: the sealed shares; answer: value is empty and this is what goes out, sealed */
    bool again;        /* TRAIN: the stored update may be sent again, its earlier slot is dead (AbortCert) */
    bool reseed;       /* TRAIN: an earlier slot was burnt, so data order and rounding must be seeded by the slot */
    bool told;         /* TRAIN: an earlier slot sent the metrics of this base model, so zeros are sent in their place */
} hanse_secagg_action;

typedef struct hanse_secagg_actions {
    hanse_secagg_action *items;
    size_t count, room;
} hanse_secagg_actions;

#define HANSE_SECAGG_ACTIONS_EMPTY ((hanse_secagg_actions){NULL, 0, 0})
void hanse_secagg_actions_clear(hanse_secagg_actions *actions); /* wipes */

/* Errors: E_COHORT (params below the floors), E_ROSTER (params for another number of members), USAGE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_site_new(hanse_secagg_site **out, const hanse_secagg_site_config *config,
                                                hanse_err *err);
/* One stored record, in any order; of other runs too, for the limit of one attempt a base model. Errors: CORRUPT, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_site_load(hanse_secagg_site *site, hanse_bytes key, hanse_bytes value, hanse_err *err);
/* A stored record without a site that was loaded from it: with run `over_run` over (NULL: none), and at `now_ms`, secrets in it that are of no
 * use any more go.
 *   changed  false: the record stays as it is. Else `out` holds it without them, or nothing: delete it
 * Errors: CORRUPT, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_record_end(hanse_buf *out, bool *changed, hanse_bytes key, hanse_bytes value, const uint8_t over_run[16],
                                                  uint64_t now_ms, hanse_err *err);
void hanse_secagg_site_free(hanse_secagg_site *site); /* NULL allowed; wipes */
/* not_after of the newest own epoch whose secret is here [wall ms]; 0: none. */
uint64_t hanse_secagg_site_epoch_until(const hanse_secagg_site *site);
/* The first slot it may leave a ticket for, and answer, after it recovered; 0: it never had to. */
uint64_t hanse_secagg_site_floor(const hanse_secagg_site *site);

/* With an error there is nothing to do, but for the PUT and ALARM of E_CUT_CONFLICT and E_ROLLBACK.
 * Errors: the reasons of secagg.h; USAGE, NOMEM (then the object is unchanged as far as it is durable: load again). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_site_step(hanse_secagg_site *site, const hanse_secagg_event *event,
                                                 hanse_secagg_actions *actions, hanse_err *err);

/* The masks of the own upload to the round that TRAIN named. Independent of the site once it is made: one thread may mask
 * while another steps the site. One thread at a time; make one for each. */
typedef struct hanse_secagg_masker hanse_secagg_masker;

/* Errors: USAGE (no round is bound), E_LOWORDER, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_masker_new(hanse_secagg_masker **out, hanse_secagg_site *site, hanse_err *err);
/* Turn one chunk's words (residues mod 2^r; u32 where r <= 32, else u64; room for chunk.words) into masked ones of the
 * segment's r bits. The sanity words at a segment's end are written here. No byte may leave before UPLOAD was stepped. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_masker_apply(hanse_secagg_masker *masker, hanse_secagg_chunk chunk, void *words,
                                                    hanse_err *err);
void hanse_secagg_masker_free(hanse_secagg_masker *masker); /* NULL allowed; wipes */

#endif
