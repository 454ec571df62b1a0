/* secagg_dropouts.h - a campaign of seeded drop-outs over consortia of 3 to 50 sites. */
#ifndef HANSE_TESTS_SECAGG_DROPOUTS_H
#define HANSE_TESTS_SECAGG_DROPOUTS_H

#include "../support/secagg_world.h"

/* Each seed is a consortium and a few slots of it; fails, naming the seed, where a sum is not exact, a slot ends with another
 * reason than it must, or the slot after a void one does not work. Prints what it saw. */
void dropouts_campaign(uint64_t first, uint64_t seeds);

#endif
