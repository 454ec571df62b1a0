"""An enrolled site that means harm, and strangers: the service lives on, says why it refuses, and the honest sites' model is as
if nobody had tried."""
import hashlib
import hmac
import os
import random
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")  # before a process starts: RSS is looked at

import consortium
from consortium import plan_text, wait_for
from tap import (ANSWER, BYE, CHUNK, DECLINE, ENROL, ENROLLED, ERROR, FETCH, HELLO, MODEL, OFFER, RECEIPT, REJECT, RESULT, RESUME, SPEC,
                 UPLOAD, WELCOME, unpack)

CHUNK_LEN = 1 << 20
RSS_GROWTH = 16 << 20  # with the sanitizers' own book-keeping
AUX_WORDS = 2 + 3 + 4 + 2 * 1024  # two classes
ROUNDS = 7


# msgpack, as far as the protocol uses it

def pack(*fields):
    out = bytes([0x90 | len(fields)])
    for field in fields:
        if isinstance(field, bool):
            out += b"\xc3" if field else b"\xc2"
        elif isinstance(field, int):
            out += bytes([field]) if field < 128 else b"\xcf" + struct.pack(">Q", field)
        elif isinstance(field, str):
            out += b"\xda" + struct.pack(">H", len(field.encode())) + field.encode()
        else:
            out += b"\xc6" + struct.pack(">I", len(field)) + field
    return out


# HPKE base mode: X25519, HKDF-SHA256, AES-256-GCM; AES itself is the openssl program's

def x25519(k, u):
    p = 2**255 - 19
    k = bytearray(k)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k, u = int.from_bytes(k, "little"), int.from_bytes(u, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a, c * b
        x3, z3 = (da + cb) ** 2 % p, u * (da - cb) ** 2 % p
        aa, bb = a * a, b * b
        e = aa - bb
        x2, z2 = aa * bb % p, e * (aa + 121665 * e) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def hkdf_extract(suite, salt, label, key):
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + key, hashlib.sha256).digest()


def hkdf_expand(suite, key, label, info, length):
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.new(key, info + b"\1", hashlib.sha256).digest()[:length]  # never more than one block here


def aes(mode, key, data, *args):
    return subprocess.run(["openssl", "enc", "-aes-256-" + mode, "-nopad", "-K", key.hex(), *args], input=data, check=True,
                          capture_output=True).stdout


def gcm_seal(key, nonce, aad, plain):
    first = aes("ecb", key, bytes(16) + nonce + b"\0\0\0\1")
    h = int.from_bytes(first[:16], "big")
    sealed = aes("ctr", key, plain, "-iv", (nonce + b"\0\0\0\2").hex())
    mac = 0
    for data in (aad, sealed, None):
        data = struct.pack(">QQ", 8 * len(aad), 8 * len(sealed)) if data is None else data
        for at in range(0, len(data), 16):
            x, v = mac ^ int.from_bytes(data[at:at + 16].ljust(16, b"\0"), "big"), h
            mac = 0
            for bit in range(127, -1, -1):
                if x >> bit & 1:
                    mac ^= v
                v = v >> 1 ^ (0xe1 << 120 if v & 1 else 0)
    return sealed + (mac ^ int.from_bytes(first[16:], "big")).to_bytes(16, "big")


class Seal:
    def __init__(self, public_key):
        base, secret = (9).to_bytes(32, "little"), os.urandom(32)
        self.enc = x25519(secret, base)
        kem, suite = b"KEM\0\x20", b"HPKE\0\x20\0\1\0\2"
        shared = hkdf_expand(kem, hkdf_extract(kem, b"", b"eae_prk", x25519(secret, public_key)), b"shared_secret",
                             self.enc + public_key, 32)
        context = b"\0" + hkdf_extract(suite, b"", b"psk_id_hash", b"") + hkdf_extract(suite, b"", b"info_hash", b"hanse1/upload")
        key = hkdf_extract(suite, shared, b"secret", b"")
        self.key = hkdf_expand(suite, key, b"key", context, 32)
        self.nonce = hkdf_expand(suite, key, b"base_nonce", context, 12)

    def chunk(self, index, aad, plain):
        return gcm_seal(self.key, (int.from_bytes(self.nonce, "big") ^ index).to_bytes(12, "big"), aad, plain)


