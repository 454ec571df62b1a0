"""Vectors of tests/unit/crypto/test_ring.c: quantising, packing and the mean in Python floats and big integers.

Needs the package `cryptography`. Doubles are IEEE in Python too, so every value is expected bit for bit; the packed form is one big
integer cut into bytes; how many bits a sum needs is found by trying."""
import hashlib
import hmac
import math
import struct
from fractions import Fraction

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def hkdf(ikm, salt, info):
    prk = hmac.new(salt, ikm, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def rho_key(seed, site_id, round_no, segment, burnt_slot):
    info = b"hanse1/rho" + round_no.to_bytes(8, "big") + segment.to_bytes(4, "big") + burnt_slot.to_bytes(8, "big")
    return hkdf(seed, site_id, info)


def rho(key, k):
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update((k // 4).to_bytes(16, "big"))
    return int.from_bytes(block[k % 4 * 4:k % 4 * 4 + 4], "little") / 2**32


def bits(Q, n):
    r = 8
    while not (2 ** (r - 1) - 1 >= Q + n or 2**r >= 2 * (Q + n) + 1):
        r += 1
    return r


def quantise(x, c, Q, w, W, key, k):
    x = min(max(struct.unpack("f", struct.pack("f", x))[0], -c), c)
    factor = (float(Q) * float(w)) / (float(W) * c)
    q = math.floor(x * factor + rho(key, k))
    bound = math.ceil(Fraction(Q * w, W))
    return min(max(q, -bound), bound)


def pack(values, r):
    whole = sum((v % 2**r) << (k * r) for k, v in enumerate(values))
    return whole.to_bytes((len(values) * r + 7) // 8, "little")


def hexes(values):
    return [float(v).hex() for v in values]


if __name__ == "__main__":
    for n in (1, 3, 4, 10, 100, 1000, 65535):
        Q = math.ceil(math.sqrt(n) / (2 * 3e-6))
        print("n", n, "Q", Q, "r", bits(Q, n))
    key = rho_key((42).to_bytes(8, "big"), hashlib.sha256(b"site a").digest(), 3, 1, 0)
    print("rho key", key.hex(), "burnt", rho_key((42).to_bytes(8, "big"), hashlib.sha256(b"site a").digest(), 3, 1, 9).hex())
    n, c, Q, w, W = 10, 0.3, 527047, 137, 920
    xs = [0.0, -0.0, 1e-30, -1e-30, 0.1, -0.1, 0.299, -0.3, 0.3, 5.0, -5.0, 3.4e38, 0.0123]
    r = bits(Q, n)
    for first in (0, 1001):
        qs = [quantise(x, c, Q, w, W, key, first + k) for k, x in enumerate(xs)]
        print("first", first, "q", qs, "\npacked", r, pack(qs, r).hex())
    print("bound", math.ceil(Fraction(Q * w, W)), "share", math.ceil(Fraction(w * 2**40, W)))
    share = math.ceil(Fraction(w * 2**40, W))
    step = c / (float(Q) * (share * 2.0**-40))
    print("mean", [struct.unpack("f", struct.pack("f", q * step))[0].hex() for q in qs])
    words = [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF, 5, 6, 7, 8]
    for width in (8, 13, 33, 63, 64):
        print("pack", width, pack([v % 2**width for v in words], width).hex())
