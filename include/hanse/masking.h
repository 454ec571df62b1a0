/* masking.h - what a plan says about masked rounds: thresholds, the words that travel, and the clip that follows the run.
 *
 * Coordinator and site compute all of this alone, from the accepted plan, the roster's size and signed results, so that a
 * spec is compared and never believed. A masked upload is one segment a tensor (the update, trained minus incoming
 * weights, as ring words) and one segment of 64-bit words, the aux segment, last:
 *   statistics, evaluation: the aux words of aux.h
 *   training: [0] share of W (unit 2^-40), [1] joining rows (of a site outside W, whose share and update are 0: the next W
 *             counts it), per tensor: sites above the clip, sites above a quarter of it; then the aux words of aux.h
 * Wire: docs/wire.md#masked-rounds. Pure. */
#ifndef HANSE_MASKING_H
#define HANSE_MASKING_H

#include "hanse/aux.h"
#include "hanse/object.h"
#include "hanse/secagg_object.h"
#include "hanse/tensor.h"

#define HANSE_MASKING_HEAD 2              /* words before the clip counters */
#define HANSE_MASKING_SCALE_MIN 0.125     /* an update that must shrink by more than this declines the round */
#define HANSE_MASKING_JOINING_MAX ((uint64_t)1 << 32)

/* Thresholds of a run: the floors for n sites, made stricter by the plan, and its graph. Errors: QUORUM (E_COHORT: n too small, or
 * numbers that the inequalities do not allow). */
HANSE_MUST_CHECK hanse_rc hanse_masking_params(hanse_secagg_params *out, const hanse_plan *plan, size_t sites_count, hanse_err *err);
/* Are they enough for one party's policy, and for the organisations of this roster? Errors: QUORUM (E_COHORT), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masking_params_check(const hanse_secagg_params *params, const hanse_secagg_policy *policy,
                                                     const hanse_roster *roster, hanse_err *err);
/* What the plan asks every site to allow. */
hanse_secagg_policy hanse_masking_policy(const hanse_plan *plan);

/* The members of a run as secure aggregation knows them; sites of one organisation (by its name) count as one.
 *   hash  of the roster, as pinned. `out` owned by the caller: hanse_secagg_roster_free().
 * Errors: E_ROSTER, E_CERT (the coordinator's), PROTOCOL (a certificate that does not read), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masking_members(hanse_secagg_roster **out, const hanse_roster *roster, const uint8_t hash[32],
                                                const hanse_cert *coordinator, const hanse_trust *trust, uint64_t now_ms, hanse_err *err);

/* Where a masked run stands: carried from result to result. */
typedef struct hanse_masking_state {
    uint64_t weight_total;  /* W: rows of the sites that are counted; 0 before the statistics round */
    size_t tensors_count;   /* T */
    double *clips;          /* [T] of the next training round; owned */
    double *used;           /* [T] of the round that this was published with; zeros before the first */
    uint32_t *above, *near; /* [T] sites above the clip, above a quarter of it, in that round */
} hanse_masking_state;

#define HANSE_MASKING_STATE_EMPTY ((hanse_masking_state){0, 0, NULL, NULL, NULL, NULL})

/* Before the first round: W = 0, every clip at the plan's ceiling. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masking_state_init(hanse_masking_state *out, const hanse_plan *plan, const hanse_layout *layout, hanse_err *err);
void hanse_masking_state_clear(hanse_masking_state *state); /* empty afterwards */
/* `clips` from `used` and the counters: four times the clip when somebody was above it, half of it when nobody was above
 * a quarter, else the same; always within the plan's floor and ceiling. */
void hanse_masking_clips_next(hanse_masking_state *state, const hanse_plan *plan);
/* As the `masking` bytes of a result. Errors: encode: NOMEM; decode: PROTOCOL (shape, clips that do not follow from the
 * counters, or outside the plan's bounds). `out` cleared by the caller. */
HANSE_MUST_CHECK hanse_rc hanse_masking_state_encode(hanse_buf *out, const hanse_masking_state *state, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_masking_state_decode(hanse_masking_state *out, const hanse_plan *plan, const hanse_layout *layout,
                                                     hanse_bytes in, hanse_err *err);

/* Aux words of a masked round, and where the words of aux.h begin in them. */
size_t hanse_masking_aux_words(const hanse_plan *plan, const hanse_layout *layout, int kind);
size_t hanse_masking_aux_head(const hanse_layout *layout, int kind);

/* The segments of a round: `out` [*count] is owned by the caller (hanse_free). Errors: NOMEM; WEIGHT (E_RANGE: no ring is wide enough). */
HANSE_MUST_CHECK hanse_rc hanse_masking_segments(hanse_secagg_segment **out, uint32_t *count, const hanse_plan *plan, const hanse_layout *layout,
                                                 int kind, size_t sites_count, const hanse_masking_state *state, hanse_err *err);
/* Words of one chunk that suit these segments: a chunk stays below 1 MiB. */
uint32_t hanse_masking_chunk_words(const hanse_secagg_segment *segments, uint32_t count);
/* Is this the spec that plan, roster size, state and the plain spec demand? Tickets, thresholds and keys are checked by
 * the site's half of the protocol. Errors: E_RANGE, E_PLAN, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masking_spec_check(const hanse_secagg_spec *spec, const hanse_plan *plan, const hanse_layout *layout,
                                                   size_t sites_count, const hanse_masking_state *state, const hanse_spec *plain,
                                                   const uint8_t plain_hash[32], hanse_err *err);

/* Where each chunk of an upload lies: offsets[i] of chunk i [bytes], offsets[chunks] is the whole length. Owned by the
 * caller (hanse_free). Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_masking_offsets(uint64_t **out, uint64_t *chunks, const hanse_secagg_spec *spec, hanse_err *err);

/* The words that answers must arrive by, from the upload deadline: ONLINE a minute, CRON one more of the plan's deadlines. */
uint64_t hanse_masking_unmask_ms(const hanse_plan *plan);

/* A list of signed objects in one bin: u32 count, then bytes and signature with u32 lengths; empty bytes for a gap.
 * Decoded entries borrow from `in`; `out` [*count] is owned by the caller (hanse_free).
 * Errors: NOMEM; decode: PROTOCOL. */
HANSE_MUST_CHECK hanse_rc hanse_signed_list_encode(hanse_buf *out, const hanse_signed *list, size_t count, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_signed_list_decode(hanse_signed **out, size_t *count, hanse_bytes in, size_t count_max, hanse_err *err);

#endif
