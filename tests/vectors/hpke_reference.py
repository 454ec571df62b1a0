"""Independent derivation of the HPKE vectors: X25519 in integers, HKDF from hashlib, AES-GCM from `cryptography`."""
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

P = 2**255 - 19


def x25519(k, u):
    k = bytearray(k); k[0] &= 248; k[31] &= 127; k[31] |= 64
    k = int.from_bytes(k, "little"); u = int.from_bytes(u, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a, c * b
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        aa, bb = a * a, b * b
        e = aa - bb
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def extract(salt, ikm):
    return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()


def expand(prk, info, n):
    out, t, i = b"", b"", 1
    while len(out) < n:
        t = hmac.new(prk, t + info + bytes([i]), hashlib.sha256).digest()
        out, i = out + t, i + 1
    return out[:n]


def lx(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def le(suite, prk, label, info, n):
    return expand(prk, n.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, n)


BASE = (9).to_bytes(32, "little")
skE = bytes.fromhex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
skR = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
enc, pkR = x25519(skE, BASE), x25519(skR, BASE)
kem = b"KEM\x00\x20"
shared = le(kem, lx(kem, b"", b"eae_prk", x25519(skE, pkR)), b"shared_secret", enc + pkR, 32)
print("enc", enc.hex(), "\npkR", pkR.hex(), "\nshared", shared.hex())
for aead, size in ((1, 16), (2, 32)):
    suite = b"HPKE\x00\x20\x00\x01" + aead.to_bytes(2, "big")
    info = b"Ode on a Grecian Urn"
    context = b"\0" + lx(suite, b"", b"psk_id_hash", b"") + lx(suite, b"", b"info_hash", info)
    secret = lx(suite, shared, b"secret", b"")
    key, nonce = le(suite, secret, b"key", context, size), le(suite, secret, b"base_nonce", context, 12)
    print("aead", aead, "key", key.hex(), "base_nonce", nonce.hex())
    for seq in range(3):
        n = (int.from_bytes(nonce, "big") ^ seq).to_bytes(12, "big")
        print(seq, AESGCM(key).encrypt(n, b"Beauty is truth, truth beauty", b"Count-%d" % seq).hex())
