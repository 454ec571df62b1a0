"""Lines as institutions have them: an HTTP proxy, a box that passes TLS through, faults, a cap on the rate, hours for transfers."""
import json
import re
import time
import unittest

import consortium
from consortium import LINK, OK, plan_text, wait_for
from line import Line
from link_campaign import Links

# 4 MB a model, next to no training.
WIDE = dict(data={"name": "none", "format": "none"}, model={"kind": "identity", "parameters": 1000000}, scaling=None, train=None, rounds__count=1)


class Lines(consortium.TestCase):
    def reroute(self, c, site, port, more=""):
        path = c.path(site, "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = re.sub(r'coordinator: "127.0.0.1:\d+"', 'coordinator: "127.0.0.1:%d"' % port, file.read())
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + more)

    def line(self, port, **how):
        line = Line(port, **how)
        self.addCleanup(line.close)
        return line

    def test_proxy(self):
        """Everything of a site goes through the CONNECT proxy that its environment names, unless no_proxy names the coordinator."""
        proxy = self.line(None, connect=True)
        through = {"https_proxy": "http://127.0.0.1:%d" % proxy.port, "no_proxy": "localhost,example.org"}
        c = self.consortium()
        c.node("a", "enrol", c.invite("a"), env=through)
        c.sites.append("a")
        c.configure("a", "toy", [{"path": c.write("a.csv", consortium.rows_text(60, 1))}])
        self.assertEqual(proxy.opened, 1)
        self.assertEqual(proxy.heads, ["CONNECT 127.0.0.1:%d HTTP/1.1" % c.port])
        run_id = c.submit(plan_text())
        c.node("a", "check", env=through)
        self.assertEqual(proxy.opened, 2)
        c.accept(run_id)
        c.node("a", "check", env=dict(through, no_proxy="example.org, 127.0.0.1"))
        self.assertEqual(proxy.opened, 2)
        c.start_node("a", env=through)
        c.finish(run_id)
        self.assertEqual(proxy.opened, 3)
        proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        self.assertEqual(c.nodes["a"].stop(), OK)
        refused = c.node("a", "run", "--once", code=LINK, env=through)
        self.assertIn("the proxy refuses a connection to 127.0.0.1:%d (HTTP status 403)" % c.port, refused.err)
        proxy.close()
        refused = c.node("a", "check", code=LINK, env=through)
        self.assertIn("cannot connect to 127.0.0.1:%d" % proxy.port, refused.err)

    def test_faults(self):
        """Eight faults over a run of four rounds, each site behind a box of its own that passes TLS through; the whole campaign is link_campaign.py."""
        campaign = Links(8, 20261127, say=lambda line: None, rounds=4)
        self.consortia.append(campaign.c)
        campaign.run()
        self.assertEqual(sum(campaign.strikes.values()), 8)
        self.assertGreater(sum(line.moved for line in campaign.lines.values()), 3 * 4 * 8e6)

    def test_newest_session_wins(self):
        """A site whose old connection is still open at the coordinator, carrying nothing, is back at once."""
        c = self.consortium(["a"])
        line = self.line(c.port)
        self.reroute(c, "a", line.port)
        c.start_node("a")
        wait_for(lambda: " connected " in c.log_of("a"), "the connection")
        line.silence()
        c.nodes["a"].kill()
        self.assertEqual([c.log_of("coordinator").count(what) for what in ("site_connected", "site_disconnected")], [1, 0])
        run_id = c.submit(plan_text())
        c.accept(run_id)
        c.start_node("a")
        began = time.monotonic()
        c.finish(run_id)
        self.assertLess(time.monotonic() - began, 10)

    def test_cap(self):
        """4 MB there, 4 MB and a model back at 2 MB/s: as long as that takes, and the link never counts as dead."""
        c = self.consortium(["a", "b"])
        self.reroute(c, "a", c.port, "transfer: {rate: 2000000}\n")
        run_id = c.submit(plan_text(**WIDE))
        self.assertIn("at most 2000000 bytes a second", c.node("a", "check").out)
        c.accept(run_id)
        began = time.monotonic()
        c.start_nodes()
        c.finish(run_id)
        self.assertGreater(time.monotonic() - began, 3.5)
        self.assertNotIn("link_down", c.log_of("a"))

    def zone(self, seconds):
        """The local minute (of the day) that begins in so many seconds, and the time zone where it does."""
        begins = int(time.time()) + seconds
        shift = -begins % 60
        return {"TZ": "XYZ-0:00:%02d" % shift}, (begins + shift) // 60 % 1440

    def hours(self, first, last):
        """Minutes of the day as a window."""
        return json.dumps("-".join("%02d:%02d" % divmod(minute % 1440, 60) for minute in (first, last)))

    def test_window_opens(self):
        """Outside of its window a site answers, but neither model nor contribution moves; the round waits."""
        c = self.consortium(["a"])
        zone, opens = self.zone(6)
        self.reroute(c, "a", c.port, "transfer: {windows: [%s]}\n" % self.hours(opens, opens + 30))
        run_id = c.submit(plan_text(**WIDE))
        self.assertIn("now closed", c.node("a", "check", env=zone).out)
        c.accept(run_id)
        c.start_node("a", env=zone)
        wait_for(lambda: "round_open" in c.log_of("coordinator"), "the round")
        c.finish(run_id)
        log = c.log_of("a")
        for earlier, later in (("transfer_window open=0", " connected "), (" connected ", "transfer_window open=1"),
                               ("transfer_window open=1", "work_begin")):
            self.assertLess(log.index(earlier), log.index(later))

    def test_window_closes(self):
        """A model under way halts when the window closes, and goes on from there when it is open again."""
        c = self.consortium(["a"])
        line = self.line(c.port)
        zone, closes = self.zone(5)
        run_id = c.submit(plan_text(**WIDE))
        c.accept(run_id)
        self.reroute(c, "a", line.port, "transfer: {rate: 600000, windows: [%s]}\n" % self.hours(closes - 30, closes))
        c.start_node("a", env=zone)
        wait_for(lambda: "transfer_window open=0" in c.log_of("a") and c.log_of("a").count(" connected ") == 2, "the end of the window")
        time.sleep(0.5)  # what was under way inside the line
        moved = line.moved
        self.assertGreater(moved, 600000)
        time.sleep(1.5)
        self.assertLess(line.moved - moved, 2000)
        self.assertEqual(c.nodes["a"].stop(), OK)
        c.start_node("a", env={"TZ": "XYZ0:10"})  # ten minutes earlier
        c.finish(run_id)
        self.assertIn("download_resumed", c.log_of("coordinator"))
        self.assertNotIn("work_begin", c.log_of("a").split("transfer_window open=0")[0])


if __name__ == "__main__":
    unittest.main()
