/* real_data.h - files of real data sets, which are not in the repository. */
#ifndef HANSE_TESTS_REAL_DATA_H
#define HANSE_TESTS_REAL_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* HANSE_DATA_DIR/name; without it the test is skipped, but not in CI. */
static inline const char *real_data(char out[512], const char *name)
{
    const char *dir = getenv("HANSE_DATA_DIR"), *ci = getenv("CI");

    snprintf(out, 512, "%s/%s", dir != NULL ? dir : "", name);
    if (dir != NULL && access(out, R_OK) == 0)
        return out;
    if (ci != NULL && strcmp(ci, "true") == 0)
        fail_msg("HANSE_DATA_DIR/%s is missing", name);
    printf("skipped: no HANSE_DATA_DIR/%s\n", name);
    skip();
    return NULL;
}

#endif
