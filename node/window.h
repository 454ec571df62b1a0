/* window.h - the times of the day in which models and contributions may move. */
#ifndef HANSE_NODE_WINDOW_H
#define HANSE_NODE_WINDOW_H

#include "hanse/error.h"

#include <stddef.h>
#include <stdint.h>

#define HANSE_NODE_WINDOWS_MAX 16

typedef struct hanse_node_window {
    uint16_t from, to; /* minutes of the local day; from > to: past midnight */
} hanse_node_window;

/* "22:00-06:00"; the end is no longer in it, "00:00-24:00" is the whole day. Errors: INVALID. */
HANSE_MUST_CHECK hanse_rc hanse_node_window_parse(hanse_node_window *out, const char *text, hanse_err *err);
/* Is that minute of the day in one of them? No windows: always. */
bool hanse_node_windows_open(const hanse_node_window *windows, size_t count, unsigned minute);
/* The same for now, by this machine's time zone. */
bool hanse_node_windows_open_now(const hanse_node_window *windows, size_t count);

#endif
