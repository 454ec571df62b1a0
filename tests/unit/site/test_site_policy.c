/* What a site agrees to: offers against the policy, signatures against certificates, node.yaml and commands against bad input. */
#include "node/commands.h"
#include "node/config.h"
#include "node/site/policy.h"

#include "hanse/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_S 1800000000
#define NOW_MS ((uint64_t)NOW_S * 1000)

static const char plan_text[] = "hanse: 1\nname: identity\ndata: {name: none, format: none}\nmodel: {kind: identity, parameters: 10}\n"
                                "rounds: {count: 1, deadline: 5m, min_sites: 1}\naggregation: {privacy: sealed}\n";

typedef struct world {
    hanse_key *ca_key, *coordinator_key, *site_key;
    hanse_cert *ca, *coordinator, *site;
    hanse_site_trust trust;
    hanse_buf site_der, roster, offer, plan;
    uint8_t offer_sig[HANSE_SIG_MAX], roster_sig[HANSE_SIG_MAX];
    size_t offer_sig_len, roster_sig_len;
    hanse_msg_offer message;
    hanse_err err;
} world;

static void issue(world *w, hanse_cert **out, hanse_key **key, hanse_profile profile, const char *org, const char *site)
{
    hanse_buf csr = HANSE_BUF_EMPTY;
    const hanse_issue how = {.profile = profile, .organisation = org, .site = site, .now = NOW_S, .days = 30};
    assert_int_equal(hanse_key_new(key, HANSE_KEY_ED25519, &w->err), HANSE_OK);
    assert_int_equal(hanse_csr_new(*key, &csr, &w->err), HANSE_OK);
    assert_int_equal(hanse_cert_issue(out, w->ca, w->ca_key, hanse_buf_bytes(&csr), &how, &w->err), HANSE_OK);
    hanse_buf_clear(&csr);
}

/* Sign an offer for a roster of this one site; `id` may be spoiled by the caller before. */
static void make_offer(world *w)
{
    hanse_cert_info info;
    hanse_roster_site entry = {.cert = hanse_buf_bytes(&w->site_der)};
    hanse_roster roster = {.sites = &entry, .sites_count = 1};
    hanse_offer offer = {.opened_ms = NOW_MS};

    assert_int_equal(hanse_cert_read(w->site, &info, &w->err), HANSE_OK);
    memcpy(entry.id, info.key_id, 32);
    (void)snprintf(entry.uri, sizeof entry.uri, "%s", info.uri);
    memcpy(entry.organisation, info.organisation, sizeof entry.organisation);
    memcpy(entry.name, info.site, sizeof entry.name);
    memcpy(roster.consortium, "lab", 4);
    hanse_buf_clear(&w->roster);
    hanse_buf_clear(&w->offer);
    assert_int_equal(hanse_roster_encode(&w->roster, &roster, &w->err), HANSE_OK);
    assert_int_equal(hanse_roster_hash(offer.roster_hash, &roster, &w->err), HANSE_OK);
    assert_int_equal(hanse_sha256(offer.plan_hash, hanse_buf_bytes(&w->plan), &w->err), HANSE_OK);
    assert_int_equal(hanse_offer_encode(&w->offer, &offer, &w->err), HANSE_OK);
    assert_int_equal(hanse_sign_object(w->coordinator_key, "roster", hanse_buf_bytes(&w->roster), w->roster_sig, &w->roster_sig_len, &w->err), HANSE_OK);
    assert_int_equal(hanse_sign_object(w->coordinator_key, "offer", hanse_buf_bytes(&w->offer), w->offer_sig, &w->offer_sig_len, &w->err), HANSE_OK);
    w->message = (hanse_msg_offer){hanse_buf_bytes(&w->offer), {w->offer_sig, w->offer_sig_len}, hanse_buf_bytes(&w->plan),
                                   hanse_buf_bytes(&w->roster), {w->roster_sig, w->roster_sig_len}};
}

