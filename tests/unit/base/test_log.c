#include "hanse/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char captured[1 << 20];
static FILE *file;
static int real_stderr;

static void capture(void)
{
    (void)fflush(stderr);
    file = tmpfile();
    assert_non_null(file);
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
}

/* What came behind the time of the first line. */
static const char *release(void)
{
    size_t len;

    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(real_stderr);
    rewind(file);
    len = fread(captured, 1, sizeof captured - 1, file);
    captured[len] = '\0';
    (void)fclose(file);
    return len > 25 ? captured + 25 : captured;
}

static void a_line_is_time_level_event_and_values(void **state)
{
    const char *volatile nobody = NULL; /* known only at run time */

    (void)state;
    capture();
    hanse_log(HANSE_LOG_WARN, "event kind=x s=%s n=%s d=%d u=%u z=%zu l=%" PRIu64 " i=%" PRId64 " x=%x f=%.2f g=%g", "plain", nobody, -3, 4u,
              (size_t)5, UINT64_MAX, INT64_MIN, 255u, 1.005, 1e-9);
    assert_string_equal(release(), "warn event kind=x s=plain n=- d=-3 u=4 z=5 l=18446744073709551615 i=-9223372036854775808 "
                                   "x=ff f=1.00 g=1e-09\n");
    assert_int_equal(captured[10], 'T');
    assert_int_equal(captured[23], 'Z');
}

static void values_cannot_forge_lines_or_keys(void **state)
{
    (void)state;
    capture();
    hanse_log(HANSE_LOG_ERROR, "event a=%s b=%s c=%s d=%s e=%c", "x y=z", "q\"\\", "\n\x1b[2J\xc3\xa9", "", '\n');
    assert_string_equal(release(), "error event a=\"x y=z\" b=\"q\\\"\\\\\" c=\"\\x0a\\x1b[2J\\xc3\\xa9\" d=\"\" e=\"\\x0a\"\n");
}

static void long_lines_are_cut_and_low_levels_dropped(void **state)
{
    static char longer[2 * HANSE_LOG_LINE_MAX];
    hanse_level level = HANSE_LOG_INFO;

    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    capture();
    hanse_log(HANSE_LOG_ERROR, "event a=%s", longer);
    (void)release();
    assert_int_equal(strlen(captured), HANSE_LOG_LINE_MAX);
    assert_int_equal(captured[HANSE_LOG_LINE_MAX - 1], '\n');
    assert_true(hanse_log_level_parse("warn", &level));
    assert_false(hanse_log_level_parse("loud", &level));
    hanse_log_level_set(level);
    capture();
    hanse_log(HANSE_LOG_INFO, "quiet");
    assert_string_equal(release(), "");
    hanse_log_level_set(HANSE_LOG_INFO);
}

static void *chatter(void *unused)
{
    for (int i = 0; i < 500; i++)
        hanse_log(HANSE_LOG_INFO, "tick i=%d of=%s", i, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    return unused;
}

static void threads_do_not_mix_their_lines(void **state)
{
    pthread_t threads[4];
    size_t lines = 0;

    (void)state;
    capture();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, chatter, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    (void)release();
    for (char *line = captured, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++)
        assert_true(line[23] == 'Z' && memcmp(line + 25, "info tick i=", 12) == 0 && end[-1] == 'a');
    assert_int_equal(lines, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_time_level_event_and_values),
        cmocka_unit_test(values_cannot_forge_lines_or_keys),
        cmocka_unit_test(long_lines_are_cut_and_low_levels_dropped),
        cmocka_unit_test(threads_do_not_mix_their_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
