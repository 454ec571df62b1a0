/* secagg.h - secure aggregation with tickets: words, thresholds, and who may sign what.
 *
 * The coordinator adds up updates that it cannot read. Each site leaves a signed ticket for a slot in advance (public
 * key, and two secrets shared among all sites), uploads x + masks, and later helps once to remove what absent sites left
 * over. Double masking after Bonawitz et al., CCS 2017, doi:10.1145/3133956.3133982; the tickets, the rule "one kind
 * of share a ticket, for ever" and the bound for one contact less (CRON) are our own, and not reviewed elsewhere.
 * Letters: n sites, c colluding ones, D dropouts allowed, m fewest survivors, t shares that open a secret, S survivors.
 * Objects: secagg_object.h. A site: secagg_site.h. The coordinator: secagg_round.h. Pure: no I/O, clock or randomness. */
#ifndef HANSE_SECAGG_H
#define HANSE_SECAGG_H

#include "hanse/identity.h"

#define HANSE_SECAGG_SITES_MAX 1024

/* Why something was refused: stable names, for logs, the wire and tests. The text of a hanse_err of this room begins
 * with the name and a colon (contexts may stand before it). */
typedef enum hanse_secagg_reason {
    HANSE_SECAGG_NONE,
    HANSE_SECAGG_ENCODING,      /* E_ENCODING      does not decode */
    HANSE_SECAGG_SIG,           /* E_SIG           a signature does not verify */
    HANSE_SECAGG_CERT,          /* E_CERT          signer's certificate expired, revoked, of another profile or CA */
    HANSE_SECAGG_ROSTER,        /* E_ROSTER        not the pinned roster, or not a member of it */
    HANSE_SECAGG_DUPKEY,        /* E_DUPKEY        two tickets with one key */
    HANSE_SECAGG_LOWORDER,      /* E_LOWORDER      public key of low order */
    HANSE_SECAGG_TICKET,        /* E_TICKET        own ticket missing; a ticket of another slot, stale, expired, or with other shares */
    HANSE_SECAGG_TICKET_REUSED, /* E_TICKET_REUSED second use of a ticket, or other bytes under it */
    HANSE_SECAGG_CUT_OVERLAP,   /* E_CUT_OVERLAP   both kinds of share for one ticket, or lists that do not match */
    HANSE_SECAGG_CUT_CONFLICT,  /* E_CUT_CONFLICT  a second cut of one slot, or too few cut signatures */
    HANSE_SECAGG_MODELHASH,     /* E_MODELHASH     spec names another model than the one loaded */
    HANSE_SECAGG_PLAN,          /* E_PLAN          another plan or run than the accepted one */
    HANSE_SECAGG_COHORT,        /* E_COHORT        too few survivors, too many dropouts, floors not met */
    HANSE_SECAGG_DIFF,          /* E_DIFF          a second attempt on one base model */
    HANSE_SECAGG_REPLAY,        /* E_REPLAY        a slot not above the last, or another round for a slot */
    HANSE_SECAGG_RANGE,         /* E_RANGE         a sum could leave its ring, or did; weight share out of bounds */
    HANSE_SECAGG_RECON,         /* E_RECON         shares do not give the committed secret */
    HANSE_SECAGG_SANITY,        /* E_SANITY        sanity words of the sum are wrong: masks did not cancel */
    HANSE_SECAGG_SHARE_AUTH,    /* E_SHARE_AUTH    a sealed share or answer does not open */
    HANSE_SECAGG_LATE,          /* E_LATE          after the deadline, the cut or a given share */
    HANSE_SECAGG_DEAD,          /* E_DEAD          slot declared dead, or shares given where DEAD was asked */
    HANSE_SECAGG_ROLLBACK,      /* E_ROLLBACK      this site's state is older than what others saw of it */
    HANSE_SECAGG_REASONS
} hanse_secagg_reason;

const char *hanse_secagg_reason_name(hanse_secagg_reason reason); /* "E_SIG"; never NULL */
/* The code that a reason comes with (E_SIG is AUTH, E_COHORT is QUORUM, ...). */
hanse_rc hanse_secagg_reason_rc(hanse_secagg_reason reason);
/* The reason that an error of this room names; NONE when it names none (memory, misuse). */
hanse_secagg_reason hanse_secagg_reason_of(const hanse_err *err);

