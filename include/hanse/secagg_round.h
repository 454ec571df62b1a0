/* secagg_round.h - the coordinator's half of secure aggregation, for one slot.
 *
 *   tickets -> open (spec) -> uploads -> cut -> cut signatures (ONLINE) -> answers -> secrets -> masks off the sum
 * The object is in memory; the caller keeps what came (tickets with their shares, headers, answers) and what was signed (spec, cut), and
 * feeds it in again after a restart. A cut is signed once and then never another. Pure: no I/O, clock or randomness. */
#ifndef HANSE_SECAGG_ROUND_H
#define HANSE_SECAGG_ROUND_H

#include "hanse/secagg_object.h"

typedef struct hanse_secagg_round hanse_secagg_round; /* opaque */

/* `spec` gives run, slot, kind, hashes, params, seal_key, W, deadlines and segments; the rest is filled in at open.
 *   key          coordinator-sign;  seal_secret  of spec->seal_key, copied
 * Errors: E_COHORT (params), E_ROSTER (params for another number of members), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_new(hanse_secagg_round **out, const hanse_secagg_roster *roster,
                                                 const hanse_key *key, const uint8_t seal_secret[32],
                                                 const hanse_secagg_spec *spec, const hanse_secagg_policy *policy,
                                                 hanse_err *err);
void hanse_secagg_round_free(hanse_secagg_round *round); /* NULL allowed; wipes */

/* A member's ticket and its sealed shares (n * HANSE_SECAGG_CT_LEN bytes), which are checked against it and not kept: entry j is to
 * reach member j with the spec. The same again is no error.
 * Errors: E_TICKET, E_SIG, E_CERT, E_ROSTER, E_DUPKEY, E_LOWORDER, E_TICKET_REUSED (another one), E_LATE (open already). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_add_ticket(hanse_secagg_round *round, hanse_signed ticket, hanse_bytes cts,
                                                        uint64_t now_ms, hanse_err *err);
/* Close the list and sign the spec. Errors: E_COHORT (too few tickets), E_RANGE. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_open(hanse_secagg_round *round, uint64_t now_ms, hanse_err *err);
/* What a site is shown; borrowed from the round. Before open: empty. */
hanse_signed hanse_secagg_round_spec(const hanse_secagg_round *round);
const hanse_signed *hanse_secagg_round_tickets(const hanse_secagg_round *round); /* [n] */
const uint8_t *hanse_secagg_round_id(const hanse_secagg_round *round); /* [32] */

/* A signed upload header, before its chunks. Errors: E_LATE (after the cut or deadline), E_TICKET, E_SIG,
 * E_TICKET_REUSED (another header), E_ENCODING (also another length than the spec's), E_ROSTER, E_REPLAY (not open, another round). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_add_upload(hanse_secagg_round *round, hanse_signed upload, uint64_t now_ms,
                                                        uint32_t *site_idx, hanse_err *err);
/* All chunks of member site_idx are durable; `root` over them is compared with its header's. Errors: E_SIG (other bytes), E_LATE. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_upload_done(hanse_secagg_round *round, uint32_t site_idx,
                                                         const uint8_t root[32], hanse_err *err);
/* They are not durable after all, and will come again. Errors: E_LATE (the cut has them). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_upload_undone(hanse_secagg_round *round, uint32_t site_idx, hanse_err *err);
/* How many uploads are complete. */
uint32_t hanse_secagg_round_complete(const hanse_secagg_round *round);

/* Fix S = the complete uploads and sign it; again: the same. Errors: E_COHORT (too few: abort the slot), E_DEAD. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_cut(hanse_secagg_round *round, hanse_err *err);
/* Borrowed; empty before the cut. */
hanse_signed hanse_secagg_round_cut_signed(const hanse_secagg_round *round);
const hanse_signed *hanse_secagg_round_uploads(const hanse_secagg_round *round); /* [n] empty outside S after the cut */
const uint8_t *hanse_secagg_round_survivors(const hanse_secagg_round *round);    /* [n] 1: in S; NULL before the cut */

/* ONLINE: a holder's signature of the cut. Errors: E_SIG, E_CERT, E_ROSTER, E_CUT_CONFLICT. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_add_cutsig(hanse_secagg_round *round, hanse_signed cutsig, hanse_err *err);
/* Those so far, at least t make a certificate; *count 0 in CRON. Borrowed. */
const hanse_signed *hanse_secagg_round_cutsigs(const hanse_secagg_round *round, size_t *count);

/* The sealed answer of member site_idx. Errors: E_SHARE_AUTH (does not open), E_ENCODING, E_SIG, E_CUT_CONFLICT, E_CUT_OVERLAP (kinds
 * are not the cut's, or of shares that it does not hold), E_DEAD. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_add_answer(hanse_secagg_round *round, uint32_t site_idx, hanse_bytes sealed,
                                                        hanse_err *err);
uint32_t hanse_secagg_round_answers(const hanse_secagg_round *round);
/* How many can come at most: of every member, or in a sparse graph of S. 0 before the cut. */
uint32_t hanse_secagg_round_helpers(const hanse_secagg_round *round);

/* Open the secrets that the sum needs from t answers or more and check each against its ticket's commitment. With wrong
 * shares and enough answers, others are tried: *blamed [n] counts the wrong shares of each holder.
 * Errors: QUORUM "ask more" (E_COHORT; fewer than t shares of some ticket), E_RECON (no t shares give the secret). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_reconstruct(hanse_secagg_round *round, uint32_t *blamed, hanse_err *err);

/* Takes the masks that are left over off the sum of S. */
typedef struct hanse_secagg_unmasker hanse_secagg_unmasker;

/* After reconstruct; the round outlives it and stays as it is. Errors: USAGE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_unmasker_new(hanse_secagg_unmasker **out, const hanse_secagg_round *round, hanse_err *err);
size_t hanse_secagg_unmasker_streams(const hanse_secagg_unmasker *unmasker); /* masks to derive */
/* Derive masks [first, first + count), each with one key agreement if it is a pair's. All must be there before the first apply;
 * threads may share the work. Errors: E_LOWORDER, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_unmasker_derive(hanse_secagg_unmasker *unmasker, size_t first, size_t count, hanse_err *err);
/* words: the sum of S's chunk (u32 where r <= 32, else u64); afterwards residues mod 2^r. Sanity words of a segment's end
 * are checked. Threads may apply to different words at once. Errors: E_SANITY (the masks did not cancel), USAGE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_unmasker_apply(const hanse_secagg_unmasker *unmasker, hanse_secagg_chunk chunk, void *words,
                                                      hanse_err *err);
void hanse_secagg_unmasker_free(hanse_secagg_unmasker *unmasker); /* NULL allowed; wipes */

/* --- when it fails --- */

/* A member's DEAD for this slot; works at any time. Errors: E_SIG, E_CERT, E_ROSTER, E_REPLAY. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_round_add_dead(hanse_secagg_round *round, hanse_signed dead, hanse_err *err);
/* Those so far; n-t+1+c of them are an AbortCert: the slot is over and sites may send the same update again. Borrowed. */
const hanse_signed *hanse_secagg_round_deads(const hanse_secagg_round *round, size_t *count);
bool hanse_secagg_round_has_dead(const hanse_secagg_round *round, uint32_t site_idx);
uint64_t hanse_secagg_round_slot(const hanse_secagg_round *round);
bool hanse_secagg_round_is_aborted(const hanse_secagg_round *round);

#endif
