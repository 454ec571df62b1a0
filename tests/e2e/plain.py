"""What a site's masked contribution is without its masks, computed anew in plain Python from what the site keeps in its own directory:
the update, its ring words, and from the words of several sites the model that their round must publish, bit for bit."""
import glob
import hashlib
import hmac
import math
import os
import sqlite3
import struct
import subprocess
from fractions import Fraction

from consortium import Model

SANITY = [0, 0, 0, 0, 1]  # behind each segment


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


class Segment:
    def __init__(self, data):
        self.count, self.bits, self.bound = struct.unpack(">QIQ", data[32:52])
        self.clip, = struct.unpack(">d", data[52:60])
        self.scaled = data[60] == 1


class MaskSpec:
    """The signed object `secagg-spec`."""

    def __init__(self, data):
        self.run = data[:16]
        self.slot, self.kind = struct.unpack(">QB", data[16:25])
        self.model_root = data[57:89]
        self.n, self.c, self.d_max, self.m, self.t = struct.unpack(">5I", data[186:206])
        self.weight_total, = struct.unpack(">Q", data[239:247])
        self.chunk_words, count = struct.unpack(">II", data[263:271])
        self.segments = [Segment(data[271 + 61 * i:332 + 61 * i]) for i in range(count)]

    def chunks(self):
        """(segment, first word, words) of each chunk."""
        for segment in self.segments:
            words = segment.count + len(SANITY)
            for first in range(0, words, self.chunk_words):
                yield segment, first, min(self.chunk_words, words - first)


class UploadHeader:
    """The signed object `secagg-upload`."""

    def __init__(self, data):
        self.round_id, self.run, self.site, self.nonce = data[:32], data[32:48], data[56:88], data[88:104]
        self.slot, = struct.unpack(">Q", data[48:56])
        self.chunks, self.len = struct.unpack(">QQ", data[104:120])


def key_stream(key, length):
    command = ["openssl", "enc", "-aes-256-ctr", "-K", key.hex(), "-iv", "00" * 16]
    return subprocess.run(command, input=bytes(length), check=True, capture_output=True).stdout


def rho_key(seed, site, round_number, segment):
    prk = hmac.new(site, struct.pack("<Q", seed), hashlib.sha256).digest()
    info = b"hanse1/rho" + struct.pack(">QIQ", round_number, segment, 0)
    return hmac.new(prk, info + b"\1", hashlib.sha256).digest()


def quantise(values, segment, weight, total, key):
    """docs: include/hanse/ring.h"""
    rho = struct.unpack("<%dI" % len(values), key_stream(key, 4 * len(values)))
    factor = (float(segment.bound) * float(weight)) / (float(total) * segment.clip)
    bound = math.ceil(Fraction(segment.bound * weight, total))
    words = []
    for value, noise in zip(values, rho):
        q = math.floor(min(max(value, -segment.clip), segment.clip) * factor + noise / 2**32)
        words.append(min(max(q, -bound), bound))
    return words


def packed(words, bits):
    """The low bits of each word, without gaps; 8 words end on a byte."""
    pieces = []
    for at in range(0, len(words), 64):
        piece = words[at:at + 64]
        whole = sum((word % (1 << bits)) << (k * bits) for k, word in enumerate(piece))
        pieces.append(whole.to_bytes((len(piece) * bits + 7) // 8, "little"))
    return b"".join(pieces)


class Contribution:
    """One site's part of the training round that it is about to upload, taken from its directory."""

    def __init__(self, path, site_id, spec, round_number, seed):
        trained, = glob.glob(os.path.join(path, "work", "*-%d.trained" % spec.slot))
        after = Model(trained)
        self.spec, self.site_id = spec, site_id
        store = sqlite3.connect("file:%s?mode=ro" % os.path.join(path, "state.db"), uri=True)
        (self.weight, aux), = store.execute("SELECT weight, aux FROM work WHERE slot = ?", (spec.slot,)).fetchall()
        store.close()
        self.aux = struct.unpack("<%dQ" % (len(aux) // 8), aux)
        self.trained = after.data
        self.base = Model(os.path.join(path, "work", spec.model_root.hex() + ".safetensors"))
        self.update = [float32(b - a) for a, b in zip(self.base.values, after.values)]
        parts, at = [], 0
        for segment in spec.segments:
            if segment.scaled:
                parts.append((segment, self.update[at:at + segment.count]))
                at += segment.count
        largest = [max(map(abs, values)) for _, values in parts]
        self.factor = min([1.0] + [segment.clip / most for (segment, _), most in zip(parts, largest) if most > segment.clip])
        self.words = []  # of each scaled segment
        for index, (segment, values) in enumerate(parts):
            if self.factor < 1:
                values = [float32(value * self.factor) for value in values]
            self.words.append(quantise(values, segment, self.weight, spec.weight_total, rho_key(seed, site_id, round_number, index)))

    @property
    def share(self):
        return -(-self.weight * 2**40 // self.spec.weight_total)

    def packed(self):
        """The data segments as they would travel without masks."""
        return [packed(words + SANITY, segment.bits) for words, segment in zip(self.words, self.spec.segments)]


def published(contributions):
    """Bytes of the tensors of the model that these contributions give."""
    spec, base = contributions[0].spec, contributions[0].base.values
    share = sum(c.share for c in contributions)
    values = []
    for index, segment in enumerate(spec.segments):
        if not segment.scaled:
            continue
        step = segment.clip / (float(segment.bound) * (float(share) * 2.0**-40))
        for words in zip(*(c.words[index] for c in contributions)):
            values.append(float32(float32(float(sum(words)) * step) + base[len(values)]))
    return struct.pack("<%df" % len(values), *values)
