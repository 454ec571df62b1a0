/* Who may sign: a roster whose members are not in order or whose certificates are of other keys, thresholds of another roster, and a
 * coordinator whose own certificate is no longer good. */
#include "../../support/secagg_forge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define NOW_S ((int64_t)(WORLD_NOW / 1000))

static void swap(hanse_secagg_member *m)
{
    hanse_secagg_member first = m[0];

    m[0] = m[1];
    m[1] = first;
}
static void twice(hanse_secagg_member *m) { m[2] = m[1]; }
static void certificate_of_another(hanse_secagg_member *m) { m[3].cert = m[2].cert; }
static void id_of_none(hanse_secagg_member *m) { m[3].id[31] ^= 1; }

static const struct { const char *name; void (*change)(hanse_secagg_member *members); const char *says; } changes[] = {
    {"not in order", swap, "not ascending"},
    {"one member twice", twice, "not ascending"},
    {"another member's certificate", certificate_of_another, "not of the key"},
    {"an id that is of no key", id_of_none, "not of the key"},
};

static void test_new(void **state)
{
    hanse_secagg_member members[4], changed[4];
    uint8_t hash[32] = {1};
    hanse_secagg_roster *roster = NULL;
    hanse_trust trust;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 91);
    trust = (hanse_trust){w.ca, w.crl, false};
    for (uint32_t i = 0; i < w.n; i++) {
        members[i] = (hanse_secagg_member){.cert = w.sites[i].cert, .organisation = i};
        memcpy(members[i].id, hanse_secagg_roster_id(w.roster, i), 32);
    }
    for (size_t k = 0; k < sizeof changes / sizeof changes[0]; k++) {
        memcpy(changed, members, sizeof members);
        changes[k].change(changed);
        REFUSED(hanse_secagg_roster_new(&roster, hash, changed, w.n, w.coordinator, &trust, NOW_S, &w.err), ROSTER);
        if (strstr(w.err.text, changes[k].says) == NULL)
            fail_msg("%s: %s", changes[k].name, w.err.text);
        assert_null(roster);
    }
    REFUSED(hanse_secagg_roster_new(&roster, hash, members, 0, w.coordinator, &trust, NOW_S, &w.err), ROSTER);
    REFUSED(hanse_secagg_roster_new(&roster, hash, members, w.n, w.sites[0].cert, &trust, NOW_S, &w.err), CERT); /* a site's in the coordinator's place */
    assert_null(roster);
    GOOD(hanse_secagg_roster_new(&roster, hash, members, w.n, w.coordinator, &trust, NOW_S, &w.err)); /* control */
    REFUSED(hanse_secagg_roster_renew(roster, 1, w.sites[2].cert, &w.err), ROSTER);
    GOOD(hanse_secagg_roster_renew(roster, 1, w.sites[1].cert, &w.err));
    hanse_secagg_roster_free(roster);
    world_free(&w);
}

/* At both ends: a site and a round begin with thresholds for their roster only. */
static void test_thresholds_of_another_roster(void **state)
{
    hanse_secagg_segment segment = {.count = 1, .bits = 64, .bound = 1};
    hanse_secagg_spec spec = {.slot = 1, .chunk_words = 64, .segments_count = 1, .segments = &segment};
    hanse_secagg_site_config config;
    hanse_secagg_round *round = NULL;
    hanse_secagg_site *site = NULL;
    hanse_secagg_params five;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 92);
    GOOD(hanse_secagg_params_default(&five, 5, HANSE_SECAGG_CRON, &w.policy, &w.err));
    GOOD(hanse_secagg_params_check(&five, &w.policy, &w.err)); /* good in themselves */
    REFUSED(hanse_secagg_params_check_roster(&five, &w.policy, w.roster, &w.err), ROSTER);
    config = w.sites[0].config;
    config.params = five;
    REFUSED(hanse_secagg_site_new(&site, &config, &w.err), ROSTER);
    assert_null(site);
    spec.params = five;
    REFUSED(hanse_secagg_round_new(&round, w.roster, w.coordinator_key, w.seal_secret, &spec, &w.policy, &w.err), ROSTER);
    assert_null(round);
    GOOD(hanse_secagg_params_check_roster(&w.params, &w.policy, w.roster, &w.err)); /* control */
    config.params = spec.params = w.params;
    GOOD(hanse_secagg_site_new(&site, &config, &w.err));
    GOOD(hanse_secagg_round_new(&round, w.roster, w.coordinator_key, w.seal_secret, &spec, &w.policy, &w.err));
    hanse_secagg_site_free(site);
    hanse_secagg_round_free(round);
    world_free(&w);
}

/* What a revoked coordinator signed is refused until its certificate is found good again; what members sign is not touched. */
static void test_coordinator_revoked(void **state)
{
    uint8_t before[32], after[32];
    hanse_cert_info info;
    hanse_trust trust;
    hanse_crl *crl;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 93);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    GOOD(hanse_cert_read(w.coordinator, &info, &w.err));
    GOOD(hanse_crl_new(&crl, w.ca, w.ca_key, w.crl, (const uint8_t (*)[HANSE_SERIAL_LEN])&info.serial, 1, NOW_S, NOW_S + 86400, &w.err));
    trust = (hanse_trust){w.ca, crl, false};
    REFUSED(hanse_secagg_roster_refresh(w.roster, &trust, NOW_S, &w.err), CERT);
    forge_store_hash(&w, 0, before);
    REFUSED(world_cut_of(&w, 0, w.round, false), CERT);
    world_restart(&w, 0);
    REFUSED(world_spec(&w, 0, true), CERT);
    REFUSED(world_spec(&w, 0, false), CERT);
    REFUSED(hanse_secagg_verify(w.roster, HANSE_SECAGG_COORDINATOR, HANSE_SECAGG_CUT_LABEL, hanse_secagg_round_cut_signed(w.round), &w.err), CERT);
    forge_store_hash(&w, 0, after);
    assert_memory_equal(before, after, 32);
    GOOD(hanse_secagg_verify(w.roster, 1, HANSE_SECAGG_TICKET_LABEL, hanse_secagg_round_tickets(w.round)[1], &w.err));
    REFUSED(hanse_secagg_verify(w.roster, w.n, HANSE_SECAGG_TICKET_LABEL, hanse_secagg_round_tickets(w.round)[1], &w.err), ROSTER); /* no such member */
    trust.crl = w.crl; /* control: by the list of before */
    GOOD(hanse_secagg_roster_refresh(w.roster, &trust, NOW_S, &w.err));
    GOOD(world_spec(&w, 0, false));
    GOOD(world_cut_of(&w, 0, w.round, false));
    hanse_crl_free(crl);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_new), cmocka_unit_test(test_thresholds_of_another_roster),
                                       cmocka_unit_test(test_coordinator_revoked)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
