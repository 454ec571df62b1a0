#include "node/site/policy.h"

#include "hanse/digest.h"
#include "hanse/masking.h"

#include <inttypes.h>

hanse_rc hanse_site_signed_verify(const hanse_site_trust *trust, const char *label, hanse_bytes object, hanse_bytes sig, uint64_t now_ms,
                                  hanse_err *err)
{
    hanse_trust chain = {.ca = trust->ca, .crl = trust->crl, .enrolling = trust->crl == NULL};
    bool vetted = now_ms >= trust->vetted_from_ms && now_ms < trust->vetted_until_ms;
    const hanse_key *key;
    hanse_rc rc = HANSE_OK;

    if (!vetted)
        rc = hanse_cert_verify(trust->coordinator, &chain, HANSE_PROFILE_COORDINATOR_SIGN, (int64_t)(now_ms / 1000), err);
    if (rc != HANSE_OK) {
        hanse_err_wrap(err, "the coordinator's signing certificate");
        return rc;
    }
    key = hanse_cert_key(trust->coordinator);
    if (key == NULL)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "the coordinator's signing certificate has no key");
    rc = hanse_verify_object(key, label, object, sig, err);
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "%s", label);
    return rc;
}

static hanse_rc hash_check(hanse_bytes bytes, const uint8_t want[32], const char *what, hanse_err *err)
{
    uint8_t got[32];
    hanse_rc rc = hanse_sha256(got, bytes, err);

    if (rc == HANSE_OK && memcmp(got, want, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "%s: its SHA-256 is not the one that was signed", what);
    return rc;
}

/* Each certificate belongs to its entry, and one entry is ours. */
static hanse_rc roster_check(const hanse_roster *roster, const uint8_t site_id[32], hanse_err *err)
{
    for (size_t i = 0; i < roster->sites_count; i++) {
        const hanse_roster_site *site = &roster->sites[i];
        hanse_cert *cert = NULL;
        hanse_cert_info info;
        hanse_rc rc = hanse_cert_from_der(&cert, site->cert, err);

        if (rc == HANSE_OK)
            rc = hanse_cert_read(cert, &info, err);
        hanse_cert_free(cert);
        if (rc == HANSE_OK && (info.profile != HANSE_PROFILE_SITE_SIGN || memcmp(info.key_id, site->id, 32) != 0 ||
                               strcmp(info.uri, site->uri) != 0 || strcmp(info.organisation, site->organisation) != 0 ||
                               strcmp(info.site, site->name) != 0))
            rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "its certificate belongs to %s", info.uri);
        if (rc != HANSE_OK) {
            hanse_err_wrap(err, "roster: site %s", site->name);
            return rc;
        }
    }
    if (hanse_roster_find(roster, site_id) == NULL)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "roster: this site's signing key is not in it");
    return HANSE_OK;
}

