/* policy.h - what a site agrees to, and the checks of everything the coordinator signs.
 *
 * A certificate alone proves nothing against the coordinator, so a run needs two acts of this site's operator: the pinned
 * roster, and an acceptance of (plan hash, roster hash, initial model root) that one run uses up. Pure: certificates,
 * bytes and the time come in, a verdict comes out. */
#ifndef HANSE_SITE_POLICY_H
#define HANSE_SITE_POLICY_H

#include "hanse/identity.h"
#include "hanse/object.h"
#include "hanse/plan.h"
#include "hanse/secagg.h"
#include "node/site/site.h"

typedef struct hanse_site_policy {
    bool accept_any;        /* for tests; never covers sealed privacy */
    uint8_t (*plans)[32];   /* [plans_count] standing approvals */
    size_t plans_count;
    bool allow_sealed;      /* the coordinator sees single contributions; off unless the operator says so */
    hanse_secagg_policy masking; /* floors of masked runs */
    uint32_t share_max_ppm;      /* largest share of all rows that this site contributes, in millionths */
    uint64_t ticket_life_max_ms;
} hanse_site_policy;

/* What the operator has accepted so far, as the store says. */
typedef struct hanse_site_consent {
    bool has_acceptance; /* of exactly this plan, roster and initial model, unused or used by this run */
    bool has_roster;
    uint8_t roster_hash[32]; /* pinned */
} hanse_site_consent;

/* Who we are and whom we trust. All borrowed. */
typedef struct hanse_site_trust {
    const hanse_cert *ca;
    const hanse_cert *coordinator; /* coordinator-sign, from enrolment */
    const hanse_crl *crl;          /* newest; NULL: none yet */
    uint8_t site_id[32];
    uint64_t vetted_from_ms, vetted_until_ms; /* `coordinator` was verified against `ca` and `crl`: between these [wall ms] its
                                                 signatures count without doing so again; zeros: never */
} hanse_site_trust;

#define HANSE_SITE_VETTED_MS 60000u

/* An offer whose signatures and hashes hold. Owned by the caller, see hanse_site_offer_clear(). */
typedef struct hanse_site_offer {
    bool authentic;    /* `offer` is the coordinator's, whatever is wrong with the rest */
    hanse_offer offer;
    hanse_plan *plan;
    hanse_roster roster; /* certificates borrow from the message */
} hanse_site_offer;

/* Is it what the coordinator signed, is the plan readable, are we in the roster with our key, does each certificate in it
 * belong to its id and name?
 * Clear `out` also after an error.
 * Errors: AUTH, IDENTITY, PROTOCOL, INVALID (the plan), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_site_offer_verify(hanse_site_offer *out, const hanse_site_trust *trust,
                                                  const hanse_msg_offer *message, uint64_t now_ms, hanse_err *err);
void hanse_site_offer_clear(hanse_site_offer *offer);

/* Does this site take part? Errors: POLICY, the words say what the operator would have to do. */
HANSE_MUST_CHECK hanse_rc hanse_site_policy_check(const hanse_site_policy *policy, const hanse_site_consent *consent,
                                                  const hanse_site_offer *offer, hanse_err *err);

/* Bytes signed by the coordinator, with one of the labels of hanse/object.h. Errors: AUTH, IDENTITY. */
HANSE_MUST_CHECK hanse_rc hanse_site_signed_verify(const hanse_site_trust *trust, const char *label, hanse_bytes object,
                                                   hanse_bytes sig, uint64_t now_ms, hanse_err *err);

/* Decode and verify a spec and the statistics words beside it. Errors: AUTH, IDENTITY, PROTOCOL. */
HANSE_MUST_CHECK hanse_rc hanse_site_spec_verify(hanse_spec *out, const hanse_site_trust *trust, const hanse_msg_spec *message,
                                                 uint64_t now_ms, hanse_err *err);

#endif
