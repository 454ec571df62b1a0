#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void a_window_is_two_times_of_day(void **state)
{
    static const char *const bad[] = {"", "22:00", "22:00-06", "22:00-6:00", "24:00-06:00", "22:60-06:00", "22:00-24:01", "22:00-22:00", "2a:00-06:00",
                                      "22.00-06:00", "22:00 06:00", "22:00-06:000", "-1:00-06:00", "22:00-\xd9\xa6:00"};
    hanse_node_window window;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_node_window_parse(&window, "22:05-06:00", &err), HANSE_OK);
    assert_int_equal(window.from, 22 * 60 + 5);
    assert_int_equal(window.to, 360);
    assert_int_equal(hanse_node_window_parse(&window, "00:00-24:00", &err), HANSE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hanse_node_window_parse(&window, bad[i], &err), HANSE_E_INVALID);
}

static void open_is_inside_of_any(void **state)
{
    static const hanse_node_window night = {1320, 360}, noon = {720, 780}, both[] = {{1320, 360}, {720, 780}}, day = {0, 1440};

    (void)state;
    for (unsigned minute = 0; minute < 1440; minute++) {
        const bool dark = minute >= 1320 || minute < 360, lunch = minute >= 720 && minute < 780;

        assert_int_equal(hanse_node_windows_open(&night, 1, minute), dark);
        assert_int_equal(hanse_node_windows_open(&noon, 1, minute), lunch);
        assert_int_equal(hanse_node_windows_open(both, 2, minute), dark || lunch);
        assert_true(hanse_node_windows_open(&day, 1, minute));
        assert_true(hanse_node_windows_open(NULL, 0, minute));
    }
}

/* Whatever the zone, one of two windows that share the day is open, and it is the one that holds the local time. */
static void now_is_local(void **state)
{
    static const char *const zones[] = {"UTC", "Asia/Kolkata", "America/St_Johns", "XYZ-13:45"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        time_t before, after;
        unsigned minute;
        struct tm day;

        assert_int_equal(setenv("TZ", zones[i], 1), 0);
        tzset();
        do { /* a minute may end between two looks at the clock */
            before = time(NULL);
            assert_non_null(localtime_r(&before, &day));
            minute = (unsigned)(day.tm_hour * 60 + day.tm_min);
            hanse_node_window this = {(uint16_t)minute, (uint16_t)(minute + 1)}, other = {(uint16_t)((minute + 1) % 1440), (uint16_t)minute};
            const bool in = hanse_node_windows_open_now(&this, 1), out = hanse_node_windows_open_now(&other, 1);

            after = time(NULL);
            if (before / 60 == after / 60) {
                assert_true(in);
                assert_false(out);
            }
        } while (before / 60 != after / 60);
    }
}

static void node_yaml_has_both(void **state)
{
    static const char *const bad[][2] = {{"transfer: {rate: 1KiB}", "transfer.rate"}, {"transfer: {rate: 0}", "transfer.rate"},
                                         {"transfer: {windows: [always]}", "transfer.windows"},
                                         {"transfer: {windows: [22:00-06:00, 07:00-25:00]}", "07:00-25:00"},
                                         {"transfer: {window: [22:00-06:00]}", "window"}};
    hanse_node_config config;
    hanse_err err;
    char text[300];

    (void)state;
    (void)snprintf(text, sizeof text, "coordinator: h:1\norganisation: a\nsite: b\ntransfer:\n  rate: 2MiB\n  windows: [22:00-06:00, \"12:00-13:00\"]\n");
    if (hanse_node_config_parse(&config, hanse_bytes_str(text), "node.yaml", &err) != HANSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(config.rate, 2 << 20);
    assert_int_equal(config.raw.windows_count, 2);
    assert_int_equal(config.windows[1].from, 720);
    hanse_node_config_clear(&config);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(text, sizeof text, "coordinator: h:1\norganisation: a\nsite: b\n%s\n", bad[i][0]);
        assert_int_equal(hanse_node_config_parse(&config, hanse_bytes_str(text), "node.yaml", &err), HANSE_E_INVALID);
        if (strstr(err.text, bad[i][1]) == NULL || strstr(err.text, "node.yaml:4") == NULL)
            fail_msg("%s -> %s", bad[i][0], err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_window_is_two_times_of_day), cmocka_unit_test(open_is_inside_of_any),
                                       cmocka_unit_test(now_is_local), cmocka_unit_test(node_yaml_has_both)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
