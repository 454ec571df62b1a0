/* shamir.h - t of n holders together know a 32-byte secret, fewer know nothing.
 *
 * Shamir (CACM 1979, doi:10.1145/359168.359176) over GF(2^16) = GF(2)[x]/(x^16+x^5+x^3+x+1): up to 65535 holders and no
 * big numbers. A secret, a coefficient and a share are 16 big-endian 16-bit symbols each, shared symbol by symbol with
 * the same x. Time depends on the counts and the x, which are public, never on secrets, coefficients or shares.
 * A wrong share gives a wrong secret and no error: compare with a commitment. Pure. */
#ifndef HANSE_SHAMIR_H
#define HANSE_SHAMIR_H

#include "hanse/bytes.h"

#define HANSE_SHAMIR_LEN 32 /* bytes of a secret, a coefficient, a share */

/* shares[i] = f(x[i]) with f(0) = secret and f of degree t-1.
 *   shares        [count][32], the caller's to wipe; may not overlap the inputs
 *   coefficients  [t-1][32], of x^1 .. x^(t-1): fresh random bytes for every secret; NULL when t = 1
 *   x             [count], distinct, not 0 (a holder's x is its place in the roster plus one)
 *   t             1..count, count <= 65535
 * Errors: USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_shamir_share(uint8_t (*shares)[HANSE_SHAMIR_LEN], const uint8_t secret[HANSE_SHAMIR_LEN],
                                             const uint8_t (*coefficients)[HANSE_SHAMIR_LEN], const uint16_t *x,
                                             size_t count, size_t t, hanse_err *err);

/* What each of the t holders x[i] weighs at 0: lambda[i] = prod over j != i of x[j] / (x[j] - x[i]). Once for each set
 * of holders, however many secrets are then combined. Errors: USAGE (t of 0 or > 65535; an x of 0 or twice). */
HANSE_MUST_CHECK hanse_rc hanse_shamir_lagrange(uint16_t *lambda, const uint16_t *x, size_t t, hanse_err *err);

/* secret = sum of lambda[i] * shares[i], i in [0,t): shares in the order of the x given to hanse_shamir_lagrange(). */
void hanse_shamir_combine(uint8_t secret[HANSE_SHAMIR_LEN], const uint16_t *lambda,
                          const uint8_t (*shares)[HANSE_SHAMIR_LEN], size_t t);

#endif
