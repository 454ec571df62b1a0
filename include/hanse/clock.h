/* clock.h - the two clocks. Names end in _wall_ms or _mono_us; the two never meet in one expression.
 *
 * Edges only: a pure core gets its time inside an event. */
#ifndef HANSE_CLOCK_H
#define HANSE_CLOCK_H

#include <stdint.h>

#define HANSE_TIME_LEN 25 /* "2026-11-23T20:00:06.123Z" with its zero */

uint64_t hanse_clock_wall_ms(void); /* Unix time [ms]; may jump: for people, certificates and deadlines between machines */
uint64_t hanse_clock_mono_us(void); /* since some start [us]; never jumps back: for durations and timers */
/* ISO 8601, UTC. Times past the year 9999 print as that year's end. */
void hanse_clock_format_ms(char out[HANSE_TIME_LEN], uint64_t wall_ms);

#endif
