/* sim_clock.c - the two clocks and OpenSSL's randomness, by the seed. */
#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_METHOD: a provider would be a hundred lines for the same */
#include "tests/sim/consortium/sim.h"

#include "hanse/clock.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <time.h>

#define BEGIN_MS ((uint64_t)1800000000000) /* 2027-01-15: wall clocks at the start */
#define BEGIN_US ((uint64_t)3600 * SIM_S)  /* the other clock */

uint64_t hanse_clock_wall_ms(void)
{
    int64_t skew_ms = sim.current == SIM_NOBODY ? 0 : sim.procs[sim.current].skew_ms;

    return (uint64_t)((int64_t)(BEGIN_MS + sim.now_us / 1000) + skew_ms);
}

uint64_t hanse_clock_mono_us(void)
{
    return BEGIN_US + sim.now_us;
}

void hanse_clock_format_ms(char out[HANSE_TIME_LEN], uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm day;
    char text[HANSE_TIME_LEN];

    (void)gmtime_r(&seconds, &day);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &day);
    (void)snprintf(out, HANSE_TIME_LEN, "%.19s.%03uZ", text, (unsigned)(wall_ms % 1000));
}

static int seeded_bytes(unsigned char *out, int len)
{
    for (int i = 0; i < len; i += 8) {
        uint64_t word = sim_draw(&sim.keys);

        memcpy(out + i, &word, len - i < 8 ? (size_t)(len - i) : 8);
    }
    return 1;
}

static int seeded_status(void)
{
    return 1;
}

void sim_random_begin(uint64_t seed)
{
    static const RAND_METHOD method = {.bytes = seeded_bytes, .pseudorand = seeded_bytes, .status = seeded_status};

    sim.keys.state = seed ^ 0x6b657973; /* "keys" */
    if (RAND_set_rand_method(&method) != 1)
        sim_wrong("OpenSSL does not take a method for randomness");
}
