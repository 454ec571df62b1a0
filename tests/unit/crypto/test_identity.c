#include "hanse/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define NOW 1800000000
#define DAY 86400

typedef struct consortium {
    hanse_key *ca_key, *tls_key, *sign_key;
    hanse_cert *ca;
    hanse_cert *certs[5]; /* by profile, all of Charite / Berlin */
    hanse_crl *crl;
} consortium;

static hanse_rc issue(hanse_cert **out, const consortium *c, const hanse_key *key, hanse_profile profile, const char *site, hanse_err *err)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1"};
    hanse_issue want = {.profile = profile, .organisation = "Charite", .site = site, .now = NOW, .days = 30};
    hanse_buf csr = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_csr_new(key, &csr, err);

    if (profile == HANSE_PROFILE_COORDINATOR_TLS) {
        want.hosts = hosts;
        want.hosts_count = 3;
    }
    if (rc == HANSE_OK)
        rc = hanse_cert_issue(out, c->ca, c->ca_key, hanse_buf_bytes(&csr), &want, err);
    hanse_buf_clear(&csr);
    return rc;
}

static void found(consortium *c)
{
    hanse_err err;

    assert_int_equal(hanse_ca_new(&c->ca_key, &c->ca, "Test League", NOW, 10, &err), HANSE_OK);
    assert_int_equal(hanse_key_new(&c->tls_key, HANSE_KEY_P256, &err), HANSE_OK);
    assert_int_equal(hanse_key_new(&c->sign_key, HANSE_KEY_ED25519, &err), HANSE_OK);
    for (int p = 1; p <= 4; p++)
        assert_int_equal(issue(&c->certs[p], c, p <= 2 ? c->tls_key : c->sign_key, (hanse_profile)p, "Berlin 1", &err), HANSE_OK);
    assert_int_equal(hanse_crl_new(&c->crl, c->ca, c->ca_key, NULL, NULL, 0, NOW, NOW + 400 * DAY, &err), HANSE_OK);
}

static void dissolve(consortium *c)
{
    for (int p = 1; p <= 4; p++)
        hanse_cert_free(c->certs[p]);
    hanse_crl_free(c->crl);
    hanse_cert_free(c->ca);
    hanse_key_free(c->ca_key);
    hanse_key_free(c->tls_key);
    hanse_key_free(c->sign_key);
}

static consortium ours, foreign; /* two of the same name: other keys */

static int setup(void **state)
{
    (void)state;
    found(&ours);
    found(&foreign);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dissolve(&ours);
    dissolve(&foreign);
    return 0;
}

