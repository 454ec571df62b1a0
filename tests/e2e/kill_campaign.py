#!/usr/bin/env python3
"""kill -9 at seeded random instants, again and again: every run of 20 rounds ends, and its model is bit for bit the undisturbed one.

    tests/e2e/kill_campaign.py --kills 200 --seed 1

One consortium of real processes. The plan runs once undisturbed, then as often as it takes to reach the number of kills, each time from
the directories as they were after enrolment (a masked plan may use a base model only once). A kill takes
the coordinator, a node, or all of them; they are started again after a moment. What must hold after each run: every round was
published in its first attempt (masked: in some attempt), with every site; the model equals the undisturbed one; the databases are whole; nothing is left in
the spool or in the nodes' work folders. The seed fixes who is killed and after how long; the processes keep their own pace.
"""
import argparse
import os
import random
import re
import shutil
import sqlite3
import statistics
import sys
import time

if __name__ == "__main__":
    os.environ.setdefault("HANSE_BIN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import consortium
from consortium import plan_text, rows_text, wait_for

ROUNDS = 20
MIB = 1 << 20
# 8.4 MB a model, so that transfers have chunks to resume; some 100 ms of training.
PLAN = dict(model__kind="mlp", model__hidden=[2048, 1024], train__epochs=None, train__steps=12, train__rate=0.01,
            rounds__deadline="30m")


class Campaign:
    """Runs beside an undisturbed one; what a strike is, a subclass may say (link_campaign.py)."""

    def __init__(self, kills, seed, sites=3, privacy="sealed", say=print, rounds=ROUNDS, host="127.0.0.1"):
        self.kills, self.random, self.say = kills, random.Random(seed), say
        self.c = consortium.Consortium(host)
        self.names = ["site%d" % i for i in range(1, sites + 1)]
        self.rounds = rounds
        self.plan = plan_text(**PLAN, rounds__count=rounds, rounds__min_sites=sites, aggregation__privacy=privacy)
        self.sealed = privacy == "sealed"  # masked: a site that is lost between the two parts of a round makes it void, and it is tried again
        self.voids = 0
        self.strikes = {"coordinator": 0, "node": 0, "all": 0}  # by what was aimed at
        self.away = []  # seconds from each kill until every site is connected again
        self.lost = []  # (seconds beyond the undisturbed run, kills) of each run
        self.signals = 0

    def begin(self):
        self.c.serve()
        for i, name in enumerate(self.names):
            self.c.enrol(name, rows_text(60, i + 1))
        self.enrolled()
        self.c.service.stop()
        for home in ["coordinator"] + self.names:
            shutil.copytree(self.c.path(home), self.c.path("enrolled", home))

    def enrolled(self):
        pass

    def anew(self):
        """Everybody as after enrolment: the same keys, no runs."""
        for process in [*self.c.nodes.values(), self.c.service]:
            if process.stop() != consortium.OK:
                raise AssertionError("%s did not end well" % process.name)
        for home in ["coordinator"] + self.names:
            shutil.rmtree(self.c.path(home))
            shutil.copytree(self.c.path("enrolled", home), self.c.path(home))
        self.c.serve()
        self.c.start_nodes()

    def open(self):
        self.anew()
        run_id = self.c.submit(self.plan)
        for name in self.names:  # the running nodes hold the offer as soon as it has come
            wait_for(lambda: any(offer["run"] == run_id for offer in self.c.node(name, "check", "--format", "json").data["offers"]),
                     "the offer", pause=0.2)
        self.c.accept(run_id)
        return run_id

    def over(self, run_id):
        return self.c.show(run_id)["state"] != "open"

    def check(self, run_id):
        """What must hold for every run; hands out the model's bytes."""
        shown = self.c.finish(run_id, 10)
        training = [r for r in shown["rounds"] if r["kind"] == "training"]
        if self.sealed and len(training) != self.rounds:
            raise AssertionError("%d attempts for %d rounds: %s" % (len(training), self.rounds, training))
        for attempt in shown["rounds"]:
            if not self.sealed and attempt["state"] == "void":
                self.voids += 1
                continue
            if attempt["state"] != "published" or [s["state"] for s in attempt["sites"]] != ["accepted"] * len(self.names):
                raise AssertionError("not every site in the first attempt: %s" % attempt)
        return self.c.export(run_id).data

    def clean(self):
        """Once everybody is idle: whole databases, and nothing left over."""
        homes = [self.c.home] + [self.c.path(name) for name in self.names]
        folders = [os.path.join(self.c.home, "spool")] + [os.path.join(home, "work") for home in homes[1:]]
        wait_for(lambda: not any(os.listdir(folder) for folder in folders), "empty folders: %s" % folders, 20)
        for home in homes:
            for folder, _, files in os.walk(home):
                for name in files:
                    if name.endswith((".tmp", ".part")):
                        raise AssertionError("left over: " + os.path.join(folder, name))
                    if name.endswith(".db"):
                        base = sqlite3.connect("file:%s?mode=ro" % os.path.join(folder, name), uri=True)
                        if base.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                            raise AssertionError("damaged: " + os.path.join(folder, name))
                        base.close()

    def connects(self):
        return {name: self.c.log_of(name).count(" connected ") for name in self.names}

    def strike(self):
        """One kill -9, a moment of absence, and the start again. Counts as one, whoever falls."""
        aim = self.random.choice(["coordinator", "node", "node", "all"]) if self.random.random() < 0.4 else \
            self.random.choice(["coordinator", "node"])
        victims = [self.random.choice(self.names)] if aim == "node" else []
        absence = self.random.choice([0, self.random.uniform(0, 0.3)])
        if aim == "all":
            victims = list(self.names)
        before = self.connects()
        began = time.monotonic()
        for process in [self.c.nodes[v] for v in victims] + ([self.c.service] if aim != "node" else []):
            self.signals += process.alive
            process.kill()
        self.strikes[aim] += 1
        time.sleep(absence)
        if aim != "node":
            self.c.serve(wait=False)
        for name in victims:
            self.c.start_node(name)
        # Half of the kills hit a consortium that is still coming back from the one before.
        if self.random.random() < 0.5:
            waiting = victims if aim == "node" else self.names
            wait_for(lambda: all(self.connects()[n] > before[n] for n in waiting), "everybody's return", 90)
            self.away.append(time.monotonic() - began)

    def mend(self):
        pass

    def close(self):
        self.c.close()

    def disturbed(self, plain_s, most):
        """One run with up to `most` kills spread over it."""
        kills, run_id = 0, self.open()
        began = time.monotonic()
        while not self.over(run_id) and kills < most:
            time.sleep(self.random.choice([self.random.uniform(0, 0.05), self.random.uniform(0, 0.5)]))
            if self.over(run_id):
                break
            self.strike()
            kills += 1
        self.mend()
        self.c.finish(run_id, 300, 0.05)
        seconds = time.monotonic() - began
        if kills > 0:
            self.lost.append((seconds - plain_s, kills))
        return run_id

    def run(self):
        self.begin()
        run_id = self.open()
        began = time.monotonic()
        self.c.finish(run_id, 300, 0.05)
        plain_s = time.monotonic() - began
        want = self.check(run_id)
        self.clean()
        self.say("undisturbed: %d rounds in %.1f s" % (self.rounds, plain_s))
        while sum(self.strikes.values()) < self.kills:
            run_id = self.disturbed(plain_s, self.kills - sum(self.strikes.values()))
            if self.check(run_id) != want:
                raise AssertionError("run %s: another model than that of the undisturbed run" % run_id)
            self.clean()
            if self.lost:
                self.say("run %s: struck %d times, %.1f s more, the same model" % (run_id, self.lost[-1][1], self.lost[-1][0]))
        return self.figures()

    def resumed(self, what):
        """(times, bytes) of transfers that went on where they had stopped; chunks are 1 MiB, an upload's first is small."""
        found = [int(n) for n in re.findall(what + r"_resumed .*?chunks=(\d+)", self.c.log_of("coordinator"))]
        return len(found), sum((n - (what == "upload")) * MIB for n in found)

    def figures(self):
        """What the strikes were, what became of the runs, and what a strike cost."""
        up, down = self.resumed("upload"), self.resumed("download")
        strikes = sum(self.strikes.values())
        lines = ["%d strikes: %s" % (strikes, ", ".join("%s %d" % item for item in self.strikes.items())),
                 "runs: %d disturbed of %d rounds, every model equal to the undisturbed one" % (len(self.lost), self.rounds),
                 "connections made: %d" % sum(self.connects().values()),
                 "resumed: %d uploads, %.1f MB; %d downloads, %.1f MB" % (up[0], up[1] / 1e6, down[0], down[1] / 1e6),
                 "time lost: %.2f s a strike, its own length included" % (sum(seconds for seconds, _ in self.lost) / max(1, strikes))]
        if not self.sealed:
            lines.append("attempts that were void and tried again: %d" % self.voids)
        if self.signals > 0:
            lines.append("processes killed: %d" % self.signals)
        if self.away:
            lines.append("from a kill until everybody is connected: median %.2f s, longest %.2f s" %
                         (statistics.median(self.away), max(self.away)))
        return lines


class Short(consortium.TestCase):
    """The campaign in small: in every run of the test suite."""

    def test_fifteen_kills(self):
        campaign = Campaign(15, 20261126, say=lambda line: None)
        self.consortia.append(campaign.c)
        campaign.run()
        self.assertEqual(sum(campaign.strikes.values()), 15)


def main(doc, make, strikes="kills", **options):
    """The command of a campaign: --kills or what its strikes are called, --seed, --sites, --privacy, and `options` of its own (name: help)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--" + strikes, type=int, default=200, dest="strikes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--privacy", default="sealed", help="the plan's aggregation.privacy: sealed or masked")
    for name, text in options.items():
        parser.add_argument("--" + name, action="store_true", help=text)
    args = vars(parser.parse_args())
    campaign = make(args.pop("strikes"), args.pop("seed"), say=lambda line: print(line, flush=True), **args)
    try:
        for line in campaign.run():
            print(line)
    except AssertionError:
        print(campaign.c.logs())
        raise
    finally:
        campaign.close()


if __name__ == "__main__":
    main(__doc__, Campaign)
