#!/usr/bin/env python3
"""Bad lines, again and again: every run of 20 rounds ends, and its model is bit for bit that of an undisturbed run.

    tests/e2e/link_campaign.py --faults 200 --seed 1

As kill_campaign.py, but the processes live and their lines are struck: each site reaches the coordinator over a line of its own
(line.py) that is cut, reset, halted, slow (1 Mbit/s, 200 ms each way) or gone for seconds at seeded random instants. --long adds
what takes minutes: a line that carries nothing and tells nobody (found by pings), and one that is gone for two minutes.
"""
import os
import re
import sys
import time

if __name__ == "__main__":
    os.environ.setdefault("HANSE_BIN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kill_campaign import Campaign, main
from line import Line

SHORT = ["cut", "reset", "halted", "slow", "gone"]
RATE = 15e6  # bytes a second of a good line: a transfer takes half a second, long enough to be hit
LONG = ["silent", "gone for long"]


class Links(Campaign):
    def __init__(self, faults, seed, long=False, **more):
        super().__init__(faults, seed, **more)
        self.kinds = SHORT + (LONG if long else [])
        self.strikes = dict.fromkeys(self.kinds, 0)
        self.lines = {}

    def enrolled(self):
        for name in self.names:
            self.lines[name] = Line(self.c.port)
            self.lines[name].rate = RATE
            path = self.c.path(name, "node.yaml")
            with open(path, encoding="utf-8") as file:
                text = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(re.sub(r'coordinator: "127.0.0.1:\d+"', 'coordinator: "127.0.0.1:%d"' % self.lines[name].port, text))

    def strike(self):
        short = self.random.random() < (0.95 if len(self.kinds) > len(SHORT) else 1)
        kind = self.random.choice(SHORT if short else LONG)
        struck = [self.lines[n] for n in (self.names if self.random.random() < 0.2 else [self.random.choice(self.names)])]
        seconds = self.random.uniform(0, 1.5)
        self.strikes[kind] += 1
        for line in struck:
            if kind == "silent":
                line.silence()
            elif kind == "halted":
                line.halted = True
            elif kind == "slow":
                line.delay_s, line.rate = 0.2, 125000
            else:
                line.closed = kind.startswith("gone")
                line.cut(kind == "reset")
        if kind not in ("cut", "reset", "silent"):
            time.sleep(120 if kind == "gone for long" else seconds)
        for line in struck:
            line.closed = line.halted = False
            line.delay_s, line.rate = 0.0, RATE

    def figures(self):
        lines = self.lines.values()
        return super().figures() + ["lines opened: %d; carried: %.1f MB" % (sum(line.opened for line in lines), sum(line.moved for line in lines) / 1e6)]


if __name__ == "__main__":
    main(__doc__, Links, "faults", long="faults of minutes, too: one in twenty")
