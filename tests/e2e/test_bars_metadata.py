"""What a site sends in the clear, and how long it is, does not depend on its data.

One consortium does the same run again and again, from the same directories: with some data at one site, then with twice as many rows and
other labels there, in turns. All messages are alike in kind, order and length. And no byte that a site sends is one value with the first
data and another value with the second (each time: a random byte is that once in 256^4 places; times only grow, so they are not).
"""
import os
import re
import shutil
import unittest

import bars
import consortium
import tap
from bars import SITES
from consortium import wait_for

CHANGED = "a"
DATA = [(40, 77), (80, 78)]  # rows and seed of its file, in turns
TIMES = {tap.HELLO: 2, tap.WELCOME: 2}  # fields that are the clock


def in_order(messages):
    """One way's messages without what a site gets and sends again only because it was late: further CUTs of a slot, and answers to them."""
    kept, slots = [], set()
    for message in messages:
        fields = message.fields
        if message.kind in (tap.CUT, tap.SHARES):
            slot = fields[0][48:56] if message.kind == tap.CUT else fields[1]
            certified = message.kind == tap.CUT and len(fields[3]) > 4
            if (message.kind, slot, certified) in slots:
                continue
            slots.add((message.kind, slot, certified))
        kept.append(message)
    return kept


def outline(message):
    """Kind, and of each field its length or its number."""
    fields = [len(field) if isinstance(field, bytes) else field for field in message.fields]
    if message.kind in TIMES:
        fields[TIMES[message.kind]] = None
    if message.kind == tap.CUT and fields[3] > 4:
        fields[3] = None  # as many signatures as have come by then
        return message.kind, fields, None
    return message.kind, fields, len(message.data)


def tells(ones, others):
    """Does a byte of the message tell which data it was? `ones`, `others`: the message of each run. Signatures are left out: their last
    byte has 16 values."""
    for fields in zip(*(m.fields for m in ones + others)):
        if isinstance(fields[0], int) or len(fields[0]) == 64:
            continue
        for values in zip(*fields):
            one, other = set(values[:len(ones)]), set(values[len(ones):])
            if len(one) == len(other) == 1 and one != other:
                return True
    return False


class Metadata(bars.Bars):
    def run_with(self, c, data, number):
        """Messages of each site, both ways."""
        c.write(CHANGED + ".csv", consortium.rows_text(*data))
        c.serve(env=self.tap(c, "coordinator"))
        run_id = c.submit(consortium.plan_text(**dict(bars.PLAN, rounds__count=2, rounds__deadline="30m", scaling="federated")))
        c.accept(run_id)
        for site in SITES:
            c.start_node(site, env=self.tap(c, "%s%d" % (site, number)))
        shown = c.finish(run_id)
        for site in SITES:
            wait_for(lambda: c.log_of(site).count(" run_over ") == number + 1, "the last result at " + site)
        rows = [int(re.findall(r"work_end round=1 weight=(\d+)", c.log_of(site))[-1]) for site in SITES]
        self.assertEqual([r["weight"] for r in shown["rounds"][:3]], [sum(rows)] * 3)
        self.assertEqual({s["weight"] for r in shown["rounds"] for s in r["sites"]} - {0}, {None})
        for process in [*c.nodes.values(), c.service]:
            self.assertEqual(process.stop(), consortium.OK)
        came = {}
        for site in SITES:
            for way in "io":
                came[site, way] = in_order(m for m in self.messages("%s%d" % (site, number)) if m.way == way)
        return came, rows

    def telling(self, turns, unmasked=False):
        """(site, kind) of the messages that tell which data the site had."""
        c = self.consortium(SITES)
        if unmasked:
            c.programs = bars.UNMASKED
        c.service.stop()
        enrolled = c.dir + "-enrolled"
        self.addCleanup(shutil.rmtree, enrolled, True)
        shutil.copytree(c.dir, enrolled, ignore=shutil.ignore_patterns("*.log"))
        self.captures, runs, rows = {}, ([], []), ([], [])
        for number in range(2 * turns):
            for home in ["coordinator"] + SITES:
                shutil.rmtree(c.path(home))
                shutil.copytree(os.path.join(enrolled, home), c.path(home))
            came, counted = self.run_with(c, DATA[number % 2], number)
            runs[number % 2].append(came)
            rows[number % 2].append(counted[0])
        self.assertGreater(min(rows[1]), 1.5 * max(rows[0]))
        found = set()
        for site, way in runs[0][0]:
            ones, others = ([came[site, way] for came in runs[which]] for which in (0, 1))
            for messages in ones + others:
                self.assertEqual([outline(m) for m in messages], [outline(m) for m in ones[0]], (site, way))
            if way == "o":
                found |= {(site, same[0].kind) for same in zip(*ones, *others) if tells(same[:turns], same[turns:])}
        return found

    def test_masked(self):
        self.assertEqual(self.telling(3), set())

    def test_unmasked(self):
        self.assertIn((CHANGED, tap.CHUNK), self.telling(2, unmasked=True))


if __name__ == "__main__":
    unittest.main()
