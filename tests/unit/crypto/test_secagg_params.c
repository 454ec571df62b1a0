/* Thresholds. The table is the one that docs must show; numbers worked out by hand from the floors in secagg.h. */
#include "hanse/secagg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static const struct { uint32_t n, c, t, d_max, m, honest_online, honest_cron, retry; } table[] = {
    {3, 1, 3, 0, 3, 2, 2, 2},        {4, 1, 3, 1, 3, 2, 2, 3},       {5, 1, 4, 1, 4, 3, 3, 3},       {6, 1, 4, 1, 5, 4, 4, 4},
    {7, 1, 5, 1, 6, 5, 5, 4},        {8, 1, 5, 1, 7, 6, 6, 5},       {9, 1, 6, 1, 8, 7, 7, 5},       {10, 2, 7, 2, 8, 6, 5, 6},
    {11, 2, 8, 2, 9, 7, 6, 6},       {12, 2, 8, 2, 10, 8, 7, 7},     {13, 2, 9, 2, 11, 9, 8, 7},     {14, 2, 10, 2, 12, 10, 9, 7},
    {15, 3, 10, 3, 12, 9, 7, 9},     {16, 3, 11, 3, 13, 10, 8, 9},   {17, 3, 12, 3, 14, 11, 9, 9},   {18, 3, 12, 3, 15, 12, 10, 10},
    {19, 3, 13, 3, 16, 13, 11, 10},  {20, 4, 14, 4, 16, 12, 9, 11},  {50, 10, 34, 10, 40, 30, 21, 27}, {100, 20, 67, 20, 80, 60, 41, 54},
};

static void test_table(void **state)
{
    hanse_secagg_policy policy = {.survivors_min = 0};
    hanse_secagg_params params;

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_int_equal(hanse_secagg_params_default(&params, table[i].n, HANSE_SECAGG_ONLINE, &policy, NULL), HANSE_OK);
        assert_int_equal(params.c, table[i].c);
        assert_int_equal(params.t, table[i].t);
        assert_int_equal(params.d_max, table[i].d_max);
        assert_int_equal(params.m, table[i].m);
        assert_int_equal(hanse_secagg_honest(&params), table[i].honest_online);
        assert_int_equal(hanse_secagg_retry_count(&params), table[i].retry);
        assert_int_equal(hanse_secagg_params_default(&params, table[i].n, HANSE_SECAGG_CRON, &policy, NULL), HANSE_OK);
        assert_int_equal(hanse_secagg_honest(&params), table[i].honest_cron);
    }
}

/* Whatever n: the two inequalities on which privacy rests, and that DEADs and answers exclude each other. */
static void test_every_n(void **state)
{
    hanse_secagg_policy policy = {.survivors_min = 0};
    hanse_secagg_params params;

    (void)state;
    for (uint32_t n = 3; n <= HANSE_SECAGG_SITES_MAX; n++) {
        assert_int_equal(hanse_secagg_params_default(&params, n, HANSE_SECAGG_CRON, &policy, NULL), HANSE_OK);
        assert_true(2 * params.t > n + params.c);
        assert_true(params.t <= n - params.d_max);
        /* c of those who signed DEAD may lie and answer all the same; still fewer than t can */
        assert_true(n - (hanse_secagg_retry_count(&params) - params.c) < params.t);
    }
}

