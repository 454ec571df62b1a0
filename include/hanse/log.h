/* log.h - one line an event on stderr: `TIME LEVEL EVENT key=value ...`.
 *
 * Values with anything but plain characters are quoted; what is not printable ASCII becomes \xNN, so that a line stays
 * a line whatever a peer sent. Never log keys, tokens, model values or rows. Thread-safe: one write a line. */
#ifndef HANSE_LOG_H
#define HANSE_LOG_H

#include "hanse/error.h"

typedef enum hanse_level { HANSE_LOG_ERROR, HANSE_LOG_WARN, HANSE_LOG_INFO, HANSE_LOG_DEBUG } hanse_level;

#define HANSE_LOG_LINE_MAX 2048 /* bytes; the rest of a longer line is cut */

void hanse_log_level_set(hanse_level level); /* events above it are dropped; INFO at start */
bool hanse_log_level_parse(const char *name, hanse_level *out); /* "error", "warn", "info", "debug" */

/* The format is the event's name and then ` key=%conversion` for each value:
 *     hanse_log(HANSE_LOG_INFO, "round_open run=%s round=%" PRIu64, run, round);
 * One conversion a key: %s (NULL prints as -), %c, %d %u %x with hh h l ll z j t, %f %g %e with a precision; no width, no '*'.
 * Literal values (`kind=training`) are fine. */
void hanse_log(hanse_level level, const char *fmt, ...) HANSE_PRINTF(2, 3);

#endif
