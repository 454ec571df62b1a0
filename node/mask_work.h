/* mask_work.h - the last step of a masked round's local work: the update as ring words, masked and packed, in a file.
 *
 * Streaming: memory is a few chunks, whatever the model. No word leaves unmasked: what is written is masked already. */
#ifndef HANSE_NODE_MASK_WORK_H
#define HANSE_NODE_MASK_WORK_H

#include "hanse/file.h"
#include "hanse/masking.h"
#include "hanse/secagg_site.h"

#include <stdatomic.h>

typedef struct hanse_mask_work {
    hanse_secagg_masker *masker; /* owned; NULL: the round is not masked */
    hanse_buf spec;              /* the `secagg-spec`; owned */
    uint64_t counted;            /* rows of this site in W; 0: it joins with this round, with an update of zeros */
    bool reseed;                 /* an earlier attempt was burnt: order and rounding must be others */
    bool told;                   /* the metrics of the base model were sent before: zeros in their place */
    uint8_t site_id[32];
    hanse_path path;             /* of the masked words */
    uint8_t root[32];            /* Merkle root over the chunks; filled by the work */
} hanse_mask_work;

void hanse_mask_work_clear(hanse_mask_work *work);

/* Mask a finished contribution.
 *   model_in, model_out  incoming and trained model; not read but in training rounds
 *   rows                 trained on
 *   aux                  [aux_count] words of aux.h
 *   stop                 asked to end: AGAIN
 * Errors: E_RANGE (the update is far beyond its clip, or a word above its bound), NONFINITE, WEIGHT, IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_mask_work_run(hanse_mask_work *work, const hanse_plan *plan, const hanse_spec *spec, const char *model_in,
                                              const char *model_out, uint64_t rows, const uint64_t *aux, size_t aux_count,
                                              const atomic_bool *stop, hanse_err *err);

#endif
