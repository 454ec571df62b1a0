/* The invitation file: there and back, and the files that a hurried operator may hand over. */
#include "hanse/invitation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static hanse_invitation sample(void)
{
    hanse_invitation invitation = {.consortium = "Hearts", .organisation = "Basel Uni", .site = "a-1", .coordinator = "[::1]:8443"};

    memset(invitation.ca_sha256, 0xc4, 32);
    memset(invitation.token, 0x0f, 32);
    return invitation;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int named = 0; named < 2; named++) {
        hanse_invitation in = sample(), out = {0};
        hanse_buf text = HANSE_BUF_EMPTY;
        hanse_err err = {0};

        snprintf(in.server_name, sizeof in.server_name, "%s", named ? "hanse.example.org" : "");
        assert_int_equal(hanse_invitation_encode(&text, &in, NULL), HANSE_OK);
        if (hanse_invitation_decode(&out, hanse_buf_bytes(&text), "invitation", &err) != HANSE_OK)
            fail_msg("%s", err.text);
        assert_string_equal(out.consortium, in.consortium);
        assert_string_equal(out.organisation, in.organisation);
        assert_string_equal(out.site, in.site);
        assert_string_equal(out.coordinator, in.coordinator);
        assert_string_equal(out.server_name, in.server_name);
        assert_memory_equal(out.ca_sha256, in.ca_sha256, 32);
        assert_memory_equal(out.token, in.token, 32);
        hanse_buf_wipe(&text);
    }
}

#define NAMES "consortium: Hearts\norganisation: North\nsite: a\ncoordinator: \"c.example:8443\"\n"
#define HEX "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"

static void test_refuses(void **state)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"empty", ""},
        {"not YAML", "\x7f" "ELF\x02"},
        {"no token", NAMES "ca_sha256: \"" HEX "\"\n"},
        {"token too short", NAMES "ca_sha256: \"" HEX "\"\ntoken: \"0f0f\"\n"},
        {"token not hex", NAMES "ca_sha256: \"" HEX "\"\ntoken: \"zz0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\"\n"},
        {"pin too long", NAMES "ca_sha256: \"" HEX "00\"\ntoken: \"" HEX "\"\n"},
        {"token too long", NAMES "ca_sha256: \"" HEX "\"\ntoken: \"" HEX HEX "\"\n"},
        {"unknown key", NAMES "ca_sha256: \"" HEX "\"\ntoken: \"" HEX "\"\nca_md5: 1\n"},
        {"a name with a control character", "consortium: \"He\\arts\"\norganisation: North\nsite: a\ncoordinator: c\nca_sha256: \"" HEX
                                            "\"\ntoken: \"" HEX "\"\n"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_invitation out;
        hanse_err err = {0};

        memset(&out, 0xa5, sizeof out);
        if (hanse_invitation_decode(&out, hanse_bytes_str(rows[i].text), "invitation", &err) != HANSE_E_INVALID)
            fail_msg("%s: %s", rows[i].name, err.text);
        print_message("%s\n", err.text);
        assert_memory_equal(err.text, "invitation", 10);
        assert_null(strstr(err.text, "0f0f")); /* the token stays out of logs */
        assert_int_equal(out.token[0], 0xa5);
    }
}

static void test_no_memory(void **state)
{
    hanse_invitation in = sample(), out;
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_rc rc = HANSE_E_NOMEM;
    (void)state;

    assert_int_equal(hanse_invitation_encode(&text, &in, NULL), HANSE_OK);
    for (long k = 0; rc != HANSE_OK; k++) {
        assert_true(k < 200);
        hanse_alloc_fail_at(k);
        rc = hanse_invitation_decode(&out, hanse_buf_bytes(&text), "invitation", NULL);
        hanse_alloc_fail_at(-1);
        assert_true(rc == HANSE_OK || rc == HANSE_E_NOMEM);
    }
    hanse_buf_wipe(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refuses), cmocka_unit_test(test_no_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
