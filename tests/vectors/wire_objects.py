#!/usr/bin/env python3
"""Prints tests/vectors/wire_objects.h: one object of each type, packed from the table in docs/wire.md and nothing else.

Raw fields of n bytes hold tag, tag + 1, ..., tag + n - 1 (mod 256)."""
import struct


def raw(tag, n):
    return bytes((tag + i) % 256 for i in range(n))


def u8(v):
    return struct.pack(">B", v)


def u32(v):
    return struct.pack(">I", v)


def u64(v):
    return struct.pack(">Q", v)


def var(b):
    return u32(len(b)) + b


def site(tag, uri, organisation, name, cert):
    return raw(tag, 32) + var(uri) + var(organisation) + var(name) + var(cert)


objects = {
    "offer": raw(1, 16) + raw(2, 32) + raw(3, 32) + raw(4, 32) + raw(5, 32) + u64(0x0102030405060708),
    "roster": var(b"Hearts") + u32(2)
    + site(0x10, b"urn:hanse:North:a", b"North", b"a", raw(0x30, 300))
    + site(0x20, b"urn:hanse:South:b", b"South", b"b", raw(0x40, 5)),
    "spec": raw(1, 16) + u64(7) + u32(2) + u64(9) + u8(1) + raw(4, 32) + u64(220456) + raw(2, 32) + raw(3, 32)
    + raw(6, 32) + raw(7, 32) + u64(1764000000000) + u32(1 << 20),
    "upload": raw(1, 16) + u64(7) + u32(2) + u64(9) + raw(0x10, 32) + raw(8, 32) + raw(2, 32) + raw(4, 32) + raw(9, 32)
    + u64(808) + u64(219944) + raw(0x50, 32),
    "receipt": raw(9, 32) + raw(0x10, 32) + raw(0x60, 32) + u64(1764000000001),
    "result": raw(1, 16) + u64(7) + u32(2) + u64(9) + u8(1) + u8(0) + var("gut \u2265 2".encode()) + raw(0x70, 32) + u64(220456)
    + raw(6, 32) + raw(4, 32) + var(struct.pack("<QQ", 1, 1 << 40)) + var(b"masking") + u32(2) + raw(0x10, 32) + raw(0x20, 32) + u8(1) + u64(6)
    + raw(0x71, 32),
}

if __name__ == "__main__":
    print("/* One object of each type as hex; printed by wire_objects.py. */")
    print("#ifndef HANSE_VECTORS_WIRE_OBJECTS_H\n#define HANSE_VECTORS_WIRE_OBJECTS_H\n")
    for name, data in objects.items():
        print(f"static const char {name}_golden[] =")
        text = data.hex()
        lines = [f'    "{text[i:i + 120]}"' for i in range(0, len(text), 120)]
        print("\n".join(lines) + ";\n")
    print("#endif")
