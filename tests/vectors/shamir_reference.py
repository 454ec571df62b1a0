"""Vectors of tests/unit/crypto/test_shamir.c: secret sharing over GF(2^16) by polynomial arithmetic in Python integers.

Multiplication reduces a carry-less product bit by bit, inversion searches x^-1 by Euclid over GF(2)[x]; none of it follows the C code."""
import hashlib

POLY = 0x1002B


def clmul(a, b):
    out = 0
    while b:
        low = b & -b
        out ^= a * low
        b ^= low
    return out


def divmod2(a, b):
    q = 0
    while a and a.bit_length() >= b.bit_length():
        shift = a.bit_length() - b.bit_length()
        q ^= 1 << shift
        a ^= b << shift
    return q, a


def mul(a, b):
    return divmod2(clmul(a, b), POLY)[1]


def inv(a):
    r0, r1, s0, s1 = POLY, a, 0, 1
    while r1:
        q, r = divmod2(r0, r1)
        r0, r1, s0, s1 = r1, r, s1, s0 ^ clmul(q, s1)
    assert r0 == 1
    return divmod2(s0, POLY)[1]


def symbols(b):
    return [int.from_bytes(b[i:i + 2], "big") for i in range(0, 32, 2)]


def share(secret, coefficients, x):
    out, power = symbols(secret), 1
    for c in coefficients:
        power = mul(power, x)
        out = [o ^ mul(s, power) for o, s in zip(out, symbols(c))]
    return b"".join(o.to_bytes(2, "big") for o in out)


def weights(xs):
    out = []
    for i, xi in enumerate(xs):
        w = 1
        for j, xj in enumerate(xs):
            if i != j:
                w = mul(w, mul(xj, inv(xi ^ xj)))
        out.append(w)
    return out


assert pow(2, 1) and divmod2(clmul(3, inv(3)), POLY)[1] == 1
# Irreducible: x^(2^16) = x modulo POLY and not so for 2^8 (16 has the one prime factor 2).
p = 2
for k in range(1, 17):
    p = mul(p, p)
    assert (p == 2) == (k == 16)
secret = bytes(range(32))
coefficients = [hashlib.sha256(b"coef" + str(j).encode()).digest() for j in (1, 2)]
xs = [1, 2, 3, 10, 257, 40000, 65535]
shares = {x: share(secret, coefficients, x) for x in xs}
for x in xs:
    print(f"share({x}) {shares[x].hex()}")
for some in ([1, 2, 3], [65535, 257, 10]):
    w = weights(some)
    print("lambda", some, [hex(v) for v in w])
    total = [0] * 16
    for v, x in zip(w, some):
        total = [t ^ mul(v, s) for t, s in zip(total, symbols(shares[x]))]
    assert b"".join(t.to_bytes(2, "big") for t in total) == secret
print("products", [hex(mul(a, b)) for a, b in ((0x8000, 2), (0xFFFF, 0xFFFF), (0x1234, 0xABCD))])
