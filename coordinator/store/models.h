/* models.h - a run's models on disk, DIR/models/<run>/<round>.safetensors: which of them stay. */
#ifndef HANSE_COORDINATOR_STORE_MODELS_H
#define HANSE_COORDINATOR_STORE_MODELS_H

#include "hanse/file.h"

#define HANSE_MODELS_KEPT 10 /* the newest, beside the initial and the best one */

/* Let nothing go from DIR/models until the descriptor is closed, however its process ends: for a backup, which copies them one by one.
 *   out_fd  -1 when there is no such folder
 * Errors: IO. */
HANSE_MUST_CHECK hanse_rc hanse_models_hold(int *out_fd, const char *dir, hanse_err *err);

/* Delete what is not kept of a run whose newest model is that of round `newest`, and its best that of round `best`. Nothing while the
 * folder is held: the next call does it. What cannot be deleted only costs room. */
void hanse_models_drop(const char *dir, const uint8_t run_id[16], uint64_t newest, uint64_t best);

/* The round of "<round>.safetensors"; false for any other name. */
bool hanse_model_name_round(const char *name, uint64_t *round);

#endif
