"""Strangers that are slow, many, loud or senseless while a round goes on: it ends, memory stays bounded, and so does the log."""
import concurrent.futures
import os
import random
import re
import resource
import socket
import ssl
import threading
import time
import unittest

os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")  # before a process starts: RSS is looked at

import consortium
from consortium import plan_text, wait_for
from test_hostile import ENROL, GONE, HELLO, UPGRADE, Peer, frame, pack

RSS_GROWTH = 24 << 20
LINES_BURST, LINE_EVERY_S = 20, 6  # of refusals of one address: coordinator/server/peers.h
PER_ADDRESS = 40


class Limits(consortium.TestCase):
    def limits(self, c, **limits):
        """Write them over those of coordinator.yaml."""
        path = os.path.join(c.home, "coordinator.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for key, value in limits.items():
            text, count = re.subn(r"(?m)^  %s: \S+" % key, "  %s: %s" % (key, value), text)
            self.assertEqual(count, 1, key)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def rss(self):
        return self.c.service.rss

    def wake(self):
        """Otherwise the service may sleep for a minute when nothing happens."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(os.path.join(self.c.home, "control.sock"))
            control.sendall(b"wake\n")
            return control.recv(3) == b"ok\n"

    # clients

    def tcp(self):
        return socket.create_connection(("127.0.0.1", self.c.port), 10)

    def slow(self, made, data, pause=0.5):
        """Send byte after byte until the service hangs up; then `made` is one longer."""
        def drip():
            try:
                for byte in data:
                    peer.sendall(bytes([byte]))
                    time.sleep(pause)
                peer.settimeout(30)
                while peer.recv(4096):
                    pass
            except (*GONE, TimeoutError):
                pass
            made.append(peer)
            peer.close()
        peer = self.tcp() if callable(data) else data[0]
        data = data(peer) if callable(data) else data[1]
        threading.Thread(target=drip, daemon=True).start()

    def client_hello(self):
        """The first bytes of a TLS handshake, without their end."""
        out = ssl.MemoryBIO()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return out.read()[:-40]

    def garbage(self, rng):
        """One stranger; the service hangs up."""
        kind = rng.randrange(5)
        try:
            if kind == 0:
                with self.tcp() as peer:
                    peer.sendall(rng.randbytes(4096))
                    peer.recv(1)
                return
            with Peer(self.c, None, upgrade=kind > 2) as peer:
                if kind == 1:
                    peer.raw(rng.randbytes(20000))
                elif kind == 2:
                    peer.raw(b"GET / HTTP/1.1\r\nX: " + b"x" * 200000)
                elif kind == 3:
                    peer.raw(frame(pack(ENROL, 1, bytes(32), bytes(70000), b"x")))  # longer than it may be
                else:
                    peer.raw(frame(b"\x94", length=1 << 40))
                peer.ends(15)
        except GONE:
            pass

    def test_strangers(self):
        self.c = c = self.consortium(serve=False)
        self.limits(c, handshake_timeout="2s", connections_per_address=PER_ADDRESS)
        c.serve()
        for seed, site in enumerate("ab"):
            c.enrol(site, consortium.rows_text(4000, seed + 1))
        run_id = c.submit(plan_text(rounds__count=30, rounds__min_sites=2, train__epochs=20))
        c.accept(run_id)
        c.start_nodes()
        wait_for(lambda: c.show(run_id)["rounds"], "the first round")
        began, before, ended = time.monotonic(), self.rss(), []
        hello = frame(pack(HELLO, 1, "x", int(time.time() * 1000)))
        for _ in range(4):
            self.slow(ended, (self.tcp(), self.client_hello()), 0.02)
            self.slow(ended, (Peer(c, None, upgrade=False).tls, UPGRADE[:-4]), 0.05)
            self.slow(ended, (Peer(c, None).tls, hello))
            self.slow(ended, (Peer(c, None).tls, hello[:9]), 0)
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            for done in [pool.submit(self.garbage, random.Random(seed)) for seed in range(150)]:
                done.result()
        crowd = [self.tcp() for _ in range(3 * PER_ADDRESS)]  # far more than one address may have
        turned_away = 0
        for peer in crowd:
            peer.settimeout(0.05)
            try:
                turned_away += peer.recv(1) == b""
            except TimeoutError:
                pass
            except OSError:
                turned_away += 1
        self.assertGreater(turned_away, PER_ADDRESS)
        for peer in crowd:
            peer.close()
        wait_for(lambda: len(ended) == 16, "the end of the slow ones", 20)
        c.finish(run_id, 120)
        self.assertTrue(all(node.alive for node in c.nodes.values()))
        wait_for(lambda: self.rss() - before < RSS_GROWTH, "memory: %d KiB more" % ((self.rss() - before) >> 10), 15)
        # One line a refusal, until there are too many; those that are left out are counted.
        seconds = time.monotonic() - began
        refusals = r"(?:connection|session|certificate)_refused .*peer=127\.0\.0\.1\n"
        wait_for(lambda: self.wake() and "refusals_unlogged" in c.log_of("coordinator"), "the refusals that were not logged", 60, 1)
        log = c.log_of("coordinator")
        lines = len(re.findall(refusals, log))
        self.assertGreaterEqual(lines, LINES_BURST)
        self.assertLessEqual(lines, LINES_BURST + seconds / LINE_EVERY_S + 2)
        self.assertRegex(log, r"connection_refused reason=\"too many connections|refusals_unlogged")
        wait_for(lambda: self.wake() and sum(int(n) for n in re.findall(r"refusals_unlogged count=(\d+) peer=127", c.log_of("coordinator"))) +
                 len(re.findall(refusals, c.log_of("coordinator"))) >= 150 + 16 + turned_away, "every refusal to be counted", 60, 1)
        # None of them is still counted: there is room for all an address may have.
        again = [Peer(c, None, upgrade=False) for _ in range(PER_ADDRESS - 2)]
        self.assertEqual(len(again), PER_ADDRESS - 2)
        for peer in again:
            peer.tls.close()

    def test_orphans(self):
        """What a crash left of runs that do not exist goes at the start; what could be of value stays."""
        self.c = c = self.consortium(["a"])
        run_id = c.submit(plan_text(rounds__count=1))
        c.service.stop()
        old = time.time() - 7200

        def put(path, age):
            path = os.path.join(c.home, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write("x")
            if os.path.dirname(path) != os.path.join(c.home, "spool"):
                os.utime(os.path.dirname(path), (age, age))
            return path
        gone = [put("spool/%s-3-%s" % ("ab" * 16, "cd" * 32), old), put("runs/%s/seal.key" % ("ab" * 16), old),
                put("models/%s/0.safetensors" % ("ab" * 16), old), put("models/%s/0.safetensors.Xy12Zz" % ("ba" * 16), old)]
        stays = [put("spool/notes", old), put("runs/%s/seal.key" % ("ef" * 16), time.time()), put("runs/%s/notes" % ("12" * 16), old),
                 put("models/%s/7.safetensors" % ("34" * 16), old), put("models/backup/0.safetensors", old)]
        for path in ("runs/%s/seal.key", "models/%s/0.safetensors"):
            os.utime(os.path.join(c.home, os.path.dirname(path % run_id)), (old, old))
        c.serve()
        self.assertRegex(c.log_of("coordinator"), "swept contributions=1 keys=1 models=2")
        self.assertEqual([path for path in gone if os.path.exists(path) or os.path.exists(os.path.dirname(path)) and "spool" not in path], [])
        self.assertEqual([path for path in stays if not os.path.exists(path)], [])
        c.accept(run_id)
        c.start_node("a")
        c.finish(run_id)

    def test_offers(self):
        """However many runs are offered, a site keeps a bounded number of files."""
        self.c = c = self.consortium(["a"])
        plans = c.path("a", "plans")
        os.makedirs(plans, exist_ok=True)
        for number in range(300):
            path = os.path.join(plans, "%064x.yaml" % number)
            with open(path, "w", encoding="ascii"):
                os.utime(path, (1000 + number, 1000 + number))
        run_id = c.submit(plan_text())
        plan_hash = c.offer("a", run_id)["plan_hash"]
        left = sorted(os.listdir(plans))
        self.assertEqual(len(left), 256)
        self.assertIn(plan_hash + ".yaml", left)
        self.assertEqual(left[0], "%064x.yaml" % 45)  # the oldest are gone

    def memory(self, pid):
        """Everything that a process may write to."""
        with open("/proc/%d/maps" % pid, encoding="ascii") as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
            for line in maps:
                place, mode = line.split()[:2]
                if mode.startswith("rw"):
                    begin, end = (int(part, 16) for part in place.split("-"))
                    mem.seek(begin)
                    try:
                        yield mem.read(end - begin)
                    except OSError:
                        pass

    def test_token(self):
        """The token of an invitation is not in the service's memory once it was used, or was wrong."""
        self.c = c = self.consortium(["a"])
        try:
            found = [b"hanse-coordinator" in piece for piece in self.memory(c.service.child.pid)]
        except OSError:
            self.skipTest("needs to read another process's memory: run as root")
        self.assertTrue(any(found))
        with open(c.path("a.invitation"), encoding="utf-8") as file:
            token = bytes.fromhex(re.search(r'token: "(\w+)"', file.read())[1])
        wrong = random.Random(5).randbytes(32)
        for size in (100, 3000):
            with Peer(c, None) as peer:
                peer.raw(frame(pack(ENROL, 1, wrong, bytes(size), bytes(size))))
                self.assertEqual(peer.ends(), "identity")
            with Peer(c, None) as peer:  # in two frames
                data = pack(ENROL, 1, wrong, bytes(size), bytes(size))
                peer.raw(frame(data[:60], fin=False) + frame(data[60:], opcode=0))
                self.assertEqual(peer.ends(), "identity")
        for piece in self.memory(c.service.child.pid):
            self.assertEqual((piece.find(token), piece.find(wrong)), (-1, -1))

    def test_quota(self):
        """A contribution for which there is no room is refused in words, kept at the site, and taken when there is room."""
        self.c = c = self.consortium(serve=False)
        self.limits(c, spool_per_site="1MiB")
        c.serve()
        c.enrol("a", consortium.rows_text(60, 1))
        run_id = c.submit(plan_text(rounds__count=1, rounds__deadline="5m", model={"kind": "mlp", "hidden": [600, 600]}))
        c.accept(run_id)
        c.start_node("a")
        wait_for(lambda: "link_down" in c.log_of("a"), "the refusal")
        self.assertRegex(c.log_of("a"), r"full: .*bytes are more than this site's part of the spool has left \(limits: spool_per_site\)")
        self.assertRegex(c.log_of("coordinator"), r"session_refused site=a code=full .*spool_per_site.* peer=127\.0\.0\.1")
        self.assertEqual(c.log_of("a").count("work_begin"), 1)
        c.service.stop()
        self.limits(c, spool_per_site="1GiB")
        c.serve()
        c.finish(run_id)
        self.assertEqual(c.log_of("a").count("work_begin"), 2)  # and the evaluation: nothing was trained twice

    def test_open_files(self):
        """The soft limit is raised; a hard one that is too low for limits.connections is said in words."""
        for hard, low in ((20000, False), (500, True)):
            with self.subTest(hard):
                if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
                    self.skipTest("the hard limit is below %d" % hard)
                c = self.consortium(serve=False)
                c.service = c.start("coordinator", "/bin/sh", "-c", "ulimit -Sn 200 && ulimit -Hn %d && exec %s serve --dir %s" %
                                    (hard, os.path.abspath(consortium.COORDINATOR), c.home))
                wait_for(c.answers, "the coordinator's control socket")
                with open("/proc/%d/limits" % c.service.child.pid, encoding="ascii") as file:
                    soft = int(re.search(r"Max open files +(\d+)", file.read()).group(1))
                self.assertEqual(soft, 500 if low else 2 * 2048 + 4096)
                self.assertEqual("files_limit_low limit=500 wanted=8192" in c.log_of("coordinator"), low)


if __name__ == "__main__":
    unittest.main()