static void refused(const hanse_cert *cert, const hanse_trust *trust, hanse_profile want, int64_t now, const char *why)
{
    hanse_err err = {0};

    assert_int_equal(hanse_cert_verify(cert, trust, want, now, &err), HANSE_E_IDENTITY);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void test_places(void **state)
{
    hanse_trust trust = {ours.ca, ours.crl, false};
    hanse_err err = {0};

    (void)state;
    for (int have = 1; have <= 4; have++)
        for (int want = 1; want <= 4; want++) {
            if (have != want) {
                refused(ours.certs[have], &trust, (hanse_profile)want, NOW, "wrong profile");
                continue;
            }
            if (hanse_cert_verify(ours.certs[have], &trust, (hanse_profile)want, NOW, &err) != HANSE_OK)
                fail_msg("%s", err.text);
        }
}

static void test_reasons(void **state)
{
    hanse_trust trust = {ours.ca, ours.crl, false}, none = {ours.ca, NULL, false}, enrolling = {ours.ca, NULL, true};
    hanse_trust wrong_list = {ours.ca, foreign.crl, false};
    hanse_profile site = HANSE_PROFILE_SITE_TLS;

    (void)state;
    refused(NULL, &trust, site, NOW, "missing");
    refused(ours.certs[1], &none, site, NOW, "list missing");
    refused(ours.certs[1], &wrong_list, site, NOW, "not signed by this consortium");
    refused(ours.certs[1], &trust, site, NOW - DAY, "not yet valid");
    refused(ours.certs[1], &trust, site, NOW + 31 * DAY, "expired");
    refused(ours.certs[1], &trust, site, NOW + 5000LL * DAY, "expired");
    refused(foreign.certs[1], &trust, site, NOW, "another CA");
    refused(foreign.ca, &trust, site, NOW, "another CA");
    refused(ours.ca, &trust, site, NOW, "");
    assert_int_equal(hanse_cert_verify(ours.certs[1], &enrolling, site, NOW - 200, NULL), HANSE_OK); /* clocks differ */
}

static void test_revocation(void **state)
{
    hanse_crl *second, *third, *again;
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_cert_info info;
    hanse_err err = {0};
    hanse_trust trust = {.ca = ours.ca};

    (void)state;
    assert_int_equal(hanse_cert_read(ours.certs[1], &info, &err), HANSE_OK);
    assert_int_equal(hanse_crl_new(&second, ours.ca, ours.ca_key, ours.crl, &info.serial, 1, NOW, NOW + DAY, &err), HANSE_OK);
    assert_int_equal(hanse_crl_new(&third, ours.ca, ours.ca_key, second, &info.serial, 1, NOW, NOW + DAY, &err), HANSE_OK);
    assert_int_equal(hanse_crl_number(ours.crl), 1);
    assert_int_equal(hanse_crl_number(third), 3);
    assert_int_equal(hanse_crl_next_update(third), NOW + DAY);
    assert_false(hanse_crl_has(ours.crl, info.serial));
    assert_int_equal(hanse_crl_to_pem(third, &pem, &err), HANSE_OK);
    assert_int_equal(hanse_crl_from_pem(&again, hanse_buf_bytes(&pem), &err), HANSE_OK);
    assert_true(hanse_crl_has(again, info.serial));
    trust.crl = again;
    refused(ours.certs[1], &trust, HANSE_PROFILE_SITE_TLS, NOW, "revoked");
    assert_int_equal(hanse_cert_verify(ours.certs[3], &trust, HANSE_PROFILE_SITE_SIGN, NOW, &err), HANSE_OK);
    refused(ours.certs[3], &trust, HANSE_PROFILE_SITE_SIGN, NOW + DAY + 1, "past its next update");
    assert_int_equal(hanse_crl_verify(again, foreign.ca, NOW, &err), HANSE_E_IDENTITY);
    assert_int_equal(hanse_crl_verify(again, ours.ca, NOW - DAY, &err), HANSE_E_IDENTITY);
    assert_int_equal(hanse_crl_new(&second, ours.ca, ours.ca_key, NULL, NULL, 0, NOW, NOW, &err), HANSE_E_INVALID);
    hanse_crl_free(second);
    hanse_crl_free(third);
    hanse_crl_free(again);
    hanse_buf_clear(&pem);
}

static void test_read(void **state)
{
    hanse_cert_info info, same;
    uint8_t id[32];
    hanse_buf der = HANSE_BUF_EMPTY, pem = HANSE_BUF_EMPTY;
    hanse_cert *a, *b;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_cert_read(ours.certs[3], &info, &err), HANSE_OK);
    assert_string_equal(info.uri, "urn:hanse:Charite:Berlin%201");
    assert_string_equal(info.organisation, "Charite");
    assert_string_equal(info.site, "Berlin 1");
    assert_int_equal(info.profile, HANSE_PROFILE_SITE_SIGN);
    assert_int_equal(info.not_before, NOW - HANSE_SKEW_S);
    assert_int_equal(info.not_after, NOW + 30 * DAY);
    assert_int_equal(hanse_key_id(ours.sign_key, id, &err), HANSE_OK);
    assert_memory_equal(id, info.key_id, 32);
    assert_int_equal(hanse_cert_to_der(ours.certs[3], &der, &err), HANSE_OK);
    assert_int_equal(hanse_cert_to_pem(ours.certs[3], &pem, &err), HANSE_OK);
    assert_int_equal(hanse_cert_from_der(&a, hanse_buf_bytes(&der), &err), HANSE_OK);
    assert_int_equal(hanse_cert_from_pem(&b, hanse_buf_bytes(&pem), &err), HANSE_OK);
    assert_int_equal(hanse_cert_read(a, &same, &err), HANSE_OK);
    assert_memory_equal(same.fingerprint, info.fingerprint, 32);
    assert_int_equal(hanse_cert_read(b, &same, &err), HANSE_OK);
    assert_memory_equal(same.fingerprint, info.fingerprint, 32);
    hanse_cert_free(b);
    b = hanse_cert_ref(a);
    assert_ptr_equal(a, b);
    hanse_cert_free(a);
    hanse_cert_free(b);
    assert_int_equal(hanse_cert_from_der(&a, (hanse_bytes){der.data, der.len - 1}, &err), HANSE_E_INVALID);
    assert_int_equal(hanse_cert_read(ours.ca, &info, &err), HANSE_E_IDENTITY);
    hanse_buf_clear(&der);
    hanse_buf_clear(&pem);
}

