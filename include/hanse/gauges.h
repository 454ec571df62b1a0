/* gauges.h - figures for a monitoring system: DIR/metrics.prom in Prometheus' text format, for node_exporter's textfile collector.
 * Written anew every minute by the services; the file is always whole. */
#ifndef HANSE_GAUGES_H
#define HANSE_GAUGES_H

#include "hanse/error.h"

#define HANSE_GAUGES_FILE "metrics.prom"
#define HANSE_GAUGES_EVERY_MS 60000u

typedef struct hanse_gauge {
    const char *name;  /* of the series, without "hanse_" */
    const char *file;  /* label file="..."; NULL: no label */
    double value;
} hanse_gauge;

/* All of them gauges; those of one name stand together. The resident memory of the process is added. Errors: IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_gauges_write(const char *dir, const hanse_gauge *gauges, size_t count, hanse_err *err);

#endif
