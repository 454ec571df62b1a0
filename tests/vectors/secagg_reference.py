#!/usr/bin/env python3
"""Prints tests/vectors/secagg_objects.h: one object of each type of masked rounds, packed from the tables in docs/wire.md and nothing else,
and the hashes and roots that bind them. Standard library only; raw fields are those of wire_objects.py."""
from hashlib import sha256

from wire_objects import raw, u8, u32, u64


def sha(*parts):
    return sha256(b"".join(parts)).digest()


def named(what, data):
    return sha(b"hanse1/" + what + b"\0", data)


def bitmap(members):
    """Place 0 is the highest bit of the first byte."""
    bits = "".join("1" if m else "0" for m in members)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def list_root(what, entries):
    """A gap is None."""
    return named(b"list", b"".join(bytes(33) if e is None else u8(1) + named(what, e) for e in entries))


def merkle(leaves):
    """RFC 6962 section 2.1, as it is defined there: split at the largest power of two below the count."""
    if len(leaves) <= 1:
        return sha(u8(0), leaves[0]) if leaves else sha()
    half = 1
    while 2 * half < len(leaves):
        half *= 2
    return sha(u8(1), merkle(leaves[:half]), merkle(leaves[half:]))


def ticket(slot, nonce, holders):
    return (raw(0x01, 16) + u64(slot) + raw(0x02, 32) + raw(0x10, 32) + raw(nonce, 16) + u64(1767225600000) + raw(0x20, 32) + raw(0x21, 32)
            + raw(0x22, 32) + raw(0x23, 32) + raw(0x24, 32) + u32(holders))


def spec(profile, params, graph, kind, weight_total, segments):
    return (raw(0x01, 16) + u64(9) + u8(kind) + raw(0x03, 32) + raw(0x04, 32) + raw(0x05, 32) + raw(0x02, 32) + raw(0x06, 32) + u8(profile)
            + b"".join(map(u32, params)) + graph + raw(0x07, 32) + u64(weight_total) + u64(1764000000000) + u64(1764000060000) + u32(1 << 18)
            + u32(len(segments)) + b"".join(segments))


def segment(name, count, bits, bound, clip, scaled):
    return raw(name, 32) + u64(count) + u32(bits) + u64(bound) + u64(clip) + u8(scaled)


def upload(nonce):
    return raw(0x08, 32) + raw(0x01, 16) + u64(9) + raw(0x10, 32) + raw(nonce, 16) + u64(5) + u64(0x010203040506) + raw(0x25, 32)


members = [1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1]
tensor = segment(0x30, 55050, 20, 400000, 0x3FF8000000000000, 1)
aux = segment(0x40, 77, 64, (1 << 63) // 11 - 1, 0, 0)
objects = {
    "epoch": raw(0x10, 32) + u32(0x01020304) + raw(0x11, 32) + u64(1764000000000) + u64(1766592000000),
    "ticket": ticket(9, 0x50, 11),
    "spec": spec(1, (11, 2, 2, 9, 8), u8(0), 1, 123456789, [tensor, aux]),
    "spec_sparse": spec(0, (500, 100, 50, 450, 334), u8(1) + u32(296) + u32(249), 2, 0, [segment(0x40, 77, 64, (1 << 63) // 501, 0, 0)]),
    "upload": upload(0x50),
    "cut": raw(0x08, 32) + raw(0x01, 16) + u64(9) + u32(11) + bitmap(members) + raw(0x26, 32),
    "cutsig": raw(0x08, 32) + raw(0x09, 32) + raw(0x10, 32),
    "answer": raw(0x08, 32) + raw(0x09, 32) + raw(0x10, 32) + u32(3) + u8(1) + raw(0x60, 32) + u8(0) + bytes(32) + u8(2) + raw(0x61, 32),
    "dead": raw(0x01, 16) + u64(9) + raw(0x10, 32),
}
hashes = {
    "round_id": named(b"round", objects["spec"]),
    "cut_hash": named(b"cut", objects["cut"]),
    "ticket_root": list_root(b"ticket", [objects["ticket"], None, ticket(9, 0x51, 2)]),
    "uploads_root": list_root(b"upload", [None, objects["upload"], upload(0x51), None]),
    "cts_hash": named(b"shares", b"".join(raw(0x70 + i, 84) for i in range(11))),
    "chunks_root": merkle([raw(0x70 + i, 84) for i in range(11)]),
    "c_sk": sha(b"hanse1/csk", raw(0x60, 32)),
    "c_b": sha(b"hanse1/cb", raw(0x60, 32)),
}

if __name__ == "__main__":
    print("/* Objects, hashes and roots of masked rounds as hex; printed by secagg_reference.py. */")
    print("#ifndef HANSE_VECTORS_SECAGG_OBJECTS_H\n#define HANSE_VECTORS_SECAGG_OBJECTS_H\n")
    for name, data in objects.items():
        print(f"/* {len(data)} bytes, SHA-256 {sha(data).hex()} */\nstatic const char {name}_golden[] =")
        text = data.hex()
        print("\n".join(f'    "{text[i:i + 120]}"' for i in range(0, len(text), 120)) + ";\n")
    for name, data in hashes.items():
        print(f'static const char {name}_golden[] = "{data.hex()}";')
    print("\n#endif")
