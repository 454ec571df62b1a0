"""Masked rounds with a party that means harm: a site that says what others said, a coordinator that says one thing wrong."""
import os
import signal
import time
import unittest

import consortium
import tap
import test_hostile
from consortium import plan_text, wait_for

LYING = os.path.join(consortium.HANSE_BIN, "tests", "hanse-coordinator-lying")
MASKED = dict(aggregation__privacy="masked", rounds__min_sites=3, rounds__count=1)
HONEST = ["a", "b", "c"]


class OthersObjects(consortium.TestCase):
    """Whatever a site signed is taken on its own connection only. One that harms no one else but repeats what it saw is refused by name."""

    def enter(self):
        """As `evil`, which takes part in the run and has left no ticket."""
        peer = test_hostile.Peer(self.c, "evil").hello()
        while peer.expect(tap.OFFER)[0][:16] != self.run_bytes:
            pass
        peer.send(tap.ANSWER, self.run_bytes, True, "", "")
        return peer

    def said(self, kind):
        """The first message of that kind that site a has sent."""
        path = self.c.path("a.tap")
        found = wait_for(lambda: [m for m in tap.messages(path) if m.way == "o" and m.kind == kind], "message %d of site a" % kind)
        return found[0].fields

    def test_refused(self):
        self.c = c = self.consortium(HONEST + ["evil"])
        run_id = c.submit(plan_text(**dict(MASKED, rounds__deadline="15s")))
        self.run_bytes = bytes.fromhex(run_id)
        c.accept(run_id, HONEST)
        c.start_node("a", env=tap.env(c.path("a.tap")))
        c.start_node("b", env=tap.env(c.path("b.tap"), ("o", tap.MASKED_UPLOAD, 1)))  # the round stays open
        c.start_node("c")
        wait_for(lambda: "contribution_accepted run=toy round=0 site=a" in c.log_of("coordinator"), "the upload of a")
        with self.enter() as peer:
            peer.send(tap.EPOCH, *self.said(tap.EPOCH))
            wait_for(lambda: "epoch_refused site=evil code=auth reason=\"the epoch of another site\"" in c.log_of("coordinator"), "a refusal")
            peer.send(tap.MASKED_UPLOAD, *self.said(tap.MASKED_UPLOAD))
            _, round_number, _, code, reason = peer.expect(tap.REJECT)
            self.assertEqual((round_number, code), (0, b"auth"))
            self.assertIn(b"another site than its connection", reason)
            peer.send(tap.TICKET, *self.said(tap.TICKET))  # the connection is still there: this ends it
            self.assertEqual(peer.ends(), "protocol")
        self.assertRegex(c.log_of("coordinator"), "site=evil code=protocol reason=\"a ticket of another site or roster")
        c.nodes["b"].child.send_signal(signal.SIGCONT)
        shown = c.finish(run_id, 90)
        for attempt in shown["rounds"]:
            self.assertEqual(attempt["state"], "published")
            self.assertEqual(sorted(s["site"] for s in attempt["sites"] if s["state"] == "accepted"), HONEST)


class Liar(consortium.TestCase):
    def begun(self, lie, **changes):
        """A run whose coordinator lies from now on."""
        c = self.consortium(HONEST)
        run_id = c.submit(plan_text(**dict(MASKED, **changes)))
        c.accept(run_id)
        c.service.stop()
        c.programs = dict(c.programs, coordinator=LYING)
        c.serve(env={"HANSE_LIE": lie})
        c.start_nodes()
        return c, run_id

    def seen_by_all(self, c, line):
        for site in HONEST:
            wait_for(lambda: line in c.log_of(site), "%s: %s" % (site, line))

    def test_short_lists(self):
        """A list that has not one entry a member ends the connection; with the real coordinator in its place the same round goes on."""
        for lie, line in (("tickets", "MASKS with 2 tickets and 252 bytes of shares, the roster has 3 sites"),
                          ("shares", "MASKS with 3 tickets and 168 bytes of shares, the roster has 3 sites"),
                          ("headers", "CUT with 2 headers, the roster has 3 sites")):
            with self.subTest(lie):
                c, run_id = self.begun(lie)
                self.seen_by_all(c, 'link_down code=protocol text="%s"' % line)
                self.assertEqual([r for r in c.show(run_id)["rounds"] if r["state"] == "published"], [])
                c.service.stop()
                c.programs = dict(c.programs, coordinator=consortium.COORDINATOR)
                c.serve()
                self.assertEqual({r["state"] for r in c.finish(run_id)["rounds"]}, {"published"})

    def test_fewer_rows(self):
        """The total of rows never goes down: a result that says so is not taken, and nobody works on what follows from it."""
        c, run_id = self.begun("rows", rounds__count=3)
        self.seen_by_all(c, 'link_down code=auth text="the total of rows went from 132 down to 131"')
        time.sleep(3)  # they come again, later and later, and are told the same
        for site in HONEST:
            self.assertNotIn("work_begin round=2 ", c.log_of(site))
            self.assertLess(c.log_of(site).count("link_down "), 7)
        c.coordinator("stop", run_id)


if __name__ == "__main__":
    unittest.main()
