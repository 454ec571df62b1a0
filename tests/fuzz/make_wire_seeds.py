#!/usr/bin/env python3
"""Writes the seeds of fuzz_message, fuzz_object, fuzz_masking, fuzz_ws_frame and fuzz_inbox beside itself, from docs/wire.md alone."""
import pathlib
import struct
import sys

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parent / "vectors"))
from wire_objects import objects, raw  # noqa: E402


def save(target, name, data):
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# --- msgpack: what the protocol uses of it ---
def pack(v):
    if isinstance(v, bool):
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        for tag, width in ((0xCC, "B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q")):
            if v < 0x80:
                return bytes([v])
            if v < 1 << 8 * struct.calcsize(width):
                return bytes([tag]) + struct.pack(width, v)
    if isinstance(v, str):
        b = v.encode()
        return (bytes([0xA0 | len(b)]) if len(b) < 32 else b"\xd9" + bytes([len(b)])) + b
    if isinstance(v, bytes):
        return (b"\xc4" + bytes([len(v)]) if len(v) < 256 else b"\xc5" + struct.pack(">H", len(v))) + v
    return bytes([0x90 | len(v)]) + b"".join(map(pack, v))


run, h32, sig, der = raw(1, 16), raw(4, 32), raw(9, 64), raw(0x30, 90)
refusal = [run, 7, 2, "policy", "no such column: \u2265"]
signed_list = struct.pack(">I", 3) + b"".join(struct.pack(">I", len(b)) + b for b in (raw(7, 84), sig, b"", b"", raw(8, 84), sig))
messages = {  # name: (from the node?, fields)
    "hello": (1, [1, 1, "hanse 0.1.0", 1764000000000]),
    "welcome": (0, [2, 1, "hanse 0.1.0", 1764000000000, "Hearts", b"-----BEGIN X509 CRL-----\n"]),
    "enrol": (1, [3, 1, h32, der, der]),
    "enrolled": (0, [4, b"cert", b"cert", b"cert"]),
    "offer": (0, [5, objects["offer"], sig, b"version: 1\n", objects["roster"], sig]),
    "answer": (1, [6, run, True, "", ""]),
    "spec": (0, [7, objects["spec"], sig, raw(0, 16)]),
    "fetch": (1, [8, run, h32, 3]),
    "model": (0, [9, 5, 220456, 1]),
    "chunk-model": (0, [10, 5, 0, h32, raw(7, 100)]),
    "chunk-upload": (1, [10, 5, 1, b"", raw(7, 300)]),
    "upload": (1, [11, objects["upload"], sig]),
    "resume": (0, [12, 5, 1]),
    "receipt": (0, [13, objects["receipt"], sig]),
    "reject": (0, [14] + refusal),
    "decline": (1, [15] + refusal),
    "result": (0, [16, objects["result"], sig]),
    "error": (1, [17, "protocol", "out of turn"]),
    "bye": (1, [18, "done"]),
    "epoch": (1, [19, raw(7, 84), sig]),
    "peers": (0, [20, run, 6, signed_list]),
    "ticket": (1, [21, raw(7, 180), sig, raw(8, 160)]),
    "masks": (0, [22, raw(7, 220), sig, signed_list, raw(8, 160)]),
    "masked-upload": (1, [23, raw(7, 152), sig]),
    "cut": (0, [24, raw(7, 92), sig, signed_list, struct.pack(">I", 0)]),
    "cutsig": (1, [25, run, 6, raw(7, 96), sig]),
    "shares": (1, [26, run, 6, raw(7, 240)]),
    "ask-dead": (0, [27, run, 6]),
    "dead": (1, [28, raw(7, 56), sig]),
    "abort": (0, [29, run, 6, signed_list]),
    "renew": (0, [30, b"csr", b"csr"]),
    "renewed": (0, [31, b"", b"", b"pem", "why not"]),
}
for name, (from_node, fields) in messages.items():
    save("message", name, bytes([from_node]) + pack(fields))
