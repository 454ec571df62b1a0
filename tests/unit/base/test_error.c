#include "hanse/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_code_has_a_name_and_an_exit_code(void **state)
{
    static const struct {
        hanse_rc rc;
        const char *name;
        int exit_code;
    } rows[] = {{HANSE_OK, "ok", 0},           {HANSE_E_USAGE, "usage", 5},     {HANSE_E_NOMEM, "nomem", 7},
                {HANSE_E_IO, "io", 7},         {HANSE_E_INVALID, "invalid", 4}, {HANSE_E_LOCKED, "locked", 4},
                {HANSE_E_LINK, "link", 2},     {HANSE_E_QUORUM, "quorum", 3},   {HANSE_E_POLICY, "policy", 6},
                {HANSE_E_FAILED, "failed", 1}, {HANSE_E_FULL, "full", 7}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(hanse_rc_name(rows[i].rc), rows[i].name);
        assert_int_equal(hanse_rc_exit_code(rows[i].rc), rows[i].exit_code);
    }
    for (int rc = HANSE_E_FULL; rc <= 0; rc++) /* names are unique: there and back */
        assert_int_equal(hanse_rc_from_name(hanse_rc_name((hanse_rc)rc)), rc);
    assert_int_equal(hanse_rc_from_name("no such thing"), HANSE_E_PROTOCOL);
    assert_non_null(hanse_rc_name((hanse_rc)-999));
    assert_int_equal(hanse_rc_blame(HANSE_E_AUTH), HANSE_BLAME_PEER);
    assert_int_equal(hanse_rc_blame(HANSE_E_USAGE), HANSE_BLAME_BUG);
}

static void the_text_is_one_printable_line(void **state)
{
    hanse_err err;
    char longer[2 * HANSE_ERR_TEXT_MAX];

    (void)state;
    assert_int_equal(HANSE_FAIL(&err, HANSE_E_INVALID, "a\nb\x1b[31m%d", 7), HANSE_E_INVALID);
    assert_string_equal(err.text, "a?b?[31m7");
    hanse_err_wrap(&err, "site %d", 3);
    assert_string_equal(err.text, "site 3: a?b?[31m7");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)HANSE_FAIL(&err, HANSE_E_INVALID, "%s", longer);
    assert_int_equal(strlen(err.text), HANSE_ERR_TEXT_MAX - 1);
    hanse_err_wrap(&err, "front");
    assert_int_equal(strlen(err.text), HANSE_ERR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "front: xxx", 10);
    assert_int_equal(HANSE_FAIL(NULL, HANSE_E_IO, "nobody listens"), HANSE_E_IO);
    errno = ENOSPC;
    assert_int_equal(HANSE_FAIL_ERRNO(&err, "write"), HANSE_E_FULL);
    errno = ENOMEM;
    assert_int_equal(HANSE_FAIL_ERRNO(&err, "write"), HANSE_E_NOMEM);
    errno = EACCES;
    assert_int_equal(HANSE_FAIL_ERRNO(&err, "open %s", "f"), HANSE_E_IO);
    assert_non_null(strstr(err.text, "open f: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_and_an_exit_code),
        cmocka_unit_test(the_text_is_one_printable_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
