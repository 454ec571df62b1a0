/* trainer.h - the one interface behind which every way of training stands.
 *
 * File-based: a model goes in as a safetensors file and comes out as one (temporary file, fsync, rename), so a finished
 * training survives a crash and a model of gigabytes never needs memory outside the trainer itself. Kinds are those of
 * hanse_model_kind: logistic, softmax and MLP train in this process on one thread (node/train/network.h); identity hands
 * the model back byte for byte. The caller knows none of that and must not.
 *
 * Deterministic: the same plan, rows, model file, round and site seed give the same bits on the same CPU type, because one
 * thread sums in one order. OpenBLAS is loaded at the first hanse_trainer_open() that needs it (node/train/blas.h), so a
 * process that trains nothing pays nothing for it.
 *
 * One owner; not for concurrent use. Blocking: run it on a worker thread and stop it through the flag. */
#ifndef HANSE_NODE_TRAIN_TRAINER_H
#define HANSE_NODE_TRAIN_TRAINER_H

#include "hanse/aux.h"
#include "hanse/plan.h"

#include <stdatomic.h>

struct hanse_dataset; /* node/data/dataset.h */

typedef struct hanse_trainer hanse_trainer;

/* What one round of local work came to. */
typedef struct hanse_trained {
    uint64_t rows;  /* distinct training rows seen: the weight of the contribution; 1 for the identity model */
    uint64_t steps; /* mini-batches */
    double loss;    /* mean cross-entropy over the rows seen, without the l2 term; 0 for the identity model */
} hanse_trained;

/* Make ready to train and evaluate `plan` on `dataset`.
 *   plan, dataset  borrowed until hanse_trainer_free(); dataset is NULL for the identity model only
 *   out            owned by the caller on success; untouched on error
 * A dataset without training rows can be evaluated, not trained.
 * Errors: INVALID (dataset and plan disagree, no rows), NOTFOUND (OpenBLAS is not installed), USAGE (dataset not scaled),
 * NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_trainer_open(hanse_trainer **out, const hanse_plan *plan,
                                             const struct hanse_dataset *dataset, hanse_err *err);

/* One round of local work: read the model, train, write the result.
 *   model_in, model_out  paths; both may be the same; model_out appears whole or not at all
 *   round                1-based; with the plan's seed, `site_seed` and the epoch it fixes the order of rows
 *   site_seed            first 8 bytes of the site id, little-endian
 *   stop                 NULL allowed; when it turns true, training ends between two batches with AGAIN
 * Metadata of model_out: run as in model_in, this round, the plan's hash. The identity model is not read for NaN.
 * Errors: SHAPE or INVALID (model_in is not a model of this plan, or no training rows), NONFINITE (model_in, loss or result
 * holds NaN or infinity: decline the round, nothing was written), AGAIN (stopped), NOTFOUND, IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_trainer_train(hanse_trainer *trainer, const char *model_in, const char *model_out,
                                              uint64_t round, uint64_t site_seed, const atomic_bool *stop,
                                              hanse_trained *trained, hanse_err *err);

/* Metrics of the model at `model` on the dataset's test rows.
 *   metrics  cleared or never initialised before; owned by the caller on success, see hanse_metrics_clear(); without a
 *            dataset or test rows it holds no samples
 *   stop     as above
 * Errors: as hanse_trainer_train(); a model that holds NaN is NONFINITE. */
HANSE_MUST_CHECK hanse_rc hanse_trainer_evaluate(hanse_trainer *trainer, const char *model, const atomic_bool *stop,
                                                 hanse_metrics *metrics, hanse_err *err);

void hanse_trainer_free(hanse_trainer *trainer); /* NULL allowed */

#endif
