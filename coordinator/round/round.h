/* round.h - one attempt at one round, as a pure machine: (state, event) -> (state, actions).
 *
 *            every member final, or sites_max accepted,
 *            or deadline with >= sites_min accepted           FOLDED ok
 *   COLLECT ------------------------------------------> CUT ------------> PUBLISHED
 *      |  deadline, or too few members left to reach          | FOLDED failed, STOP
 *      |  sites_min; STOP                                      v
 *      +----------------------------------------------------> VOID(reason)
 *
 * COLLECT: members contribute; what each one did is counted apart. CUT: the survivors are fixed and are being summed; whatever
 * comes now is late and is told so. Masked rounds put UNMASK between CUT and PUBLISHED. Time arrives in events; sums, sends
 * and stores leave as actions. Pure: no I/O, clock or globals. */
#ifndef HANSE_COORDINATOR_ROUND_H
#define HANSE_COORDINATOR_ROUND_H

#include "hanse/bytes.h"

typedef enum hanse_round_phase {
    HANSE_PHASE_COLLECT,
    HANSE_PHASE_CUT,
    HANSE_PHASE_PUBLISHED,
    HANSE_PHASE_VOID,
} hanse_round_phase;

typedef enum hanse_member_state {
    HANSE_MEMBER_ABSENT,    /* not heard of in this attempt */
    HANSE_MEMBER_UPLOADING, /* began an upload */
    HANSE_MEMBER_VERIFYING, /* all bytes are here; being opened and checked */
    HANSE_MEMBER_ACCEPTED,
    HANSE_MEMBER_REJECTED, /* the coordinator refused its contribution */
    HANSE_MEMBER_DECLINED, /* the site itself declined */
    HANSE_MEMBER_LATE,     /* came after the cut */
} hanse_member_state;

typedef struct hanse_round {
    hanse_round_phase phase;
    bool needs_weight;   /* training and statistics: an upload of weight 0 is refused */
    uint64_t deadline_ms; /* wall clock */
    size_t sites_min, sites_max;
    size_t members_count;        /* the roster, in its order */
    hanse_member_state *members; /* [members_count], owned */
    uint64_t *weights;           /* [members_count], owned; of ACCEPTED members */
    char reason[128];            /* of VOID */
} hanse_round;

typedef enum hanse_round_event_kind {
    HANSE_ROUND_EV_UPLOAD,   /* member asks to upload, or to go on with an upload */
    HANSE_ROUND_EV_COMPLETE, /* its last byte is on disk */
    HANSE_ROUND_EV_VERIFIED, /* opened, whole and valid; `weight` */
    HANSE_ROUND_EV_INVALID,  /* opened and found wrong; `rc` */
    HANSE_ROUND_EV_DECLINE,
    HANSE_ROUND_EV_FOLDED,   /* the sum is made (rc OK) or cannot be (rc) */
    HANSE_ROUND_EV_TICK,
    HANSE_ROUND_EV_STOP,
} hanse_round_event_kind;

typedef struct hanse_round_event {
    hanse_round_event_kind kind;
    uint64_t now_ms; /* wall clock */
    size_t member;   /* index in the roster */
    uint64_t weight;
    hanse_rc rc;
} hanse_round_event;

typedef enum hanse_round_action {
    HANSE_ROUND_DO_NOTHING = 0,
    HANSE_ROUND_DO_RESUME = 1 << 0,  /* let the member upload */
    HANSE_ROUND_DO_VERIFY = 1 << 1,  /* open and check its contribution */
    HANSE_ROUND_DO_ACCEPT = 1 << 2,  /* make it durable, then send the receipt */
    HANSE_ROUND_DO_REFUSE = 1 << 3,  /* tell it `refusal` */
    HANSE_ROUND_DO_FOLD = 1 << 4,    /* sum the ACCEPTED members */
    HANSE_ROUND_DO_PUBLISH = 1 << 5,
    HANSE_ROUND_DO_VOID = 1 << 6,
    HANSE_ROUND_DO_RECEIPT = 1 << 7, /* already accepted: send the receipt again */
} hanse_round_action;

typedef struct hanse_round_actions {
    unsigned set;      /* or of hanse_round_action, to be done in the order of their bits */
    hanse_rc refusal;  /* with DO_REFUSE */
    const char *words; /* with DO_REFUSE; static */
} hanse_round_actions;

/* A round in COLLECT with every member ABSENT.
 *   members_count 1..; sites_min 1..members_count; sites_max 0 means all
 * Errors: USAGE, NOMEM; untouched then. */
HANSE_MUST_CHECK hanse_rc hanse_round_init(hanse_round *round, size_t members_count, size_t sites_min, size_t sites_max,
                                           uint64_t deadline_ms, bool needs_weight, hanse_err *err);
void hanse_round_clear(hanse_round *round);

/* After a restart: this member's contribution was accepted, with `weight`, before; or its other final state. */
void hanse_round_restore(hanse_round *round, size_t member, hanse_member_state state, uint64_t weight);

/* What was just accepted could not be kept: the member is absent again, and a cut that rested on it is none. Only right after the
 * step that said DO_ACCEPT, and instead of its DO_FOLD. */
void hanse_round_withdraw(hanse_round *round, size_t member);

/* Advance. Never fails: an event that does not fit the phase is answered (late, duplicate), not lost. */
hanse_round_actions hanse_round_step(hanse_round *round, const hanse_round_event *event);

size_t hanse_round_accepted(const hanse_round *round);
const char *hanse_member_state_name(hanse_member_state state);

#endif
