#include "hanse/secagg.h"

#include "hanse/digest.h"
#include "hanse/secagg_graph.h"

static const struct {
    const char *name;
    hanse_rc rc;
} reasons[HANSE_SECAGG_REASONS] = {
    [HANSE_SECAGG_NONE] = {"none", HANSE_OK},
    [HANSE_SECAGG_ENCODING] = {"E_ENCODING", HANSE_E_PROTOCOL},
    [HANSE_SECAGG_SIG] = {"E_SIG", HANSE_E_AUTH},
    [HANSE_SECAGG_CERT] = {"E_CERT", HANSE_E_IDENTITY},
    [HANSE_SECAGG_ROSTER] = {"E_ROSTER", HANSE_E_IDENTITY},
    [HANSE_SECAGG_DUPKEY] = {"E_DUPKEY", HANSE_E_DUPLICATE},
    [HANSE_SECAGG_LOWORDER] = {"E_LOWORDER", HANSE_E_AUTH},
    [HANSE_SECAGG_TICKET] = {"E_TICKET", HANSE_E_PROTOCOL},
    [HANSE_SECAGG_TICKET_REUSED] = {"E_TICKET_REUSED", HANSE_E_DUPLICATE},
    [HANSE_SECAGG_CUT_OVERLAP] = {"E_CUT_OVERLAP", HANSE_E_PROTOCOL},
    [HANSE_SECAGG_CUT_CONFLICT] = {"E_CUT_CONFLICT", HANSE_E_PROTOCOL},
    [HANSE_SECAGG_MODELHASH] = {"E_MODELHASH", HANSE_E_AUTH},
    [HANSE_SECAGG_PLAN] = {"E_PLAN", HANSE_E_POLICY},
    [HANSE_SECAGG_COHORT] = {"E_COHORT", HANSE_E_QUORUM},
    [HANSE_SECAGG_DIFF] = {"E_DIFF", HANSE_E_POLICY},
    [HANSE_SECAGG_REPLAY] = {"E_REPLAY", HANSE_E_PROTOCOL},
    [HANSE_SECAGG_RANGE] = {"E_RANGE", HANSE_E_WEIGHT},
    [HANSE_SECAGG_RECON] = {"E_RECON", HANSE_E_AUTH},
    [HANSE_SECAGG_SANITY] = {"E_SANITY", HANSE_E_AUTH},
    [HANSE_SECAGG_SHARE_AUTH] = {"E_SHARE_AUTH", HANSE_E_AUTH},
    [HANSE_SECAGG_LATE] = {"E_LATE", HANSE_E_LATE},
    [HANSE_SECAGG_DEAD] = {"E_DEAD", HANSE_E_LATE},
    [HANSE_SECAGG_ROLLBACK] = {"E_ROLLBACK", HANSE_E_CORRUPT},
};

const char *hanse_secagg_reason_name(hanse_secagg_reason reason)
{
    return (unsigned)reason < HANSE_SECAGG_REASONS ? reasons[reason].name : "none";
}

hanse_rc hanse_secagg_reason_rc(hanse_secagg_reason reason)
{
    return (unsigned)reason < HANSE_SECAGG_REASONS ? reasons[reason].rc : HANSE_E_USAGE;
}

hanse_secagg_reason hanse_secagg_reason_of(const hanse_err *err)
{
    const char *at = err->text;

    while ((at = strstr(at, "E_")) != NULL) {
        for (unsigned i = 1; i < HANSE_SECAGG_REASONS; i++) {
            size_t len = strlen(reasons[i].name);

            if (strncmp(at, reasons[i].name, len) == 0 && at[len] == ':')
                return (hanse_secagg_reason)i;
        }
        at += 2;
    }
    return HANSE_SECAGG_NONE;
}

