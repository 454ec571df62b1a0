/* masks.h - what a masked run has besides: the epochs and tickets that its sites left, and the round whose sum only they can open.
 *
 * The protocol is the pure machine of hanse/secagg_round.h; here are its edges. What must survive a crash is in the store before
 * anybody sees it: tickets, the spec, the cut, aborts; in CRON, where a site does not come back to repeat it, its answer. */
#ifndef HANSE_COORDINATOR_MASKS_H
#define HANSE_COORDINATOR_MASKS_H

#include "coordinator/server/server.h"
#include "hanse/masking.h"
#include "hanse/secagg_round.h"

#define HANSE_VOIDS_MAX 8

typedef struct hanse_mask_member {
    hanse_buf epoch, epoch_sig; /* its newest statement; empty: none */
    bool told;                  /* it was sent the list of epochs as it is now */
    uint64_t ticket_until_ms;   /* expiry of its ticket for the run's next slot; 0: none that is of use */
    uint64_t lost_slot;         /* its ticket for this slot is of no use, and it has no other; a new epoch changes nothing in that */
    uint64_t from_slot;         /* the lowest slot it can have a ticket for, as far as known: of one under its newest epoch, or
                                 * above one that has expired or was refused; 0: nothing known */
    hanse_allowance asks;       /* how often it may be shown the round */
} hanse_mask_member;

struct hanse_masks {
    hanse_secagg_roster *roster;
    hanse_secagg_params params;
    hanse_secagg_policy policy;
    hanse_masking_state state; /* of the next training round */
    uint8_t seal_public[32];
    uint64_t since_ms; /* of this object: how long a command has waited for tickets */

    hanse_mask_member *members; /* [n] */
    size_t epochs_count, tickets_count;
    uint64_t tell_ms;   /* the epochs are told to all then; 0: nothing new */
    uint64_t enough_ms; /* since when tickets for a sum are there; 0: not yet */
    uint64_t reread_ms; /* `state` and the tickets are read again then: they could not be, for want of memory or of the disk; 0: they stand */

    hanse_secagg_round *round; /* of the open slot; NULL: none */
    hanse_secagg_spec spec;    /* decoded, while `round` is open */
    hanse_buf tickets, uploads; /* lists, encoded once for all members */
    uint8_t *shares;           /* [shares_count][n][HANSE_SECAGG_CT_LEN] of the tickets, for members shares_first, ...; NULL: not read */
    size_t shares_first, shares_count;
    bool cut_kept;             /* the cut is in the store: it may be seen */
    bool certified;            /* t cut signatures are there */
    bool asked_dead;           /* the answers came too late */
    uint64_t *sums;            /* [aux words] of the fold, owned; NULL before */

    hanse_secagg_round *voids[HANSE_VOIDS_MAX]; /* [voids_count] the newest slots since the last published one that are void, oldest
                                                 * first: their members may still declare them dead */
    size_t voids_count;
    hanse_store_masks *aborted; /* [aborted_count] slots since the last published one that enough members declared dead */
    size_t aborted_count;
};

