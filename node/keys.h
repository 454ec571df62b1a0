/* keys.h - a site's identity as it lies in DIR, and the signed header of a sealed contribution. */
#ifndef HANSE_NODE_KEYS_H
#define HANSE_NODE_KEYS_H

#include "hanse/file.h"
#include "hanse/hpke.h"
#include "hanse/link.h"
#include "node/config.h"
#include "node/site/policy.h"
#include "node/site/store.h"

#define HANSE_NODE_CA "ca.pem"
#define HANSE_NODE_TLS_KEY "tls.key"
#define HANSE_NODE_TLS_CERT "tls.pem"
#define HANSE_NODE_SIGN_KEY "sign.key"
#define HANSE_NODE_SIGN_CERT "sign.pem"
#define HANSE_NODE_COORDINATOR "coordinator.pem" /* its signing certificate */
#define HANSE_NODE_CRL "crl.pem"

typedef struct hanse_node_keys {
    hanse_key *tls, *sign;
    hanse_cert *ca, *tls_cert, *sign_cert, *coordinator;
    hanse_crl *crl; /* NULL: none yet */
    hanse_buf ca_pem, tls_pem, crl_pem;
    hanse_cert_info info; /* of our signing certificate */
    hanse_site_trust trust;
} hanse_node_keys;

/* Everything that `enrol` left in `dir`. `out` owned by the caller: hanse_node_keys_clear(), also after an error.
 * Errors: NOTFOUND (not enrolled), INVALID, IDENTITY, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_node_keys_load(hanse_node_keys *out, const char *dir, hanse_err *err);
void hanse_node_keys_clear(hanse_node_keys *keys);

/* A certificate that the coordinator sent: of `want` profile, trusted, and for `key` when one is given. `cert` owned by the caller,
 * also after an error. Errors: IDENTITY, INVALID, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_node_cert_check(hanse_cert **cert, hanse_bytes pem, const hanse_trust *trust, hanse_profile want, const hanse_key *key,
                                                hanse_err *err);

/* Take the revocation list of a WELCOME: signed by our CA, not past its next update, not older than the last seen; kept in
 * DIR/crl.pem. Then our own certificates and the coordinator's are checked against it. Errors: IDENTITY, IO. */
HANSE_MUST_CHECK hanse_rc hanse_node_keys_take_crl(hanse_node_keys *keys, const char *dir, hanse_site_store *store, hanse_bytes pem,
                                                   uint64_t now_ms, hanse_err *err);

/* Verify the coordinator's signing certificate once for the messages of the next minute; a bad one is left to be refused, with
 * its reason, at the next message. */
void hanse_node_keys_vet(hanse_node_keys *keys, uint64_t now_ms);

/* Fill what a connection with our identity needs; everything stays owned by `keys` and `config`. */
void hanse_node_link_config(hanse_link_config *link, const hanse_node_config *config, const hanse_node_keys *keys);

/* Make the ephemeral, the signed header and the key file DIR/work/<work->key>: `work` gets header, sig and key. */
HANSE_MUST_CHECK hanse_rc hanse_node_seal_make(const hanse_node_keys *keys, const char *dir, const hanse_offer *offer,
                                               const hanse_spec *spec, const uint8_t spec_hash[32], hanse_site_work *work, hanse_err *err);

/* DIR/<folder>/<hex of hash><suffix>. */
HANSE_MUST_CHECK hanse_rc hanse_node_hash_path(hanse_path out, const char *dir, const char *folder, const uint8_t *hash, size_t len,
                                               const char *suffix, hanse_err *err);

#endif
