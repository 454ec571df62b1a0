/* cohort.h - an invented cohort in the form of the UCI heart disease files, to try a consortium without real data.
 *
 * Four sites: north.csv (303 rows), east.csv (294), south.csv (123), west.csv (200); 14 columns without header (age, sex,
 * cp, trestbps, chol, fbs, restecg, thalach, exang, oldpeak, slope, ca, thal, num), "?" for missing. Sites differ in
 * prevalence, missing values and scale; nobody in it ever lived. */
#ifndef HANSE_NODE_COHORT_H
#define HANSE_NODE_COHORT_H

#include "hanse/error.h"

#include <stdint.h>

/* Write the four files into `dir` (made when missing). The same seed gives the same bytes. Errors: INVALID (path), IO,
 * FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_cohort_write(const char *dir, uint64_t seed, hanse_err *err);

#endif
