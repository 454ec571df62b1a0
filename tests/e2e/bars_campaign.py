#!/usr/bin/env python3
"""Masked rounds with a site lost in most of them, at seeded random points: every sum exact, nothing of a site to be found, no ticket used twice.

    tests/e2e/bars_campaign.py --rounds 50 --seed 1

One run of real processes. Every node stops before each of its uploads, where its plaintext is taken from its directory; in three rounds of four one
site (of ten: up to two) is killed between there and the end of the round, and comes back after it. For each round: the published model is
that of the sites whose uploads were whole, bit for bit (test_bars_dropout.py); no pattern of any site's contribution is in the
coordinator's memory or files, or in what TLS carried (test_bars_canary.py). At the end: the pairs of test_bars_restart.py.
"""
import argparse
import os
import random
import sys
import unittest

if __name__ == "__main__":
    os.environ.setdefault("HANSE_BIN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bars
import plain
import tap
from test_bars_canary import files_of, memory_of, patterns_of
from test_bars_restart import Pairs

UPLOAD = ("o", tap.MASKED_UPLOAD, 1)
# Where a site is lost, and whether its upload counts then.
POINTS = [(None, False), (("o", tap.CHUNK, 1), False), (("o", tap.CHUNK, 3), False), (("i", tap.RECEIPT, 1), True), (("o", tap.CUTSIG, 1), True),
          (("o", tap.SHARES, 1), True)]


class Campaign(bars.Bars):
    rounds, seed, sites = 50, 1, 5

    def fates(self):
        """{round: {site: point}}"""
        chance, fates = random.Random(self.seed), {}
        for number in range(1, self.rounds + 1):
            most = max(1, len(self.names) // 5)
            lost = chance.sample(self.names, chance.randint(1, most)) if chance.random() < 0.75 else []
            fates[number] = {site: chance.choice(POINTS) for site in lost}
        return fates

    def halts(self, site, begin):
        """Of a node that starts in that round, up to its end."""
        halts = []
        for number in range(begin, self.rounds + 1):
            halts.append(UPLOAD)
            if site in self.fate[number]:
                return halts + [point for point, _ in [self.fate[number][site]] if point is not None]
        return halts

    def take(self, c, site, number):
        came = self.messages(site)
        spec = plain.MaskSpec([m for m in came if m.kind == tap.MASKS][-1].fields[0])
        return plain.Contribution(c.path(site), next(m for m in came if m.kind == tap.EPOCH).fields[0][:32], spec, number, bars.SEED)

    def one_round(self, c, run_id, number):
        plains = {}
        for site in self.names:
            tap.wait_halted(c.nodes[site])
            plains[site] = self.take(c, site, number)
            if self.fate[number].get(site, (1,))[0] is not None:
                self.resume(c.nodes[site])
        for site, (point, _) in self.fate[number].items():
            tap.wait_halted(c.nodes[site])
            c.nodes[site].kill()
        attempt = self.published(c, run_id, number)
        survivors = [site for site in self.names if self.fate[number].get(site, (None, True))[1]]
        self.assertEqual((self.took_part(attempt), attempt["attempt"]), (survivors, 0))
        model = c.export(run_id, "--round", number)
        os.remove(c.path(run_id + ".safetensors"))
        self.assertEqual(model.data, plain.published([plains[site] for site in survivors]))
        size = os.path.getsize(self.captures["coordinator"][0])
        places = {"memory": memory_of(c.service), "files": files_of(c.home) + c.log_of("coordinator").encode()}
        with open(self.captures["coordinator"][0], "rb") as file:
            file.seek(self.searched)
            places["stream"] = file.read(size - self.searched)
        self.searched = size
        for site, contribution in plains.items():
            for form, patterns in patterns_of(contribution, self.rows[site]).items():
                for place, data in places.items():
                    self.assertEqual([pattern.hex() for pattern in patterns if pattern in data], [], (number, site, form, place))
        for site in self.fate[number]:
            self.start(c, site, *self.halts(site, number + 1))
        self.bytes += sum(map(len, places.values()))

    def test_campaign(self):
        self.names, self.searched, self.bytes, self.rows = ["s%d" % i for i in range(self.sites)], 0, 0, {}
        self.fate = self.fates()
        c, run_id = self.begun(self.names, rounds__count=self.rounds, rounds__deadline="6s", rounds__min_sites=3, model__hidden=[16],
                               train__rate=0.02)
        for site in self.names:
            with open(c.path(site + ".csv"), encoding="ascii") as file:
                self.rows[site] = file.read()
            self.start(c, site, ("i", tap.RESULT, 1), *self.halts(site, 1))
        for site in self.names:  # the statistics
            tap.wait_halted(c.nodes[site])
            self.resume(c.nodes[site])
        for number in range(1, self.rounds + 1):
            self.one_round(c, run_id, number)
        c.finish(run_id)
        pairs = Pairs(self.captures["coordinator"])
        self.assertEqual(pairs.related, 0)
        lost = [point for fate in self.fate.values() for point in fate.values()]
        scaled = sum(c.log_of(site).count("update_scaled ") for site in self.names)
        print("%d rounds of %d sites; %d sites lost, %d of them after their upload; %d updates scaled to their clip; every model exact; %.0f MB "
              "searched for patterns, none found; no ticket used for two contributions (%d chunks came twice)" %
              (self.rounds, self.sites, len(lost), sum(counts for _, counts in lost), scaled, self.bytes / 1e6, pairs.equal))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sites", type=int, default=5)
    args = parser.parse_args()
    Campaign.rounds, Campaign.seed, Campaign.sites = args.rounds, args.seed, args.sites
    unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
