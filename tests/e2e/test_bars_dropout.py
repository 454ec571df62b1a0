"""A site is lost at each point of a masked round: what is published is the sum of exactly those whose uploads were whole, bit for bit.

The sum is computed anew from what each site keeps in its own directory (plain.py).
"""
import os
import unittest

import bars
import plain
import tap
from bars import SITES, UPLOADING
from consortium import HANSE_BIN, wait_for
from test_hostile import Peer

LOST = "a"
SICK_DISK = os.path.join(os.path.abspath(HANSE_BIN), "tests", "libsick_disk.so")
TEN = ["s%d" % i for i in range(10)]


class Dropout(bars.Bars):
    def lose(self, *halts, counts, **more):
        """Site a is killed at the last halt; `counts`: its upload was whole."""
        self.lose_all({LOST: (halts, counts)}, **more)

    def lose_all(self, lost, sites=SITES, unmasked=False, look=None, **changes):
        """Each of `lost` {site: (halts, counts)} is killed at its last halt; the round is published without its help; then it comes back and the
        run ends."""
        c, run_id = self.begun(sites, unmasked=unmasked, **dict({"rounds__deadline": "2m"}, **changes))
        halts = {site: lost[site][0] if site in lost else [UPLOADING] for site in sites}
        nodes = {site: self.start(c, site, *halts[site]) for site in sites}
        plains = {}
        for site in sites:
            tap.wait_halted(nodes[site])
            if UPLOADING in halts[site]:
                plains[site] = self.contribution(c, site)
            if halts[site][-1] == UPLOADING and site not in lost:
                self.resume(nodes[site])
        for site in lost:
            for _ in halts[site][1:]:
                self.resume(nodes[site])
                tap.wait_halted(nodes[site])
            if look is not None:
                look(c, plains[site])
            nodes[site].kill()
        survivors = [site for site in sites if site not in lost or lost[site][1]]
        for site in survivors:
            wait_for(lambda: "contribution_accepted run=toy round=1 site=%s\n" % site in c.log_of("coordinator"), "the upload of " + site, 60)
        if survivors != sites:
            c.move_clock(121)  # nobody waits for the others any more
        attempt = self.published(c, run_id)
        self.assertEqual(self.took_part(attempt), survivors)
        self.assertEqual(attempt["attempt"], 0)
        c.start_nodes(list(lost))
        c.finish(run_id)
        model = c.export(run_id).data
        self.assertEqual(model, plain.published([plains[site] for site in survivors]))
        if len(plains) > len(survivors):
            self.assertNotEqual(model, plain.published(list(plains.values())))
        wait_for(lambda: not os.listdir(os.path.join(c.home, "spool")), "an empty spool")

    def test_before_spec(self):
        self.lose(("i", tap.MASKS, 2), counts=False)

    def test_after_spec(self):
        self.lose(UPLOADING, counts=False)

    def partial(self, c, contribution):
        """Of three chunks or more the first has come; whether it is the plaintext."""
        name = next(n for n in os.listdir(os.path.join(c.home, "spool")) if n.endswith(contribution.site_id.hex()))
        first = contribution.packed()[0]

        def held():
            with open(os.path.join(c.home, "spool", name), "rb") as file:
                return file.read()[8192:]

        wait_for(lambda: len(held()) >= len(first), "the first chunk")
        self.assertEqual(len(held()), len(first))
        return held() == first

    def test_mid_upload(self):
        self.lose(UPLOADING, ("o", tap.CHUNK, 2), counts=False, look=lambda c, a: self.assertFalse(self.partial(c, a)))

    def test_mid_upload_unmasked(self):
        """The sum is as exact; but what came of the lost site can be read."""
        self.lose(UPLOADING, ("o", tap.CHUNK, 2), counts=False, unmasked=True, look=lambda c, a: self.assertTrue(self.partial(c, a)))

    def test_after_upload(self):
        self.lose(UPLOADING, ("i", tap.RECEIPT, 1), counts=True)

    def test_declines_while_it_is_checked(self):
        """Its upload is whole, and a worker looks at it when the site says that it takes no part after all: it is not in the cut."""
        c, run_id = self.begun(rounds__deadline="2m")
        c.service.stop()
        path = os.path.join(c.home, "coordinator.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("  workers: 0", text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("  workers: 0", "  workers: 1"))  # checks end in the order in which uploads came
        env = self.tap(c, "coordinator")
        c.serve(env=dict(env, LD_PRELOAD=env["LD_PRELOAD"] + ":" + SICK_DISK, SICK_DISK=c.path("sick")))
        plains = {}
        for site in SITES:
            self.start(c, site, UPLOADING)
        for site in SITES:
            tap.wait_halted(c.nodes[site])
            plains[site] = self.contribution(c, site)
        c.write("sick", "stuck " + plains[LOST].site_id.hex())
        self.resume(c.nodes[LOST])
        wait_for(lambda: os.path.exists(c.path("sick.stuck")), "the worker", 60)
        c.nodes[LOST].kill()
        with Peer(c, LOST) as peer:
            peer.hello()
            peer.send(tap.ANSWER, bytes.fromhex(run_id), True, "", "")
            peer.send(tap.DECLINE, bytes.fromhex(run_id), 1, 0, "invalid", "no")
            wait_for(lambda: "contribution_declined run=toy round=1 site=" + LOST in c.log_of("coordinator"), "the decline")
        os.remove(c.path("sick"))
        self.resume(*(c.nodes[site] for site in SITES if site != LOST))
        attempt = self.published(c, run_id)
        self.assertEqual((self.took_part(attempt), attempt["attempt"]), ([site for site in SITES if site != LOST], 0))
        c.start_node(LOST)
        c.finish(run_id)
        self.assertEqual(c.export(run_id).data, plain.published([plains[site] for site in SITES if site != LOST]))
        cuts = [m.fields for m in self.messages("coordinator") if (m.way, m.kind) == ("o", tap.CUT)]
        in_cut = {frozenset(header[56:88] for header, _ in tap.signed_list(headers) if header) for cut, _, headers, _ in cuts if cut[55] == 2}
        self.assertEqual(in_cut, {frozenset(plains[site].site_id for site in SITES if site != LOST)})

    def test_before_cut_signature(self):
        self.lose(UPLOADING, ("o", tap.CUTSIG, 1), counts=True)

    def test_after_cut_signature(self):
        self.lose(UPLOADING, ("o", tap.CUTSIG, 1), ("i", tap.CUT, 1), counts=True)

    def test_mid_unmask(self):
        self.lose(UPLOADING, ("o", tap.SHARES, 1), counts=True)

    def test_cron(self):
        self.lose(UPLOADING, ("o", tap.CHUNK, 2), counts=False, aggregation__profile="cron")

    def test_wide_layer(self):
        """A tensor that is longer than a chunk."""
        self.lose(UPLOADING, ("i", tap.RECEIPT, 1), counts=True, model__hidden=[520, 520])

    def test_ten_sites(self):
        """As many as may be missing, and one more after its upload: seven of ten help, which is just enough."""
        self.lose_all({"s0": ([("i", tap.MASKS, 2)], False), "s4": ([UPLOADING, ("o", tap.CHUNK, 3)], False),
                       "s9": ([UPLOADING, ("i", tap.RECEIPT, 1)], True)}, TEN, rounds__min_sites=8)


if __name__ == "__main__":
    unittest.main()