static int setup(void **state)
{
    static world w;
    hanse_cert_info info;
    memset(&w, 0, sizeof w);
    assert_int_equal(hanse_ca_new(&w.ca_key, &w.ca, "lab", NOW_S, 10, &w.err), HANSE_OK);
    issue(&w, &w.coordinator, &w.coordinator_key, HANSE_PROFILE_COORDINATOR_SIGN, "lab", "coordinator");
    issue(&w, &w.site, &w.site_key, HANSE_PROFILE_SITE_SIGN, "clinic", "north");
    assert_int_equal(hanse_cert_to_der(w.site, &w.site_der, &w.err), HANSE_OK);
    assert_int_equal(hanse_cert_read(w.site, &info, &w.err), HANSE_OK);
    w.trust = (hanse_site_trust){.ca = w.ca, .coordinator = w.coordinator};
    memcpy(w.trust.site_id, info.key_id, 32);
    assert_int_equal(hanse_buf_append(&w.plan, plan_text, sizeof plan_text - 1, &w.err), HANSE_OK);
    make_offer(&w);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    hanse_key_free(w->ca_key);
    hanse_key_free(w->coordinator_key);
    hanse_key_free(w->site_key);
    hanse_cert_free(w->ca);
    hanse_cert_free(w->coordinator);
    hanse_cert_free(w->site);
    hanse_buf_clear(&w->site_der);
    hanse_buf_clear(&w->roster);
    hanse_buf_clear(&w->offer);
    hanse_buf_clear(&w->plan);
    return 0;
}

static hanse_rc verify(world *w, bool *authentic)
{
    hanse_site_offer offer;
    hanse_rc rc = hanse_site_offer_verify(&offer, &w->trust, &w->message, NOW_MS, &w->err);
    *authentic = offer.authentic;
    hanse_site_offer_clear(&offer);
    return rc;
}

static void test_offers(void **state)
{
    world *w = *state;
    bool authentic;

    if (verify(w, &authentic) != HANSE_OK)
        fail_msg("%s", w->err.text);
    w->offer_sig[3] ^= 1;
    assert_int_equal(verify(w, &authentic), HANSE_E_AUTH);
    assert_false(authentic);
    w->offer_sig[3] ^= 1;
    w->roster_sig[3] ^= 1;
    assert_int_equal(verify(w, &authentic), HANSE_E_AUTH);
    assert_true(authentic);
    w->roster_sig[3] ^= 1;
    w->plan.data[0] ^= 1; /* another plan than the signed hash */
    assert_int_equal(verify(w, &authentic), HANSE_E_AUTH);
    w->plan.data[0] ^= 1;
    w->trust.site_id[0] ^= 1; /* a roster without us */
    assert_int_equal(verify(w, &authentic), HANSE_E_IDENTITY);
    w->trust.site_id[0] ^= 1;
    w->trust.coordinator = w->site; /* a site that plays coordinator */
    assert_int_equal(verify(w, &authentic), HANSE_E_IDENTITY);
    w->trust.coordinator = w->coordinator;
    w->plan.data[0] = '?'; /* signed, but no plan */
    make_offer(w);
    assert_int_equal(verify(w, &authentic), HANSE_E_INVALID);
    assert_true(authentic);
}

static void test_policy_table(void **state)
{
    static const struct { const char *name; bool allow, any, listed, accepted, pinned; hanse_rc want; const char *words; } rows[] = {
        {"all of it", true, false, false, true, true, HANSE_OK, ""},
        {"standing approval", true, false, true, false, true, HANSE_OK, ""},
        {"sealed not allowed", false, false, true, true, true, HANSE_E_POLICY, "allow_sealed"},
        {"no roster", true, false, false, true, false, HANSE_E_POLICY, "roster"},
        {"no acceptance", true, false, false, false, true, HANSE_E_POLICY, "accept plan"},
        {"any never covers sealed", true, true, false, false, true, HANSE_E_POLICY, "accept plan"},
    };
    world *w = *state;
    hanse_site_offer offer;

    assert_int_equal(hanse_site_offer_verify(&offer, &w->trust, &w->message, NOW_MS, &w->err), HANSE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t plans[1][32];
        hanse_site_policy policy = {.accept_any = rows[i].any, .plans = plans, .plans_count = rows[i].listed, .allow_sealed = rows[i].allow};
        hanse_site_consent consent = {.has_acceptance = rows[i].accepted, .has_roster = rows[i].pinned};
        hanse_rc rc;
        memcpy(plans[0], offer.offer.plan_hash, 32);
        memcpy(consent.roster_hash, offer.offer.roster_hash, 32);
        rc = hanse_site_policy_check(&policy, &consent, &offer, &w->err);
        if (rc != rows[i].want || (rc != HANSE_OK && strstr(w->err.text, rows[i].words) == NULL))
            fail_msg("%s: rc %d, %s", rows[i].name, rc, w->err.text);
        consent.roster_hash[0] ^= 1; /* any other roster is refused */
        assert_int_equal(hanse_site_policy_check(&policy, &consent, &offer, &w->err), HANSE_E_POLICY);
    }
    hanse_site_offer_clear(&offer);
}