/* --- thresholds --- */

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static hanse_rc check_n(uint32_t n, const hanse_secagg_policy *policy, hanse_err *err)
{
    if (n > HANSE_SECAGG_SITES_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%u sites, at most %d", n, HANSE_SECAGG_SITES_MAX);
    if (n < 2 || (n == 2 && !policy->allow_two))
        return HANSE_SECAGG_FAIL(err, COHORT, "%u sites: secure aggregation needs 3 (2 only with aggregation.allow_two in the plan and policy.allow_two at both sites)", n);
    return HANSE_OK;
}

/* The floors; t from the c that was chosen. */
static uint32_t floor_c(uint32_t n)
{
    return max_u32(1, n / 5);
}

static uint32_t floor_d(uint32_t n)
{
    return n <= 3 ? 0 : max_u32(1, n / 5);
}

static uint32_t floor_t(uint32_t n, uint32_t c)
{
    uint32_t t = (n + c) / 2 + 1;

    return n >= 10 ? max_u32(t, (2 * n + 2) / 3) : t;
}

hanse_rc hanse_secagg_params_default(hanse_secagg_params *out, uint32_t n, hanse_secagg_profile profile,
                                     const hanse_secagg_policy *policy, hanse_err *err)
{
    hanse_secagg_params params = {.n = n, .c = policy->trusted_coordinator ? 0 : floor_c(n), .d_max = floor_d(n),
                                  .profile = (uint8_t)profile};
    hanse_rc rc = check_n(n, policy, err);

    if (rc != HANSE_OK)
        return rc;
    if (policy->survivors_min > n - params.d_max && policy->survivors_min <= n)
        params.d_max = n - policy->survivors_min;
    params.m = n - params.d_max;
    params.t = floor_t(n, params.c);
    rc = hanse_secagg_params_check(&params, policy, err);
    if (rc == HANSE_OK)
        *out = params;
    return rc;
}

uint32_t hanse_secagg_honest(const hanse_secagg_params *params)
{
    uint32_t d = params->d_max, lost;

    if (params->profile == HANSE_SECAGG_CRON && d > 0)
        d = 2 * d - 1;
    lost = params->c + d;
    return lost < params->n ? params->n - lost : 0;
}

uint32_t hanse_secagg_retry_count(const hanse_secagg_params *params)
{
    uint32_t n = params->n, answers = params->t;

    if (params->degree > 0) { /* each answers for at most `degree` survivors, each of whom needs degree_t */
        uint64_t shares = (uint64_t)(n - params->d_max - params->c) * params->degree_t;
        uint64_t least = (shares + params->degree - 1) / params->degree;

        if (least < answers)
            answers = (uint32_t)least;
    }
    return n - answers + 1 + params->c;
}

uint32_t hanse_secagg_shares_needed(const hanse_secagg_params *params)
{
    return params->degree > 0 ? params->degree_t : params->t;
}

static hanse_rc check_degree(const hanse_secagg_params *params, hanse_err *err)
{
    uint32_t k = params->degree, t = params->degree_t, c;

    if (k == 0 && t == 0)
        return HANSE_OK;
    if (params->profile != HANSE_SECAGG_ONLINE || k == 0 || k % 2 != 0 || k + 1 >= params->n)
        return HANSE_SECAGG_FAIL(err, COHORT, "%u neighbours of %u sites: must be even, below n - 1, and the profile online", k, params->n);
    c = hanse_secagg_graph_colluding(params->n, params->c, k, HANSE_SECAGG_GRAPH_LAMBDA);
    if (t < k / 2 + c + 1 || t > k)
        return HANSE_SECAGG_FAIL(err, COHORT, "%u shares of %u neighbours, of whom %u may collude: must be %u to %u", t, k, c, k / 2 + c + 1, k);
    return HANSE_OK;
}

hanse_rc hanse_secagg_params_check(const hanse_secagg_params *params, const hanse_secagg_policy *policy, hanse_err *err)
{
    uint32_t n = params->n, c = params->c, d = params->d_max, m = params->m, t = params->t;
    uint32_t honest, want;
    hanse_rc rc = check_n(n, policy, err);

    if (rc != HANSE_OK)
        return rc;
    if (params->profile > HANSE_SECAGG_CRON)
        return HANSE_SECAGG_FAIL(err, COHORT, "profile %u is unknown", params->profile);
    if (c >= n || (c < floor_c(n) && !(c == 0 && policy->trusted_coordinator)))
        return HANSE_SECAGG_FAIL(err, COHORT, "c = %u colluding sites assumed, the floor for %u sites is %u", c, n, floor_c(n));
    if (d > floor_d(n))
        return HANSE_SECAGG_FAIL(err, COHORT, "D = %u dropouts allowed, at most %u for %u sites", d, floor_d(n), n);
    if (m < n - d || m > n)
        return HANSE_SECAGG_FAIL(err, COHORT, "m = %u survivors, must be n - D = %u to %u", m, n - d, n);
    if (t < floor_t(n, c) || t > n - d)
        return HANSE_SECAGG_FAIL(err, COHORT, "t = %u shares, must be %u to n - D = %u", t, floor_t(n, c), n - d);
    if (m < policy->survivors_min)
        return HANSE_SECAGG_FAIL(err, COHORT, "m = %u survivors, this site's policy asks for %u", m, policy->survivors_min);
    if (c < policy->collusion_min)
        return HANSE_SECAGG_FAIL(err, COHORT, "c = %u colluding sites assumed, this site's policy asks for %u", c, policy->collusion_min);
    if (t < policy->threshold_min)
        return HANSE_SECAGG_FAIL(err, COHORT, "t = %u shares open a secret, this site's policy asks for %u", t, policy->threshold_min);
    if (check_degree(params, err) != HANSE_OK)
        return HANSE_E_QUORUM;
    honest = hanse_secagg_honest(params);
    want = n == 2 ? 1 : max_u32(2, (n + 1) / 2 > c ? (n + 1) / 2 - c : 0);
    want = max_u32(want, policy->honest_min);
    if (honest < want)
        return HANSE_SECAGG_FAIL(err, COHORT, "only %u honest inputs in a sum, must be %u", honest, want);
    return HANSE_OK;
}

hanse_rc hanse_secagg_params_check_members(const hanse_secagg_params *params, const hanse_secagg_policy *policy,
                                           const uint32_t *organisations, hanse_err *err)
{
    uint32_t distinct = 0, largest = 0;
    hanse_rc rc = hanse_secagg_params_check(params, policy, err);

    for (uint32_t i = 0; rc == HANSE_OK && i < params->n; i++) {
        uint32_t before = 0, sites = 0;

        for (uint32_t j = 0; j < params->n; j++)
            if (organisations[j] == organisations[i]) {
                before += j < i;
                sites++;
            }
        distinct += before == 0;
        largest = max_u32(largest, sites);
    }
    if (rc == HANSE_OK && distinct < params->m)
        return HANSE_SECAGG_FAIL(err, COHORT, "the %u sites belong to %u organisations, a sum must have m = %u", params->n, distinct,
                                 params->m);
    if (rc == HANSE_OK && largest > max_u32(1, params->c))
        return HANSE_SECAGG_FAIL(err, COHORT, "one organisation has %u sites, but only c = %u are taken to collude: raise aggregation.collusion (from five sites on)",
                                 largest, params->c);
    return rc;
}

/* --- roster --- */

typedef struct member {
    uint8_t id[32];
    hanse_cert *cert;
    uint32_t organisation;
    bool trusted;
} member;

struct hanse_secagg_roster {
    uint8_t hash[32];
    hanse_cert *coordinator;
    bool coordinator_trusted;
    size_t count;
    member *members; /* [count], ascending by id */
};

static hanse_rc take_member(member *to, const hanse_secagg_member *from, hanse_err *err)
{
    hanse_cert_info info;
    hanse_rc rc = hanse_cert_read(from->cert, &info, err);

    if (rc == HANSE_E_NOMEM)
        return rc;
    if (rc != HANSE_OK || memcmp(info.key_id, from->id, 32) != 0 /* public */)
        return HANSE_SECAGG_FAIL(err, ROSTER, "a member's certificate is not of the key that the roster pins");
    memcpy(to->id, from->id, 32);
    to->cert = hanse_cert_ref(from->cert);
    to->organisation = from->organisation;
    return HANSE_OK;
}

hanse_rc hanse_secagg_roster_new(hanse_secagg_roster **out, const uint8_t hash[32], const hanse_secagg_member *members,
                                 size_t count, const hanse_cert *coordinator, const hanse_trust *trust, int64_t now_s,
                                 hanse_err *err)
{
    hanse_secagg_roster *roster = hanse_calloc(1, sizeof *roster);
    hanse_rc rc = HANSE_OK;

    if (roster == NULL || (roster->members = hanse_calloc(count, sizeof *roster->members)) == NULL) {
        hanse_free(roster);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a roster of %zu sites", count);
    }
    roster->count = count;
    memcpy(roster->hash, hash, 32);
    roster->coordinator = hanse_cert_ref(coordinator);
    if (count == 0 || count > HANSE_SECAGG_SITES_MAX)
        rc = HANSE_SECAGG_FAIL(err, ROSTER, "%zu sites, must be 1 to %d", count, HANSE_SECAGG_SITES_MAX);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        if (i > 0 && memcmp(members[i - 1].id, members[i].id, 32) >= 0) /* public */
            rc = HANSE_SECAGG_FAIL(err, ROSTER, "members %zu and %zu are not ascending by id", i - 1, i);
        else
            rc = take_member(&roster->members[i], &members[i], err);
    }
    if (rc == HANSE_OK)
        rc = hanse_secagg_roster_refresh(roster, trust, now_s, err);
    if (rc == HANSE_OK)
        *out = roster;
    else
        hanse_secagg_roster_free(roster);
    return rc;
}

