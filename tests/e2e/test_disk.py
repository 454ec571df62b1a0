"""A disk that is full, read-only or damaged, under real processes: one clear line, the right exit code, nothing half done; and once
it is mended the run goes on where it stood, without being submitted again and without anybody training twice."""
import os
import re
import shutil
import signal
import unittest

import consortium
from consortium import LOCAL, plan_text, wait_for

SITES = ["a", "b", "c"]
SEALED = dict(rounds__count=2, rounds__min_sites=3)
MASKED = dict(SEALED, aggregation__privacy="masked")
LONG = dict(train__epochs=None, train__steps=6000, train__batch=64, model__kind="mlp", model__hidden=[32])
PRELOAD = os.path.join(os.path.abspath(consortium.HANSE_BIN), "tests", "libsick_disk.so")


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))


class Disk(consortium.TestCase):
    def begun(self, sites=SITES, sick="coordinator", **changes):
        """`sick`: whose disk can fail; see ill()."""
        c = self.consortium(serve=False)
        self.switch = c.path("sick")
        self.env = {"LD_PRELOAD": PRELOAD, "SICK_DISK": self.switch}
        self.serve(c, sick == "coordinator")
        for seed, site in enumerate(sites):
            c.enrol(site, consortium.rows_text(60, seed + 1))
        run_id = c.submit(plan_text(**changes))
        c.accept(run_id)
        return c, run_id

    def serve(self, c, sick=True):
        c.service = c.start("coordinator", consortium.COORDINATOR, "serve", "--dir", c.home, env=self.env if sick else None)
        wait_for(c.answers, "the service")

    def ill(self, how):
        """The disk fails from now on: "full TEXT", "readonly TEXT" or "bad TEXT", of paths with TEXT in them."""
        with open(self.switch + ".new", "w", encoding="utf-8") as file:
            file.write(how)
        os.rename(self.switch + ".new", self.switch)

    def well(self):
        os.remove(self.switch)

    def logged(self, c, who, pattern, times=1, seconds=60):
        return wait_for(lambda: len(re.findall(pattern, c.log_of(who))) >= times and re.findall(pattern, c.log_of(who)),
                        "%s: %s" % (who, pattern), seconds)

    def nothing_lost(self, c, run_id, sites=SITES):
        """Every round was published in its first attempt, with everybody, who trained once for each."""
        shown = c.finish(run_id, 120)
        for attempt in shown["rounds"]:
            self.assertEqual((attempt["state"], attempt["attempt"]), ("published", 0), attempt)
            self.assertEqual([s["state"] for s in attempt["sites"]], ["accepted"] * len(sites), attempt)
        for site in sites:
            for number in (1, 2):
                self.assertEqual(c.log_of(site).count("work_begin round=%d " % number), 1, site)
        c.export(run_id)
        wait_for(lambda: not os.listdir(os.path.join(c.home, "spool")), "an empty spool", 10)
        for folder, _, names in os.walk(os.path.join(c.home, "models")):
            self.assertEqual([n for n in names if not n.endswith(".safetensors")], [], folder)
        return shown

    def no_room(self, where, what, **changes):
        c, run_id = self.begun(**changes)
        self.ill("full " + where)
        c.start_nodes()
        line = self.logged(c, "coordinator", what)[0]
        self.assertIn("code=full", line)
        self.assertTrue(c.service.alive)
        self.well()
        self.nothing_lost(c, run_id)

    def test_full_spool(self):
        self.no_room("/spool/", r"session_refused .*No space left.*", **MASKED)

    def test_full_models(self):
        self.no_room("/models/", r"round_waits .* reason=.*/models/.*No space left.*", **MASKED)

    def test_full_models_sealed(self):
        self.no_room("/models/", r"round_waits .* reason=.*/models/.*No space left.*", **SEALED)

    def test_full_database(self):
        """The last contribution finds no room in the database: it is not accepted, and the cut that rested on it is none."""
        for changes in (MASKED, SEALED):
            with self.subTest(changes.get("aggregation__privacy", "sealed")):
                c, run_id = self.begun(**dict(changes, **LONG))
                c.start_nodes()
                self.logged(c, "c", r"work_begin round=1 ")
                c.nodes["c"].child.send_signal(signal.SIGSTOP)
                self.logged(c, "coordinator", r"contribution_accepted run=toy round=1 site=[ab]", 2)
                self.ill("full state.db")
                c.nodes["c"].child.send_signal(signal.SIGCONT)
                line = self.logged(c, "coordinator", r"contribution_not_kept .*")[0]
                self.assertRegex(line, r"site=c code=full .*state\.db: no room to write; free disk space")
                self.well()
                self.nothing_lost(c, run_id)

    def test_round_command(self):
        """From cron: exit code 7 and one line; the next call goes on in the same attempt."""
        c, run_id = self.begun(**dict(SEALED, rounds__schedule="on-demand", rounds__count=1))
        c.service.stop()
        self.ill("full /models/")
        c.start_nodes()
        failed = c.coordinator("round", run_id, "--wait", "60s", code=LOCAL, env=self.env)
        self.assertRegex(failed.err, r"hanse-coordinator: .*/models/.*No space left on device")
        self.well()
        c.coordinator("round", run_id, "--wait", "60s", env=self.env)
        rounds = c.show(run_id)["rounds"]
        self.assertEqual([(r["state"], r["attempt"]) for r in rounds], [("published", 0)])

    def test_readonly_coordinator(self):
        c, run_id = self.begun(**SEALED)
        c.service.stop()
        self.ill("readonly " + c.home)
        result = c.coordinator("serve", code=LOCAL, env=self.env)
        self.assertRegex(result.err, r"cannot open .*: Read-only file system")
        self.well()
        self.serve(c)
        c.start_nodes()
        self.nothing_lost(c, run_id)

    def test_full_node(self):
        """One site cannot keep its work: it says so and declines; the others' round goes on, and the next one has it again."""
        c, run_id = self.begun(sick="a", rounds__count=3, rounds__min_sites=2, rounds__schedule="on-demand", rounds__deadline="5s")
        self.ill("full /work/")
        c.start_node("a", env=self.env)
        c.start_nodes(["b", "c"])
        wait_for(lambda: c.log_of("coordinator").count("run_answer ") == 3, "the sites")
        c.coordinator("round", run_id)
        wait_for(lambda: [r for r in c.show(run_id)["rounds"] if r["state"] == "published"], "a round without a")
        self.assertRegex(c.log_of("a"), r"(code=full|code=io) .*/work/.*No space left")
        if not c.nodes["a"].alive:  # the model itself found no room: it ended, and says so by its exit code
            self.assertEqual(c.nodes["a"].wait(), LOCAL)
        self.well()
        if not c.nodes["a"].alive:
            c.start_node("a", env=self.env)
            wait_for(lambda: c.log_of("coordinator").count("run_answer ") == 4, "a's return")
        c.coordinator("round", run_id)
        second = wait_for(lambda: [r for r in c.show(run_id)["rounds"] if r["state"] == "published"][1:], "a round with a")[0]
        self.assertEqual([s["state"] for s in second["sites"]], ["accepted"] * 3)

    def test_full_node_database(self):
        """The service ends with exit code 7, and goes on when it is started again."""
        c, run_id = self.begun(sick="a", **dict(MASKED, **LONG))
        c.start_node("a", env=self.env)
        c.start_nodes(["b", "c"])
        self.logged(c, "a", r"work_begin round=1 ")
        self.ill("full a/state.db")
        self.assertEqual(c.nodes["a"].wait(60), LOCAL)
        self.assertRegex(c.log_of("a"), r"hanse-node: .*a/state\.db: no room to write; free disk space and try again")
        self.well()
        c.start_node("a", env=self.env)
        c.finish(run_id, 120)

    def test_damaged_databases(self):
        c, run_id = self.begun(**SEALED)
        c.service.stop()
        for dir_, start in ((c.home, lambda: c.coordinator("serve", code=LOCAL)), (c.path("a"), lambda: c.node("a", "run", "--once", code=LOCAL))):
            path = os.path.join(dir_, "state.db")
            shutil.copy2(path, path + ".good")
            for at in range(0, os.path.getsize(path), 4096):
                for i in range(0, 64, 4):
                    flip(path, at + i)
            self.assertRegex(start().err, r"state\.db is damaged \(.*\); .*put a backup")
            os.replace(path + ".good", path)
        self.serve(c)
        c.start_nodes()
        self.nothing_lost(c, run_id)

    def accepted_two_of_three(self, stop=True, **changes):
        """a and b have their receipts, c has not begun and is gone; the service, too, unless it shall not `stop`."""
        c, run_id = self.begun(**changes)
        c.start_nodes()
        wait_for(lambda: c.log_of("coordinator").count("run_answer ") == 3, "the sites")
        if changes.get("aggregation__privacy") == "masked":
            self.logged(c, "c", r"work_begin round=1 ")
        else:
            self.logged(c, "coordinator", r"round_open run=toy round=1 ")
        c.nodes["c"].kill()
        self.logged(c, "coordinator", r"contribution_accepted run=toy round=1 site=[ab]", 2)
        if stop:
            c.service.stop()
        return c, run_id

    def sent_again(self, c, run_id):
        """What a and b had trained made the round, with c."""
        c.start_node("c")
        shown = c.finish(run_id, 120)
        for attempt in shown["rounds"]:
            self.assertEqual((attempt["state"], attempt["attempt"]), ("published", 0), attempt)
            self.assertEqual([s["state"] for s in attempt["sites"]], ["accepted"] * 3)
        self.assertEqual(c.log_of("a").count("work_begin round=1 "), 1)
        self.assertEqual(c.log_of("b").count("work_begin round=1 "), 1)
        self.assertIn("is lost:", c.log(run_id))

    def test_damaged_contributions(self):
        """Bytes that were acknowledged are lost on the coordinator's disk: their sites still have them, and send them again."""
        def cut(path):
            os.truncate(path, os.path.getsize(path) - 100)

        for name, damage in (("flipped", lambda path: flip(path, os.path.getsize(path) - 50)), ("truncated", cut), ("gone", os.remove),
                             ("another header", lambda path: flip(path, 6))):
            changes = MASKED if name in ("flipped", "gone") else SEALED
            with self.subTest(name):
                c, run_id = self.accepted_two_of_three(**dict(changes, **LONG))
                spool = os.path.join(c.home, "spool")
                names = sorted(n for n in os.listdir(spool) if os.path.getsize(os.path.join(spool, n)) > 8192)
                damage(os.path.join(spool, names[0]))
                self.serve(c)
                self.logged(c, "coordinator", r"contribution_not_kept .*spool/.*" if name != "flipped" else r"contribution_not_kept .*")
                self.sent_again(c, run_id)

    def test_damaged_under_the_service(self):
        """Masked, one flipped bit would only make another sum: it is noticed before there is one, and the next attempt is good."""
        c, run_id = self.accepted_two_of_three(stop=False, **dict(MASKED, **LONG))
        spool = os.path.join(c.home, "spool")
        name = sorted(n for n in os.listdir(spool) if os.path.getsize(os.path.join(spool, n)) > 8192)[0]
        flip(os.path.join(spool, name), 8196)
        c.start_node("c")
        self.assertIn("/spool/%s is damaged" % name, self.logged(c, "coordinator", r"sum_failed .*")[0])
        attempts = [r for r in c.finish(run_id, 120)["rounds"] if r["round"] == 1 and r["kind"] == "training"]
        self.assertEqual([r["state"] for r in attempts], ["void", "published"])
        self.assertIn("is damaged", attempts[0]["reason"])

    def test_unreadable_contribution(self):
        """A bad sector under an acknowledged contribution: it is read a few times more, then its site sends it again."""
        c, run_id = self.accepted_two_of_three(**dict(MASKED, **LONG))
        spool = os.path.join(c.home, "spool")
        name = sorted(n for n in os.listdir(spool) if os.path.getsize(os.path.join(spool, n)) > 8192)[0]
        self.ill("bad /spool/" + name)
        self.serve(c)
        lines = self.logged(c, "coordinator", r"round_waits .*", 3)
        self.assertRegex(lines[0], r"code=io retry_s=2 reason=.*/spool/%s.*Input/output error" % name)
        self.logged(c, "coordinator", r"contribution_not_kept .*Input/output error")
        self.well()
        self.sent_again(c, run_id)

    def test_damaged_model(self):
        """The run waits for its model, another one goes on; put back, it goes on without a restart."""
        c, run_id = self.begun(**SEALED)
        c.service.stop()
        path = os.path.join(c.home, "models", run_id, "0.safetensors")
        shutil.copy2(path, path + ".good")
        flip(path, os.path.getsize(path) - 3)
        self.serve(c)
        self.assertRegex(self.logged(c, "coordinator", r"run_not_loaded .*")[0],
                         r"code=corrupt reason=.*/0\.safetensors is not the model that was published: put a backup in its place")
        other = c.submit(plan_text(**dict(SEALED, name="other", train__seed=9)))
        c.accept(other)
        c.start_nodes()
        c.finish(other, 120)
        self.assertEqual(c.show(run_id)["state"], "open")
        self.assertIn("is not the model that was published", c.coordinator("round", run_id, code=LOCAL).err)
        c.service.stop()
        self.assertIn("is not the model that was published", c.coordinator("round", run_id, code=LOCAL).err)
        self.serve(c)
        os.replace(path + ".good", path)
        c.finish(run_id, 120)

    def test_half_written_models(self):
        """A service that was killed while it wrote a model: what it left goes at the next start, and nothing else."""
        c, run_id = self.begun(**SEALED)
        c.service.kill()
        folder = os.path.join(c.home, "models", run_id)
        for name in ("1.safetensors.aB3xY9", "notes"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write("half")
        self.serve(c)
        self.assertEqual(sorted(os.listdir(folder)), ["0.safetensors", "notes"])
        self.assertIn("half_written=1", c.log_of("coordinator"))

    def test_damaged_work(self):
        """A site's finished work is damaged before it could be sent: its round goes on without it, the next one with it."""
        for name, damage in (("flipped", lambda path: flip(path, 10)), ("gone", os.remove)):
            with self.subTest(name):
                c, run_id = self.begun(SITES + ["d"], **dict(MASKED, **LONG))
                c.start_nodes()
                for site in SITES + ["d"]:
                    self.logged(c, site, r"work_begin round=1 ")
                c.service.stop(signal.SIGKILL)
                for site in SITES + ["d"]:
                    self.logged(c, site, r"work_end round=1 .*code=ok")
                c.nodes["a"].stop()
                work = [n for n in os.listdir(c.path("a", "work")) if n.endswith(".masked")]
                self.assertEqual(len(work), 1)
                damage(c.path("a", "work", work[0]))
                self.serve(c)
                c.start_node("a")
                line = self.logged(c, "a", r"work_damaged .*")[0]
                self.assertRegex(line, r"code=corrupt text=.*/work/.*: this round goes on without this site")
                shown = c.finish(run_id, 120)
                first = [r for r in shown["rounds"] if r["round"] == 1 and r["state"] == "published"][0]
                self.assertEqual({s["site"]: s["state"] for s in first["sites"]}, {"a": "declined", "b": "accepted", "c": "accepted", "d": "accepted"})
                second = [r for r in shown["rounds"] if r["round"] == 2 and r["state"] == "published"][0]
                self.assertEqual([s["state"] for s in second["sites"]], ["accepted"] * 4)


if __name__ == "__main__":
    unittest.main()
