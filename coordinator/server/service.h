/* service.h - the coordinator's service: sites connect, rounds run, until SIGTERM or until one round is over. */
#ifndef HANSE_COORDINATOR_SERVICE_H
#define HANSE_COORDINATOR_SERVICE_H

#include "coordinator/config.h"

typedef struct hanse_service_options {
    const uint8_t *run_id; /* [16]: open (or go on with) one round of this run, return when it is over; NULL: serve until SIGTERM */
    uint64_t wait_ms;      /* with run_id: how long at most; 0: until the round's own deadline decides */
} hanse_service_options;

/* Serve the consortium in `dir`. The caller does not hold the directory's lock; the service takes it.
 * Returns OK after SIGTERM/SIGINT or a published round. Errors: LOCKED; QUORUM, FAILED (the round is void: the text says why);
 * LATE (wait_ms is over, the round stays open); INVALID, IDENTITY (configuration, certificates); IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_service_run(const char *dir, const hanse_coordinator_config *config,
                                            const hanse_service_options *options, hanse_err *err);

#endif