static void test_check(void **state)
{
    static const struct { const char *name; hanse_secagg_params params; hanse_secagg_policy policy; bool good; } rows[] = {
        {"floors of 10", {10, 2, 2, 8, 7, 0, 0, 0}, {0}, true},
        {"more colluders, stricter t", {10, 3, 1, 9, 7, 0, 0, 0}, {0}, true},
        {"fewer dropouts", {10, 2, 0, 10, 7, 0, 0, 0}, {0}, true},
        {"m above n - D", {10, 2, 2, 9, 7, 0, 0, 0}, {0}, true},
        {"c below floor", {10, 1, 2, 8, 7, 0, 0, 0}, {0}, false},
        {"c = 0", {10, 0, 2, 8, 7, 0, 0, 0}, {0}, false},
        {"c = 0 agreed", {10, 0, 2, 8, 7, 0, 0, 0}, {.trusted_coordinator = true}, true},
        {"c = 1 of 10 though c = 0 is agreed", {10, 1, 2, 8, 7, 0, 0, 0}, {.trusted_coordinator = true}, false},
        {"c = n", {10, 10, 2, 8, 8, 0, 0, 0}, {0}, false},
        {"D above floor", {10, 2, 3, 7, 7, 0, 0, 0}, {0}, false},
        {"D = 1 of 3", {3, 1, 1, 2, 2, 0, 0, 0}, {0}, false},
        {"m below n - D", {10, 2, 2, 7, 7, 0, 0, 0}, {0}, false},
        {"m above n", {10, 2, 2, 11, 7, 0, 0, 0}, {0}, false},
        {"t below 2n/3", {10, 3, 2, 8, 6, 0, 0, 0}, {0}, false},
        {"t below (n+c)/2 + 1", {8, 3, 1, 7, 5, 0, 0, 0}, {0}, false},
        {"t above n - D", {10, 2, 2, 8, 9, 0, 0, 0}, {0}, false},
        {"a hospital insists on m >= 5", {4, 1, 1, 3, 3, 0, 0, 0}, {.survivors_min = 5}, false},
        {"honest inputs above what is left", {10, 2, 2, 8, 7, 0, 0, 0}, {.honest_min = 7}, false},
        {"collusion as asked for", {10, 2, 2, 8, 7, 0, 0, 0}, {.collusion_min = 2}, true},
        {"collusion below what is asked for", {10, 2, 2, 8, 7, 0, 0, 0}, {.collusion_min = 3}, false},
        {"threshold as asked for", {10, 2, 2, 8, 7, 0, 0, 0}, {.threshold_min = 7}, true},
        {"threshold below what is asked for", {10, 2, 2, 8, 7, 0, 0, 0}, {.threshold_min = 8}, false},
        {"cron: honest 5 of 10", {10, 2, 2, 8, 7, 1, 0, 0}, {.honest_min = 5}, true},
        {"cron: honest 6 of 10", {10, 2, 2, 8, 7, 1, 0, 0}, {.honest_min = 6}, false},
        {"unknown profile", {10, 2, 2, 8, 7, 2, 0, 0}, {0}, false},
        {"one site", {1, 1, 0, 1, 1, 0, 0, 0}, {.allow_two = true}, false},
        {"two sites", {2, 1, 0, 2, 2, 0, 0, 0}, {0}, false},
        {"two sites by agreement", {2, 1, 0, 2, 2, 0, 0, 0}, {.allow_two = true}, true},
        {"two sites, no share needed of one", {2, 1, 0, 2, 1, 0, 0, 0}, {.allow_two = true}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_err err = {.rc = HANSE_OK};
        hanse_rc rc = hanse_secagg_params_check(&rows[i].params, &rows[i].policy, &err);

        if ((rc == HANSE_OK) != rows[i].good)
            fail_msg("%s: %s", rows[i].name, err.text);
        if (rc != HANSE_OK) {
            assert_int_equal(hanse_secagg_reason_of(&err), HANSE_SECAGG_COHORT);
            assert_int_equal(rc, HANSE_E_QUORUM);
        }
    }
}

/* Two sites of one organisation are one towards m, and both towards c. */
static void test_organisations(void **state)
{
    static const struct { const char *name; hanse_secagg_params params; hanse_secagg_policy policy; uint32_t organisations[10]; bool good; } rows[] = {
        {"each its own", {4, 1, 1, 3, 3, 0, 0, 0}, {0}, {0, 1, 2, 3}, true},
        {"two of one, c = 1", {4, 1, 1, 3, 3, 0, 0, 0}, {0}, {0, 1, 2, 1}, false},
        {"two of one, c = 2", {5, 2, 1, 4, 4, 0, 0, 0}, {0}, {7, 1, 2, 7, 5}, true},
        {"three of one, c = 2", {10, 2, 2, 8, 7, 0, 0, 0}, {0}, {0, 1, 2, 3, 4, 5, 6, 7, 7, 7}, false},
        {"twice two of one, c = 2", {10, 2, 2, 8, 7, 0, 0, 0}, {0}, {0, 1, 2, 3, 4, 5, 6, 6, 7, 7}, true},
        {"seven organisations where m is 8", {10, 2, 2, 8, 7, 0, 0, 0}, {0}, {0, 1, 2, 3, 4, 4, 5, 5, 6, 6}, false},
        {"c = 0: no collusion, but two of one are one site", {4, 0, 1, 3, 3, 0, 0, 0}, {.trusted_coordinator = true}, {0, 1, 1, 2}, false},
        {"c = 0, each its own", {4, 0, 1, 3, 3, 0, 0, 0}, {.trusted_coordinator = true}, {3, 1, 0, 2}, true},
        {"the inequalities first", {4, 1, 1, 3, 2, 0, 0, 0}, {0}, {0, 1, 2, 3}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_err err = {.rc = HANSE_OK};
        hanse_rc rc = hanse_secagg_params_check_members(&rows[i].params, &rows[i].policy, rows[i].organisations, &err);

        if ((rc == HANSE_OK) != rows[i].good)
            fail_msg("%s: %s", rows[i].name, err.text);
        if (rc != HANSE_OK)
            assert_int_equal(hanse_secagg_reason_of(&err), HANSE_SECAGG_COHORT);
    }
}

static void test_default_honours_policy(void **state)
{
    hanse_secagg_policy policy = {.survivors_min = 10};
    hanse_secagg_params params;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_secagg_params_default(&params, 10, HANSE_SECAGG_ONLINE, &policy, NULL), HANSE_OK);
    assert_int_equal(params.d_max, 0);
    assert_int_equal(params.m, 10);
    policy.survivors_min = 11;
    assert_int_equal(hanse_secagg_params_default(&params, 10, HANSE_SECAGG_ONLINE, &policy, &err), HANSE_E_QUORUM);
    assert_int_equal(hanse_secagg_params_default(&params, HANSE_SECAGG_SITES_MAX + 1, HANSE_SECAGG_ONLINE, &policy, &err), HANSE_E_USAGE);
}

static void test_reasons(void **state)
{
    hanse_err err;

    (void)state;
    for (int i = 1; i < HANSE_SECAGG_REASONS; i++) {
        hanse_secagg_reason reason = (hanse_secagg_reason)i;

        assert_int_not_equal(hanse_secagg_reason_rc(reason), HANSE_OK);
        hanse_ignore(HANSE_FAIL(&err, HANSE_E_AUTH, "E_other: %s: words", hanse_secagg_reason_name(reason)));
        hanse_err_wrap(&err, "slot 3");
        assert_int_equal(hanse_secagg_reason_of(&err), reason);
    }
    hanse_ignore(HANSE_FAIL(&err, HANSE_E_NOMEM, "no memory for E_SIG"));
    assert_int_equal(hanse_secagg_reason_of(&err), HANSE_SECAGG_NONE);
    assert_string_equal(hanse_secagg_reason_name(HANSE_SECAGG_TICKET_REUSED), "E_TICKET_REUSED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_every_n), cmocka_unit_test(test_check), cmocka_unit_test(test_organisations),
                                       cmocka_unit_test(test_default_honours_policy), cmocka_unit_test(test_reasons)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
