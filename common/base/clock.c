#include "hanse/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t hanse_clock_wall_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t hanse_clock_mono_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void hanse_clock_format_ms(char out[HANSE_TIME_LEN], uint64_t wall_ms)
{
    const uint64_t last_ms = 253402300799999; /* 9999-12-31T23:59:59.999Z */
    uint64_t shown_ms = wall_ms < last_ms ? wall_ms : last_ms;
    time_t seconds = (time_t)(shown_ms / 1000);
    struct tm day;
    char text[HANSE_TIME_LEN];

    (void)gmtime_r(&seconds, &day);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &day);
    (void)snprintf(out, HANSE_TIME_LEN, "%.19s.%03uZ", text, (unsigned)(shown_ms % 1000));
}
