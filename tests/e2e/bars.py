"""What the test_bars_*.py share: masked runs whose processes are tapped, and the same runs with the masks left out.

HANSE_BIN/tests/hanse-node-unmasked and hanse-coordinator-unmasked are the real programs linked with masks of nothing
(tests/support/unmasked). A bar that these do not fail would show nothing: every bar is tried on them too.
"""
import os
import shutil
import signal
import unittest

import consortium
import plain
import tap
from consortium import plan_text, wait_for

SITES = ["a", "b", "c", "d"]
SEED = 5
PLAN = dict(aggregation__privacy="masked", rounds__min_sites=3, rounds__count=1, train__seed=SEED, model__kind="mlp", model__hidden=[8])
UNMASKED = {side: os.path.join(consortium.HANSE_BIN, "tests", "hanse-%s-unmasked" % side) for side in ("node", "coordinator")}
UPLOADING = ("o", tap.MASKED_UPLOAD, 2)  # the first is that of the statistics round


@unittest.skipUnless(shutil.which("openssl"), "computes key streams")
class Bars(consortium.TestCase):
    def tearDown(self):
        for made in self.consortia:
            for process in made.processes:
                if process.alive and tap.is_stopped(process):  # after a failure: it cannot end well
                    process.kill()
        super().tearDown()

    def begun(self, sites=SITES, unmasked=False, rows=60, halts_of_service=(), debug=False, **changes):
        """A run that all sites have accepted; the nodes are still to be started."""
        c = self.consortium(serve=False)
        if unmasked:
            c.programs = UNMASKED
        self.captures = {}
        if debug:
            self.say_all(c.path("coordinator", "coordinator.yaml"))
        c.serve(env=tap.both(self.tap(c, "coordinator", *halts_of_service), c.clock()))
        for seed, site in enumerate(sites):
            c.enrol(site, consortium.rows_text(rows + (7 + seed) * seed, seed + 1))
            if debug:
                self.say_all(c.path(site, "node.yaml"))
        run_id = c.submit(plan_text(**dict(PLAN, **changes)))
        c.accept(run_id)
        return c, run_id

    def say_all(self, path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("level: info", text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("level: info", "level: debug"))

    def tap(self, c, name, *halts):
        """The environment of the process, and its capture under its name."""
        self.captures[name] = self.captures.get(name, []) + [c.path("%s-%d.tap" % (name, len(self.captures.get(name, []))))]
        return tap.env(self.captures[name][-1], *halts)

    def start(self, c, site, *halts):
        return c.start_node(site, env=self.tap(c, site, *halts))

    def messages(self, name):
        """Of all the runs of that process."""
        return [message for path in self.captures[name] for message in tap.messages(path)]

    def resume(self, *processes):
        for process in processes:
            process.child.send_signal(signal.SIGCONT)

    def contribution(self, c, site):
        """The plaintext of a node that stands before its upload to round 1."""
        came = self.messages(site)
        site_id = next(m for m in came if m.kind == tap.EPOCH).fields[0][:32]
        spec = plain.MaskSpec([m for m in came if m.kind == tap.MASKS][-1].fields[0])
        return plain.Contribution(c.path(site), site_id, spec, 1, SEED)

    def of_round(self, c, run_id, number):
        """The published attempt of the round, or None."""
        found = [r for r in c.show(run_id)["rounds"] if r["kind"] == "training" and r["round"] == number and r["state"] == "published"]
        return found[-1] if found else None

    def took_part(self, attempt):
        return sorted(s["site"] for s in attempt["sites"] if s["state"] == "accepted")

    def published(self, c, run_id, number=1):
        return wait_for(lambda: self.of_round(c, run_id, number), "round %d" % number, 60)