save("message", "claims-4G-items", b"\x00\xdd\xff\xff\xff\xff")
save("message", "long-integers", b"\x00\x93\x0c\xcf" + bytes(7) + b"\x05\xcd\x00\x01")

# --- objects ---
for number, (name, data) in enumerate(objects.items()):
    save("object", name, bytes([number]) + data)
    save("object", name + "-cut", bytes([number]) + data[:-1])
save("object", "roster-claims-1024", b"\x01" + struct.pack(">I", 1) + b"H" + struct.pack(">I", 1024))


# --- what the plan and results say about masked rounds: a list, and the state of a model of two tensors ---
save("masking", "list", b"\0" + signed_list)
save("masking", "list-empty", b"\0" + struct.pack(">I", 0))
save("masking", "list-claims-4G", b"\0" + struct.pack(">I", 0xFFFFFFFF))
save("masking", "state-first", b"\1" + struct.pack(">QI", 183, 2) + 2 * struct.pack(">ddII", 4, 0, 0, 0))
save("masking", "state-later", b"\1" + struct.pack(">QI", 183, 2) + struct.pack(">ddII", 2, 4, 0, 0) + struct.pack(">ddII", 4, 1, 2, 3))
save("masking", "state-nan", b"\1" + struct.pack(">QI", 183, 2) + 2 * struct.pack(">ddII", float("nan"), 0, 0, 0))


# --- frames of a server: unmasked ---
def frame(opcode, payload, fin=True):
    n = len(payload)
    size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else b"\x7f" + struct.pack(">Q", n)
    return bytes([opcode | (0x80 if fin else 0)]) + size + payload


bye = pack([18, "done"])
save("ws_frame", "whole", b"\x02" + frame(2, bye))
save("ws_frame", "fragments", b"\x00" + frame(2, bye[:3], False) + frame(0, b"", False) + frame(0, bye[3:]))
save("ws_frame", "ping-between", b"\x04" + frame(2, bye[:3], False) + frame(9, b"are you there") + frame(0, bye[3:]))
save("ws_frame", "long16", b"\x07" + frame(2, raw(0, 300)))
save("ws_frame", "long64-cut", b"\x0f" + frame(2, bytes(70000))[:600])
save("ws_frame", "close", b"\x01" + frame(8, b"\x03\xe8") + frame(2, bye))
save("ws_frame", "masked", b"\x01\x82\x84abcd\x01\x02\x03\x04")
save("ws_frame", "text", b"\x01" + frame(1, b"hello"))
save("ws_frame", "not-shortest", b"\x01\x82\x7e\x00\x05hello")
save("ws_frame", "long-control", b"\x01\x89\x7e\x00\x80" + bytes(128))
save("ws_frame", "reserved", b"\x01\xc2\x01x")
save("ws_frame", "orphan", b"\x01" + frame(0, b"x"))


# --- the inbox: pieces of messages ---
def pieces(data, step):
    cut = [data[i:i + step] for i in range(0, len(data), step)] or [b""]
    return b"".join(bytes([len(c) | (0x80 if i == len(cut) - 1 else 0)]) + c for i, c in enumerate(cut))


for name, (from_node, fields) in messages.items():
    save("inbox", name, bytes([from_node]) + pieces(pack(fields), 1 + len(name) * 7 % 100))
save("inbox", "several", b"\x01" + b"".join(pieces(pack(f), 9) for n, f in messages.values() if n))
save("inbox", "empty-pieces", b"\x01\x00\x01\x92\x00\x01\x12\x00\x01\xa0\x80")
save("inbox", "payload-cut", b"\x01" + pieces(pack([10, 5, 1, b"", raw(7, 50)])[:-1], 30))
save("inbox", "payload-long", b"\x01" + pieces(pack([10, 5, 1, b"", raw(7, 50)]) + b"!", 30))