/* A masked plan whose sums would hide nothing: one site is no crowd. */
static void test_masked_plan(void **state)
{
    static const char masked[] = "hanse: 1\nname: identity\ndata: {name: none, format: none}\nmodel: {kind: identity, parameters: 10}\n"
                                 "rounds: {count: 1, deadline: 5m, min_sites: 1}\naggregation: {privacy: masked}\n";
    hanse_site_policy policy = {.accept_any = true, .ticket_life_max_ms = UINT64_MAX};
    hanse_site_consent consent = {.has_acceptance = true, .has_roster = true};
    world *w = *state;
    hanse_site_offer offer;

    hanse_buf_clear(&w->plan);
    assert_int_equal(hanse_buf_append(&w->plan, masked, sizeof masked - 1, &w->err), HANSE_OK);
    make_offer(w);
    assert_int_equal(hanse_site_offer_verify(&offer, &w->trust, &w->message, NOW_MS, &w->err), HANSE_OK);
    memcpy(consent.roster_hash, offer.offer.roster_hash, 32);
    assert_int_equal(hanse_site_policy_check(&policy, &consent, &offer, &w->err), HANSE_E_POLICY);
    assert_non_null(strstr(w->err.text, "the plan's sums hide too little here"));
    hanse_site_offer_clear(&offer);
}

/* The spec of a round, and the statistics that come with it. */
static void test_spec(void **state)
{
    static const uint8_t statistics[16] = {1, 2, 3};
    world *w = *state;
    hanse_spec spec = {.round = 1, .slot = 1, .kind = HANSE_ROUND_TRAINING, .model_size = 1000, .deadline_ms = NOW_MS, .chunk = HANSE_CHUNK_LEN}, got;
    const hanse_bytes words = {statistics, sizeof statistics};
    hanse_buf object = HANSE_BUF_EMPTY;
    uint8_t sig[HANSE_SIG_MAX];
    size_t sig_len;
    hanse_msg_spec message;

    assert_int_equal(hanse_sha256(spec.statistics_root, words, &w->err), HANSE_OK);
    assert_int_equal(hanse_spec_encode(&object, &spec, &w->err), HANSE_OK);
    assert_int_equal(hanse_sign_object(w->coordinator_key, HANSE_SPEC_LABEL, hanse_buf_bytes(&object), sig, &sig_len, &w->err), HANSE_OK);
    message = (hanse_msg_spec){hanse_buf_bytes(&object), {sig, sig_len}, words};
    assert_int_equal(hanse_site_spec_verify(&got, &w->trust, &message, NOW_MS, &w->err), HANSE_OK);
    assert_memory_equal(got.statistics_root, spec.statistics_root, 32);
    message.statistics.len--; /* other statistics than were signed */
    assert_int_equal(hanse_site_spec_verify(&got, &w->trust, &message, NOW_MS, &w->err), HANSE_E_AUTH);
    message.statistics = HANSE_BYTES_EMPTY;
    assert_int_equal(hanse_site_spec_verify(&got, &w->trust, &message, NOW_MS, &w->err), HANSE_E_PROTOCOL);
    assert_non_null(strstr(w->err.text, "the statistics it names are not there"));
    message.statistics = words;
    sig[0] ^= 1;
    assert_int_not_equal(hanse_site_spec_verify(&got, &w->trust, &message, NOW_MS, &w->err), HANSE_OK);
    hanse_buf_clear(&object);
}

static void test_node_yaml(void **state)
{
    static const char head[] = "coordinator: \"h:1\"\norganisation: a\nsite: b\n";
    static const struct { const char *tail; const char *words; } bad[] = {
        {"colour: red\n", "colour"},
        {"policy: {accept: [xyz]}\n", "64 hex"},
        {"policy: {allow_sealed: perhaps}\n", "allow_sealed"},
        {"data: {x: {files: []}}\n", "files"},
        {"data: {x: {files: [{path: p, part: all}]}}\n", "part"},
        {"log: {level: loud}\n", "level"},
    };
    hanse_node_config config;
    hanse_err err;
    hanse_buf text = HANSE_BUF_EMPTY;
    char whole[512];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(whole, sizeof whole, "%s%s", head, bad[i].tail);
        assert_int_equal(hanse_node_config_parse(&config, hanse_bytes_str(whole), "node.yaml", &err), HANSE_E_INVALID);
        if (strstr(err.text, bad[i].words) == NULL || strstr(err.text, "node.yaml") == NULL)
            fail_msg("%s -> %s", bad[i].tail, err.text);
    }
    assert_int_equal(hanse_node_config_parse(&config, hanse_bytes_str("coordinator: h\norganisation: a\nsite: b\n"), "node.yaml", &err), HANSE_E_INVALID);
    assert_int_equal(hanse_node_config_template(&text, "[::1]:7443", "name", "clinic", "north", &err), HANSE_OK);
    if (hanse_node_config_parse(&config, hanse_buf_bytes(&text), "node.yaml", &err) != HANSE_OK)
        fail_msg("%s", err.text);
    assert_string_equal(config.host, "::1");
    assert_int_equal(config.port, 7443);
    assert_false(config.policy.allow_sealed);
    assert_int_equal(config.policy.plans_count, 0);
    hanse_node_config_clear(&config);
    hanse_buf_clear(&text);
}

