/* identity.h - the consortium's certificates: one CA, four kinds of certificate, one revocation list.
 *
 * A profile is named by an extended key usage of ours, so that a certificate for one place is refused in every
 * other. A request (CSR) gives only its key; every name comes from the caller. `now` is Unix seconds: no clock
 * here, and no files. Chain: CA -> certificate, nothing between. */
#ifndef HANSE_IDENTITY_H
#define HANSE_IDENTITY_H

#include "hanse/sign.h"

/* OpenSSL's X509 and X509_CRL under our names: they go to an SSL_CTX or X509_STORE, and come from an SSL, as they
 * are. Owned by whoever got one through an `out`. */
typedef struct x509_st hanse_cert;
typedef struct X509_crl_st hanse_crl;

typedef enum hanse_profile {
    HANSE_PROFILE_SITE_TLS = 1,         /* P-256, TLS client */
    HANSE_PROFILE_COORDINATOR_TLS = 2,  /* P-256, TLS server */
    HANSE_PROFILE_SITE_SIGN = 3,        /* Ed25519 or P-256 */
    HANSE_PROFILE_COORDINATOR_SIGN = 4, /* Ed25519 or P-256 */
} hanse_profile;

#define HANSE_NAME_MAX 63    /* bytes of a name, without the terminating zero */
#define HANSE_URI_MAX 400    /* room for a URI with its zero */
#define HANSE_SERIAL_LEN 16  /* every serial of ours: 16 random bytes, first one 0x40..0x7f */
#define HANSE_CERT_PEM_MAX 8192
#define HANSE_CSR_MAX 4096
#define HANSE_CRL_PEM_MAX 65536
#define HANSE_SKEW_S 300     /* certificates and lists are dated this much back: clocks differ */

const char *hanse_profile_name(hanse_profile profile); /* "site-TLS", ...; never NULL */

/* Is this a name for a consortium, organisation or site: 1..63 of [A-Za-z0-9._ -], a letter or digit first, no blank
 * last. NULL is not. */
bool hanse_name_is_valid(const char *name);
/* "urn:hanse:<org>:<site>", blanks as %20. Errors: INVALID (a name is not valid). */
HANSE_MUST_CHECK hanse_rc hanse_uri_make(char out[HANSE_URI_MAX], const char *org, const char *site, hanse_err *err);

/* A CA for the consortium `name`: P-256, self-signed, valid from now for `years` (1..50). */
HANSE_MUST_CHECK hanse_rc hanse_ca_new(hanse_key **key, hanse_cert **ca, const char *name, int64_t now, unsigned years,
                                       hanse_err *err);

/* The first certificate of a PEM buffer (bound: HANSE_CERT_PEM_MAX) or the whole of a DER one. Parses, verifies
 * nothing. Errors: INVALID, NOMEM. The writers append. */
