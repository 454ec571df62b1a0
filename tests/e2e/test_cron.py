"""Rounds without services: `hanse-coordinator round` and `hanse-node run --once` from a crontab."""
import os
import threading
import time
import unittest

import consortium
from consortium import COORDINATOR, FAILED, HANSE_BIN, INVALID, NODE, OK, QUORUM, plan_text, wait_for

LATE_CLOCK = os.path.join(os.path.abspath(HANSE_BIN), "tests", "liblate_clock.so")


class Cron(consortium.TestCase):
    def prepared(self, sites, **changes):
        """Sites enrolled and agreed; no service runs."""
        c = self.consortium(sites)
        run_id = c.submit(plan_text(rounds__schedule="on-demand", **changes))
        c.accept(run_id)
        self.assertEqual(c.service.stop(), OK)
        return c, run_id

    def round(self, c, run_id, sites, code=OK, env=None):
        """What the crontabs start at the same minute; exit codes by name."""
        parts = {"coordinator": c.start("coordinator", COORDINATOR, "round", run_id, "--dir", c.home, env=env)}
        for site in sites:
            parts[site] = c.start(site, NODE, "run", "--once", "--wait", "20s", "--dir", c.path(site), env=env)
        codes = {name: part.wait(60) for name, part in parts.items()}
        self.assertEqual(codes["coordinator"], code)
        return codes

    def test_three_rounds(self):
        c, run_id = self.prepared(["a", "b"], rounds__min_sites=2)
        for number in (1, 2, 3):
            codes = self.round(c, run_id, ["a", "b"])
            self.assertEqual(set(codes.values()), {OK})
            self.assertEqual(c.show(run_id)["rounds_done"], number)
        self.assertEqual(c.show(run_id)["state"], "open")  # the evaluation is a round of its own
        self.round(c, run_id, ["a", "b"])
        self.assertEqual(c.show(run_id)["state"], "done")
        self.assertIn("nothing due", c.coordinator("round", run_id).out)
        self.assertEqual(c.export(run_id).meta["round"], "3")

    def test_tickets_that_expired(self):
        """A consortium pauses for longer than its tickets live: what was left in advance is of no use, and the next round does without."""
        sites = ["a", "b", "c"]
        c, run_id = self.prepared(sites, aggregation__privacy="masked", aggregation__ticket_life="1h", rounds__min_sites=3)
        for days in ("0", "1", "2"):
            codes = self.round(c, run_id, sites, env={"LD_PRELOAD": LATE_CLOCK, "LATE_CLOCK_DAYS": days})
            self.assertEqual(set(codes.values()), {OK})
        self.assertEqual(c.show(run_id)["rounds_done"], 2)  # after the statistics
        self.assertRegex(c.log_of("coordinator"), "slots_skipped run=[^ ]+ from=")

    def test_round_through_a_service(self):
        """With a service running, `round` asks it; without one asking, an on-demand run rests."""
        c = self.consortium(["a"])
        run_id = c.submit(plan_text(rounds__schedule="on-demand"))
        c.accept(run_id)
        c.start_nodes()
        wait_for(lambda: "a takes part" in c.log(run_id), "the answer")
        time.sleep(0.3)
        self.assertEqual(c.show(run_id)["rounds"], [])
        for number in (1, 2, 3):
            self.assertEqual(c.coordinator("round", run_id, "--format", "json").data, {"round": number, "state": "published"})
        c.coordinator("round", run_id)
        self.assertEqual(c.show(run_id)["state"], "done")

    def test_second_instance(self):
        c = self.consortium(["a"])
        c.start_node("a")
        wait_for(lambda: "connected" in c.log_of("a"), "the node")
        leaves = c.node("a", "run", "--once")
        self.assertEqual((len(leaves.out.splitlines()), leaves.err), (1, ""))
        self.assertIn("another hanse-node", leaves.out)
        self.assertRegex(c.node("a", "run", code=INVALID).err, r"^hanse-node: .*\n$")
        self.assertRegex(c.coordinator("serve", code=INVALID).err, r"^hanse-coordinator: .*\n$")
        self.assertTrue(c.nodes["a"].alive and c.service.alive)

    def test_second_round_command(self):
        """Two crontab lines for one round: the second follows the first."""
        c, run_id = self.prepared(["a"])
        results = []
        first = threading.Thread(target=lambda: results.append(c.coordinator("round", run_id, code=None)))
        first.start()
        wait_for(c.answers, "the first command's service")
        second = threading.Thread(target=lambda: results.append(c.coordinator("round", run_id, code=None)))
        second.start()
        time.sleep(0.2)
        c.node("a", "run", "--once", "--wait", "20s")
        first.join(30)
        second.join(30)
        self.assertEqual([r.code for r in results], [OK, OK])
        self.assertEqual(c.show(run_id)["rounds_done"], 1)

    def test_nothing_due(self):
        c = self.consortium(["a"])
        begun = time.monotonic()
        self.assertEqual(c.node("a", "run", "--once").code, OK)
        self.assertLess(time.monotonic() - begun, 2)

    def test_quorum_missed(self):
        c, run_id = self.prepared(["a", "b"], rounds__min_sites=2, rounds__deadline="2s")
        codes = self.round(c, run_id, ["a"], QUORUM)
        self.assertEqual(codes["a"], QUORUM)
        shown = c.show(run_id)
        self.assertEqual((shown["state"], shown["rounds_done"]), ("open", 0))
        self.assertEqual(shown["rounds"][-1]["state"], "void")
        self.assertRegex(shown["rounds"][-1]["reason"], r"\d")
        self.assertEqual(set(self.round(c, run_id, ["a", "b"]).values()), {OK})
        shown = c.show(run_id)
        self.assertEqual((shown["rounds_done"], shown["rounds"][-1]["attempt"]), (1, 1))

    def test_wait_is_over(self):
        """The round stays open over two calls of the coordinator."""
        c, run_id = self.prepared(["a"], rounds__deadline="1m")
        late = c.coordinator("round", run_id, "--wait", "1s", code=QUORUM)
        self.assertIn("still open", late.err)
        self.assertEqual(c.show(run_id)["rounds_done"], 0)
        self.round(c, run_id, ["a"])
        self.assertEqual(c.show(run_id)["rounds_done"], 1)

    def test_stopped(self):
        """An operator stops the run that a crontab works on."""
        c, run_id = self.prepared(["a"])
        part = c.start("coordinator", COORDINATOR, "round", run_id, "--dir", c.home)
        wait_for(lambda: "round_open" in c.log_of("coordinator"), "the round")
        wait_for(c.answers, "the control socket")
        c.coordinator("stop", run_id)
        self.assertEqual(part.wait(), FAILED)
        self.assertEqual(c.show(run_id)["state"], "stopped")

    def test_node_without_coordinator(self):
        c, _ = self.prepared(["a"])
        self.assertRegex(c.node("a", "run", "--once", code=consortium.LINK).err, r"hanse-node: .*127\.0\.0\.1:%d" % c.port)


if __name__ == "__main__":
    unittest.main()
