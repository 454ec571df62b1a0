/* parallel.h - one piece of arithmetic on several threads, each with a range of its own. */
#ifndef HANSE_PARALLEL_H
#define HANSE_PARALLEL_H

#include "hanse/error.h"

#define HANSE_PARALLEL_MAX 64 /* threads; more are not started */

/* Does items [first, first + count) of the whole. Called on several threads at once, with ranges that do not meet. */
typedef hanse_rc (*hanse_range_work)(void *context, size_t first, size_t count, hanse_err *err);

/* work() over [0, count) in up to `threads` ranges whose ends are multiples of `step` (but for the last), on the calling thread
 * and threads - 1 others; a thread that cannot be started is not missed. Errors: the first range's that failed. */
HANSE_MUST_CHECK hanse_rc hanse_in_parallel(size_t threads, size_t count, size_t step, hanse_range_work work, void *context, hanse_err *err);

#endif