static int cli(const char *a, const char *b, const char *c, const char *d, const char *e)
{
    const char *argv[] = {"hanse-node", a, b, c, d, e, NULL};
    int argc = 1;
    while (argv[argc] != NULL)
        argc++;
    return hanse_cli_main(&hanse_node_program, argc, (char **)(uintptr_t)argv);
}

static void test_commands_refuse_bad_input(void **state)
{
    char dir[] = "/tmp/hanse-cli-XXXXXX", path[64];
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/bad.inv", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs("site: x\n", file);
    (void)fclose(file);
    assert_int_equal(cli("enrol", path, "--dir", dir, NULL), 4);
    assert_int_equal(cli("enrol", "/nowhere/x.inv", "--dir", dir, NULL), 4);
    assert_int_equal(cli("run", "--dir", dir, NULL, NULL), 4);
    assert_int_equal(cli("run", "--wait", "10s", "--dir", dir), 4);
    assert_int_equal(cli("check", "--dir", dir, NULL, NULL), 4);
    assert_int_equal(cli("accept", "plan", "abc", "--dir", dir), 4);
    assert_int_equal(cli("accept", "roster", "abc", "--dir", dir), 4);
    assert_int_equal(cli("run", NULL, NULL, NULL, NULL), 4);
    assert_int_equal(cli("dance", NULL, NULL, NULL, NULL), 4);
    assert_int_equal(cli("--version", NULL, NULL, NULL, NULL), 0);
    (void)unlink(path);
    (void)rmdir(dir);
}

/* The certificate is not checked again within the minute after it was found good; outside it is. */
static void test_vetted_for_a_minute(void **state)
{
    world *w = *state;
    hanse_key *other_key = NULL;
    hanse_cert *other = NULL;
    const struct {
        const char *name;
        uint64_t from_ms, until_ms;
        hanse_rc want;
    } rows[] = {{"never", 0, 0, HANSE_E_IDENTITY},
                {"now", NOW_MS, NOW_MS + HANSE_SITE_VETTED_MS, HANSE_OK},
                {"over", NOW_MS - HANSE_SITE_VETTED_MS, NOW_MS, HANSE_E_IDENTITY},
                {"the clock went back", NOW_MS + 1, NOW_MS + 1 + HANSE_SITE_VETTED_MS, HANSE_E_IDENTITY}};

    assert_int_equal(hanse_ca_new(&other_key, &other, "other", NOW_S, 10, &w->err), HANSE_OK);
    w->trust.ca = other; /* as if the chain had become bad: only a check would see it */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        w->trust.vetted_from_ms = rows[i].from_ms;
        w->trust.vetted_until_ms = rows[i].until_ms;
        if (hanse_site_signed_verify(&w->trust, HANSE_OFFER_LABEL, hanse_buf_bytes(&w->offer),
                                     (hanse_bytes){w->offer_sig, w->offer_sig_len}, NOW_MS, &w->err) != rows[i].want)
            fail_msg("%s: %s", rows[i].name, w->err.text);
    }
    w->offer_sig[8] ^= 1; /* the signature itself is always checked */
    w->trust.vetted_from_ms = NOW_MS;
    w->trust.vetted_until_ms = NOW_MS + HANSE_SITE_VETTED_MS;
    assert_int_not_equal(hanse_site_signed_verify(&w->trust, HANSE_OFFER_LABEL, hanse_buf_bytes(&w->offer),
                                                  (hanse_bytes){w->offer_sig, w->offer_sig_len}, NOW_MS, &w->err),
                         HANSE_OK);
    hanse_cert_free(other);
    hanse_key_free(other_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_offers, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_vetted_for_a_minute, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_policy_table, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_masked_plan, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_spec, setup, teardown),
                                       cmocka_unit_test(test_node_yaml), cmocka_unit_test(test_commands_refuse_bad_input)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
