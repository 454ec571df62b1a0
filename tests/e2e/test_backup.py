"""A backup made while the service works, the coordinator lost, and the run finished from the backup; and what restore refuses."""
import os
import shutil
import stat
import unittest

import consortium
from consortium import INVALID, LOCAL, plan_text, wait_for

SLOW = dict(train__epochs=None, train__steps=6000, train__batch=64, model__kind="mlp", model__hidden=[32], rounds__count=3,
            rounds__min_sites=2)


class Backup(consortium.TestCase):
    def lose(self, c):
        """The coordinator's machine is gone, with everything on it."""
        c.service.kill()
        shutil.rmtree(c.home)

    def test_open_round_goes_on_in_a_later_slot(self):
        c = self.consortium(["a", "b"])
        run_id = c.submit(plan_text(**SLOW))
        c.accept(run_id)
        c.start_nodes()
        wait_for(lambda: c.show(run_id)["rounds"] and c.show(run_id)["rounds"][-1]["state"] == "open", "an open round")
        wait_for(lambda: "work_begin" in c.log_of("a"), "training")
        file = c.path("backup")
        c.coordinator("backup", file)
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        self.assertEqual([n for n in os.listdir(c.home) if n.startswith("backup")], [])
        rounds = [r for r in c.show(run_id)["rounds"] if r["state"] == "published"]
        self.lose(c)
        data = c.coordinator("restore", file, "--format", "json").data
        self.assertLessEqual(data["voided"], 1)
        self.assertFalse(os.path.exists(os.path.join(c.home, "restore")))
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(c.home, "ca", "ca.key")).st_mode), 0o600)
        c.serve()
        shown = c.finish(run_id)
        self.assertEqual(sum(r["kind"] == "training" and r["state"] == "published" for r in shown["rounds"]), 3)
        self.assertEqual(len(rounds), 0)  # the backup was made in the first round
        void = [r for r in shown["rounds"] if r["state"] == "void"]
        self.assertEqual([r["reason"] for r in void], ["open when the backup was made"])
        again = [r for r in shown["rounds"] if r["state"] == "published"]
        self.assertTrue(all(r["slot"] > 1000000 for r in again), again)
        # Bit for bit what an undisturbed consortium makes.
        model = c.export(run_id)
        for node in c.nodes.values():
            node.stop()
        other = c.submit(plan_text(**SLOW))
        c.accept(other)
        c.start_nodes()
        c.finish(other)
        self.assertEqual(model.data, c.export(other).data)

    def test_finished_runs_and_identity_survive(self):
        c = self.consortium(["a"])
        run_id, shown, model = c.train(plan_text(rounds__count=2))
        file = c.path("backup")
        c.coordinator("backup", file, "--without-ca-key")
        self.lose(c)
        c.coordinator("restore", file)
        self.assertFalse(os.path.exists(os.path.join(c.home, "ca", "ca.key")))
        self.assertEqual(c.export(run_id).bytes, model.bytes)
        self.assertEqual([r["state"] for r in c.show(run_id)["rounds"]], [r["state"] for r in shown["rounds"]])
        c.serve()
        wait_for(lambda: c.log_of("a").count("connected coordinator") >= 2, "the site's return")

    def test_refuses(self):
        c = self.consortium(["a"])
        file = c.path("backup")
        c.coordinator("backup", file)
        self.assertIn("nothing is overwritten", c.coordinator("restore", file, code=INVALID).err)
        with open(file, "rb") as handle:
            good = handle.read()
        self.lose(c)
        for name, bad in {"flipped": good[:5000] + bytes([good[5000] ^ 1]) + good[5001:], "cut": good[:-1], "empty": b"",
                          "longer": good + b"x", "foreign": b"PK" + good[2:]}.items():
            with open(c.path(name), "wb") as handle:
                handle.write(bad)
            result = c.coordinator("restore", c.path(name), code=LOCAL)
            self.assertRegex(result.err, "checksum|no backup", name)
            self.assertFalse(os.path.exists(os.path.join(c.home, "state.db")), name)
        c.coordinator("restore", file)
        c.serve()


if __name__ == "__main__":
    unittest.main()
