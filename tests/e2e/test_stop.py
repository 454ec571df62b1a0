"""`stop` between rounds: every site hears of it, there or away, and works on the next run."""
import unittest

import consortium
from consortium import FAILED, plan_text, wait_for

SITES = ["a", "b", "c", "d"]


def plan(privacy, seed):
    return plan_text(aggregation__privacy=privacy, rounds__min_sites=3, rounds__schedule="on-demand", rounds__deadline="20s", rounds__count=1,
                     train__seed=seed)


class Stop(consortium.TestCase):
    def begun(self, privacy):
        """A run that every site takes part in."""
        c = self.consortium(SITES)
        run_id = c.submit(plan(privacy, 1))
        c.accept(run_id)
        c.start_nodes()
        wait_for(lambda: c.log_of("coordinator").count("run_answer ") == len(SITES), "the sites")
        return c, run_id

    def stopped(self, c, run_id, next_privacy):
        """The run is over for every site, and there is another one."""
        shown = c.show(run_id)
        self.assertEqual((shown["state"], shown["reason"]), ("stopped", "stopped by the operator"))
        self.assertEqual((shown["rounds"][-1]["state"], shown["rounds"][-1]["reason"]), ("void", "stopped by the operator"))
        self.assertIn("the run is stopped", c.coordinator("round", run_id, code=FAILED).err)
        for site in SITES:
            wait_for(lambda: 'status=void sites=0 reason="stopped by the operator"' in c.log_of(site), "%s hears of it" % site)
        other = c.submit(plan(next_privacy, 2))
        c.accept(other)
        c.coordinator("round", other)
        self.assertEqual([r["state"] for r in c.show(other)["rounds"]], ["published"])
        self.assertNotIn("session_refused", c.log_of("coordinator"))

    def test_everybody_there(self):
        for privacy in "masked", "sealed":
            c, run_id = self.begun(privacy)
            c.coordinator("stop", run_id)
            self.stopped(c, run_id, privacy)

    def test_after_a_round(self):
        c, run_id = self.begun("masked")
        c.coordinator("round", run_id)
        c.coordinator("stop", run_id)
        self.stopped(c, run_id, "sealed")

    def test_sites_away(self):
        """One has taken part in a round, the others come back to a coordinator that was restarted too."""
        for privacy in "masked", "sealed":
            c, run_id = self.begun(privacy)
            c.coordinator("round", run_id)
            for site in SITES:
                c.nodes[site].stop()
            c.coordinator("stop", run_id)
            c.service.stop()
            c.serve()
            c.start_nodes()
            self.stopped(c, run_id, privacy)

    def test_no_service(self):
        """It stops as soon as there is one that can tell the sites."""
        c, run_id = self.begun("masked")
        c.service.stop()
        result = c.coordinator("stop", run_id, "--format", "json")
        self.assertIs(result.data["stopped"], False)
        self.assertEqual(c.show(run_id)["state"], "open")
        c.serve()
        wait_for(lambda: c.show(run_id)["state"] == "stopped", "the stop")
        self.stopped(c, run_id, "sealed")


if __name__ == "__main__":
    unittest.main()
