/* fixture.h - a directory in memory, where flushing costs nothing, and a database that is put back byte by byte. */
#ifndef HANSE_TESTS_FAULTS_FIXTURE_H
#define HANSE_TESTS_FAULTS_FIXTURE_H

#include "hanse/file.h"
#include "tests/support/faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static inline void dir_make(char dir[64])
{
    (void)snprintf(dir, 64, "%s/hanse-faults-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(dir));
}

static inline void dir_remove(const char *dir)
{
    assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void folder(const char *dir, const char *name)
{
    hanse_path path;

    assert_int_equal(hanse_path_join(path, dir, name, NULL), HANSE_OK);
    assert_int_equal(hanse_dir_make(path, HANSE_MODE_DIR, NULL), HANSE_OK);
}

/* The closed database DIR/state.db as bytes, and back. */
static inline void database_keep(hanse_buf *image, const char *dir)
{
    hanse_path path;

    assert_int_equal(hanse_path_join(path, dir, "state.db", NULL), HANSE_OK);
    assert_int_equal(hanse_file_read(image, path, (size_t)1 << 26, NULL), HANSE_OK);
}

static inline void database_restore(const hanse_buf *image, const char *dir)
{
    static const char *const beside[] = {"state.db-wal", "state.db-shm"};
    hanse_path path;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(hanse_path_join(path, dir, beside[i], NULL), HANSE_OK);
        (void)unlink(path);
    }
    assert_int_equal(hanse_path_join(path, dir, "state.db", NULL), HANSE_OK);
    assert_int_equal(hanse_file_write(path, hanse_buf_bytes(image), HANSE_MODE_SECRET, NULL), HANSE_OK);
}

#endif
