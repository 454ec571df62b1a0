/* hpke.h - sealing to a public key: HPKE base mode (RFC 9180), DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-GCM.
 *
 * Messages are addressed by number and may be sealed and opened in any order: nonce = base nonce xor number.
 * The sender gives the ephemeral secret, so that a resume after a crash can seal the same bytes again. It must never
 * seal others under the same (ephemeral, info, number): that breaks AES-GCM for both.
 * A context belongs to one thread at a time; workers take a hanse_hpke_clone() each. Secrets are wiped on free. */
#ifndef HANSE_HPKE_H
#define HANSE_HPKE_H

#include "hanse/bytes.h"

#define HANSE_X25519_LEN 32
#define HANSE_HPKE_TAG_LEN 16
#define HANSE_HPKE_PLAIN_MAX ((size_t)1 << 30) /* bytes of one message */

typedef enum hanse_aead {
    HANSE_AEAD_AES128GCM = 1, /* for the RFC's printed vectors */
    HANSE_AEAD_AES256GCM = 2, /* what Hanse uses */
} hanse_aead;

typedef struct hanse_hpke hanse_hpke; /* opaque; sender or receiver */

/* A fresh key pair; the secret is the caller's to wipe. Errors: IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_x25519_keygen(uint8_t secret[HANSE_X25519_LEN], uint8_t pub[HANSE_X25519_LEN],
                                              hanse_err *err);
/* The public key of a secret. */
HANSE_MUST_CHECK hanse_rc hanse_x25519_public(uint8_t pub[HANSE_X25519_LEN], const uint8_t secret[HANSE_X25519_LEN],
                                              hanse_err *err);

/* One's own key pair. `pub` is hanse_x25519_public(secret), or NULL: computed where it is needed, which costs as much as an
 * agreement does; a site of a large consortium makes thousands of those in a round. A wrong one harms its holder only. */
typedef struct hanse_x25519_pair {
    const uint8_t *secret, *pub; /* [32] */
} hanse_x25519_pair;

/* shared = X25519(mine.secret, peer). Errors: AUTH (the peer's point is of low order), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_x25519(uint8_t shared[32], hanse_x25519_pair mine, const uint8_t peer[HANSE_X25519_LEN],
                                       hanse_err *err);

/* SetupBaseS with the given ephemeral key: `enc`, its public half, goes to the receiver, `out` is owned by the caller.
 *   info  binds the use ("hanse1/upload"), at most 512 bytes
 * Errors: AUTH (recipient key of low order), USAGE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_hpke_sender_new(hanse_hpke **out, uint8_t enc[HANSE_X25519_LEN], hanse_aead aead,
                                                const uint8_t recipient[HANSE_X25519_LEN],
                                                hanse_x25519_pair ephemeral, hanse_bytes info, hanse_err *err);
/* SetupBaseR. Errors: AUTH (enc of low order), USAGE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_hpke_receiver_new(hanse_hpke **out, hanse_aead aead, hanse_x25519_pair mine,
                                                  const uint8_t enc[HANSE_X25519_LEN], hanse_bytes info,
                                                  hanse_err *err);
/* The same context for another thread. */
HANSE_MUST_CHECK hanse_rc hanse_hpke_clone(hanse_hpke **out, const hanse_hpke *ctx, hanse_err *err);
void hanse_hpke_free(hanse_hpke *ctx); /* NULL allowed */

/* Seal message `seq`: out holds plain.len + 16 bytes and may be plain.data itself (no other overlap).
 * Errors: USAGE (a receiver, or too long). */
HANSE_MUST_CHECK hanse_rc hanse_hpke_seal(hanse_hpke *ctx, uint64_t seq, hanse_bytes aad, uint8_t *out,
                                          hanse_bytes plain, hanse_err *err);
/* Open message `seq`: out holds sealed.len - 16 bytes and may be sealed.data itself. When it does not verify, out is
 * zeroed: no unverified byte is released. Errors: AUTH, SHAPE (shorter than a tag, or too long), USAGE (a sender). */
HANSE_MUST_CHECK hanse_rc hanse_hpke_open(hanse_hpke *ctx, uint64_t seq, hanse_bytes aad, uint8_t *out,
                                          hanse_bytes sealed, hanse_err *err);

#endif
