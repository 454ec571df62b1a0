/* Pieces of any size come out of the file as they went in, and few writes are made of them. */
#include "hanse/gather.h"

#include "hanse/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define TOTAL ((size_t)3 * HANSE_GATHER_LEN + 12345)

static int scratch(void)
{
    char path[] = "/tmp/hanse-gather-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)unlink(path);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat info;

    assert_int_equal(fstat(fd, &info), 0);
    return info.st_size;
}

static void test_pieces(void **state)
{
    static const size_t pieces[] = {1, 4095, 16384, HANSE_GATHER_LEN - 1, HANSE_GATHER_LEN, HANSE_GATHER_LEN + 1, TOTAL};
    uint8_t *sent = hanse_calloc(1, TOTAL), *got = hanse_calloc(1, TOTAL);

    (void)state;
    assert_non_null(sent);
    assert_non_null(got);
    for (size_t i = 0; i < TOTAL; i++)
        sent[i] = (uint8_t)(i * 2654435761u >> 11);
    for (size_t p = 0; p < 2 * (sizeof pieces / sizeof *pieces); p++) {
        const size_t piece = pieces[p / 2], cap = p % 2 == 0 ? HANSE_GATHER_LEN : 16384;
        hanse_gather gather = {.cap = p % 2 == 0 ? 0 : cap};
        hanse_err err = {0};
        int fd = scratch();

        for (size_t at = 0; at < TOTAL; at += piece) {
            size_t len = TOTAL - at < piece ? TOTAL - at : piece;

            assert_int_equal(hanse_gather_put(&gather, fd, 7 + at, (hanse_bytes){sent + at, len}, "test", &err), HANSE_OK);
            assert_true(gather.len < cap);
            assert_int_equal((size_t)size_of(fd) % cap, size_of(fd) == 0 ? 0 : 7);
        }
        assert_int_equal(hanse_gather_flush(&gather, fd, "test", &err), HANSE_OK);
        assert_int_equal(size_of(fd), 7 + TOTAL);
        assert_int_equal(hanse_fd_read_at(fd, got, TOTAL, 7, "test", &err), HANSE_OK);
        assert_memory_equal(sent, got, TOTAL);
        hanse_gather_clear(&gather);
        (void)close(fd);
    }
    hanse_free(sent);
    hanse_free(got);
}

/* A piece that does not follow the last one: the last one is written where it belongs. */
static void test_jump(void **state)
{
    hanse_gather gather = {0};
    hanse_err err = {0};
    uint8_t got[8];
    int fd = scratch();

    (void)state;
    assert_int_equal(hanse_gather_put(&gather, fd, 4, hanse_bytes_str("efgh"), "test", &err), HANSE_OK);
    assert_int_equal(hanse_gather_put(&gather, fd, 0, hanse_bytes_str("abcd"), "test", &err), HANSE_OK);
    assert_int_equal(hanse_gather_flush(&gather, fd, "test", &err), HANSE_OK);
    assert_int_equal(hanse_fd_read_at(fd, got, 8, 0, "test", &err), HANSE_OK);
    assert_memory_equal(got, "abcdefgh", 8);
    hanse_gather_clear(&gather);
    hanse_gather_clear(&gather);
    (void)close(fd);
}

static void test_unwritable(void **state)
{
    hanse_gather gather = {0};
    hanse_err err = {0};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(hanse_gather_put(&gather, fd, 0, hanse_bytes_str("x"), "test", &err), HANSE_OK);
    assert_int_equal(hanse_gather_flush(&gather, fd, "test", &err), HANSE_E_IO);
    hanse_gather_clear(&gather);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces), cmocka_unit_test(test_jump), cmocka_unit_test(test_unwritable)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
