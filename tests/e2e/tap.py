"""What passes through TLS in a real process, message by message, and halts at chosen ones: tests/support/tap/tap.c, preloaded.

A halt is (way, kind, nth): ("o", MASKED_UPLOAD, 2) stops the process right before its second MASKED_UPLOAD leaves.
"""
import os
import struct

import consortium
from consortium import wait_for

(HELLO, WELCOME, ENROL, ENROLLED, OFFER, ANSWER, SPEC, FETCH, MODEL, CHUNK, UPLOAD, RESUME, RECEIPT, REJECT, DECLINE, RESULT, ERROR, BYE,
 EPOCH, PEERS, TICKET, MASKS, MASKED_UPLOAD, CUT, CUTSIG, SHARES, ASK_DEAD, DEAD, ABORT) = range(1, 30)
LIBRARY = os.path.abspath(os.path.join(consortium.HANSE_BIN, "tests", "tap.so"))


def env(path, *halts):
    """The environment of a process that is tapped."""
    return {"LD_PRELOAD": LIBRARY, "HANSE_TAP": path, "HANSE_TAP_HALT": ",".join("%s:%d:%d" % halt for halt in halts)}


def both(first, second):
    """The environment of a process with both of these."""
    return dict(first, **dict(second, LD_PRELOAD=first["LD_PRELOAD"] + ":" + second["LD_PRELOAD"]))


def unpack(message):
    """The msgpack fields, the kind first."""
    fields, at = [], 1
    for _ in range(message[0] & 15):
        tag, at = message[at], at + 1
        if tag < 128:
            fields.append(tag)
        elif tag in (0xc2, 0xc3):
            fields.append(tag == 0xc3)
        elif 0xcc <= tag <= 0xcf:
            size = 1 << (tag - 0xcc)
            fields.append(int.from_bytes(message[at:at + size], "big"))
            at += size
        else:
            size = {0xc4: 1, 0xc5: 2, 0xc6: 4, 0xd9: 1, 0xda: 2, 0xdb: 4}.get(tag, 0)
            length = int.from_bytes(message[at:at + size], "big") if size else tag & 31
            at += size
            fields.append(message[at:at + length])
            at += length
    return fields


def signed_list(data):
    """Entries (bytes, signature) of a list of signed objects."""
    entries, at = [], 4
    for _ in range(int.from_bytes(data[:4], "big")):
        pair = []
        for _ in range(2):
            length = int.from_bytes(data[at:at + 4], "big")
            pair.append(data[at + 4:at + 4 + length])
            at += 4 + length
        entries.append(tuple(pair))
    return entries


class Message:
    """One message: connection, way ("i" or "o"), kind, its bytes, and the fields behind the kind."""

    def __init__(self, connection, way, data):
        self.connection, self.way, self.data = connection, way, data
        self.kind = data[1]

    @property
    def fields(self):
        return unpack(self.data)[1:]

    def __repr__(self):
        return "%s%d:%d(%d)" % (self.way, self.connection, self.kind, len(self.data))


class Stream:
    """Frames of one direction of one connection."""

    def __init__(self):
        self.buffer, self.message, self.http = bytearray(), bytearray(), True

    def feed(self, data):
        """Whole messages that end in `data`."""
        self.buffer += data
        if self.http:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            del self.buffer[:end + 4]
            self.http = False
        while (frame := self.frame()) is not None:
            first, payload = frame
            if first & 15 > 2:
                continue  # ping, pong, close
            self.message += payload
            if first & 128:
                yield bytes(self.message)
                self.message.clear()

    def frame(self):
        buffer = self.buffer
        if len(buffer) < 2:
            return None
        length, at = buffer[1] & 127, 2
        if length > 125:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(buffer[2:2 + size], "big"), 2 + size
        key = b""
        if buffer[1] & 128:
            key, at = bytes(buffer[at:at + 4]), at + 4
        if len(buffer) < at + length:
            return None
        payload = bytes(buffer[at:at + length])
        if key:
            whole = (key * (length // 4 + 1))[:length]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(length, "big")
        first = buffer[0]
        del buffer[:at + length]
        return first, payload


def pieces(path):
    """(way, connection, bytes) as they were captured; a last one that was cut by a kill is left out."""
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at + 9 <= len(data):
        way, connection, length = struct.unpack("<cII", data[at:at + 9])
        if at + 9 + length > len(data):
            break
        yield way.decode(), connection, data[at + 9:at + 9 + length]
        at += 9 + length


def messages(path):
    """All whole messages of a capture, in order."""
    streams, found = {}, []
    if not os.path.exists(path):
        return found
    for way, connection, data in pieces(path):
        stream = streams.setdefault((connection, way), Stream())
        found += [Message(connection, way, message) for message in stream.feed(data)]
    return found


def is_stopped(process):
    with open("/proc/%d/stat" % process.child.pid, encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def wait_halted(process, seconds=60):
    """The process stands at its next halt."""
    wait_for(lambda: not process.alive or is_stopped(process), "%s at its halt" % process.name, seconds)
    if not process.alive:
        raise AssertionError("%s ended before its halt" % process.name)
