"""Who may take part: certificates, tokens and revocation, tried over real connections."""
import os
import re
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
import threading
import time
import unittest

import consortium
from consortium import INVALID, LINK, OK, plan_text, rows_text, wait_for


def frame(payload):
    """One masked binary websocket frame, as a client sends it; the mask is zero."""
    return bytes([0x82, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def hello(protocol=1, ahead_ms=0):
    return b"\x94\x01" + bytes([protocol]) + b"\xa4test\xcf" + struct.pack(">Q", int(time.time() * 1000) + ahead_ms)


def der_field(tag, content):
    length = len(content)
    return bytes([tag]) + (bytes([length]) if length < 128 else b"\x82" + struct.pack(">H", length)) + content


def expire(path, ca_key):
    """Sign the certificate at `path` anew, its life over since 2002."""
    with open(path, encoding="utf-8") as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())
    tbs = der[4:8 + struct.unpack(">H", der[6:8])[0]]
    start = tbs.index(b"\x17\x0d")  # two UTCTime in a row
    tbs = tbs[:start] + b"\x17\x0d010101000000Z\x17\x0d020101000000Z" + tbs[start + 30:]
    rest = der[4 + len(tbs):]
    algorithm = rest[:2 + rest[1]]
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", ca_key], input=tbs, check=True, capture_output=True).stdout
    with open(path, "w", encoding="utf-8") as file:
        file.write(ssl.DER_cert_to_PEM_cert(der_field(0x30, tbs + algorithm + der_field(0x03, b"\0" + signature))))


class Client:
    """A TLS connection of our own making, to show what the node would never do."""

    def __init__(self, c, cert=None, key=None, session=None):
        self.context = session[0] if session else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not session:
            self.context.load_verify_locations(os.path.join(c.home, "ca", "ca.crt"))
            if cert:
                self.context.load_cert_chain(cert, key)
        raw = socket.create_connection(("127.0.0.1", c.port), 10)
        self.tls = self.context.wrap_socket(raw, server_hostname="127.0.0.1", session=session[1] if session else None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def hello(self, message=None):
        """Upgrade, say HELLO, and give back all that comes; the alert of a refusal is raised."""
        self.tls.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                         b"Sec-WebSocket-Protocol: hanse.v1\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self.tls.recv(4096)
            if not piece:
                return got
            got += piece
        self.tls.sendall(frame(message or hello()))
        self.tls.settimeout(1)
        try:
            while piece := self.tls.recv(65536):
                got += piece
        except (TimeoutError, ssl.SSLEOFError, ConnectionResetError):
            pass
        return got


class Impostor:
    """A TLS server that shows a given certificate."""

    def __init__(self, cert, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = b""
        self.thread = threading.Thread(target=self.serve, args=(context,), daemon=True)
        self.thread.start()

    def serve(self, context):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            try:
                raw.settimeout(5)
                with context.wrap_socket(raw, server_side=True) as tls:
                    self.heard += tls.recv(4096)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def repoint(path, port):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:%d" % port, text))


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Identity(consortium.TestCase):
    def once(self, c, site, code):
        return c.node(site, "run", "--once", code=code)

    def test_revoked(self):
        c = self.consortium(["a", "b"])
        run_id = c.submit(plan_text(rounds__min_sites=2, rounds__schedule="on-demand"))
        c.accept(run_id)
        c.start_nodes()
        wait_for(lambda: "a takes part" in c.log(run_id) and "b takes part" in c.log(run_id), "both answers")
        c.coordinator("revoke", "a")
        self.assertEqual(c.nodes["a"].wait(), LINK)  # thrown out of the connection it had
        self.assertIn("revoked", c.log_of("a"))
        again = self.once(c, "a", LINK)  # and not let in again
        self.assertRegex(again.err, r"hanse-node: .*(revoked|refused)")
        wait_for(lambda: re.search(r"certificate_refused .*revoked", c.log_of("coordinator")), "the refusal in the coordinator's log")
        self.assertIn("revoked site=a", c.log())
        self.assertEqual([s["status"] for s in c.coordinator("sites", "--format", "json").data if s["site"] == "a"], ["revoked"])
        self.assertTrue(c.nodes["b"].alive)
        c.service.stop()
        c.serve()  # it stays so
        self.once(c, "a", LINK)

    def test_no_resumption(self):
        """A resumed session would skip the revocation list."""
        c = self.consortium(["a"])
        cert = (c.path("a", "tls.pem"), c.path("a", "tls.key"))
        with Client(c, *cert) as first:
            self.assertIn(b"Test", first.hello())  # WELCOME names the consortium
            saved = (first.context, first.tls.session)
        if saved[1] is not None and saved[1].has_ticket:
            with Client(c, session=saved) as again:
                self.assertFalse(again.tls.session_reused)
        c.coordinator("revoke", "a")
        self.assert_refused(c, *cert, session=saved)

    def assert_refused(self, c, cert, key, session=None):
        with self.assertRaises((ssl.SSLError, ConnectionError)), Client(c, cert, key, session) as client:
            client.hello()

    def test_hello(self):
        c = self.consortium(["a"])
        for message, words in ((hello(protocol=9), b"version"), (hello(ahead_ms=3600000), b"clock"), (b"\x91\x63", b"protocol"),
                               (b"\xdd\xff\xff\xff\xff", b"protocol")):
            with Client(c, c.path("a", "tls.pem"), c.path("a", "tls.key")) as client:
                self.assertIn(words, client.hello(message))
        c.node("a", "check")

    def test_no_certificate(self):
        c = self.consortium(["a"])
        with Client(c) as client:
            got = client.hello()
        self.assertNotIn(b"Test", got)
        self.assertIn(b"identity", got)  # the code of ERROR
        os.remove(c.path("a", "tls.pem"))
        self.assertRegex(self.once(c, "a", INVALID).err, r"hanse-node: .*/a: this directory is not enrolled")

    def test_wrong_profile(self):
        """A site's signing certificate or the coordinator's own opens no connection."""
        c = self.consortium(["a"])
        for cert, key in ((c.path("coordinator", "identity", "tls.crt"), c.path("coordinator", "identity", "tls.key")),
                          (c.path("a", "sign.pem"), c.path("a", "sign.key"))):
            self.assert_refused(c, cert, key)
        wait_for(lambda: c.log_of("coordinator").count("certificate_refused") == 2, "two refusals in the log")

    def test_foreign_authority(self):
        c, other = self.consortium(["a"]), self.consortium(["a"])
        self.assert_refused(c, other.path("a", "tls.pem"), other.path("a", "tls.key"))
        wait_for(lambda: "certificate_refused" in c.log_of("coordinator"), "the refusal in the log")
        repoint(other.path("a", "node.yaml"), c.port)  # the node, in turn, does not trust that coordinator
        self.assertRegex(self.once(other, "a", LINK).err, r"hanse-node: .*certificate")

    def test_impostor(self):
        """Neither another site nor the coordinator's signing certificate passes for the coordinator."""
        c = self.consortium(["a", "b"])
        for cert, key in ((c.path("b", "tls.pem"), c.path("b", "tls.key")),
                          (c.path("coordinator", "identity", "sign.crt"), c.path("coordinator", "identity", "sign.key"))):
            impostor = Impostor(cert, key)
            repoint(c.path("a", "node.yaml"), impostor.port)
            self.assertRegex(self.once(c, "a", LINK).err, r"hanse-node: .*certificate")
            self.assertEqual(impostor.heard, b"")
            impostor.close()

    def test_wrong_host(self):
        c = self.consortium(["a"])
        path = c.path("a", "node.yaml")
        text = read(path).decode()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + '\nserver_name: "elsewhere.example"\n')
        self.assertRegex(self.once(c, "a", LINK).err, r"hanse-node: .*(certificate|elsewhere)")

    @unittest.skipUnless(shutil.which("openssl"), "signs the expired certificate")
    def test_expired(self):
        c = self.consortium(["a"])
        path = c.path("a", "tls.pem")
        expire(path, c.path("coordinator", "ca", "ca.key"))
        self.assert_refused(c, path, c.path("a", "tls.key"))
        wait_for(lambda: re.search(r"certificate_refused .*expired", c.log_of("coordinator")), "the refusal in the log")
        self.assertRegex(self.once(c, "a", LINK).err, r"hanse-node: .*expired")
        self.assertRegex(c.node("a", "check", code=LINK).err, r"hanse-node: .*expired")


class Enrolment(consortium.TestCase):
    def test_token_is_for_one_key(self):
        c = self.consortium()
        invitation = c.invite("a")
        c.node("a", "enrol", invitation)
        other = c.node("thief", "enrol", invitation, code=LINK)
        self.assertRegex(other.err, r"hanse-node: .*the coordinator says: .*")
        self.assertFalse(os.path.exists(c.path("thief", "tls.pem")))
        self.assertRegex(c.log() + c.log_of("coordinator"), r"(?i)token|another key")
        kept = {name: read(c.path("a", name)) for name in ("tls.pem", "sign.pem", "ca.pem", "coordinator.pem", "tls.key", "sign.key")}
        os.remove(c.path("a", "tls.pem"))  # as if it had crashed before the answer
        os.remove(c.path("a", "sign.pem"))
        c.node("a", "enrol", invitation)
        self.assertEqual({name: read(c.path("a", name)) for name in kept}, kept)
        c.node("a", "check")
        self.assertEqual(len(c.coordinator("sites", "--format", "json").data), 1)

    def test_expired_token(self):
        c = self.consortium()
        invitation = c.invite("a", "--expires", "1m")
        with sqlite3.connect(os.path.join(c.home, "state.db")) as store:
            (table,) = store.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%expires_ms%'").fetchone()
            store.execute("UPDATE %s SET expires_ms = 1" % table)
        self.assertRegex(c.node("a", "enrol", invitation, code=LINK).err, r"hanse-node: .*expired")
        self.assertFalse(os.path.exists(c.path("a", "tls.pem")))

    def test_unknown_token_and_pin(self):
        c = self.consortium()
        text = read(c.invite("a")).decode()
        for pattern, value, words in ((r'(?<=token: ")\w{64}', "00" * 32, r"the coordinator says: "),
                                      (r'(?<=ca_sha256: ")\w{64}', "11" * 32, r"(CA|fingerprint)")):
            path = c.write("forged.invitation", re.sub(pattern, value, text))
            self.assertRegex(c.node("x", "enrol", path, code=LINK).err, r"hanse-node: .*" + words)
            self.assertFalse(os.path.exists(c.path("x", "tls.pem")))
        c.node("x", "enrol", c.write("right.invitation", text), code=OK)

    def test_authority_offline(self):
        c = self.consortium(["a"])
        invitation = c.invite("b")
        key = c.path("coordinator", "ca", "ca.key")
        os.rename(key, c.path("ca.key"))
        self.assertRegex(c.node("b", "enrol", invitation, code=LINK).err, r"CA key is offline")
        self.assertRegex(c.coordinator("revoke", "a", code=INVALID).err, r"ca\.key.*offline")
        self.assertEqual([s["status"] for s in c.coordinator("sites", "--format", "json").data], ["active"])
        os.rename(c.path("ca.key"), key)
        c.node("b", "enrol", invitation)

    def test_no_service(self):
        c = self.consortium(serve=False)
        invitation = c.invite("a")
        self.assertRegex(c.node("a", "enrol", invitation, code=LINK).err, r"127\.0\.0\.1:%d" % c.port)
        c.serve()
        c.node("a", "enrol", invitation)
        c.configure("a", "toy", [{"path": c.write("a.csv", rows_text(10, 1))}])
        c.node("a", "check")


if __name__ == "__main__":
    unittest.main()
