/* unmask.h - the sum of a masked round: uploads are added as ring words, what is left of the masks is taken off, and the
 * mean of the updates is added to the model. Single uploads stay masked all the way. Memory: a few chunks a thread. */
#ifndef HANSE_UNMASK_H
#define HANSE_UNMASK_H

#include "coordinator/aggregate/mean.h"
#include "hanse/secagg_round.h"

/* One complete upload of a member of the cut. */
typedef struct hanse_unmask_source {
    /* Bytes [at, at+len) of it. Called from several threads at once. Any error ends the sum. */
    hanse_rc (*read)(void *context, uint64_t at, uint8_t *out, size_t len, hanse_err *err);
    void *context;
} hanse_unmask_source;

typedef struct hanse_unmask hanse_unmask; /* opaque */

/* round    after hanse_secagg_round_reconstruct(); not stepped while the unmask lives
 * spec     its spec, decoded;  layout  of the model: tensor i is segment i
 * sources  [sources_count] all uploads of the cut
 * threads  >= 1: for the key agreements, which are made here, and for the sums
 * All borrowed. Errors: NOMEM, USAGE, E_LOWORDER. */
HANSE_MUST_CHECK hanse_rc hanse_unmask_new(hanse_unmask **out, const hanse_secagg_round *round, const hanse_secagg_spec *spec,
                                           const hanse_layout *layout, const hanse_unmask_source *sources, size_t sources_count, size_t threads,
                                           hanse_err *err);
void hanse_unmask_free(hanse_unmask *unmask); /* NULL allowed */

/* The summed words of the last segment (64 bits, not scaled): words [its count].
 * Errors: E_SANITY (the masks did not cancel), SHAPE (bits behind a value), NOMEM; those of `read`. */
HANSE_MUST_CHECK hanse_rc hanse_unmask_aux(hanse_unmask *unmask, uint64_t *words, hanse_err *err);
/* New model at `path`: `base` plus the mean update, sum / share.
 *   share  sum of the shares of W (hanse_ring_share), from the aux words
 * Otherwise as hanse_mean_fold(). Errors: those of it and of hanse_unmask_aux; FAILED (a sum beyond what honest sites can give). */
HANSE_MUST_CHECK hanse_rc hanse_unmask_fold(hanse_unmask *unmask, uint64_t share, const char *base, const hanse_model_meta *meta,
                                            const char *path, uint8_t root[32], hanse_err *err);

#endif
