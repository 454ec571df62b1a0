/* bars.h - properties that masked rounds have and unmasked ones have not, checked on whole consortia in one process.
 *
 * A program of bars runs with the real masks, where every bar must hold, and with --control in a build without masks, where
 * every bar must fail. */
#ifndef HANSE_TESTS_BARS_H
#define HANSE_TESTS_BARS_H

#include "../support/secagg_world.h"

typedef struct bar {
    const char *name;
    bool (*holds)(void);
} bar;

/* Exit status for main(). */
int bars_main(int argc, char **argv, const bar *bars, size_t count);

/* Do bytes and 16-bit words look uniform? chi^2 within two-sided 10^-6; at least 2 MiB, so that every word is expected. */
bool bars_look_random(hanse_bytes bytes);

/* Tickets, spec, uploads, cut, signatures and answers of one slot, and the secrets opened. Values are as they stand in q.
 *   gone  this member uploads nothing; UINT32_MAX: nobody */
void bars_round(world *w, uint64_t slot, uint32_t gone);
/* The same with one answer too few: nothing is opened. */
void bars_round_unopened(world *w, uint64_t slot, uint32_t gone);

/* The attacker: the coordinator with everything that was sent to it, and what member `corrupt` knows. `words` [count of
 * segment 0, at most 32 bits]: the first segment of member i's upload, less every mask that the attacker can compute.
 *   opened  the secrets of the round are among what it knows */
void bars_residual(const world *w, uint64_t slot, uint32_t i, uint32_t corrupt, bool opened, uint32_t *words);

#endif
