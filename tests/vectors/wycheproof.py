#!/usr/bin/env python3
"""Wycheproof's vectors for what Hanse uses, from its JSON files to one line each; what is left out: crypto.md.

python3 wycheproof.py DIR   DIR holds Wycheproof's *_test.json; writes wycheproof_*.txt beside this script.
A line is number, verdict and the columns named at the top of its file, in hex; "-" is empty. "key" is the public key of the
lines after it. "sha256:" stands before the digest of an output too long to print."""
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
OUTPUT_MAX = 1024  # hex digits of an output that is printed whole
# Of the library's arithmetic: left out, apart from points of low order.
ARITHMETIC = ("in multiplication by", "arithmetic error", "special case hash", "edge case for u1", "edge case for u2")


def x25519(group, test):
    assert ("ZeroSharedSecret" in test["flags"]) == (int(test["shared"], 16) == 0)
    return [test["private"], test["public"], test["shared"]]


def signature(group, test):
    return [test["msg"], test["sig"]]


def gcm(group, test):
    if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
        return None
    return [test["key"], test["iv"], test["aad"], test["msg"], test["ct"] + test["tag"]]


def hkdf(group, test):
    okm = test["okm"]
    if len(okm) > OUTPUT_MAX:
        okm = "sha256:" + hashlib.sha256(bytes.fromhex(okm)).hexdigest()
    return [test["ikm"], test["salt"], test["info"], str(test["size"]), okm]


FILES = {
    "x25519": ("x25519_test.json", x25519, "private public shared"),
    "ed25519": ("eddsa_test.json", signature, "message signature"),
    "p256": ("ecdsa_secp256r1_sha256_test.json", signature, "message signature"),
    "gcm": ("aes_gcm_test.json", gcm, "key nonce aad message sealed"),
    "hkdf": ("hkdf_sha256_test.json", hkdf, "ikm salt info size okm (size is decimal)"),
}


def lines(source, columns, names):
    yield f"# Wycheproof, {source.name}, Apache-2.0; printed by wycheproof.py, see crypto.md. A line: number verdict {names}"
    key = comment = None
    for group in json.loads(source.read_text())["testGroups"]:
        for test in group["tests"]:
            row = columns(group, test)
            arithmetic = any(words in test["comment"] for words in ARITHMETIC) and "ZeroSharedSecret" not in test["flags"]
            if row is None or arithmetic:
                continue
            if group.get("keyDer") != key:
                key = group["keyDer"]
                yield f"key {key}"
            if test["comment"].strip() != comment:
                comment = test["comment"].strip()
                yield f"# {comment or 'no comment'}"
            yield " ".join([str(test["tcId"]), test["result"]] + [field or "-" for field in row])


def main():
    for name, (source, columns, names) in FILES.items():
        text = "\n".join(lines(pathlib.Path(sys.argv[1]) / source, columns, names)) + "\n"
        (HERE / f"wycheproof_{name}.txt").write_text(text)


main()
