/* sign.h - signing keys and signatures of canonical objects.
 *
 * Ed25519 by default; P-256 (ECDSA with SHA-256) where a hardware module demands it and for TLS.
 * A signature covers "hanse1/<type>" 00 <object>: no object passes for one of another type. */
#ifndef HANSE_SIGN_H
#define HANSE_SIGN_H

#include "hanse/bytes.h"

/* OpenSSL's EVP_PKEY under our name: goes to SSL_CTX_use_PrivateKey as it is. Public or private. */
typedef struct evp_pkey_st hanse_key;

typedef enum hanse_key_kind { HANSE_KEY_ED25519 = 1, HANSE_KEY_P256 = 2 } hanse_key_kind;

#define HANSE_SIG_MAX 72 /* Ed25519: 64; ECDSA P-256: DER, at most 72 */

/* A fresh private key, owned by the caller. Errors: NOMEM, USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_key_new(hanse_key **out, hanse_key_kind kind, hanse_err *err);
/* A private key from unencrypted PEM (at most 4 KiB). Errors: INVALID (not PEM, another algorithm), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_key_from_pem(hanse_key **out, hanse_bytes pem, hanse_err *err);
/* Append the private key as unencrypted PKCS#8 PEM; release with hanse_buf_wipe(), write with mode 0600. */
HANSE_MUST_CHECK hanse_rc hanse_key_to_pem(const hanse_key *key, hanse_buf *out, hanse_err *err);
/* A public key from SubjectPublicKeyInfo (DER), and back (appended). Errors: INVALID, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_key_from_spki(hanse_key **out, hanse_bytes der, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_key_to_spki(const hanse_key *key, hanse_buf *out, hanse_err *err);
/* Which of the two kinds, checked for soundness (point on curve, named curve). Errors: INVALID (anything else). */
HANSE_MUST_CHECK hanse_rc hanse_key_check(const hanse_key *key, hanse_key_kind *kind, hanse_err *err);
void hanse_key_free(hanse_key *key); /* NULL allowed; wipes */

/* site id = SHA-256 of the key's SubjectPublicKeyInfo (DER). */
HANSE_MUST_CHECK hanse_rc hanse_key_id(const hanse_key *key, uint8_t id[32], hanse_err *err);

/* Sign `object` as a `type` ("offer", "spec", ...: 1..32 of [a-z0-9-]). *sig_len is 64..HANSE_SIG_MAX. */
HANSE_MUST_CHECK hanse_rc hanse_sign_object(const hanse_key *key, const char *type, hanse_bytes object,
                                            uint8_t sig[HANSE_SIG_MAX], size_t *sig_len, hanse_err *err);
/* Errors: AUTH (does not verify, whatever the reason), USAGE (type), NOMEM. For a certificate: hanse_cert_key(). */
HANSE_MUST_CHECK hanse_rc hanse_verify_object(const hanse_key *key, const char *type, hanse_bytes object,
                                              hanse_bytes sig, hanse_err *err);

#endif
