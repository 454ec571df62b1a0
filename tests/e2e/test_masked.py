"""Masked rounds with real processes: sites and the coordinator are lost at the worst moments, floors are kept, sums stay exact."""
import os
import re
import shutil
import time
import unittest

import bars
import consortium
import tap
from consortium import OK, POLICY, QUORUM, plan_text, wait_for

SITES = ["a", "b", "c", "d"]
MASKED = dict(aggregation__privacy="masked", rounds__min_sites=3)
SLOW = dict(MASKED, train__epochs=None, train__steps=12000, train__batch=64, model__kind="mlp", model__hidden=[32], rounds__count=3)


class Masked(consortium.TestCase):
    def begun(self, sites=SITES, **changes):
        c = self.consortium(sites)
        run_id = c.submit(plan_text(**changes))
        c.accept(run_id)
        return c, run_id

    def published(self, c, run_id):
        return [r for r in c.show(run_id)["rounds"] if r["state"] == "published"]

    def took_part(self, attempt):
        return sorted(s["site"] for s in attempt["sites"] if s["state"] == "accepted")

    def all_but(self, lost, sites=SITES, more=(), **changes):
        """A run in which the sites `lost` are killed right before their upload to round 1, when all others have their receipts; then the
        deadline passes. `more`: of each node.yaml, (old, new)."""
        c = self.consortium(serve=False)
        c.serve(env=c.clock())
        for seed, site in enumerate(sites):
            c.enrol(site, consortium.rows_text(60, seed + 1))
            for old, new in more:
                self.edit(c, site, old, new)
        run_id = c.submit(plan_text(**dict(MASKED, rounds__deadline="1m", **changes)))
        c.accept(run_id)
        for site in sites:
            c.start_node(site, env=tap.env(c.path(site + ".tap"), bars.UPLOADING) if site in lost else None)
        for site in lost:
            tap.wait_halted(c.nodes[site])
            c.nodes[site].kill()
        for site in set(sites) - set(lost):
            wait_for(lambda: "contribution_accepted run=toy round=1 site=%s\n" % site in c.log_of("coordinator"), "the upload of " + site, 60)
        c.move_clock(61)
        return c, run_id

    def edit(self, c, site, old, new):
        with open(c.path(site, "node.yaml"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(c.path(site, "node.yaml"), "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))

    def begins(self, c, site, what, times=1):
        wait_for(lambda: c.log_of(site).count(what) >= times, "%s: %s" % (site, what))

    def test_whole_run(self):
        c, run_id = self.begun(**MASKED)
        c.start_nodes()
        shown = c.finish(run_id)
        self.assertEqual([r["kind"] for r in shown["rounds"]], ["statistics"] + 3 * ["training"] + ["evaluation"])
        for attempt in shown["rounds"]:
            self.assertEqual(self.took_part(attempt), SITES)
            self.assertEqual({s["weight"] for s in attempt["sites"]} - {0}, {None} if attempt["kind"] != "evaluation" else set())
        self.assertEqual(shown["rounds"][1]["weight"], shown["rounds"][0]["weight"])
        self.assertGreater(shown["rounds"][-1]["accuracy"], 0.7)
        c.export(run_id)

    def test_site_lost_before_its_upload(self):
        """Its masks are taken off with the others' help; the round goes on without it, the next one with it."""
        c, run_id = self.all_but(["a"], rounds__count=2)
        wait_for(lambda: [r for r in self.published(c, run_id) if r["round"] == 1], "round 1 without a", 30)
        c.start_node("a")
        shown = c.finish(run_id)
        self.assertEqual(self.took_part([r for r in shown["rounds"] if r["round"] == 1][-1]), ["b", "c", "d"])
        c.export(run_id)

    def test_site_lost_after_its_receipt(self):
        """Its upload counts; the others open the sum without its help."""
        c, run_id = self.begun(**dict(SLOW, rounds__count=1))
        c.start_nodes()
        wait_for(lambda: "contribution_accepted run=toy round=1 " in c.log_of("coordinator"), "a receipt")
        lost = next(s for s in SITES if "contribution_accepted run=toy round=1 site=" + s in c.log_of("coordinator"))
        c.nodes[lost].kill()
        wait_for(lambda: [r for r in self.published(c, run_id) if r["round"] == 1], "round 1", 30)
        self.assertIn(lost, self.took_part([r for r in self.published(c, run_id) if r["round"] == 1][-1]))
        c.start_node(lost)
        c.finish(run_id)

    def test_site_joins_later(self):
        """A site that was not counted at the start joins with next to no weight, and with its rows from the round after."""
        c, run_id = self.begun(**dict(MASKED, rounds__deadline="2s", rounds__count=6, rounds__schedule="on-demand"))
        c.start_nodes(["a", "b", "c"])

        def round_done():
            done = len(self.published(c, run_id))
            c.coordinator("round", run_id)
            return wait_for(lambda: len(self.published(c, run_id)) > done and self.published(c, run_id)[-1], "a round", 30)

        statistics = round_done()
        self.assertEqual(self.took_part(statistics), ["a", "b", "c"])
        c.start_node("d")
        wait_for(lambda: "d takes part" in c.log(run_id), "d")
        time.sleep(0.3)  # its tickets
        attempts = [round_done() for _ in range(4)]
        self.assertEqual(self.took_part(attempts[-1]), SITES)
        self.assertGreater(attempts[-1]["weight"], statistics["weight"])
        self.assertNotIn("E_RANGE", c.log_of("d"))

    def test_too_few_sites(self):
        """Two of four are gone: the round is void, nothing is opened, and the run goes on when they are back."""
        c, run_id = self.all_but(["a", "b"], rounds__count=1)
        wait_for(lambda: [r for r in c.show(run_id)["rounds"] if r["state"] == "void"], "a void round", 30)
        void = [r for r in c.show(run_id)["rounds"] if r["state"] == "void"][0]
        self.assertRegex(void["reason"], r"2 of 4 sites contributed")
        c.start_node("a")
        c.start_node("b")
        c.finish(run_id, 90)

    def twin(self, c):
        """The consortium's directories as they are now, to be put back for a second run of the same run."""
        copy = c.dir + "-twin"
        shutil.copytree(c.dir, copy, ignore=shutil.ignore_patterns("*.sock", "*.log"))
        self.addCleanup(shutil.rmtree, copy, True)
        return copy

    def put_back(self, c, copy):
        for process in list(c.nodes.values()) + [c.service]:
            process.stop()
        for name in os.listdir(copy):
            path = c.path(name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
            source = os.path.join(copy, name)
            shutil.copytree(source, path) if os.path.isdir(source) else shutil.copy2(source, path)
        c.serve()

    def same_model(self, disturb, **changes):
        """A run that `disturb` gets at, and the same run left alone, with the same keys: bit for bit one model."""
        c, run_id = self.begun(**changes)
        c.service.stop()
        copy = self.twin(c)
        c.serve()
        c.start_nodes()
        disturb(c)
        c.finish(run_id, 120)
        model = c.export(run_id).data
        self.put_back(c, copy)
        c.start_nodes()
        shown = c.finish(run_id, 120)
        for attempt in shown["rounds"]:
            self.assertEqual(self.took_part(attempt), SITES)
        os.remove(c.path(run_id + ".safetensors"))
        self.assertEqual(c.export(run_id).data, model)

    def test_kill_coordinator(self):
        def disturb(c):
            for times in (1, 2):
                self.begins(c, "b", "work_begin round=%d " % times)
                c.service.kill()
                time.sleep(0.2)
                c.serve()
            wait_for(lambda: "round_cut run=toy round=3 " in c.log_of("coordinator"), "the cut of round 3", 60, 0.001)
            c.service.kill()
            c.serve()

        self.same_model(disturb, **SLOW)

    def test_kill_everybody(self):
        def disturb(c):
            for times in (1, 2, 3):
                wait_for(lambda: "contribution_accepted run=toy round=%d " % times in c.log_of("coordinator"), "a receipt", 60, 0.001)
                c.service.kill()
                for node in c.nodes.values():
                    node.kill()
                c.serve()
                c.start_nodes()

        self.same_model(disturb, **SLOW)

    def test_cron_profile(self):
        c, run_id = self.begun(**dict(MASKED, aggregation__profile="cron", rounds__count=2))
        c.start_nodes()
        shown = c.finish(run_id)
        self.assertEqual(self.took_part(shown["rounds"][-1]), SITES)

    def test_floors(self):
        """Two sites are no cohort, unless plan and sites say so; a site's own floor is its own."""
        c = self.consortium(["a", "b"])
        refused = c.coordinator("submit", c.write("plan.yaml", plan_text(**dict(MASKED, rounds__min_sites=2))), code=QUORUM)
        self.assertIn("E_COHORT", refused.err)
        run_id = c.submit(plan_text(**dict(MASKED, rounds__min_sites=2, aggregation__allow_two=True)))
        c.accept(run_id)
        result = c.node("a", "run", "--once", code=POLICY)
        self.assertIn("sums hide too little", result.err)
        for site in ("a", "b"):
            self.edit(c, site, "allow_two: false", "allow_two: true")
        c.start_nodes()
        c.finish(run_id)

    def test_sparse_graph(self):
        """Eight sites with four neighbours each, one of them lost before its upload."""
        sites = ["s%d" % i for i in range(8)]
        c, run_id = self.all_but(["s0"], sites, [("allow_two: false", "trusted_coordinator: true")], rounds__count=2, aggregation__graph="sparse",
                                 aggregation__trusted_coordinator=True)
        wait_for(lambda: [r for r in self.published(c, run_id) if r["round"] == 1], "round 1 without s0", 60)
        self.assertIn("sparse_graph run=toy neighbours=4 shares=3", c.log_of("coordinator"))
        c.start_node("s0")
        shown = c.finish(run_id, 120)
        self.assertEqual(self.took_part([r for r in self.published(c, run_id) if r["round"] == 1][-1]), sites[1:])
        self.assertEqual({r["state"] for r in shown["rounds"]}, {"published"})
        c.export(run_id)

    def rounds(self, c, run_id, count):
        for _ in range(count):
            done = len(self.published(c, run_id))
            c.coordinator("round", run_id)
            wait_for(lambda: len(self.published(c, run_id)) > done, "a round", 30)

    def restore(self, c):
        """Put the copy of a's directory in its place."""
        c.nodes["a"].stop()
        shutil.rmtree(c.path("a"))
        os.rename(c.path("a-old"), c.path("a"))

    def go_back(self, c, run_id):
        """Three rounds, behind which a's directory is as it was after the first."""
        c.start_nodes()
        self.rounds(c, run_id, 1)
        c.nodes["a"].stop()
        shutil.copytree(c.path("a"), c.path("a-old"))
        c.start_node("a")
        wait_for(lambda: c.log_of("a").count("connected ") >= 2, "a's return")
        self.rounds(c, run_id, 2)
        self.restore(c)

    def test_restored_copy(self):
        """A site whose directory went back in time is told so, and takes part again after `recover`."""
        c, run_id = self.begun(**dict(MASKED, rounds__deadline="8s", rounds__count=8, rounds__schedule="on-demand"))
        self.go_back(c, run_id)
        c.node("a", "recover")
        c.start_node("a")
        wait_for(lambda: "recovered slot=" in c.log_of("a"), "the recovery")
        self.rounds(c, run_id, 4)
        self.assertIn("a", self.took_part(self.published(c, run_id)[-1]))

    def test_restored_copy_that_nobody_told(self):
        """Without `recover` the site sees keys of its own that it does not know, says so, and answers nothing until it is told."""
        c, run_id = self.begun(**dict(MASKED, rounds__deadline="8s", rounds__count=9, rounds__schedule="on-demand"))
        self.go_back(c, run_id)
        c.start_node("a")
        wait_for(lambda: c.log_of("a").count("connected ") >= 3, "a's return")
        self.rounds(c, run_id, 1)
        wait_for(lambda: "rolled_back " in c.log_of("a"), "the alarm")
        self.assertNotIn("a", self.took_part(self.published(c, run_id)[-1]))
        c.nodes["a"].stop()
        c.node("a", "recover")
        c.start_node("a")
        wait_for(lambda: "recovered slot=" in c.log_of("a"), "the recovery")
        self.rounds(c, run_id, 4)
        self.assertIn("a", self.took_part(self.published(c, run_id)[-1]))

    def test_run_that_a_restored_copy_forgot(self):
        """The copy is older than the run: `recover` holds for it all the same, once it is offered."""
        c = self.consortium(SITES)
        shutil.copytree(c.path("a"), c.path("a-old"))
        run_id = c.submit(plan_text(**dict(MASKED, rounds__deadline="8s", rounds__count=8, rounds__schedule="on-demand")))
        c.accept(run_id)
        c.start_nodes()
        c.coordinator("round", run_id)
        self.restore(c)
        c.node("a", "recover")
        c.accept(run_id, ["a"])
        c.start_node("a")
        wait_for(lambda: "recovered slot=" in c.log_of("a"), "the recovery")

    def test_restored_copy_of_three(self):
        """Where a sum needs everybody, the slots that a recovered site does not take are passed over."""
        c, run_id = self.begun(["a", "b", "c"], **dict(MASKED, rounds__deadline="8s", rounds__count=3, rounds__schedule="on-demand"))
        c.start_nodes()
        self.rounds(c, run_id, 1)
        c.nodes["a"].stop()
        c.node("a", "recover")
        c.start_node("a")
        wait_for(lambda: "recovered slot=4 " in c.log_of("a"), "the recovery")
        wait_for(lambda: "slots_skipped run=toy from=2 to=4 sites=1" in c.log_of("coordinator"), "slot 4")
        self.rounds(c, run_id, 2)
        for attempt in self.published(c, run_id):
            self.assertEqual(self.took_part(attempt), ["a", "b", "c"])

    def test_restored_copy_and_one_away(self):
        """Of five a sum needs four. One recovered, another is away: the slots that the first does not take are passed over, not waited for."""
        sites = ["a", "b", "c", "d", "e"]
        c, run_id = self.begun(sites, **dict(MASKED, rounds__deadline="8s", rounds__count=3, rounds__schedule="on-demand"))
        c.start_nodes()
        wait_for(lambda: c.log_of("coordinator").count("run_answer ") == 5, "the sites")
        time.sleep(3)  # their tickets for slots 1 and 2
        c.nodes["e"].stop()
        for _ in range(2):
            c.coordinator("round", run_id)
        c.nodes["a"].stop()
        c.node("a", "recover")
        c.start_node("a")
        wait_for(lambda: "recovered slot=" in c.log_of("a"), "the recovery")
        wait_for(lambda: "slots_skipped run=toy from=3" in c.log_of("coordinator"), "the slots that a does not take")
        c.coordinator("round", run_id)
        self.assertEqual(self.took_part(self.published(c, run_id)[-1]), ["a", "b", "c", "d"])

    def test_waiting_costs_nothing(self):
        """Tickets are there and nobody asks for a round: the coordinator sleeps."""
        c, run_id = self.begun(**dict(MASKED, rounds__deadline="1s", rounds__schedule="on-demand"))
        c.start_nodes()
        wait_for(lambda: c.log_of("coordinator").count("run_answer ") == 4, "the sites")
        time.sleep(0.5)

        def cpu_seconds():
            with open("/proc/%d/stat" % c.service.child.pid, encoding="ascii") as file:
                fields = file.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        before = cpu_seconds()
        time.sleep(3)
        self.assertLess(cpu_seconds() - before, 0.05)
        c.coordinator("round", run_id)
        wait_for(lambda: self.published(c, run_id), "the round that was asked for")

    def test_accept_retry(self):
        c, run_id = self.begun(**dict(MASKED, rounds__schedule="on-demand"))
        c.start_nodes()
        c.coordinator("round", run_id)
        c.nodes["a"].stop()
        self.assertIn("one more round", c.node("a", "accept", "retry", run_id[:8]).out)
        c.start_node("a")
        c.coordinator("round", run_id)
        c.node("a", "accept", "retry", "ffff", code=consortium.INVALID)

    def test_statistics_after_void_slots(self):
        """Two of four are away, and two attempts at the statistics come to nothing: what the others sent of them goes out again when those who
        come back have declared both dead, not before."""
        c, run_id = self.begun(**dict(MASKED, rounds__deadline="3s", rounds__schedule="on-demand"))
        c.start_nodes()
        wait_for(lambda: c.log_of("coordinator").count("run_answer ") == 4, "the sites")
        time.sleep(3)  # their tickets
        for site in ("c", "d"):
            c.nodes[site].stop()
        for attempt in (0, 1):
            c.coordinator("round", run_id, code=QUORUM)
        self.assertIn("slot 1 has sent the same and is not declared dead", c.log_of("a"))
        self.assertEqual(self.published(c, run_id), [])
        for site in ("c", "d"):
            c.start_node(site)
        for slot in (1, 2):
            wait_for(lambda: "slot_aborted run=toy slot=%d" % slot in c.log_of("coordinator"), "the end of slot %d" % slot)
        c.coordinator("round", run_id)
        self.assertEqual(self.took_part(self.published(c, run_id)[-1]), ["a", "b", "c", "d"])

    def test_a_decline_tells_a_code_only(self):
        """How far an update is beyond its clip is the site's own affair."""
        c, run_id = self.begun(**dict(MASKED, rounds__deadline="5s", rounds__count=1, rounds__schedule="on-demand",
                                      aggregation__clip={"floor": 1e-9, "ceiling": 1e-8}))
        c.start_nodes()
        c.coordinator("round", run_id)  # statistics
        c.coordinator("round", run_id, code=QUORUM)
        log = c.log_of("coordinator")
        declined = re.findall("contribution_declined run=toy round=1 site=(.) code=weight reason=\"see the site's log\"", log)
        self.assertGreaterEqual(len(declined), 2)  # then the round is void, and the others may be too late to say so
        for site in declined:
            self.assertIn("times its clip", c.log_of(site))
        for words in ("its clip", "E_RANGE"):
            self.assertNotIn(words, log)
            self.assertNotIn(words, c.log(run_id))

    def test_second_run_on_one_model(self):
        """The same plan again would compare two sums over one base model: refused, with what to do."""
        c, run_id = self.begun(**dict(MASKED, rounds__count=1))
        c.start_nodes()
        c.finish(run_id)
        for node in c.nodes.values():
            self.assertEqual(node.stop(), OK)
        run_id = c.submit(plan_text(**dict(MASKED, rounds__count=1)))
        c.accept(run_id)
        c.start_nodes()
        wait_for(lambda: "train.seed" in c.log_of("a"), "the refusal")
        c.coordinator("stop", run_id)


class TooFewAnswer(bars.Bars):
    """Profile online: the cut of round 1 is there, and too few are left to open its sum. The coordinator's clock is moved, not waited for."""
    SIGNING = (bars.UPLOADING, ("o", tap.CUTSIG, 1))  # of round 1: right before its signature of the cut leaves

    def begun(self, *signing):
        """A run in which the sites `signing` stand before their cut signature, and the others have signed."""
        self.captures = {}
        c = self.consortium(serve=False)
        c.serve(env=c.clock())
        for seed, site in enumerate(SITES):
            c.enrol(site, consortium.rows_text(60, seed + 1))
        run_id = c.submit(plan_text(**dict(MASKED, rounds__deadline="30s", rounds__count=1)))
        c.accept(run_id)
        for site in SITES:
            self.start(c, site, *(self.SIGNING if site in signing else ()))
        for site in signing:
            tap.wait_halted(c.nodes[site])
        self.resume(*(c.nodes[site] for site in signing))
        for site in signing:
            self.sent(site, tap.MASKED_UPLOAD)
            tap.wait_halted(c.nodes[site])
        for site in set(SITES) - set(signing):
            self.sent(site, tap.CUTSIG)
        return c, run_id

    def sent(self, site, kind):
        """It has left the site for the slot of round 1."""
        slot = {tap.MASKED_UPLOAD: lambda m: int.from_bytes(m.fields[0][48:56], "big"), tap.DEAD: lambda m: int.from_bytes(m.fields[0][16:24], "big")}
        wait_for(lambda: [m for m in self.messages(site) if m.way == "o" and m.kind == kind and slot.get(kind, lambda m: m.fields[1])(m) == 2],
                 "%s: message %d" % (site, kind))

    def attempts(self, c, run_id):
        return [r for r in c.show(run_id)["rounds"] if r["round"] == 1 and r["kind"] == "training"]

    def voided(self, c, run_id):
        return wait_for(lambda: [r for r in self.attempts(c, run_id) if r["state"] == "void"], "a void round")[0]["reason"]

    def next_works(self, c, run_id, back):
        c.start_nodes(back)
        c.finish(run_id)
        first, second = self.attempts(c, run_id)
        self.assertEqual((first["state"], second["state"]), ("void", "published"))
        self.assertEqual(self.took_part(second), SITES)

    def test_void_a_period_after_the_deadline(self):
        """Two of four are gone. Who is there at the unmask deadline gives its word not to help; who comes later helps, alone; a minute after
        the deadline it is over."""
        c, run_id = self.begun("a", "b")
        c.nodes["a"].kill()
        c.nodes["b"].kill()
        c.move_clock(91)
        self.sent("c", tap.DEAD)
        self.sent("d", tap.DEAD)
        self.start(c, "a")
        self.sent("a", tap.SHARES)
        self.assertEqual([r["state"] for r in self.attempts(c, run_id)], ["open"])
        c.move_clock(151)
        self.assertIn("1 of 4 sites helped to unmask, 3 are needed", self.voided(c, run_id))
        self.next_works(c, run_id, ["b"])

    def test_void_as_soon_as_enough_declare_it_dead(self):
        """One of four is gone, the others were too slow, and say so: no need to wait for the minute."""
        c, run_id = self.begun("a", "b", "c")
        c.nodes["a"].kill()
        c.move_clock(91)
        self.sent("d", tap.DEAD)
        self.assertEqual([r["state"] for r in self.attempts(c, run_id)], ["open"])
        self.resume(c.nodes["b"], c.nodes["c"])
        self.assertIn("too few sites helped to unmask in time", self.voided(c, run_id))
        self.assertRegex(c.log_of("coordinator"), "slot_aborted run=toy slot=2 deads=3")
        self.next_works(c, run_id, ["a"])


if __name__ == "__main__":
    unittest.main()
