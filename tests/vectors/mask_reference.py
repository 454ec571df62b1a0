"""Vectors of tests/unit/crypto/test_mask.c: seeds by HMAC from hashlib, streams by AES-256-ECB of each counter.

Needs the package `cryptography`."""
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def sha(text):
    return hashlib.sha256(text.encode()).digest()


def expand(prk, info):
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def hkdf(ikm, salt, info):
    return expand(hmac.new(salt, ikm, hashlib.sha256).digest(), info)


def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def pair_seed(me, peer, psk, round_id):
    (my_id, my_secret), (peer_id, peer_secret) = me, peer
    shared = X25519PrivateKey.from_private_bytes(my_secret).exchange(X25519PublicKey.from_public_bytes(public(peer_secret)))
    ends = sorted([(my_id, public(my_secret)), (peer_id, public(peer_secret))])
    return hkdf(shared + psk, round_id, b"hanse1/pair" + hashlib.sha256(b"".join(i + p for i, p in ends)).digest())


def word(seed, segment, lane, w):
    at = w * lane
    key = expand(seed, b"hanse1/prg" + segment.to_bytes(4, "big") + (at >> 32).to_bytes(4, "big"))
    inside = at % 2**32
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    block = ecb.update(bytes(8) + (inside // 16).to_bytes(8, "big"))
    return int.from_bytes(block[inside % 16:inside % 16 + lane], "little")


if __name__ == "__main__":
    round_id, psk = sha("round"), sha("psk")
    a, b = (sha("site a"), sha("secret a")), (sha("site b"), sha("secret b"))
    print("id a", a[0].hex(), "lower" if a[0] < b[0] else "higher")
    seed = pair_seed(a, b, b"", round_id)
    assert seed == pair_seed(b, a, b"", round_id)
    own = hkdf(sha("b of a"), round_id, b"hanse1/self" + a[0])
    print("pair", seed.hex(), "\npair with psk", pair_seed(a, b, psk, round_id).hex(), "\nself", own.hex())
    for lane, places in ((4, (0, 1, 2, 3, 4, 5, 2**30 - 1, 2**30, 2**30 + 1, 2**40 + 3)), (8, (0, 1, 2, 3, 2**29 - 1, 2**29, 2**40 + 3))):
        for segment in (0, 7):
            print(lane, segment, [(p, hex(word(own, segment, lane, p))) for p in places])
