/* profile.h - what the four certificate profiles are made of. Inside crypto/ only. */
#ifndef HANSE_CRYPTO_PROFILE_H
#define HANSE_CRYPTO_PROFILE_H

#include "hanse/identity.h"

#include <openssl/x509.h>

/* Our own extended key usages: an arc of a random UUID (X.667), then 1..4 as hanse_profile. */
#define HANSE_OID_ARC "2.25.326946434504024435084623343983823676510"

hanse_profile hanse_profile_of(const X509 *cert); /* 0: none, more than one, or its TLS usage missing */
bool hanse_profile_is_tls(hanse_profile profile);
bool hanse_profile_takes(hanse_profile profile, hanse_key_kind kind);
/* The OpenSSL text of the usages: "<oid>[,clientAuth|serverAuth]". */
void hanse_profile_usage(char out[128], hanse_profile profile);
/* A serial of exactly HANSE_SERIAL_LEN bytes. */
bool hanse_serial_get(uint8_t out[HANSE_SERIAL_LEN], const ASN1_INTEGER *serial);
bool hanse_time_get(int64_t *out, const ASN1_TIME *time);
/* Which digest a key signs certificates with: NULL for Ed25519. */
const EVP_MD *hanse_issue_digest(const hanse_key *key);

#endif