/* Refuse: `return HANSE_SECAGG_FAIL(err, SIG, "ticket of site %u", i)`. */
#define HANSE_SECAGG_FAIL(err, reason, fmt, ...) \
    HANSE_FAIL((err), hanse_secagg_reason_rc(HANSE_SECAGG_##reason), "E_" #reason ": " fmt, ##__VA_ARGS__)

/* ONLINE: a cut needs t signatures before anybody unmasks. CRON: no signatures, and a wider margin instead. */
typedef enum hanse_secagg_profile { HANSE_SECAGG_ONLINE = 0, HANSE_SECAGG_CRON = 1 } hanse_secagg_profile;

typedef struct hanse_secagg_params {
    uint32_t n;     /* members of the roster; all of them hold shares */
    uint32_t c;     /* colluding sites */
    uint32_t d_max; /* D: members outside S */
    uint32_t m;     /* fewest members of S, counted by organisation */
    uint32_t t;     /* shares that open a secret */
    uint8_t profile; /* hanse_secagg_profile */
    uint32_t degree;   /* 0: complete graph; else k, neighbours of each site: secagg_graph.h */
    uint32_t degree_t; /* of k: shares that open a secret; then t counts the signatures of a cut only */
} hanse_secagg_params;

/* What a site's operator may ask or allow beyond the floors. Zeros: the floors. */
typedef struct hanse_secagg_policy {
    bool allow_two;           /* n = 2: each site knows the other's values from the sum */
    bool trusted_coordinator; /* c = 0: the coordinator is trusted not to collude */
    uint32_t survivors_min;   /* insist on m >= this */
    uint32_t honest_min;      /* insist on this many honest inputs in a sum */
    uint32_t collusion_min;   /* insist on c >= this */
    uint32_t threshold_min;   /* insist on t >= this */
} hanse_secagg_policy;

/* The floors for n sites: c = max(1, n/5), D = c (0 at n <= 3), m = n - D, t = (n+c)/2 + 1 and >= 2n/3 from n = 10 on.
 * Errors: QUORUM (n = 1, or 2 without leave), USAGE (n > HANSE_SECAGG_SITES_MAX). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_params_default(hanse_secagg_params *out, uint32_t n, hanse_secagg_profile profile,
                                                      const hanse_secagg_policy *policy, hanse_err *err);
/* Do the inequalities hold? c, D, m, t at least as strict as the floors; 2t > n + c; t <= n - D; n - D <= m <= n;
 * honest inputs >= max(2, ceil(n/2) - c). Sparse: online, degree even and below n - 1, degree_t at most it and more than
 * half of it beside the colluding neighbours (2^-HANSE_SECAGG_GRAPH_LAMBDA). Errors: QUORUM with E_COHORT, the text names the inequality. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_params_check(const hanse_secagg_params *params, const hanse_secagg_policy *policy,
                                                    hanse_err *err);
/* The same, and what the members' organisations ask beside it: two sites of one organisation count as one towards m, so there
 * must be m organisations, and both towards c, so none has more than max(1, c) sites.
 *   organisations  [params->n] equal numbers: one organisation
 * Errors: as hanse_secagg_params_check(). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_params_check_members(const hanse_secagg_params *params, const hanse_secagg_policy *policy,
                                                            const uint32_t *organisations, hanse_err *err);
/* Honest inputs in any sum that can be opened: n-c-D, in CRON n-c-max(0, 2D-1); 0 if negative. */
uint32_t hanse_secagg_honest(const hanse_secagg_params *params);
/* Shares that open a secret: t, or degree_t. */
uint32_t hanse_secagg_shares_needed(const hanse_secagg_params *params);
/* How many DEADs allow sending the same update again: n-t+1+c; then fewer than t answers can ever exist. In a sparse graph with
 * the least number of answers that open the tickets of n-D-c honest survivors, ceil((n-D-c) * degree_t / degree), if below t. */
uint32_t hanse_secagg_retry_count(const hanse_secagg_params *params);

/* --- the roster: who may sign --- */

typedef struct hanse_secagg_member {
    uint8_t id[32];          /* SHA-256 of the signing key's SPKI */
    const hanse_cert *cert;  /* site-sign */
    uint32_t organisation;   /* equal numbers: one organisation */
} hanse_secagg_member;

typedef struct hanse_secagg_roster hanse_secagg_roster; /* opaque, shared read-only by sites and rounds that outlive it not */

/* hash    the pinned roster's; members are ascending by id
 * A member whose certificate does not verify stays in n, but its signatures are refused (E_CERT).
 * Errors: E_ROSTER (order, a certificate of another key), E_CERT (the coordinator's), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_roster_new(hanse_secagg_roster **out, const uint8_t hash[32],
                                                  const hanse_secagg_member *members, size_t count,
                                                  const hanse_cert *coordinator, const hanse_trust *trust, int64_t now_s,
                                                  hanse_err *err);
/* Look at all certificates again: a new revocation list, or time has passed. Errors: E_CERT (the coordinator's; until it is found good
 * again, everything it signed is refused), NOMEM (who was not looked at stays as found before). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_roster_refresh(hanse_secagg_roster *roster, const hanse_trust *trust,
                                                      int64_t now_s, hanse_err *err);
/* Another certificate for the same key of a member; looked at with the next refresh. Errors: E_ROSTER (of another key). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_roster_renew(hanse_secagg_roster *roster, uint32_t site_idx, const hanse_cert *cert, hanse_err *err);
void hanse_secagg_roster_free(hanse_secagg_roster *roster); /* NULL allowed */
uint32_t hanse_secagg_roster_count(const hanse_secagg_roster *roster);
const uint8_t *hanse_secagg_roster_hash(const hanse_secagg_roster *roster);
const uint8_t *hanse_secagg_roster_id(const hanse_secagg_roster *roster, uint32_t site_idx); /* [32] */
/* Place of an id, or -1. */
int hanse_secagg_roster_find(const hanse_secagg_roster *roster, const uint8_t id[32]);
/* hanse_secagg_params_check_members() of a roster's; E_ROSTER when it has another number of members. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_params_check_roster(const hanse_secagg_params *params, const hanse_secagg_policy *policy,
                                                           const hanse_secagg_roster *roster, hanse_err *err);
/* Distinct organisations among the members with bitmap[i] != 0. */
uint32_t hanse_secagg_roster_organisations(const hanse_secagg_roster *roster, const uint8_t *member);

typedef struct hanse_signed {
    hanse_bytes bytes; /* canonical bytes; borrowed */
    hanse_bytes sig;
} hanse_signed;

#define HANSE_SECAGG_COORDINATOR UINT32_MAX /* in place of a site_idx */

/* Errors: E_SIG, E_CERT, E_ROSTER (no such member). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_verify(const hanse_secagg_roster *roster, uint32_t site_idx, const char *label,
                                              hanse_signed object, hanse_err *err);

#endif