/* ---- masks.c ---- */
HANSE_MUST_CHECK hanse_rc hanse_masks_new(hanse_live_run *run, hanse_err *err); /* into run->masks; of an open, masked run */
void hanse_masks_free(hanse_masks *masks);                                      /* NULL allowed */
/* After a restart: the spec of the round that was open and whether it was cut, or the void slot before. Then, with the
 * contributions restored, its uploads, cut and answers. Errors: CORRUPT (what is there is not what was signed), IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masks_restore(hanse_live_run *run, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_masks_resume(hanse_live_run *run, hanse_err *err);
/* A new revocation list: whose signatures still count? */
void hanse_masks_refresh(hanse_live_run *run);
void hanse_masks_epoch(hanse_session *session, const hanse_msg_signed *epoch);
HANSE_MUST_CHECK hanse_rc hanse_masks_ticket(hanse_session *session, const hanse_msg_ticket *ticket, hanse_err *err);
/* Are there tickets enough to open the next slot, or has it waited long enough for the rest? */
bool hanse_masks_ready(const hanse_live_run *run, uint64_t now_ms);
/* The round's own half: row->masks from the stored tickets. `plain` is its spec. hanse_masks_drop() when it is not opened after all. */
HANSE_MUST_CHECK hanse_rc hanse_masks_open(hanse_live_run *run, hanse_store_round *row, const hanse_spec *plain, hanse_err *err);
void hanse_masks_drop(hanse_live_run *run);
/* The round is open: its members that left no ticket cannot contribute. */
void hanse_masks_opened(hanse_live_run *run);
/* The round is over, and run->row as after it. When it is void, the members are asked to declare its slot dead. */
void hanse_masks_close(hanse_live_run *run, bool published);
/* What the member must see of the slots before, of this one (it shows the tickets), and of the cut. Before SPEC. */
void hanse_masks_send(hanse_live_run *run, size_t member);
bool hanse_masks_may_ask(hanse_live_run *run, size_t member); /* its ANSWER makes the coordinator read what it must see: not without bound */
bool hanse_masks_takes_part(const hanse_live_run *run, size_t member); /* its ticket is in the round */
void hanse_masks_tick(hanse_live_run *run, uint64_t now_ms);
uint64_t hanse_masks_due(const hanse_live_run *run, uint64_t now_ms); /* as hanse_live_run_due() */

/* ---- shares.c ---- */
/* The shares that the open round's tickets hold for this member, in roster order; zeros: none. Borrowed, until the next call.
 * Errors: IO, FULL, CORRUPT (also: a ticket of the round is not in the store any more), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_shares_for(hanse_live_run *run, size_t member, hanse_bytes *out, hanse_err *err);
void hanse_shares_forget(hanse_masks *masks); /* with the round */

/* ---- unmasking.c ---- */
/* A header of this slot and member: where its chunks lie. Errors: those of hanse_secagg_round_add_upload(), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masks_take_header(hanse_live_run *run, size_t member, const hanse_msg_signed *upload, hanse_spool_shape *shape,
                                                  hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_masks_take_root(hanse_live_run *run, size_t member, const uint8_t root[32], hanse_err *err);
void hanse_masks_cut(hanse_live_run *run);
void hanse_masks_send_cut(hanse_live_run *run, size_t member);
void hanse_masks_cutsig(hanse_live_run *run, size_t member, const hanse_msg_cutsig *message);
void hanse_masks_shares(hanse_live_run *run, size_t member, const hanse_msg_shares *message);
void hanse_masks_try_unmask(hanse_live_run *run);
bool hanse_masks_in_cut(const hanse_live_run *run, uint64_t slot); /* the open round is that slot, cut and not opened yet */
/* What the fold's sums say: the round's weight, `plain` (the aux words of aux.h, borrowed), the state of the next round in `next`
 * (cleared by the caller). Errors: E_RANGE and PROTOCOL (impossible sums), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masks_sums(const hanse_live_run *run, uint8_t kind, const uint64_t **plain, hanse_masking_state *next, hanse_err *err);

/* ---- voids.c ---- */
HANSE_MUST_CHECK hanse_rc hanse_voids_restore(hanse_live_run *run, hanse_err *err); /* after a restart */
void hanse_voids_clear(hanse_masks *masks); /* a result makes all of them void for ever */
/* The slot is void: everybody who is connected is asked to declare it dead, the others when they come. */
void hanse_voids_add(hanse_live_run *run, const hanse_secagg_spec *spec);
void hanse_voids_ask(hanse_live_run *run, uint64_t slot);    /* everybody who is connected */
void hanse_voids_tell(hanse_live_run *run, size_t member);   /* what is dead, and what it is asked to declare so */
void hanse_voids_dead(hanse_live_run *run, size_t member, const hanse_msg_signed *message, const hanse_secagg_dead *dead);

#endif