# the connection

def frame(payload, opcode=2, fin=True, masked=True, length=None):
    """A websocket frame; the mask is zero. `length` is what the header says."""
    length = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | opcode])
    bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    return head + (b"\0\0\0\0" if masked else b"") + payload


UPGRADE = (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: hanse.v1\r\n\r\n")
GONE = (ssl.SSLError, OSError, EOFError)


class Peer:
    """A client that sends what it is told to."""

    def __init__(self, c, site=None, upgrade=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(os.path.join(c.home, "ca", "ca.crt"))
        if site:
            context.load_cert_chain(c.path(site, "tls.pem"), c.path(site, "tls.key"))
        self.buffer = b""
        self.inside = False  # a message of several frames
        self.tls = context.wrap_socket(socket.create_connection(("127.0.0.1", c.port), 10), server_hostname="127.0.0.1")
        if upgrade:
            self.tls.sendall(UPGRADE)
            while b"\r\n\r\n" not in self.buffer:
                self.more()
            self.buffer = self.buffer.split(b"\r\n\r\n", 1)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def more(self):
        piece = self.tls.recv(1 << 16)
        if not piece:
            raise EOFError
        self.buffer += piece

    def take(self, length):
        while len(self.buffer) < length:
            self.more()
        out, self.buffer = self.buffer[:length], self.buffer[length:]
        return out

    def send(self, *fields):
        self.raw(frame(pack(*fields)))

    def raw(self, data):
        self.tls.sendall(data)

    def message(self):
        whole = b""
        while True:
            first, second = self.take(2)
            length = second & 127
            if length > 125:
                length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
            payload = self.take(length)
            if first & 15 == 8:
                raise EOFError
            if first & 8:
                continue  # PING, PONG
            if (first & 15 == 0) != self.inside:
                raise AssertionError("a message begins inside another")
            self.inside = not first & 0x80
            whole += payload
            if first & 0x80:
                return unpack(whole)

    def expect(self, kind, seconds=10):
        """The next message of that kind; an ERROR in its stead is an error."""
        self.tls.settimeout(seconds)
        while True:
            fields = self.message()
            if fields[0] == kind:
                return fields[1:]
            if fields[0] == ERROR:
                raise AssertionError("instead of kind %d: %s" % (kind, fields))

    def ends(self, seconds=10):
        """Read to the end of the connection; the code of the ERROR before it, if one came."""
        self.tls.settimeout(seconds)
        code = None
        try:
            while True:
                fields = self.message()
                if fields[0] == ERROR:
                    code = fields[1].decode()
        except TimeoutError as error:
            raise AssertionError("the connection stays open") from error
        except GONE:
            return code

    def hello(self):
        self.send(HELLO, 1, "hostile", int(time.time() * 1000))
        self.expect(WELCOME)
        return self

    def accept(self, run):
        """Up to the spec of the open round."""
        while True:
            offer = self.expect(OFFER)[0]
            if offer[:16] == run:
                break
        self.send(ANSWER, run, True, "", "")
        self.seal_key = offer[112:144]
        self.take_spec(self.expect(SPEC, 30)[0])
        return self

    def take_spec(self, spec):
        self.spec = spec
        self.run = spec[:16]
        self.round, self.attempt, self.slot, self.kind = struct.unpack(">QIQB", spec[16:37])
        self.root, self.plan_hash = spec[37:69], spec[77:109]


@unittest.skipUnless(shutil.which("openssl"), "signs and seals as a site does")
class Hostile(consortium.TestCase):
    def setup_sites(self):
        self.c = c = self.consortium(["a", "b", "evil"])
        done = subprocess.run(["openssl", "pkey", "-in", c.path("evil", "sign.key"), "-pubout", "-outform", "DER"], check=True,
                              capture_output=True)
        self.site_id = hashlib.sha256(done.stdout).digest()

    def begin(self):
        run_id = self.c.submit(plan_text(rounds__count=ROUNDS, rounds__min_sites=2))
        self.c.accept(run_id, ["a", "b"])
        for site in ("a", "b"):
            if site not in self.c.nodes:
                self.c.start_node(site)
        return run_id, bytes.fromhex(run_id)

    def enter(self):
        return Peer(self.c, "evil").hello().accept(self.run_bytes)

    def sign(self, data, key="sign.key", label=b"hanse1/upload"):
        path = self.c.path("signed.bin")
        with open(path, "wb") as file:
            file.write(label + b"\0" + data)
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.c.path("evil", key), "-in", path]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def header(self, peer, seal, **changes):
        values = {"run": peer.run, "round": peer.round, "attempt": peer.attempt, "slot": peer.slot, "site": self.site_id,
                  "key": hashlib.sha256(peer.seal_key).digest(), "plan": peer.plan_hash, "root": peer.root,
                  "spec": hashlib.sha256(peer.spec).digest(), "aux": 8 * AUX_WORDS, "data": self.data_len if peer.kind == 1 else 0,
                  "enc": seal.enc}
        values.update(changes)
        return b"".join(value if isinstance(value, bytes) else struct.pack(">I" if name == "attempt" else ">Q", value)
                        for name, value in values.items())

    def upload(self, peer, words=None, data=None, flip=False):
        """A whole contribution; `words` replace the first ones of the aux segment."""
        seal = Seal(peer.seal_key)
        header = self.header(peer, seal)
        aux = list(words or [10, 1])
        aux = struct.pack("<%dQ" % AUX_WORDS, *(aux + [0] * (AUX_WORDS - len(aux))))
        segments = [aux] + ([data or bytes(self.data_len)] if peer.kind == 1 else [])
        peer.send(UPLOAD, header, self.sign(header))
        transfer, held = peer.expect(RESUME)
        self.assertEqual(held, 0)
        for index, plain in enumerate(segments):
            aad = hashlib.sha256(header).digest() + struct.pack(">QB", index, index + 1 == len(segments))
            sealed = seal.chunk(index, aad, plain)
            if flip and index + 1 == len(segments):
                sealed = sealed[:5] + bytes([sealed[5] ^ 4]) + sealed[6:]
            peer.send(CHUNK, transfer, index, b"", sealed)
        return header, transfer

    def rejected(self, peer, code):
        run, round_number, attempt, got, reason = peer.expect(REJECT)
        self.assertEqual((got.decode(), run, round_number, attempt), (code, peer.run, peer.round, peer.attempt), reason)

    def rss(self):
        return self.c.service.rss

    def check(self, what):
        """The service lives, and serves."""
        self.assertTrue(self.c.service.alive, what)
        with Peer(self.c, "evil") as peer:
            peer.hello()

    def refused(self, what, code, *messages, site="evil", hello=True):
        """Each message on a connection of its own ends it, with an ERROR of that code."""
        for message in messages:
            with self.subTest(what=what, message=message[:60]), Peer(self.c, site) as peer:
                if hello:
                    peer.hello()
                peer.raw(frame(message))
                self.assertEqual(peer.ends(), code)
        self.check(what)

    # what comes before HELLO

    def attack_transport(self):
        rng = random.Random(7)
        with socket.create_connection(("127.0.0.1", self.c.port), 10) as raw:  # no TLS at all
            raw.sendall(rng.randbytes(4096))
        for site in (None, "evil"):
            with Peer(self.c, site, upgrade=False) as peer:  # no HTTP
                peer.raw(rng.randbytes(16384))
                peer.ends()
            with Peer(self.c, site, upgrade=False) as peer:  # no websocket
                peer.raw(b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n")
                peer.ends()
            with Peer(self.c, site, upgrade=False) as peer:  # headers without end
                try:
                    for _ in range(64):
                        peer.raw(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 65536)
                except GONE:
                    pass
        for data in (frame(b"\x91\x01", masked=False), frame(b"", length=1 << 63), frame(b"", opcode=3), frame(b"x", opcode=9, length=1 << 20),
                     frame(b"\x94", fin=False) + frame(b"\x94"), frame(b"\x94", opcode=0), frame(b"\xff" * 4096, length=1 << 62),
                     b"\xf2" + frame(b"\x91\x01")[1:]):
            with self.subTest(data=data[:14]), Peer(self.c, "evil") as peer:
                peer.raw(data)
                peer.ends(15)
        self.check("frames")
        with Peer(self.c, "evil") as peer:
            peer.raw(frame(pack(HELLO, 1, "x", int(time.time() * 1000)), opcode=1))  # text
            self.assertEqual(peer.ends(), "protocol")
        for size in (1, 7, 200, 5000):
            self.refused("garbage", "protocol", b"\0" + rng.randbytes(size), hello=False)

    def messages(self):
        """One well-formed message of every kind."""
        run, h32, sig = self.run_bytes, bytes(32), bytes(64)
        return {HELLO: pack(HELLO, 1, "x", int(time.time() * 1000)), WELCOME: pack(WELCOME, 1, "x", 1, "Test", b""),
                ENROL: pack(ENROL, 1, h32, b"x", b"x"), ENROLLED: pack(ENROLLED, b"x", b"x", b"x"),
                OFFER: pack(OFFER, b"x", sig, b"x", b"x", sig), ANSWER: pack(ANSWER, run, True, "", ""),
                SPEC: pack(SPEC, b"x", sig, b""), FETCH: pack(FETCH, run, h32, 0), MODEL: pack(MODEL, 1, 1, 1),
                CHUNK: pack(CHUNK, 1, 0, b"", b"x"), UPLOAD: pack(UPLOAD, b"x", sig), RESUME: pack(RESUME, 1, 0),
                RECEIPT: pack(RECEIPT, b"x", sig), REJECT: pack(REJECT, run, 1, 0, "late", ""),
                DECLINE: pack(DECLINE, run, 1, 0, "late", ""), RESULT: pack(RESULT, b"x", sig), ERROR: pack(ERROR, "x", "y"),
                BYE: pack(BYE, "")}

    def attack_turns(self):
        every = self.messages()
        last = {HELLO, ENROL, ERROR, BYE}
        for site in (None, "evil"):
            self.refused("before HELLO", "protocol", *(m for kind, m in every.items() if kind not in last), site=site, hello=False)
        self.refused("after HELLO", "protocol", *(m for kind, m in every.items() if kind not in {ANSWER, ERROR, BYE}))
        self.refused("farewell", None, every[ERROR], every[BYE])
        self.refused("no such kind", "protocol", pack(0), pack(19), pack(127), b"\xdd\xff\xff\xff\xff", b"\x90", b"\xc1", b"")
        hello, answer = every[HELLO], every[ANSWER]
        self.refused("cut", "protocol", *(hello[:at] for at in range(len(hello))), hello + b"\0", hello=False)
        self.refused("cut", "protocol", *(answer[:at] for at in range(len(answer))), answer + b"\0")
        self.refused("bounds", "protocol", pack(ANSWER, bytes(15), True, "", ""), pack(ANSWER, self.run_bytes, True, "x" * 17, ""),
                     pack(ANSWER, self.run_bytes, True, "", "x" * 257), pack(ANSWER, self.run_bytes, True, "", "\x1b[2J"),
                     pack(ANSWER, self.run_bytes, 1, "", ""), pack(UPLOAD, bytes(4097), bytes(64)), pack(UPLOAD, b"x", bytes(63)),
                     pack(FETCH, self.run_bytes, bytes(32)), pack(ENROL, 1, bytes(32), bytes(5000), b"x"),
                     b"\x95\x0a" + b"\xcf" + b"\xff" * 8 + b"\0\xc4\0\xc4\0")
        self.refused("version", "version", pack(HELLO, 9, "x", int(time.time() * 1000)), hello=False)
        for hours in (-1, 1):
            self.refused("clock", "identity", pack(HELLO, 1, "x", int(time.time() + 3600 * hours) * 1000), hello=False)

    def attack_enrolment(self):
        now = int(time.time() * 1000)
        self.refused("no certificate", "identity", pack(HELLO, 1, "x", now), site=None, hello=False)
        csr = subprocess.run(["openssl", "req", "-new", "-key", self.c.path("evil", "sign.key"), "-subj", "/CN=x", "-outform", "DER"],
                             check=True, capture_output=True).stdout
        self.refused("wrong token", "identity", pack(ENROL, 1, bytes(32), csr, csr), site=None, hello=False)
        self.refused("no request", "identity", pack(ENROL, 1, bytes(32), b"x", csr[:-3]), site=None, hello=False)
        self.refused("version", "version", pack(ENROL, 9, bytes(32), csr, csr), site=None, hello=False)

    # a member of the run

    def attack_run(self):
        stranger = bytes(16)
        for message in (pack(ANSWER, stranger, True, "", ""), pack(FETCH, stranger, bytes(32), 0), pack(DECLINE, stranger, 1, 0, "late", "")):
            self.refused("another run", "protocol", message)
        with self.enter() as peer:
            peer.send(FETCH, peer.run, bytes(32), 0)
            self.assertEqual(peer.ends(), "notfound")
        with self.enter() as peer:
            peer.send(FETCH, peer.run, peer.root, 1 << 60)
            self.assertEqual(peer.ends(), "protocol")
        with self.enter() as peer:  # the model, ten times over; the last one is whole
            for _ in range(10):
                peer.send(FETCH, peer.run, peer.root, 0)
            for _ in range(10):
                transfer, size, chunks = peer.expect(MODEL)
            got = peer.expect(CHUNK)
            while got[0] != transfer:
                got = peer.expect(CHUNK)
            self.assertEqual((chunks, size, got[1], got[2]), (1, len(got[3]), 0, hashlib.sha256(got[3]).digest()))
            self.data_len = size - 8 - struct.unpack("<Q", got[3][:8])[0]
        with self.enter() as peer:
            seal = Seal(peer.seal_key)
            for code, changes in (("auth", {"site": bytes(32)}), ("auth", {"plan": bytes(32)}), ("auth", {"key": bytes(32)}),
                                  ("auth", {"root": bytes(32)}), ("late", {"slot": peer.slot + 1}), ("late", {"spec": bytes(32)}),
                                  ("shape", {"aux": 8}), ("shape", {"data": 0}), ("shape", {"data": 1 << 30})):
                header = self.header(peer, seal, **changes)
                peer.send(UPLOAD, header, self.sign(header))
                self.rejected(peer, code)
            for changes in ({"round": peer.round + 1}, {"attempt": peer.attempt + 1}):  # names the round that was asked for
                header = self.header(peer, seal, **changes)
                peer.send(UPLOAD, header, self.sign(header))
                _, round_number, attempt, code, _ = peer.expect(REJECT)
                self.assertEqual((round_number, attempt, code), (changes.get("round", peer.round), changes.get("attempt", peer.attempt), b"late"))
            header = self.header(peer, seal)
            for signature in (bytes(64), self.sign(header, key="tls.key"), self.sign(header, label=b"hanse1/result"), self.sign(header[1:])):
                peer.send(UPLOAD, header, signature)
                self.rejected(peer, "auth")
        for changes in ({"run": stranger}, {"aux": 0}, {"aux": 1 << 63}, {"aux": 9}, {"data": 1 << 63}, {"data": 3}, {"enc": b""}):
            with self.subTest(changes=changes), self.enter() as peer:
                header = self.header(peer, seal, **changes)
                peer.send(UPLOAD, header, self.sign(header))
                self.assertEqual(peer.ends(), "protocol")
        self.check("uploads")

    def attack_chunks(self):
        length = 8 * AUX_WORDS + 16
        for transfer, index, digest, size in ((1, 0, b"", length), (0, 1, b"", length), (0, 1 << 63, b"", length), (0, 0, b"", length - 1),
                                              (0, 0, b"", length + 1), (0, 0, bytes(32), length), (0, 0, bytes(5), length),
                                              (0, 0, b"", 0), (0, 0, b"", CHUNK_LEN + 17)):
            with self.subTest(transfer=transfer, index=index, digest=digest, size=size), self.enter() as peer:
                header = self.header(peer, Seal(peer.seal_key))
                peer.send(UPLOAD, header, self.sign(header))
                given = peer.expect(RESUME)[0]
                try:
                    peer.send(CHUNK, given + transfer, index, digest, bytes(size))
                except GONE:
                    pass  # it is refused before it is whole, and what is not read resets the connection, ERROR or not
                self.assertIn(peer.ends(), ["protocol"] if size < CHUNK_LEN else ["protocol", None])
        with self.enter() as peer:  # half a chunk, and gone; then the same upload again
            header = self.header(peer, Seal(peer.seal_key))
            peer.send(UPLOAD, header, self.sign(header))
            whole = pack(CHUNK, peer.expect(RESUME)[0], 0, b"", bytes(length))
            peer.raw(frame(whole[:length // 2], fin=False))
        with self.enter() as peer:
            peer.send(UPLOAD, header, self.sign(header))
            self.assertEqual(peer.expect(RESUME)[1], 0)
            with self.enter():  # the older connection ends in the middle of its upload
                self.assertEqual(peer.ends(), "duplicate")
        self.check("chunks")

    def attack_flood(self):
        before = self.rss()
        decline = frame(pack(DECLINE, self.run_bytes, 99, 0, "late", ""))
        with self.enter() as peer:  # as many at once as are allowed
            peer.raw(decline * 1900)
            peer.send(FETCH, peer.run, peer.root, 0)
            peer.expect(MODEL, 30)
        with self.enter() as peer:
            try:
                peer.raw(decline * 10000)
            except GONE:
                pass
            self.assertEqual(peer.ends(), "full")
        lines = self.c.log_of("coordinator").count(" run_answer ")
        for messages in (frame(pack(ANSWER, self.run_bytes, False, "", "x" * 200)) + frame(pack(ANSWER, self.run_bytes, True, "", "")),
                         frame(b"x", opcode=1), frame(b"x" * 100, opcode=9), frame(pack(FETCH, self.run_bytes, bytes(32), 0))):
            with self.enter() as peer:  # without reading
                try:
                    peer.tls.settimeout(3)
                    peer.raw(messages * 2500)
                except GONE:
                    pass
        self.check("flood")
        self.assertLess(self.c.log(self.run_bytes.hex()).count("evil"), 40)
        self.assertLess(self.c.log_of("coordinator").count(" run_answer ") - lines, 250)
        self.assertTrue(" lines_unlogged count=" in self.c.log_of("coordinator"))
        wait_for(lambda: self.rss() - before < RSS_GROWTH, "the memory of the flood to be free; %d KiB" % ((self.rss() - before) >> 10), 15)

    def attack_crowd(self):
        before, crowd = self.rss(), []
        try:
            for number in range(200):
                crowd.append(Peer(self.c, "evil" if number % 2 else None, upgrade=number % 3 > 0))
            with Peer(self.c, "a") as peer:
                peer.hello()
        finally:
            for peer in crowd:
                peer.tls.close()
        wait_for(lambda: self.rss() - before < RSS_GROWTH, "the memory of the crowd to be free; %d KiB" % ((self.rss() - before) >> 10), 15)
        wait_for(self.welcome, "room for a connection of this site")

    def welcome(self):
        try:
            with Peer(self.c, "evil") as peer:
                peer.hello()
            return True
        except (AssertionError, *GONE):
            return False

    def slowly(self):
        """One byte a second, in four places at once, until the service has enough."""
        hello = frame(pack(HELLO, 1, "x", int(time.time() * 1000)))
        for site, upgrade, data in ((None, False, UPGRADE), ("evil", False, UPGRADE), ("evil", True, hello)):
            threading.Thread(target=self.drip, args=(Peer(self.c, site, upgrade), data), daemon=True).start()

    def drip(self, peer, data):
        self.dripping += 1
        try:
            with peer:
                for byte in data:
                    peer.raw(bytes([byte]))
                    time.sleep(1)
        except GONE:
            self.dripping -= 1

    # whole contributions

    def attack_contributions(self, peer):
        """A bad one in each round of training but the last; every one is refused for what it is, and leaves no trace."""
        nan = struct.pack("<f", float("nan"))
        kinds = [("auth", {"flip": True}), ("nonfinite", {"data": bytes(self.data_len - 4) + nan}),
                 ("weight", {"words": [0, 1]}), ("weight", {"words": [1 << 63, 1]}), ("protocol", {"words": [10, 1, 5, 6]}),
                 ("protocol", {"words": [10, 1 << 63]})]
        self.assertEqual(len(kinds), ROUNDS - 1)
        for code, how in kinds:
            with self.subTest(code=code, how=str(how)[:60]):
                _, transfer = self.upload(peer, **how)
                self.rejected(peer, code)
                peer.expect(RESULT)
                peer.send(CHUNK, transfer, 1, b"", bytes(100))  # the round is closed: nobody wants it
                peer.take_spec(peer.expect(SPEC)[0])
        return peer

    def decline_rounds(self, peer):
        for _ in range(ROUNDS - 1):
            peer.send(DECLINE, peer.run, peer.round, peer.attempt, "invalid", "no")
            peer.take_spec(peer.expect(SPEC, 30)[0])

    def last_rounds(self, peer, again):
        """The last round of training with this site, then the evaluation without it."""
        header, transfer = self.upload(peer)
        if again:
            peer.send(UPLOAD, header, self.sign(header))
        receipt = peer.expect(RECEIPT)
        if again:
            peer.send(CHUNK, transfer, 0, b"", bytes(100))
            peer.send(UPLOAD, header, self.sign(header))  # the same receipt, or: too late
            self.assertNotEqual(receipt, None)
        peer.take_spec(peer.expect(SPEC, 30)[0])
        self.assertEqual(peer.kind, 2)
        peer.send(DECLINE, peer.run, peer.round, peer.attempt, "invalid", "no")

    def test_silent_server(self):
        """Work that ends while a site waits for a coordinator that says nothing is not lost."""
        self.c = c = self.consortium(["a"], rows=4000)
        run_id = c.submit(plan_text(rounds__count=1, rounds__min_sites=1, train__epochs=2000, model={"kind": "mlp", "hidden": [64, 64]}))
        c.accept(run_id)
        c.start_node("a")
        wait_for(lambda: "work_begin" in c.log_of("a"), "the beginning of the work")
        c.service.kill()
        with socket.create_server(("127.0.0.1", c.port)) as silent:
            connection = silent.accept()[0]
            self.assertNotIn("work_end", c.log_of("a"))
            wait_for(lambda: "work_end" in c.log_of("a"), "the end of the work")
            connection.close()
        c.serve()
        c.finish(run_id)

    def test_large_model(self):
        """Downloads that are replaced, left, or refused in the middle."""
        self.c = self.consortium(["evil"])
        run_id = self.c.submit(plan_text(model={"kind": "mlp", "hidden": [2048, 2048]}, rounds__min_sites=1))
        self.run_bytes = bytes.fromhex(run_id)
        before = self.rss()
        for _ in range(20):  # gone while it comes
            with self.enter() as peer:
                peer.send(FETCH, peer.run, peer.root, 0)
                peer.expect(MODEL)
        with self.enter() as peer:
            digests = b""
            for offset in (0, 3, 0):
                peer.send(FETCH, peer.run, peer.root, offset)
                time.sleep(0.05)  # some of it is under way
            for _ in range(3):
                transfer, size, chunks = peer.expect(MODEL)
            for index in range(chunks):
                got = peer.expect(CHUNK)
                while got[0] != transfer:
                    got = peer.expect(CHUNK)
                self.assertEqual((got[1], got[2]), (index, hashlib.sha256(got[3]).digest()))
                digests += got[2]
            root = hashlib.sha256(b"hanse1/model\0" + struct.pack(">Q", size) + digests).digest()
            self.assertEqual(root, peer.root)
        with self.enter() as peer:  # refused in the middle: not the whole model first, and the ERROR comes all the same
            peer.send(FETCH, peer.run, peer.root, 0)
            peer.expect(MODEL)
            peer.send(WELCOME)
            came = 0
            peer.tls.settimeout(20)
            while (fields := peer.message())[0] == CHUNK:
                came += 1
            self.assertEqual(fields[:2], [ERROR, b"protocol"])
            self.assertLess(came, chunks)
        self.c.coordinator("stop", run_id)
        wait_for(lambda: self.rss() - before < RSS_GROWTH, "memory")
        self.assertEqual(self.c.service.stop(), 0)
        self.assertNotRegex(self.c.log_of("coordinator"), r"Sanitizer|runtime error")

    def test_all(self):
        self.setup_sites()
        run_id, self.run_bytes = self.begin()
        self.data_len = 0
        with self.enter() as peer:  # without an attack, to compare
            peer.send(FETCH, peer.run, peer.root, 0)
            size = peer.expect(MODEL)[1]
            self.data_len = size - 8 - struct.unpack("<Q", peer.expect(CHUNK)[3][:8])[0]
            self.decline_rounds(peer)
            self.last_rounds(peer, False)
            self.c.finish(run_id)
        clean = self.c.export(run_id)
        run_id, self.run_bytes = self.begin()
        self.dripping = 0
        self.slowly()
        for attack in (self.attack_transport, self.attack_turns, self.attack_enrolment, self.attack_run, self.attack_chunks,
                       self.attack_flood, self.attack_crowd):
            began = time.monotonic()
            attack()
            print("%s: %.1f s, %d MiB" % (attack.__name__, time.monotonic() - began, self.rss() >> 20), flush=True)
        with self.enter() as peer:
            self.attack_contributions(peer)
            self.last_rounds(peer, True)
            shown = self.c.finish(run_id)
            model = self.c.export(run_id)
        self.assertEqual(model.data, clean.data)
        self.assertEqual({r["state"] for r in shown["rounds"]}, {"published"})
        for attempt in shown["rounds"]:
            self.assertEqual([s["state"] for s in attempt["sites"] if s["site"] in "ab"], ["accepted", "accepted"])
        wait_for(lambda: self.dripping == 0, "the end of the slow connections", 20)
        self.assertTrue(all(node.alive for node in self.c.nodes.values()))
        self.assertEqual(os.listdir(os.path.join(self.c.home, "spool")), [])
        log = self.c.log_of("coordinator")
        self.assertNotRegex(log, r"Sanitizer|runtime error|\x1b")
        self.assertTrue(re.search(r"session_refused site=evil code=protocol reason=.* peer=127.0.0.1\n", log))
        self.assertEqual(self.c.service.stop(), 0)
        self.assertNotRegex(self.c.log_of("coordinator"), r"Sanitizer|runtime error")


if __name__ == "__main__":
    unittest.main()
