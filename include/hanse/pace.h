/* pace.h - a cap on bytes a second, as a token bucket.
 *
 * Pure: the caller brings the monotonic time. Credit for a tenth of a second gathers while nothing moves; one move may overdraw
 * it, and what it took too much is waited for. */
#ifndef HANSE_PACE_H
#define HANSE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hanse_pace {
    uint64_t rate;    /* bytes a second, up to 2^40; 0: no cap */
    int64_t credit;   /* what may move now [bytes x 1e-6: exact, however often it is looked at] */
    uint64_t mono_us; /* of the credit */
} hanse_pace;

void hanse_pace_init(hanse_pace *pace, uint64_t rate, uint64_t now_mono_us);
bool hanse_pace_may(hanse_pace *pace, uint64_t now_mono_us);              /* something may move now */
void hanse_pace_took(hanse_pace *pace, size_t bytes);                     /* this much has moved; up to 2^40 */
uint64_t hanse_pace_wait_us(const hanse_pace *pace, uint64_t now_mono_us); /* until something may; 0: now */

#endif