HANSE_MUST_CHECK hanse_rc hanse_cert_from_pem(hanse_cert **out, hanse_bytes pem, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_cert_from_der(hanse_cert **out, hanse_bytes der, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_cert_to_pem(const hanse_cert *cert, hanse_buf *out, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_cert_to_der(const hanse_cert *cert, hanse_buf *out, hanse_err *err);
hanse_cert *hanse_cert_ref(const hanse_cert *cert); /* one more owner of the same certificate */
void hanse_cert_free(hanse_cert *cert);             /* NULL allowed */

/* The certificate's public key, for hanse_verify_object(); borrowed, NULL when it has none that can be read. */
const hanse_key *hanse_cert_key(const hanse_cert *cert);
/* Is `key` the private key of `cert`? Errors: INVALID (it is another's), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_cert_check_key(const hanse_cert *cert, const hanse_key *key, hanse_err *err);

typedef struct hanse_cert_info {
    hanse_profile profile;
    char uri[HANSE_URI_MAX];                /* urn:hanse:<org>:<site> */
    char organisation[HANSE_NAME_MAX + 1];
    char site[HANSE_NAME_MAX + 1];
    uint8_t serial[HANSE_SERIAL_LEN];
    int64_t not_before, not_after;          /* Unix seconds */
    uint8_t key_id[32];                     /* SHA-256 of the SPKI; a signing certificate's is the site id */
    uint8_t fingerprint[32];                /* SHA-256 of the DER */
} hanse_cert_info;

/* What a certificate of one of the four profiles says. Not trusted before hanse_cert_verify().
 * Errors: IDENTITY (missing, or not one that our CA issues: names and URI disagree, no profile, odd serial). */
HANSE_MUST_CHECK hanse_rc hanse_cert_read(const hanse_cert *cert, hanse_cert_info *info, hanse_err *err);

/* The seconds (Unix) that a certificate is good from and until; zeros when it has none. */
void hanse_cert_validity(const hanse_cert *cert, int64_t *from, int64_t *until);

/* A request for `key`: PKCS#10 DER (appended), empty subject. */
HANSE_MUST_CHECK hanse_rc hanse_csr_new(const hanse_key *key, hanse_buf *out, hanse_err *err);
/* SHA-256 of the SPKI in a request, after checking its own signature. Errors: IDENTITY. */
HANSE_MUST_CHECK hanse_rc hanse_csr_key_id(hanse_bytes csr, uint8_t id[32], hanse_err *err);

typedef struct hanse_issue {
    hanse_profile profile;
    const char *organisation; /* of the invitation, never of the request */
    const char *site;
    const char *const *hosts; /* coordinator-TLS only: DNS names and IP addresses it is reached by, 1..16 */
    size_t hosts_count;
    int64_t now;
    unsigned days; /* validity, 1..3650; never beyond the CA's */
} hanse_issue;

/* Errors: IDENTITY (request malformed, its signature does not verify, weak or unwanted key), INVALID (names, hosts,
 * days; the CA has expired), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_cert_issue(hanse_cert **out, const hanse_cert *ca, const hanse_key *ca_key,
                                           hanse_bytes csr, const hanse_issue *issue, hanse_err *err);

/* The revocation list after `previous` (NULL: the first, number 1): all its serials and `count` more, number one
 * higher, valid from now to `next_update`. Revoking twice is no error; count 0 renews. */
HANSE_MUST_CHECK hanse_rc hanse_crl_new(hanse_crl **out, const hanse_cert *ca, const hanse_key *ca_key,
                                        const hanse_crl *previous, const uint8_t (*serials)[HANSE_SERIAL_LEN],
                                        size_t count, int64_t now, int64_t next_update, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_crl_from_pem(hanse_crl **out, hanse_bytes pem, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_crl_to_pem(const hanse_crl *crl, hanse_buf *out, hanse_err *err);
/* Signed by this CA, numbered, begun and not past its next update at `now`. Errors: IDENTITY with the reason. */
HANSE_MUST_CHECK hanse_rc hanse_crl_verify(const hanse_crl *crl, const hanse_cert *ca, int64_t now, hanse_err *err);
/* The list's number; 0 when it has none (ours begin at 1). A site refuses one lower than the last it saw. */
uint64_t hanse_crl_number(const hanse_crl *crl);
int64_t hanse_crl_next_update(const hanse_crl *crl); /* Unix seconds; 0 when it has none */
bool hanse_crl_has(const hanse_crl *crl, const uint8_t serial[HANSE_SERIAL_LEN]);
void hanse_crl_free(hanse_crl *crl);

/* Whom to trust. */
typedef struct hanse_trust {
    const hanse_cert *ca;
    const hanse_crl *crl; /* NULL only with `enrolling` */
    bool enrolling;       /* no list was ever seen: a missing one is no reason to refuse */
} hanse_trust;

/* Is `cert` of this CA, of profile `want`, valid at `now`, not revoked? Errors: IDENTITY, the text says which of:
 * missing, another CA, wrong profile, not yet valid, expired, revoked, list missing, list past its next update. */
HANSE_MUST_CHECK hanse_rc hanse_cert_verify(const hanse_cert *cert, const hanse_trust *trust, hanse_profile want,
                                            int64_t now, hanse_err *err);

/* Do a TLS and a signing certificate name the same party (equal URI, both of a site or both of a coordinator)?
 * Errors: IDENTITY. */
HANSE_MUST_CHECK hanse_rc hanse_cert_match(const hanse_cert *tls, const hanse_cert *sign, hanse_err *err);

#endif
