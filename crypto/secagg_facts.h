/* secagg_facts.h - what a site remembers for ever, in memory and as records of its store. Inside crypto/ only.
 *
 * A slot is over once a later one has its result: nothing of it is asked for again. Its record stays, memory keeps of it only what
 * was trained on, and every event of it is refused; so a site's memory does not grow with the rounds of a long run.
 *
 * Keys: 'S' run slot (a slot), 'E' 0 epoch (an own epoch's secret), 'P' 0 member (a peer's newest epoch), 'F' run
 * (the first slot that may be answered, retries granted, whether its state is known to be an old one). Values begin with a version byte. */
#ifndef HANSE_CRYPTO_SECAGG_FACTS_H
#define HANSE_CRYPTO_SECAGG_FACTS_H

#include "crypto/secagg_core.h"
#include "hanse/object.h"
#include "hanse/secagg_site.h"

enum { STATE_NONE, STATE_UNUSED, STATE_BOUND, STATE_SENT, STATE_DEAD };

/* Facts of a slot; flags only ever rise, but for FLAG_SINCE. */
enum {
    FLAG_ROUND = 1,    /* round_id is set */
    FLAG_CUT = 2,      /* cut_hash is set */
    FLAG_ANSWERED = 4, /* shares were given, of the kinds below */
    FLAG_DEAD = 8,     /* DEAD was signed */
    FLAG_CONFLICT = 16, /* two cuts were seen */
    FLAG_RECEIPT = 32,
    FLAG_ABORTED = 64, /* an AbortCert was seen */
    FLAG_RESULT = 128,
    FLAG_BURNT = 256,  /* trained on again without an AbortCert */
    FLAG_TAKEN = 512,  /* took part: BOUND at least */
    FLAG_EXACT = 1024, /* burnt for what is the same to the bit whenever it is sent */
    FLAG_SINCE = 2048, /* took part, and has not recovered since */
};

typedef struct slot_fact {
    uint64_t slot;
    uint32_t flags;
    uint8_t state;
    uint8_t round_id[32], cut_hash[32];
    uint8_t attempt_kind, attempt_root[32]; /* what was trained on, from BOUND on */
    uint8_t upload_root[32];                /* from SENT on */
    uint8_t seed[32];                       /* of the own ticket; zeros once destroyed */
    uint8_t ticket_hash[32];
    hanse_buf ticket, sig, cts; /* to leave the same ticket again */
    uint8_t *kinds;             /* [n] hanse_secagg_share_kind that was given of each member's ticket */
} slot_fact;

typedef struct own_epoch {
    uint32_t epoch;
    uint8_t secret[32], pub[32];
    uint64_t not_before_ms, not_after_ms;
} own_epoch;

/* What was sent of a slot of another run, or of one that is over. */
typedef struct past_attempt {
    uint8_t kind, root[32];
    bool aborted, own_run;
} past_attempt;

/* Slots that were sent again without an AbortCert: training, and what is the same to the bit whenever it is sent. */
typedef struct burnt_count {
    uint32_t trained, exact;
} burnt_count;

/* A round as verified, and what was sealed to this site in it. */
typedef struct site_round {
    secagg_view view; /* n = 0: none */
    hanse_buf shares; /* [n][HANSE_SECAGG_CT_LEN] */
    secagg_streams masks; /* of the own part in it, until a masker takes them */
} site_round;

#define SITE_ROUNDS 4 /* the current one, and those whose answers are still owed */

struct hanse_secagg_site {
    const hanse_secagg_site_config *config;
    uint32_t n;
    slot_fact **slots; /* [slots_count], in no order */
    size_t slots_count;
    own_epoch *epochs;
    size_t epochs_count;
    hanse_secagg_epoch *peers; /* [n] newest statement; epoch 0: none */
    past_attempt *attempts;
    size_t attempts_count;
    uint64_t over_slot;     /* slots below are over; not among `slots` */
    uint64_t highest_taken; /* the highest slot this site took part in, or 0 */
    burnt_count burnt_over; /* those with FLAG_BURNT among the slots that are over */
    uint64_t floor_slot;    /* nothing is answered below */
    uint32_t retries;       /* granted by the operator */
    bool rolled_back;       /* others hold a later object of its own: until RECOVER it does nothing that it may have done otherwise before */
    site_round rounds[SITE_ROUNDS]; /* newest first; not durable: SPEC comes again after a restart */
};