hanse_rc hanse_secagg_roster_renew(hanse_secagg_roster *roster, uint32_t site_idx, const hanse_cert *cert, hanse_err *err)
{
    hanse_secagg_member with = {.cert = cert, .organisation = roster->members[site_idx].organisation};
    member fresh = {.trusted = roster->members[site_idx].trusted};
    hanse_rc rc;

    memcpy(with.id, roster->members[site_idx].id, 32);
    rc = take_member(&fresh, &with, err);
    if (rc != HANSE_OK)
        return rc;
    hanse_cert_free(roster->members[site_idx].cert);
    roster->members[site_idx] = fresh;
    return HANSE_OK;
}

hanse_rc hanse_secagg_roster_refresh(hanse_secagg_roster *roster, const hanse_trust *trust, int64_t now_s, hanse_err *err)
{
    hanse_err why;
    hanse_rc rc;

    for (size_t i = 0; i < roster->count; i++) {
        rc = hanse_cert_verify(roster->members[i].cert, trust, HANSE_PROFILE_SITE_SIGN, now_s, &why);
        if (rc == HANSE_E_NOMEM) /* says nothing about the certificate */
            return HANSE_FAIL(err, rc, "%s", why.text);
        roster->members[i].trusted = rc == HANSE_OK;
    }
    rc = hanse_cert_verify(roster->coordinator, trust, HANSE_PROFILE_COORDINATOR_SIGN, now_s, &why);
    if (rc == HANSE_E_NOMEM)
        return HANSE_FAIL(err, rc, "%s", why.text);
    roster->coordinator_trusted = rc == HANSE_OK;
    if (rc != HANSE_OK)
        return HANSE_SECAGG_FAIL(err, CERT, "coordinator: %s", why.text);
    return HANSE_OK;
}

