/* sim_watch.h - what was seen of each slot of the run, and of each site's part in it. */
#ifndef HANSE_SIM_WATCH_H
#define HANSE_SIM_WATCH_H

#include "hanse/secagg_object.h"
#include "tests/sim/consortium/sim.h"

#define WATCH_SLOTS_MAX 1024
#define WATCH_CHUNKS_MAX 16

typedef struct watch_hash {
    bool there;
    uint8_t hash[32];
} watch_hash;

typedef struct watch_part { /* of a site in a slot */
    watch_hash ticket, shares, header, cutsig, chunks[WATCH_CHUNKS_MAX];
    uint8_t header_hash[32];
    bool receipt, sealed, answered, dead, told_abort;
    uint8_t kinds[SIM_SITES_MAX], sealed_kinds[SIM_SITES_MAX]; /* of the shares it gave; in the answer it sealed last; by member */
} watch_part;

typedef struct watch_slot {
    watch_hash spec, masks, cut, result;
    hanse_spec plain;
    hanse_buf masks_spec;
    uint8_t round_id[32];
    bool published, in[SIM_SITES_MAX + 1], checked;
    watch_part parts[SIM_SITES_MAX + 1];
} watch_slot;

watch_slot *watch_slot_of(uint64_t slot);

#endif
