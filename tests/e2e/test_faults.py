"""kill -9 of either side at bad moments: the run finishes, and its model is bit for bit that of a run without mishaps."""
import os
import time
import unittest

import consortium
from consortium import OK, plan_text, rows_text, wait_for

# Long enough to be hit in the middle of a round: about half a second of training.
SLOW = dict(train__epochs=None, train__steps=15000, train__batch=64, model__kind="mlp", model__hidden=[32], rounds__count=2,
            rounds__min_sites=2)
# 40 MB each way and no training: hit in the middle of a transfer.
BIG = dict(data={"name": "none", "format": "none"}, model={"kind": "identity", "parameters": 10000000}, scaling=None, train=None,
           rounds__count=2, rounds__min_sites=2)


def spooled(c):
    """Bytes of contributions that have arrived."""
    total = 0
    for folder, _, names in os.walk(os.path.join(c.home, "spool")):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(folder, name))
            except OSError:
                pass  # just folded and deleted
    return total


class Faults(consortium.TestCase):
    def begun(self, **changes):
        c = self.consortium(["a", "b"])
        run_id = c.submit(plan_text(**changes))
        c.accept(run_id)
        return c, run_id

    def whole(self, c, run_id):
        """The run ends; every site counts once in each round."""
        shown = c.finish(run_id)
        for attempt in shown["rounds"]:
            if attempt["state"] == "published":
                self.assertEqual([s["state"] for s in attempt["sites"]], ["accepted", "accepted"], attempt)
                self.assertEqual(attempt["weight"], sum(s["weight"] for s in attempt["sites"]))
        self.assertEqual(sum(r["kind"] == "training" and r["state"] == "published" for r in shown["rounds"]), shown["rounds_count"])
        return shown

    def undisturbed(self, c):
        """The same plan once more, with nobody killed."""
        for process in c.nodes.values():
            process.stop()
        with open(c.path("plan.yaml"), encoding="utf-8") as file:
            run_id = c.submit(file.read())
        c.accept(run_id)
        c.start_nodes()
        self.whole(c, run_id)
        return c.export(run_id)

    def begins(self, c, site, times):
        wait_for(lambda: c.log_of(site).count("work_begin") >= times, "%s's training" % site)

    def test_kill_node_in_training(self):
        c, run_id = self.begun(**SLOW)
        c.start_nodes()
        for times in (1, 2):
            self.begins(c, "a", times)
            time.sleep(0.1)
            c.nodes["a"].kill()
            c.start_node("a")
        self.whole(c, run_id)
        self.assertGreater(c.log_of("a").count("work_begin"), c.log_of("a").count("work_end"))  # it was training
        self.assertEqual(c.export(run_id).data, self.undisturbed(c).data)

    def test_kill_coordinator_in_training(self):
        c, run_id = self.begun(**SLOW)
        c.start_nodes()
        for times in (1, 2):
            self.begins(c, "b", times)
            c.service.kill()
            time.sleep(0.2)
            c.serve()
        self.whole(c, run_id)
        self.assertEqual(c.service.alive, True)
        self.assertEqual(c.export(run_id).data, self.undisturbed(c).data)

    def test_kill_coordinator_between_contributions(self):
        """What got its receipt is not asked for again."""
        c, run_id = self.begun(**SLOW)
        c.start_node("a")
        wait_for(lambda: "a takes part" in c.log(run_id), "a")
        c.start_node("b")
        self.begins(c, "b", 1)
        c.nodes["b"].kill()
        wait_for(lambda: "contribution_accepted run=toy round=1 site=a" in c.log_of("coordinator"), "a's receipt")
        c.service.kill()
        c.serve()
        c.start_node("b")
        self.whole(c, run_id)
        self.assertEqual(c.log_of("a").count("work_begin round=1 "), 1)
        self.assertEqual(c.export(run_id).data, self.undisturbed(c).data)

    def test_kill_in_transfer(self):
        for who in ("node", "coordinator"):
            with self.subTest(who):
                c, run_id = self.begun(**BIG)
                c.start_nodes()
                wait_for(lambda: spooled(c) > 4 << 20, "part of an upload")
                if who == "node":
                    c.nodes["a"].kill()
                    c.start_node("a")
                else:
                    c.service.kill()
                    c.serve()
                self.whole(c, run_id)
                model = c.export(run_id)
                self.assertEqual(model.data, c.export(run_id, "--round", "0").data)
                wait_for(lambda: spooled(c) == 0, "an empty spool", 10)

    def test_kill_everybody(self):
        c, run_id = self.begun(**SLOW)
        c.start_nodes()
        self.begins(c, "a", 1)
        for process in (c.service, c.nodes["a"], c.nodes["b"]):
            process.kill()
        self.assertEqual(c.show(run_id)["state"], "open")  # the commands read what is there
        c.start_nodes()
        c.serve()
        self.whole(c, run_id)
        self.assertEqual(c.service.stop(), OK)

    def test_kill_commands(self):
        """submit and enrol, killed anywhere, leave nothing that stops the next one."""
        c = self.consortium(["a"])
        plan = c.write("plan.yaml", plan_text(model__kind="mlp", model__hidden=[4000]))
        for delay in (0.002, 0.005, 0.01, 0.02, 0.04):
            process = c.start("submit", consortium.COORDINATOR, "submit", plan, "--token", "once", "--dir", c.home)
            time.sleep(delay)
            process.kill()
            invitation = c.path("x.invitation")
            if not os.path.exists(invitation):
                c.invite("x")
            process = c.start("x", consortium.NODE, "enrol", invitation, "--dir", c.path("x"))
            time.sleep(delay)
            process.kill()
        run_id = c.coordinator("submit", plan, "--token", "once", "--format", "json").data["run"]
        self.assertEqual([r["run"] for r in c.coordinator("list", "--format", "json").data], [run_id])
        c.node("x", "enrol", invitation)
        c.configure("x", "toy", [{"path": c.write("x.csv", rows_text(20, 3))}])
        c.node("x", "check")


if __name__ == "__main__":
    unittest.main()