void hanse_secagg_roster_free(hanse_secagg_roster *roster)
{
    if (roster == NULL)
        return;
    for (size_t i = 0; i < roster->count; i++)
        hanse_cert_free(roster->members[i].cert);
    hanse_cert_free(roster->coordinator);
    hanse_free(roster->members);
    hanse_free(roster);
}

uint32_t hanse_secagg_roster_count(const hanse_secagg_roster *roster)
{
    return (uint32_t)roster->count;
}

const uint8_t *hanse_secagg_roster_hash(const hanse_secagg_roster *roster)
{
    return roster->hash;
}

const uint8_t *hanse_secagg_roster_id(const hanse_secagg_roster *roster, uint32_t site_idx)
{
    return roster->members[site_idx].id;
}

int hanse_secagg_roster_find(const hanse_secagg_roster *roster, const uint8_t id[32])
{
    for (size_t i = 0; i < roster->count; i++)
        if (memcmp(roster->members[i].id, id, 32) == 0) /* public */
            return (int)i;
    return -1;
}

hanse_rc hanse_secagg_params_check_roster(const hanse_secagg_params *params, const hanse_secagg_policy *policy,
                                          const hanse_secagg_roster *roster, hanse_err *err)
{
    uint32_t *organisations;
    hanse_rc rc;

    if (params->n != roster->count)
        return HANSE_SECAGG_FAIL(err, ROSTER, "thresholds for %u sites, the roster has %zu", params->n, roster->count);
    organisations = hanse_calloc(roster->count, sizeof *organisations);
    if (organisations == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu organisations", roster->count);
    for (size_t i = 0; i < roster->count; i++)
        organisations[i] = roster->members[i].organisation;
    rc = hanse_secagg_params_check_members(params, policy, organisations, err);
    hanse_free(organisations);
    return rc;
}

uint32_t hanse_secagg_roster_organisations(const hanse_secagg_roster *roster, const uint8_t *in)
{
    uint32_t distinct = 0;

    for (size_t i = 0; i < roster->count; i++) {
        bool first = in[i] != 0;

        for (size_t j = 0; first && j < i; j++)
            first = in[j] == 0 || roster->members[j].organisation != roster->members[i].organisation;
        distinct += first;
    }
    return distinct;
}

hanse_rc hanse_secagg_verify(const hanse_secagg_roster *roster, uint32_t site_idx, const char *label, hanse_signed object,
                             hanse_err *err)
{
    bool site = site_idx != HANSE_SECAGG_COORDINATOR;
    const hanse_cert *cert;
    hanse_rc rc;

    if (site && site_idx >= roster->count)
        return HANSE_SECAGG_FAIL(err, ROSTER, "%s of member %u, the roster has %zu", label, site_idx, roster->count);
    if (site && !roster->members[site_idx].trusted)
        return HANSE_SECAGG_FAIL(err, CERT, "%s of member %u: its certificate is expired, revoked or not of a site", label, site_idx);
    if (!site && !roster->coordinator_trusted)
        return HANSE_SECAGG_FAIL(err, CERT, "%s: the coordinator's certificate is expired, revoked or not of a coordinator", label);
    cert = site ? roster->members[site_idx].cert : roster->coordinator;
    rc = hanse_verify_object(hanse_cert_key(cert), label, object.bytes, object.sig, err);
    if (rc == HANSE_E_AUTH) {
        if (site)
            return HANSE_SECAGG_FAIL(err, SIG, "%s: signature of member %u does not verify", label, site_idx);
        return HANSE_SECAGG_FAIL(err, SIG, "%s: the coordinator's signature does not verify", label);
    }
    return rc;
}
