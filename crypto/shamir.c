#include "hanse/shamir.h"

#define HOLDERS_MAX 65535
enum { SYMBOLS = HANSE_SHAMIR_LEN / 2 };
#define REDUCTION 0x002b /* x^16 = x^5+x^3+x+1 */

typedef struct symbols {
    uint16_t s[SYMBOLS];
} symbols;

static symbols symbols_load(const uint8_t bytes[HANSE_SHAMIR_LEN])
{
    symbols v;

    for (int i = 0; i < SYMBOLS; i++)
        v.s[i] = (uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
    return v;
}

static void symbols_store(uint8_t bytes[HANSE_SHAMIR_LEN], const symbols *v)
{
    for (int i = 0; i < SYMBOLS; i++) {
        bytes[2 * i] = (uint8_t)(v->s[i] >> 8);
        bytes[2 * i + 1] = (uint8_t)v->s[i];
    }
}

/* sum += factor * v, for 16 symbols in step: only shifts, ands and xors, no table and no branch on a symbol. */
static void multiply_add(symbols *sum, symbols v, uint16_t factor)
{
    for (int bit = 0; bit < 16; bit++) {
        uint16_t take = (uint16_t)-(factor >> bit & 1);
        for (int i = 0; i < SYMBOLS; i++) {
            uint16_t carry = (uint16_t)-(v.s[i] >> 15);
            sum->s[i] = (uint16_t)(sum->s[i] ^ (v.s[i] & take));
            v.s[i] = (uint16_t)((uint16_t)(v.s[i] << 1) ^ (carry & REDUCTION));
        }
    }
}

/* One product, for the x alone. */
static uint16_t multiply(uint16_t a, uint16_t b)
{
    uint32_t product = 0, wide = a;

    for (int bit = 0; bit < 16; bit++)
        product ^= (wide << bit) & (0u - ((uint32_t)b >> bit & 1u));
    for (int bit = 30; bit >= 16; bit--)
        product ^= (0u - (product >> bit & 1u)) & ((0x10000u | REDUCTION) << (bit - 16));
    return (uint16_t)product;
}

/* a^(2^16-2): 1/a, as the group has 2^16-1 elements. */
static uint16_t invert(uint16_t a)
{
    uint16_t power = a, inverse = 1;

    for (int bit = 1; bit < 16; bit++) {
        power = multiply(power, power);
        inverse = multiply(inverse, power);
    }
    return inverse;
}

static hanse_rc check_holders(const uint16_t *x, size_t count, hanse_err *err)
{
    uint8_t seen[65536 / 8] = {0};

    if (count == 0 || count > HOLDERS_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "secret sharing: %zu holders, 1..%d possible", count, HOLDERS_MAX);
    for (size_t i = 0; i < count; i++) {
        uint8_t bit = (uint8_t)(1 << x[i] % 8);
        if (x[i] == 0 || (seen[x[i] / 8] & bit) != 0)
            return HANSE_FAIL(err, HANSE_E_USAGE, "secret sharing: holder %zu has x = %u, which is zero or taken", i, x[i]);
        seen[x[i] / 8] |= bit;
    }
    return HANSE_OK;
}

hanse_rc hanse_shamir_share(uint8_t (*shares)[HANSE_SHAMIR_LEN], const uint8_t secret[HANSE_SHAMIR_LEN],
                            const uint8_t (*coefficients)[HANSE_SHAMIR_LEN], const uint16_t *x, size_t count, size_t t,
                            hanse_err *err)
{
    symbols value = {0}, next;
    hanse_rc rc = check_holders(x, count, err);

    if (rc != HANSE_OK)
        return rc;
    if (t == 0 || t > count)
        return HANSE_FAIL(err, HANSE_E_USAGE, "secret sharing: threshold %zu of %zu holders", t, count);
    for (size_t i = 0; i < count; i++) { /* Horner: ((c[t-1] x + c[t-2]) x + ...) x + secret */
        value = symbols_load(t > 1 ? coefficients[t - 2] : secret);
        for (size_t j = t - 1; j > 0; j--) {
            next = symbols_load(j > 1 ? coefficients[j - 2] : secret);
            multiply_add(&next, value, x[i]);
            value = next;
        }
        symbols_store(shares[i], &value);
    }
    hanse_wipe(&value, sizeof value);
    hanse_wipe(&next, sizeof next);
    return HANSE_OK;
}

hanse_rc hanse_shamir_lagrange(uint16_t *lambda, const uint16_t *x, size_t t, hanse_err *err)
{
    uint16_t product = 1;
    hanse_rc rc = check_holders(x, t, err);

    if (rc != HANSE_OK)
        return rc;
    for (size_t i = 0; i < t; i++)
        product = multiply(product, x[i]);
    for (size_t i = 0; i < t; i++) {
        uint16_t below = x[i]; /* takes x[i] out of the product above */
        for (size_t j = 0; j < t; j++)
            if (j != i)
                below = multiply(below, x[j] ^ x[i]); /* minus is xor */
        lambda[i] = multiply(product, invert(below));
    }
    return HANSE_OK;
}

void hanse_shamir_combine(uint8_t secret[HANSE_SHAMIR_LEN], const uint16_t *lambda,
                          const uint8_t (*shares)[HANSE_SHAMIR_LEN], size_t t)
{
    symbols sum = {0};

    for (size_t i = 0; i < t; i++)
        multiply_add(&sum, symbols_load(shares[i]), lambda[i]);
    symbols_store(secret, &sum);
    hanse_wipe(&sum, sizeof sum);
}
