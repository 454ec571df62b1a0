"""A backup made while the service works, the coordinator lost, and the run finished from the backup; and what restore refuses."""
import contextlib
import os
import shutil
import sqlite3
import stat
import unittest

import bars
import consortium
import plain
import tap
from bars import SITES, UPLOADING
from consortium import INVALID, LOCAL, plan_text, wait_for

SLOW = dict(train__epochs=None, train__steps=6000, train__batch=64, model__kind="mlp", model__hidden=[32], rounds__count=3,
            rounds__min_sites=2)


def lose(c):
    """The coordinator's machine is gone, with everything on it."""
    c.service.kill()
    shutil.rmtree(c.home)


class Backup(consortium.TestCase):
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
        lose(c)
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
        lose(c)
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
        lose(c)
        for name, bad in {"flipped": good[:5000] + bytes([good[5000] ^ 1]) + good[5001:], "cut": good[:-1], "empty": b"",
                          "longer": good + b"x", "foreign": b"PK" + good[2:]}.items():
            with open(c.path(name), "wb") as handle:
                handle.write(bad)
            result = c.coordinator("restore", c.path(name), code=LOCAL)
            self.assertRegex(result.err, "checksum|no backup", name)
            self.assertFalse(os.path.exists(os.path.join(c.home, "state.db")), name)
        c.coordinator("restore", file)
        c.serve()


def sums(messages):
    """What a coordinator showed and took: {ticket: specs that it stands in}, {nonce of a ticket: rounds of its uploads}, {(run, slot): cuts}."""
    specs, rounds, cuts = {}, {}, {}
    for message in messages:
        if (message.way, message.kind) == ("o", tap.MASKS):
            spec, _, tickets, _ = message.fields
            for ticket, _ in tap.signed_list(tickets):
                specs.setdefault(ticket, set()).add(spec)
        elif (message.way, message.kind) == ("i", tap.MASKED_UPLOAD):
            header = plain.UploadHeader(message.fields[0])
            rounds.setdefault(header.nonce, set()).add(header.round_id)
        elif (message.way, message.kind) == ("o", tap.CUT):
            cut = message.fields[0]
            cuts.setdefault(cut[32:56], set()).add(cut)
    specs.pop(b"", None)  # who has left none
    return specs, rounds, cuts


class MaskedBackup(bars.Bars):
    """The backup is made while one site has uploaded and the others are about to; the lost coordinator goes on for a while."""

    def left(self, c):
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % os.path.join(c.home, "state.db"), uri=True)) as store:
            return [store.execute("SELECT COUNT(*) FROM " + table).fetchone()[0] for table in ("ticket", "answer")]

    def backed_up(self, *halts_of_service, **changes):
        c, run_id = self.begun(halts_of_service=halts_of_service, rounds__count=2, **changes)
        for site in SITES[:3]:
            self.start(c, site, UPLOADING)
        self.start(c, SITES[3])
        for site in SITES[:3]:
            tap.wait_halted(c.nodes[site])
        wait_for(lambda: "contribution_accepted run=toy round=1 site=d" in c.log_of("coordinator"), "the upload of d", 60)
        self.assertGreater(self.left(c)[0], 0)
        c.coordinator("backup", c.path("backup"))
        return c, run_id

    def restored(self, c, run_id, back):
        """`back` brings the sites back. The run goes on and ends, and nothing that a site signed or left serves two sums. Returns the attempts at
        round 1."""
        lose(c)
        self.assertEqual(c.coordinator("restore", c.path("backup"), "--format", "json").data["voided"], 1)
        self.assertEqual(self.left(c), [0, 0])
        c.serve(env=self.tap(c, "coordinator"))
        back()
        shown = c.finish(run_id, 90)
        c.export(run_id)
        published = [r for r in shown["rounds"] if r["state"] == "published" and r["slot"] > 1]
        self.assertEqual([r["kind"] for r in published], ["training", "training", "evaluation"])
        for attempt in published:
            self.assertGreater(attempt["slot"], 1000000)
        for path in self.captures["coordinator"]:
            self.assertTrue(all(sums(tap.messages(path))), path)  # the control: each of the two had some
        for used in sums(self.messages("coordinator")):
            self.assertEqual([key.hex() for key, of in used.items() if len(of) > 1], [])
        return [r for r in shown["rounds"] if r["kind"] == "training" and r["round"] == 1]

    def test_lost_in_the_next_slot(self):
        """After the backup its round was void and the next slot was opened, of which those who come back first know nothing: their tickets for it
        were used, and they would leave the same again."""
        c, run_id = self.backed_up(rounds__deadline="6s")
        wait_for(lambda: c.log_of("coordinator").count("contribution_accepted run=toy round=1 site=d") > 1, "the upload of d to the next slot", 60)
        for node in c.nodes.values():
            node.kill()
        opened = c.log_of("coordinator").count("round_open ")

        def back():
            c.start_nodes(SITES[:3])
            wait_for(lambda: c.log_of("coordinator").count("round_open ") > opened, "a round without d", 60)
            c.start_node(SITES[3])

        attempts = self.restored(c, run_id, back)
        self.assertEqual(attempts[0]["reason"], "open when the backup was made")

    def test_lost_with_the_sum_open(self):
        """After the backup everybody helped to open the sum, and nobody was told."""
        c, run_id = self.backed_up(("o", tap.RESULT, len(SITES) + 1), rounds__deadline="2m")
        self.resume(*(c.nodes[site] for site in SITES[:3]))
        tap.wait_halted(c.service)
        attempts = self.restored(c, run_id, lambda: None)
        self.assertEqual([r["state"] for r in attempts], ["void", "published"])


if __name__ == "__main__":
    unittest.main()
