"""One process answers for a site: while it holds shares that are about to leave, no other one over the same directory says a word to anybody."""
import os
import unittest

import bars
import tap
from bars import SITES, UPLOADING
from consortium import INVALID, NODE, OK, run

HELD = [SITES[0], SITES[-1]]
ASKED = HELD[0]


class Parallel(bars.Bars):
    def test_second_process(self):
        """Site a stands right before its shares leave, and d too, so that the sum cannot be opened yet. A second node is started for a."""
        c, run_id = self.begun(rounds__deadline="2m")
        for site in SITES:
            self.start(c, site, *([UPLOADING, ("o", tap.SHARES, 1)] if site in HELD else []))
        for last in (False, True):
            for site in HELD:
                tap.wait_halted(c.nodes[site])
            if not last:
                self.resume(*(c.nodes[site] for site in HELD))
        connections = c.log_of("coordinator").count("site_connected ")
        for words, code, says in (("run", INVALID, "another process works on"), ("run --once", OK, "nothing to do"),
                                  ("run --once --wait 1m", OK, "nothing to do"), ("check", OK, "the service is running here")):
            with self.subTest(words):
                capture = c.path("second-%s.tap" % words.replace(" ", "-"))
                result = run(NODE, *words.split(), "--dir", c.path(ASKED), code=code, env=tap.env(capture))
                self.assertIn(says, result.out + result.err)
                self.assertEqual(os.path.getsize(capture), 0)
        self.assertIsNone(self.of_round(c, run_id, 1))
        self.resume(*(c.nodes[site] for site in HELD))
        c.finish(run_id)
        self.assertEqual(self.took_part(self.of_round(c, run_id, 1)), SITES)
        self.assertIn([bytes.fromhex(run_id), 2], [m.fields[:2] for m in self.messages(ASKED) if (m.way, m.kind) == ("o", tap.SHARES)])
        self.assertEqual(c.log_of("coordinator").count("site_connected "), connections)


if __name__ == "__main__":
    unittest.main()