site_round *facts_round(hanse_secagg_site *site, uint64_t slot); /* verified since the start; NULL: none */
const site_round *facts_round_read(const hanse_secagg_site *site, uint64_t slot);
/* Keep a round that was verified; what it holds is moved. The same slot's is replaced. With all places taken the one that was
 * verified longest ago goes, but never that of the last upload: an old spec, shown to a holder, costs nobody a round. */
void facts_keep_round(hanse_secagg_site *site, site_round *fresh);
/* Take the round of that id out, for its owner to keep again or to clear. False: it is not here. */
bool facts_take_round(site_round *out, hanse_secagg_site *site, const uint8_t round_id[32]);
void facts_forget_rounds(hanse_secagg_site *site);
void site_round_clear(site_round *round);

slot_fact *facts_find(const hanse_secagg_site *site, uint64_t slot); /* NULL: none, or over */
/* Made when missing; a slot that is over is refused. */
hanse_rc facts_slot(slot_fact **out, hanse_secagg_site *site, uint64_t slot, hanse_err *err);
/* Its secrets go for ever: it is neither left again nor bound. */
void facts_destroy_ticket(slot_fact *fact);
hanse_rc facts_check_over(const hanse_secagg_site *site, uint64_t slot, hanse_err *err);
/* Slot has its result. Without memory for an attempt a slot below stays as it is, until the next result. */
void facts_over(hanse_secagg_site *site, uint64_t slot);
void facts_count_burnt(burnt_count *count, uint32_t flags); /* one more, if the slot of these flags is burnt and not dead after all */
own_epoch *facts_epoch(const hanse_secagg_site *site, uint32_t epoch);
hanse_rc facts_add_epoch(hanse_secagg_site *site, const own_epoch *epoch, hanse_err *err);

/* How a slot's values may be sent, after those of the slots before (secagg_attempt.c). */
typedef struct attempt_how {
    bool again, reseed, told; /* as of hanse_secagg_action */
} attempt_how;

/* Errors: E_DIFF. */
hanse_rc attempt_check(const hanse_secagg_site *site, const hanse_secagg_spec *spec, attempt_how *how, hanse_err *err);
/* It goes ahead with `reseed`: what the earlier slots sent counts as burnt. */
hanse_rc attempt_burn(hanse_secagg_site *site, const hanse_secagg_spec *spec, hanse_secagg_actions *actions, hanse_err *err);

/* Others hold what this site signed and does not know: remembered, with an alarm. Returns E_ROLLBACK, or NOMEM without actions. */
hanse_rc facts_rolled_back(hanse_secagg_site *site, hanse_secagg_actions *actions, hanse_err *err);

/* Append an action and return its place, or NULL. */
hanse_secagg_action *actions_add(hanse_secagg_actions *actions, hanse_secagg_action_kind kind, hanse_err *err);
hanse_rc facts_put_slot(const hanse_secagg_site *site, const slot_fact *fact, hanse_secagg_actions *actions, hanse_err *err);
hanse_rc facts_put_epoch(const hanse_secagg_site *site, const own_epoch *epoch, hanse_secagg_actions *actions, hanse_err *err);
hanse_rc facts_put_peer(const hanse_secagg_site *site, uint32_t idx, hanse_secagg_actions *actions, hanse_err *err);
hanse_rc facts_put_floor(const hanse_secagg_site *site, hanse_secagg_actions *actions, hanse_err *err);

/* The holder's events (secagg_holder.c). */
hanse_rc holder_cut(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err);
hanse_rc holder_dead(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err);
hanse_rc holder_abort(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err);
/* Sign what `send->value` holds. */
hanse_rc send_signed(const hanse_secagg_site *site, hanse_secagg_action *send, const char *label, hanse_err *err);

#endif
