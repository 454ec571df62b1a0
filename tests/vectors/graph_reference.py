"""Degree and threshold of sparse graphs, and the ring of a slot, in another way than crypto/secagg_graph.c: whole numbers
instead of logarithms, and Python's `cryptography` for AES. Prints the table and the vector of test_secagg_graph.c."""

from fractions import Fraction
from hashlib import sha256
from math import comb
import struct

LOSS = 20
ROWS = [(100, 5, 5), (300, 15, 15), (500, 25, 25), (1000, 50, 50), (1000, 100, 50), (100, 10, 10), (200, 20, 20), (500, 50, 50), (1000, 100, 100),
        (1000, 100, 200), (1000, 200, 100), (1000, 200, 200), (400, 80, 80), (40, 0, 4)]


def bound(n, marked, k, bits):
    """Smallest x so that n * P[more than x of `marked` among k of the n - 1 others] <= 2^-bits."""
    limit = Fraction(comb(n - 1, k), n * 2**bits)
    tail = 0
    x = min(marked, k)
    while x > 0:
        tail += comb(marked, x) * comb(n - 1 - marked, k - x)
        if tail > limit:
            break
        x -= 1
    return x


def find(n, c, d, bits):
    for k in range(2, n - 1, 2):
        t = k // 2 + bound(n, c, k, bits) + 1
        if t <= k and bound(n, d, k, LOSS) <= k - t:
            return k, t
    return None


def ring(run, slot, roster, n, k):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    seed = sha256(b"hanse1/graph\0" + run + struct.pack(">Q", slot) + roster + struct.pack(">II", n, k)).digest()
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    place = list(range(n))
    for i in range(n - 1, 0, -1):
        end = i + 1
        while True:
            word = struct.unpack(">I", stream.update(bytes(4)))[0]
            if word < 0xffffffff - 0xffffffff % end:
                break
        j = word % end
        place[i], place[j] = place[j], place[i]
    return place


if __name__ == "__main__":
    for n, c, d in ROWS:
        print(n, c, d, "lambda 40:", find(n, c, d, 40), "lambda 104:", find(n, c, d, 104))
    print("ring", ring(b"\x11" * 16, 3, b"\x22" * 32, 12, 4))
