/* fixture.h - a directory of a test's own, gone afterwards. */
#ifndef HANSE_TESTS_COORDINATOR_FIXTURE_H
#define HANSE_TESTS_COORDINATOR_FIXTURE_H

#include "hanse/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static int dir_setup(void **state)
{
    char *dir = strdup("/tmp/hanse-test-XXXXXX");

    *state = dir;
    return dir != NULL && mkdtemp(dir) != NULL ? 0 : -1;
}

static int dir_teardown(void **state)
{
    int rc = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);

    free(*state);
    return rc;
}

#endif