hanse_rc hanse_site_offer_verify(hanse_site_offer *out, const hanse_site_trust *trust, const hanse_msg_offer *message, uint64_t now_ms,
                                 hanse_err *err)
{
    uint8_t hash[32];
    hanse_rc rc = hanse_site_signed_verify(trust, HANSE_OFFER_LABEL, message->offer, message->sig, now_ms, err);

    memset(out, 0, sizeof *out);
    if (rc == HANSE_OK)
        rc = hanse_offer_decode(&out->offer, message->offer, err);
    if (rc != HANSE_OK)
        return rc;
    out->authentic = true;
    rc = hash_check(message->plan, out->offer.plan_hash, "plan", err);
    if (rc == HANSE_OK)
        rc = hanse_site_signed_verify(trust, HANSE_ROSTER_LABEL, message->roster, message->roster_sig, now_ms, err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&out->roster, message->roster, err);
    if (rc == HANSE_OK)
        rc = hanse_roster_hash(hash, &out->roster, err);
    if (rc == HANSE_OK && memcmp(hash, out->offer.roster_hash, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "the roster is another than the offer's");
    if (rc == HANSE_OK)
        rc = roster_check(&out->roster, trust->site_id, err);
    if (rc == HANSE_OK)
        rc = hanse_plan_parse(&out->plan, message->plan, "offered plan", err);
    return rc;
}

void hanse_site_offer_clear(hanse_site_offer *offer)
{
    hanse_plan_free(offer->plan);
    hanse_roster_clear(&offer->roster);
    memset(offer, 0, sizeof *offer);
}

/* Would the sums of this plan hide this site's update as well as its operator wants? */
static hanse_rc masking_check(const hanse_site_policy *policy, const hanse_site_offer *offer, hanse_err *err)
{
    hanse_secagg_params params;
    hanse_err why = {0};
    hanse_rc rc = hanse_masking_params(&params, offer->plan, offer->roster.sites_count, &why);

    if (rc == HANSE_OK)
        rc = hanse_masking_params_check(&params, &policy->masking, &offer->roster, &why);
    if (rc == HANSE_OK && offer->plan->aggregation.ticket_life_ms > policy->ticket_life_max_ms)
        rc = HANSE_FAIL(&why, HANSE_E_POLICY, "aggregation.ticket_life of %" PRIu64 " h is above policy.ticket_life_max of %" PRIu64 " h",
                        offer->plan->aggregation.ticket_life_ms / 3600000, policy->ticket_life_max_ms / 3600000);
    return rc == HANSE_OK ? HANSE_OK : HANSE_FAIL(err, HANSE_E_POLICY, "the plan's sums hide too little here: %s", why.text);
}

hanse_rc hanse_site_policy_check(const hanse_site_policy *policy, const hanse_site_consent *consent, const hanse_site_offer *offer,
                                 hanse_err *err)
{
    char hex[65];
    bool sealed = offer->plan->aggregation.privacy == HANSE_PRIVACY_SEALED;
    bool agreed = consent->has_acceptance || (policy->accept_any && !sealed);

    if (sealed && !policy->allow_sealed)
        return HANSE_FAIL(err, HANSE_E_POLICY, "the plan is sealed: the coordinator could read single updates; policy.allow_sealed is false");
    if (!sealed && masking_check(policy, offer, err) != HANSE_OK)
        return HANSE_E_POLICY;
    if (!consent->has_roster || memcmp(consent->roster_hash, offer->offer.roster_hash, 32) != 0) {
        hanse_hex_encode(hex, offer->offer.roster_hash, 32);
        return HANSE_FAIL(err, HANSE_E_POLICY, "%s: compare `hanse-node roster --dir DIR`, then `hanse-node accept roster %s --dir DIR`",
                          consent->has_roster ? "another roster than the accepted one" : "roster not accepted", hex);
    }
    for (size_t i = 0; i < policy->plans_count && !agreed; i++)
        agreed = memcmp(policy->plans[i], offer->offer.plan_hash, 32) == 0;
    if (!agreed) {
        hanse_hex_encode(hex, offer->offer.plan_hash, 32);
        return HANSE_FAIL(err, HANSE_E_POLICY, "plan not accepted for this run: read plans/ in DIR, then `hanse-node accept plan %s --dir DIR`", hex);
    }
    return HANSE_OK;
}

hanse_rc hanse_site_spec_verify(hanse_spec *out, const hanse_site_trust *trust, const hanse_msg_spec *message, uint64_t now_ms,
                                hanse_err *err)
{
    static const uint8_t none[32];
    hanse_spec spec;
    hanse_rc rc = hanse_site_signed_verify(trust, HANSE_SPEC_LABEL, message->spec, message->sig, now_ms, err);

    if (rc == HANSE_OK)
        rc = hanse_spec_decode(&spec, message->spec, err);
    if (rc == HANSE_OK && message->statistics.len > 0)
        rc = hash_check(message->statistics, spec.statistics_root, "statistics", err);
    else if (rc == HANSE_OK && memcmp(spec.statistics_root, none, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_PROTOCOL, "spec of round %" PRIu64 ": the statistics it names are not there", spec.round);
    if (rc == HANSE_OK)
        *out = spec;
    return rc;
}
