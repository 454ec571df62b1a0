"""Nothing happens at a site that its operator has not agreed to."""
import re
import unittest

import consortium
from consortium import INVALID, OK, POLICY, plan_text, rows_text, wait_for


class Policy(consortium.TestCase):
    def refused(self, c, site, run_id, words):
        """The site leaves with exit 6; the reason stands in its own log, in the coordinator's, and in the run's events."""
        result = c.node(site, "run", "--once", code=POLICY)
        self.assertRegex(result.err, r"(?m)^hanse-node: .*" + words)
        self.assertEqual(len(re.findall(r"(?m)^hanse-node: ", result.err)), 1)
        wait_for(lambda: re.search(r"run_answer .*site=%s accepted=0 .*%s" % (site, words), c.log_of("coordinator")),
                 "the reason in the coordinator's log")
        self.assertIn(site + " refuses the run: ", c.log(run_id))  # with its first reason

    def accept(self, c, site, run_id, what):
        c.node(site, "accept", what, c.offer(site, run_id)[what + "_hash"])

    def test_each_act_is_needed(self):
        c = self.consortium(["a", "b"])
        run_id = c.submit(plan_text(rounds__min_sites=2))
        self.refused(c, "a", run_id, "roster not accepted")
        self.assertIn("a refuses the run: roster not accepted", c.log(run_id))
        self.accept(c, "a", run_id, "roster")
        self.refused(c, "a", run_id, "plan not accepted")
        offer = c.offer("a", run_id)
        self.assertFalse(offer["accepted"])
        self.assertIn("plan not accepted", offer["reason"])
        self.accept(c, "a", run_id, "plan")
        self.assertTrue(c.offer("a", run_id)["accepted"])
        c.accept(run_id, ["b"])
        c.start_nodes()
        c.finish(run_id)

    def test_running_service_hears_of_it(self):
        c = self.consortium(["a"])
        c.start_node("a")
        run_id = c.submit(plan_text())
        wait_for(lambda: "a refuses the run" in c.log(run_id), "the refusal")
        c.accept(run_id)  # while the service runs
        c.finish(run_id)

    def test_sealed(self):
        c = self.consortium(["a"])
        run_id = c.submit(plan_text())
        c.accept(run_id)
        path = c.path("a", "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for accept in ("[]", "[any]", "[%s]" % c.offer("a", run_id)["plan_hash"]):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("allow_sealed: true", "allow_sealed: false").replace("accept: []", "accept: " + accept))
            self.refused(c, "a", run_id, "allow_sealed is false")

    def test_any_never_covers_sealed(self):
        c = self.consortium(["a"])
        path = c.path("a", "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("accept: []", "accept: [any]"))
        run_id = c.submit(plan_text())
        self.accept(c, "a", run_id, "roster")
        self.refused(c, "a", run_id, "plan not accepted")

    def test_second_run_asks_again(self):
        """Two runs from one seed, with and without a site, would tell that site's update."""
        c = self.consortium(["a"])
        first = c.submit(plan_text())
        c.accept(first)
        c.start_nodes()
        c.finish(first)
        c.nodes["a"].stop()
        second = c.submit(plan_text())
        self.assertNotEqual(first, second)
        self.refused(c, "a", second, "plan not accepted")
        accepted = c.node("a", "accept", "plan", c.offer("a", second)["plan_hash"])
        self.assertIn(first, accepted.out)  # names the earlier run
        c.start_node("a")
        c.finish(second)
        self.assertEqual(c.export(first).data, c.export(second).data)

    def test_standing_approval(self):
        """A hash in node.yaml is an operator's word for every run of that plan."""
        c = self.consortium(["a"])
        first = c.submit(plan_text())
        offer = c.offer("a", first)
        c.node("a", "accept", "roster", offer["roster_hash"])
        path = c.path("a", "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("accept: []", "accept: [%s]" % offer["plan_hash"]))
        c.start_nodes()
        c.finish(first)
        c.finish(c.submit(plan_text()))
        other = c.submit(plan_text(name="other"))
        wait_for(lambda: "a refuses the run" in c.log(other), "the refusal of another plan")

    def test_other_roster(self):
        c = self.consortium(["a", "b"])
        first = c.submit(plan_text(rounds__min_sites=2))
        c.accept(first)
        c.start_nodes()
        c.finish(first)
        for site in c.sites:
            c.nodes[site].stop()
        c.enrol("c", rows_text(40, 7))
        second = c.submit(plan_text(rounds__min_sites=2, name="wider"))
        self.accept(c, "a", second, "plan")
        self.refused(c, "a", second, "another roster than the accepted one")
        self.accept(c, "a", second, "roster")
        self.assertIn("accepted", c.node("a", "roster").out)
        c.accept(second, ["b", "c"])
        c.start_nodes()
        c.finish(second)

    def test_refusals_leave_the_others(self):
        """A site that says no costs the run nothing but that site."""
        c = self.consortium(["a", "b", "c"])
        run_id = c.submit(plan_text(rounds__min_sites=2, rounds__deadline="1s", rounds__count=1))
        c.accept(run_id, ["a", "b"])
        c.start_nodes()
        shown = c.finish(run_id)
        for attempt in shown["rounds"]:
            states = {s["site"]: s["state"] for s in attempt["sites"]}
            self.assertEqual((states["a"], states["b"]), ("accepted", "accepted"))
            self.assertEqual(states["c"], "absent")
        self.assertIn("c refuses the run: roster not accepted", c.log(run_id))
        self.assertTrue(c.nodes["c"].alive)  # a service goes on: its operator may yet agree

    def test_wrong_hashes(self):
        c = self.consortium(["a"])
        run_id = c.submit(plan_text())
        offer = c.offer("a", run_id)
        for what, value, words in (("plan", "0" * 64, "no run was offered under the plan"), ("roster", "0" * 64, "no run was offered with the roster"),
                                   ("plan", offer["plan_hash"][:20], "all 64 hex digits"), ("roster", offer["plan_hash"], "no run was offered"),
                                   ("plan", offer["plan_hash"][:-1] + "g", "all 64 hex digits")):
            self.assertRegex(c.node("a", "accept", what, value, code=INVALID).err, words)
        self.refused(c, "a", run_id, "roster not accepted")
        c.node("a", "accept", "roster", offer["roster_hash"].upper(), code=None)
        self.assertEqual(c.node("a", "accept", "plan", offer["plan_hash"]).code, OK)


if __name__ == "__main__":
    unittest.main()
