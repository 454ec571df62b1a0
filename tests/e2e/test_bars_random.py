"""What lies in the coordinator's spool cannot be told from random bytes, whatever the sites' updates are.

Pearson's chi^2 against the uniform distribution, over at least 2^20 bytes a site, by bytes (255 degrees of freedom) and by 16-bit
words (65535). Bounds: two-sided 10^-6.
"""
import array
import collections
import os
import unittest

import bars
import tap
from bars import SITES

SAMPLES = 1 << 20
BYTES, WORDS = (159, 381), (63779, 67321)
HEADER = 8192  # of a spool file
TRAINED = dict(model__hidden=[1024, 512], train__rate=0.01)
ZERO = dict(model={"kind": "identity", "parameters": 600000}, train=None, data={"name": "none", "format": "none"}, scaling=None)


def chi2(values, kinds):
    expected = len(values) / kinds
    counts = collections.Counter(values)
    return sum((count - expected) ** 2 for count in counts.values()) / expected + (kinds - len(counts)) * expected


def looks_random(data):
    words = array.array("H", data[:len(data) // 2 * 2])
    return BYTES[0] <= chi2(data, 256) <= BYTES[1], WORDS[0] <= chi2(words, 65536) <= WORDS[1]


class Random(bars.Bars):
    def spooled(self, unmasked=False, **changes):
        """Contents of the spool, by file, right before the cut of round 1."""
        c, run_id = self.begun(unmasked=unmasked, halts_of_service=[("o", tap.MASKS, len(SITES) + 1), ("o", tap.CUT, 1)], **changes)
        c.start_nodes()
        for _ in range(2):
            tap.wait_halted(c.service)
            found = {}
            for name in os.listdir(os.path.join(c.home, "spool")):
                with open(os.path.join(c.home, "spool", name), "rb") as file:
                    found[name] = file.read()[HEADER:]
            self.resume(c.service)
        self.assertEqual(len(found), len(SITES))
        c.finish(run_id)
        for data in found.values():
            self.assertGreaterEqual(len(data), SAMPLES)
        return found.values()

    def test_trained(self):
        for data in self.spooled(**TRAINED):
            self.assertEqual(looks_random(data), (True, True), chi2(data, 256))

    def test_zeros(self):
        for data in self.spooled(**ZERO):
            self.assertEqual(looks_random(data), (True, True), chi2(data, 256))

    def test_unmasked(self):
        """The same bounds notice every site's bare words."""
        for changes in (TRAINED, ZERO):
            for data in self.spooled(unmasked=True, **changes):
                self.assertEqual(looks_random(data), (False, False))


if __name__ == "__main__":
    unittest.main()
