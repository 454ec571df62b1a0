#include "node/data/cohort.h"
#include "hanse/file.h"

typedef struct cohort_site {
    const char *file;
    size_t rows;
    double prevalence;
    double pressure, cholesterol, heart_rate; /* shift of the site's instruments and patients */
    double missing_core, missing_late;        /* share of missing cells: trestbps..oldpeak; slope, ca, thal */
} cohort_site;

static const cohort_site SITES[] = {
    {"north.csv", 303, 0.46, 0, 0, 0, 0.000, 0.01},
    {"east.csv", 294, 0.37, 3, 12, -6, 0.015, 0.80},
    {"south.csv", 123, 0.88, -2, -45, -14, 0.060, 0.45},
    {"west.csv", 200, 0.72, 5, -20, -12, 0.040, 0.60},
};

/* splitmix64; no libm below, so that every machine writes the same bytes. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state)
{
    return (double)(draw(state) >> 11) * 0x1p-53;
}

static int chance(uint64_t *state, double share)
{
    return uniform(state) < share;
}

/* Nearly normal, by twelve uniforms, within [low, high]. */
static double normal(uint64_t *state, double mean, double std, double low, double high)
{
    double sum = -6;

    for (int i = 0; i < 12; i++)
        sum += uniform(state);
    sum = mean + std * sum;
    return sum < low ? low : sum > high ? high : sum;
}

static hanse_rc put(hanse_buf *out, uint64_t *state, double missing, int value, hanse_err *err)
{
    return chance(state, missing) ? hanse_buf_printf(out, err, "?,") : hanse_buf_printf(out, err, "%d,", value);
}

static hanse_rc add_row(hanse_buf *out, const cohort_site *site, uint64_t *state, hanse_err *err)
{
    int ill = chance(state, site->prevalence);
    double core = site->missing_core, late = site->missing_late;
    int age = (int)normal(state, 51 + 4 * ill, 9, 28, 77);
    int cp = chance(state, ill ? 0.63 : 0.30) ? 4 : 1 + (int)(uniform(state) * 3);
    int depression = (int)normal(state, 4 + 7 * ill, 8, 0, 62); /* tenths of a millimetre */
    int vessels = chance(state, ill ? 0.6 : 0.2) ? 1 + (int)(uniform(state) * 3) : 0;
    int cells[9]; /* age .. exang, drawn one by one: initialisers have no order */
    hanse_rc rc = HANSE_OK;

    cells[0] = age;
    cells[1] = chance(state, ill ? 0.82 : 0.63);
    cells[2] = cp;
    cells[3] = (int)normal(state, 130 + 4 * ill + site->pressure, 17, 80, 200);
    cells[4] = (int)normal(state, 238 + 12 * ill + site->cholesterol, 48, 100, 564);
    cells[5] = chance(state, ill ? 0.2 : 0.12);
    cells[6] = chance(state, 0.6) ? 0 : 1 + (int)(uniform(state) * 2);
    cells[7] = (int)normal(state, 154 - 14 * ill + site->heart_rate, 20, 71, 202);
    cells[8] = chance(state, ill ? 0.50 : 0.16);
    for (size_t i = 0; rc == HANSE_OK && i < sizeof cells / sizeof *cells; i++)
        rc = put(out, state, i < 3 ? 0 : core, cells[i], err);
    if (rc == HANSE_OK)
        rc = chance(state, core) ? hanse_buf_printf(out, err, "?,")
                                 : hanse_buf_printf(out, err, "%d.%d,", depression / 10, depression % 10);
    if (rc == HANSE_OK)
        rc = put(out, state, late, ill ? 2 : 1 + (int)(uniform(state) * 2), err);
    if (rc == HANSE_OK)
        rc = put(out, state, late, vessels, err);
    if (rc == HANSE_OK)
        rc = put(out, state, late, chance(state, ill ? 0.7 : 0.2) ? 7 : 3, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_printf(out, err, "%d\n", ill ? 1 + (int)(uniform(state) * 4) : 0);
    return rc;
}

hanse_rc hanse_cohort_write(const char *dir, uint64_t seed, hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_dir_make(dir, HANSE_MODE_DIR, err);

    for (size_t i = 0; rc == HANSE_OK && i < sizeof SITES / sizeof *SITES; i++) {
        uint64_t state = seed ^ (i + 1) * 0xd1342543de82ef95u;
        hanse_path path;

        text.len = 0;
        for (size_t row = 0; rc == HANSE_OK && row < SITES[i].rows; row++)
            rc = add_row(&text, &SITES[i], &state, err);
        if (rc == HANSE_OK)
            rc = hanse_path_join(path, dir, SITES[i].file, err);
        if (rc == HANSE_OK)
            rc = hanse_file_write(path, hanse_buf_bytes(&text), HANSE_MODE_PUBLIC, err);
    }
    hanse_buf_clear(&text);
    return rc;
}
