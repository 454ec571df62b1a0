"""What both services tell the service manager, and the units."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest

import consortium
from consortium import OK, wait_for

UNITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "configs", "systemd")


class Systemd(consortium.TestCase):
    def manager(self, c, name):
        """A socket as systemd's; `name` with @: without a file."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(name.replace("@", "\0"))
        made.settimeout(20)
        return made

    def hear(self, manager, wanted, seconds=20):
        """Read messages until `wanted` comes; those before it."""
        before, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            manager.settimeout(max(0.01, end - time.monotonic()))
            got = manager.recv(4096).decode()
            if got == wanted:
                return before
            before.append(got)
        raise AssertionError("no %s among %s" % (wanted, before))

    def service(self, c, name, socket_name, *args, watchdog="400000"):
        with self.manager(c, socket_name) as manager:
            process = c.start(name, *args, env={"NOTIFY_SOCKET": socket_name, "WATCHDOG_USEC": watchdog})
            self.assertNotIn("WATCHDOG=1", self.hear(manager, "READY=1"))
            began = time.monotonic()
            for _ in range(10):
                self.hear(manager, "WATCHDOG=1", 1)
            self.assertGreater(time.monotonic() - began, 1.5)  # twice in its patience, not more
            process.child.send_signal(signal.SIGSTOP)  # a service that hangs says nothing
            while True:
                manager.settimeout(1)
                try:
                    manager.recv(4096)
                except TimeoutError:
                    break
            process.child.send_signal(signal.SIGCONT)
            self.hear(manager, "WATCHDOG=1", 2)
            process.child.terminate()
            self.hear(manager, "STOPPING=1")
            self.assertEqual(process.wait(), OK)

    def test_both(self):
        c = self.consortium(["a"])
        c.service.stop()
        self.service(c, "coordinator", c.path("notify"), consortium.COORDINATOR, "serve", "--dir", c.home)
        self.service(c, "a", "@" + c.path("notify"), consortium.NODE, "run", "--dir", c.path("a"))  # nobody to connect to: ready all the same

    def test_not_ready(self):
        """A service that cannot start does not say that it is ready."""
        c = self.consortium(["a"], serve=True)
        with self.manager(c, c.path("notify")) as manager:
            done = subprocess.run([consortium.COORDINATOR, "serve", "--dir", c.home], env=dict(os.environ, NOTIFY_SOCKET=c.path("notify")),
                                  capture_output=True, check=False, timeout=20)
            self.assertEqual(done.returncode, consortium.INVALID)  # another one serves this directory
            manager.settimeout(0.1)
            with self.assertRaises(TimeoutError):
                manager.recv(4096)

    def test_odd_sockets(self):
        """What is no socket does no harm."""
        c = self.consortium(["a"])
        for name in ("", "x", "@", "/nowhere/socket", "/" + "x" * 200):
            process = c.start("a", consortium.NODE, "run", "--dir", c.path("a"),
                              env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "nonsense"})
            wait_for(lambda: c.log_of("a").count(" connected ") > 0, "the connection")
            self.assertEqual(process.stop(), OK)
            os.unlink(c.path("a.log"))

    def test_units(self):
        for name in ("hanse-node", "hanse-coordinator"):
            path = os.path.join(UNITS, name + ".service")
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for line in ("Type=notify", "NotifyAccess=main", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=",
                         "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK", "SystemCallFilter=@system-service"):
                self.assertIn("\n" + line + "\n", text, name)
            self.assertRegex(text, r"\nWatchdogSec=\d+\n")
            if shutil.which("systemd-analyze"):
                done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
                said = [line for line in done.stderr.splitlines() if re.search(r"Unknown|Failed to parse|Invalid", line)]
                self.assertEqual(said, [])


if __name__ == "__main__":
    unittest.main()