/* Every byte of a signed certificate is covered: by the parser, the signature or the profile. */
static void test_tampered_certificate(void **state)
{
    hanse_trust trust = {ours.ca, ours.crl, false};
    hanse_buf der = HANSE_BUF_EMPTY;

    (void)state;
    assert_int_equal(hanse_cert_to_der(ours.certs[3], &der, NULL), HANSE_OK);
    for (size_t i = 0; i < der.len; i++) {
        hanse_cert *cert = NULL;
        der.data[i] ^= 1;
        if (hanse_cert_from_der(&cert, hanse_buf_bytes(&der), NULL) == HANSE_OK
            && hanse_cert_verify(cert, &trust, HANSE_PROFILE_SITE_SIGN, NOW, NULL) == HANSE_OK)
            fail_msg("byte %zu flipped and still accepted", i);
        hanse_cert_free(cert);
        der.data[i] ^= 1;
    }
    hanse_buf_clear(&der);
}

static void test_csr(void **state)
{
    hanse_issue want = {.profile = HANSE_PROFILE_SITE_SIGN, .organisation = "Charite", .site = "Berlin", .now = NOW, .days = 30};
    hanse_buf csr = HANSE_BUF_EMPTY;
    hanse_cert *cert = NULL;
    uint8_t id[32], other[32];
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_csr_new(ours.sign_key, &csr, &err), HANSE_OK);
    assert_int_equal(hanse_csr_key_id(hanse_buf_bytes(&csr), id, &err), HANSE_OK);
    assert_int_equal(hanse_key_id(ours.sign_key, other, &err), HANSE_OK);
    assert_memory_equal(id, other, 32);
    for (size_t i = 0; i < csr.len; i++) {
        csr.data[i] ^= 1;
        assert_int_equal(hanse_cert_issue(&cert, ours.ca, ours.ca_key, hanse_buf_bytes(&csr), &want, &err), HANSE_E_IDENTITY);
        csr.data[i] ^= 1;
    }
    for (size_t len = 0; len < csr.len; len++)
        assert_int_equal(hanse_csr_key_id((hanse_bytes){csr.data, len}, id, &err), HANSE_E_IDENTITY);
    want.profile = HANSE_PROFILE_SITE_TLS; /* an Ed25519 key */
    assert_int_equal(hanse_cert_issue(&cert, ours.ca, ours.ca_key, hanse_buf_bytes(&csr), &want, &err), HANSE_E_IDENTITY);
    want.profile = HANSE_PROFILE_SITE_SIGN;
    want.site = "a\nb";
    assert_int_equal(hanse_cert_issue(&cert, ours.ca, ours.ca_key, hanse_buf_bytes(&csr), &want, &err), HANSE_E_INVALID);
    want.site = "Berlin";
    want.now = NOW + 5000LL * DAY;
    assert_int_equal(hanse_cert_issue(&cert, ours.ca, ours.ca_key, hanse_buf_bytes(&csr), &want, &err), HANSE_E_INVALID);
    assert_null(cert);
    hanse_buf_clear(&csr);
}

static void test_match(void **state)
{
    hanse_cert *elsewhere;
    hanse_err err;

    (void)state;
    assert_int_equal(issue(&elsewhere, &ours, ours.sign_key, HANSE_PROFILE_SITE_SIGN, "Kiel", &err), HANSE_OK);
    assert_int_equal(hanse_cert_match(ours.certs[1], ours.certs[3], &err), HANSE_OK);
    assert_int_equal(hanse_cert_match(ours.certs[2], ours.certs[4], &err), HANSE_OK);
    assert_int_equal(hanse_cert_match(ours.certs[1], ours.certs[4], &err), HANSE_E_IDENTITY);
    assert_int_equal(hanse_cert_match(ours.certs[3], ours.certs[1], &err), HANSE_E_IDENTITY);
    assert_int_equal(hanse_cert_match(ours.certs[1], elsewhere, &err), HANSE_E_IDENTITY);
    assert_int_equal(hanse_cert_match(NULL, elsewhere, &err), HANSE_E_IDENTITY);
    hanse_cert_free(elsewhere);
}

static void test_names(void **state)
{
    static const struct { const char *name; bool good; } rows[] = {
        {"Charite", true}, {"St. Mary-1_x", true}, {"", false}, {NULL, false}, {" a", false}, {"a ", false}, {".a", false}, {"-a", false},
        {"a:b", false}, {"a/b", false}, {"a\x1b", false}, {"\xc3\xa9", false}, {"a,URI:x", false},
        {"123456789012345678901234567890123456789012345678901234567890123", true},
        {"1234567890123456789012345678901234567890123456789012345678901234", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(hanse_name_is_valid(rows[i].name), rows[i].good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places), cmocka_unit_test(test_reasons), cmocka_unit_test(test_revocation), cmocka_unit_test(test_read),
        cmocka_unit_test(test_tampered_certificate), cmocka_unit_test(test_csr), cmocka_unit_test(test_match), cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
