"""An enrolled site floods the coordinator with messages that it may send, while a round goes on: the round is published, the coordinator neither
grows nor works for the flood, and the other sites are spared."""
import os
import struct
import subprocess
import time
import unittest

os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")  # before a process starts: RSS is looked at

import bars
import tap
from bars import SITES, UPLOADING
from consortium import wait_for
from test_hostile import Peer, frame, pack, x25519

EVIL = "evil"
RSS_GROWTH = 6 << 20
NEWER, OLDER = 300, 1500  # epochs; fewer than ten seconds' worth of messages: limits.messages_per_second
TELL_S = 1  # coordinator/server/masks.c: newer epochs are told once in that time
FETCHES = 1500
ANSWERS = 100


class Floods(bars.Bars):
    def enter(self, c, run_id):
        peer = Peer(c, EVIL).hello()
        self.addCleanup(peer.tls.close)
        peer.send(tap.ANSWER, bytes.fromhex(run_id), True, "", "")
        return peer

    def ends_well(self, c, run_id, sites):
        shown = c.finish(run_id, 120)
        for attempt in shown["rounds"]:
            self.assertEqual((attempt["state"], self.took_part(attempt)), ("published", sites), attempt)

    def signed(self, c, label, data):
        path = c.path("signed.bin")
        with open(path, "wb") as file:
            file.write(label + b"\0" + data)
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", c.path(EVIL, "sign.key"), "-in", path]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def epochs(self, c, count):
        """EPOCH messages, each of a later epoch than the one before."""
        key, = (s["key"] for s in c.coordinator("sites", "--format", "json").data if s["site"] == EVIL)
        now_ms, made = int(time.time() * 1000), []
        self.public = x25519(os.urandom(32), (9).to_bytes(32, "little"))
        for number in range(1, count + 1):
            epoch = struct.pack(">32sI32sQQ", bytes.fromhex(key), number, self.public, now_ms, now_ms + 30 * 86400000)
            made.append(frame(pack(tap.EPOCH, epoch, self.signed(c, b"hanse1/secagg-epoch", epoch))))
        return made

    def lists_of_epochs(self, site):
        return [m.fields[2] for m in self.messages(site) if (m.way, m.kind) == ("i", tap.PEERS)]

    def test_epochs(self):
        """Each site may state its epoch anew, and everybody is told: of a stream of new ones now and then, of old ones never."""
        c, run_id = self.begun(SITES + [EVIL], rounds__deadline="20s")
        made = self.epochs(c, NEWER)
        for site in SITES:
            self.start(c, site, *([UPLOADING] if site == SITES[0] else []))
        peer = self.enter(c, run_id)
        peer.raw(made[0])
        tap.wait_halted(c.nodes[SITES[0]])
        before, rss, began = [len(self.lists_of_epochs(site)) for site in SITES], c.service.rss, time.monotonic()
        peer.raw(b"".join(made[1:]) + OLDER // 100 * b"".join(made[:100]))
        peer.send(tap.FETCH, bytes.fromhex(run_id), bytes(32), 0)  # what comes of it comes behind all others
        self.assertEqual(peer.ends(60), "notfound")
        self.assertLess(c.service.rss - rss, RSS_GROWTH)
        newest = struct.pack(">I32s", NEWER, self.public)
        wait_for(lambda: newest in self.lists_of_epochs(SITES[1])[-1], "the newest epoch at another site")
        self.resume(c.nodes[SITES[0]])
        self.ends_well(c, run_id, SITES)
        most = (time.monotonic() - began) / TELL_S + 3
        for site, count in zip(SITES, before):
            self.assertLess(len(self.lists_of_epochs(site)) - count, most, site)
        self.assertNotIn("epoch_refused", c.log_of("coordinator"))

    def test_answers(self):
        """Each makes the coordinator read and show the round: no more than two a second of one site, over all its connections."""
        c, run_id = self.begun(SITES + [EVIL], rounds__deadline="20s")
        for site in SITES:
            self.start(c, site, *([UPLOADING] if site == SITES[0] else []))
        tap.wait_halted(c.nodes[SITES[0]])
        rss = c.service.rss
        for _ in range(3):
            peer = self.enter(c, run_id)
            peer.raw(ANSWERS * frame(pack(tap.ANSWER, bytes.fromhex(run_id), True, "", "")))
            self.assertEqual(peer.ends(60), "full")
        self.assertLess(c.service.rss - rss, RSS_GROWTH)
        self.resume(c.nodes[SITES[0]])
        self.ends_well(c, run_id, SITES)

    def bytes_read(self, c):
        with open("/proc/%d/io" % c.service.child.pid, encoding="ascii") as file:
            return int(file.readline().split()[1])

    def test_fetches_of_the_best_model(self):
        """Its digests are in no spec: the coordinator reads the file for them once, not for every site that asks."""
        sites = SITES[:2]
        c, run_id = self.begun(sites + [EVIL], aggregation__privacy="sealed", rounds__count=3, rounds__min_sites=2, rounds__max_sites=2,
                               rounds__deadline="2m", model__hidden=[1024, 1024], train__rate=1e-9, best_by="accuracy")
        self.start(c, sites[0], ("o", tap.UPLOAD, 3))
        self.start(c, sites[1])
        tap.wait_halted(c.nodes[sites[0]])
        wait_for(lambda: "contribution_accepted run=toy round=3 site=" + sites[1] in c.log_of("coordinator"), "the other upload", 60)
        peer = self.enter(c, run_id)
        result = peer.expect(tap.RESULT)[0]
        best_round, best = struct.unpack(">Q32s", result[-40:])
        self.assertEqual(best_round, 1)  # nothing is learnt, and the first of equals is the best: not the model of the round
        peer.send(tap.FETCH, bytes.fromhex(run_id), best, 0)
        _, size, chunks = peer.expect(tap.MODEL, 60)
        self.assertGreater(chunks, 3)
        read, rss = self.bytes_read(c), c.service.rss
        peer.raw(FETCHES * frame(pack(tap.FETCH, bytes.fromhex(run_id), best, chunks)))
        for _ in range(FETCHES):
            peer.expect(tap.MODEL, 60)
        self.assertLess(self.bytes_read(c) - read, 10 * size)
        for _ in range(300):  # from the beginning, without reading
            peer.send(tap.FETCH, bytes.fromhex(run_id), best, 0)
        self.assertLess(c.service.rss - rss, RSS_GROWTH)
        self.resume(c.nodes[sites[0]])
        self.ends_well(c, run_id, sites)
        self.assertNotIn("code=full", c.log_of("coordinator"))


if __name__ == "__main__":
    unittest.main()
