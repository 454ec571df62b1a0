#include "node/window.h"

#include "hanse/clock.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#define DAY_MINUTES 1440

/* "HH:MM"; at most `most` minutes. */
static bool time_of_day(const char *text, unsigned most, uint16_t *out)
{
    unsigned hour, minute;

    for (size_t i = 0; i < 5; i++)
        if (i == 2 ? text[i] != ':' : !isdigit((unsigned char)text[i]))
            return false;
    hour = (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
    minute = (unsigned)(text[3] - '0') * 10 + (unsigned)(text[4] - '0');
    *out = (uint16_t)(hour * 60 + minute);
    return minute < 60 && *out <= most;
}

hanse_rc hanse_node_window_parse(hanse_node_window *out, const char *text, hanse_err *err)
{
    if (strlen(text) != 11 || text[5] != '-' || !time_of_day(text, DAY_MINUTES - 1, &out->from) ||
        !time_of_day(text + 6, DAY_MINUTES, &out->to) || out->from == out->to)
        return HANSE_FAIL(err, HANSE_E_INVALID, "\"%s\" is not HH:MM-HH:MM, such as 22:00-06:00", text);
    return HANSE_OK;
}

bool hanse_node_windows_open(const hanse_node_window *windows, size_t count, unsigned minute)
{
    for (size_t i = 0; i < count; i++) {
        const bool after = minute >= windows[i].from, before = minute < windows[i].to;

        if (windows[i].from < windows[i].to ? after && before : after || before)
            return true;
    }
    return count == 0;
}

bool hanse_node_windows_open_now(const hanse_node_window *windows, size_t count)
{
    const time_t now = (time_t)(hanse_clock_wall_ms() / 1000);
    struct tm day;

    return count == 0 || localtime_r(&now, &day) == NULL ||
           hanse_node_windows_open(windows, count, (unsigned)(day.tm_hour * 60 + day.tm_min));
}
