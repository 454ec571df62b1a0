#include "hanse/pace.h"

#define SECOND_US ((uint64_t)1000000)
#define BURST_US ((uint64_t)100000)

void hanse_pace_init(hanse_pace *pace, uint64_t rate, uint64_t now_mono_us)
{
    *pace = (hanse_pace){.rate = rate, .credit = (int64_t)(rate * BURST_US), .mono_us = now_mono_us};
}

bool hanse_pace_may(hanse_pace *pace, uint64_t now_mono_us)
{
    const uint64_t passed_us = now_mono_us - pace->mono_us;
    const int64_t full = (int64_t)(pace->rate * BURST_US);

    if (pace->rate == 0)
        return true;
    if (passed_us >= (uint64_t)(full - pace->credit) / pace->rate)
        pace->credit = full;
    else
        pace->credit += (int64_t)(passed_us * pace->rate);
    pace->mono_us = now_mono_us;
    return pace->credit > 0;
}

void hanse_pace_took(hanse_pace *pace, size_t bytes)
{
    if (pace->rate != 0)
        pace->credit -= (int64_t)(bytes * SECOND_US);
}

uint64_t hanse_pace_wait_us(const hanse_pace *pace, uint64_t now_mono_us)
{
    uint64_t wait_us, passed_us = now_mono_us - pace->mono_us;

    if (pace->rate == 0 || pace->credit > 0)
        return 0;
    wait_us = (uint64_t)-pace->credit / pace->rate + 1;
    return wait_us > passed_us ? wait_us - passed_us : 0;
}
