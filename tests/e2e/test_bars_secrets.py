"""Who takes a site's directory later, and has recorded its uploads, cannot open them: the secrets of a ticket are gone from its files when the
round is over, those of void rounds too, and when the run is over all are."""
import hashlib
import hmac
import sqlite3
import struct
import unittest

import bars
import tap
from bars import SITES
from consortium import wait_for
from test_bars_canary import files_of

SITE = "a"
UPLOAD = ("o", tap.MASKED_UPLOAD, 1)


def nonce_of(seed):
    """The public nonce of the ticket that was made from this seed."""
    info = b"".join(struct.pack(">I", len(text)) + text for text in (b"hanse1/ticket", b"nonce")) + struct.pack(">I", 0)
    return hmac.new(seed, info + b"\1", hashlib.sha256).digest()[:16]


class Secrets(bars.Bars):
    def seeds(self, c):
        """{slot: seed} of the tickets whose seed is in the site's store; everything secret in a ticket is made from it."""
        tickets = [m.fields[0] for m in self.messages(SITE) if m.kind == tap.TICKET]
        slots = {ticket[88:104]: int.from_bytes(ticket[16:24], "big") for ticket in tickets}
        store = sqlite3.connect("file:%s?mode=ro" % c.path(SITE, "state.db"), uri=True)
        values = [value for value, in store.execute("SELECT value FROM fact")]
        store.close()
        found = {}
        for value in values:
            for at in range(len(value) - 31):
                slot = slots.get(nonce_of(value[at:at + 32]))
                if slot is not None:
                    found[slot] = value[at:at + 32]
        return found

    def left(self, c, seeds):
        files = files_of(c.path(SITE))
        return sorted(slot for slot, seed in seeds.items() if seed in files)

    def test_run(self):
        c, run_id = self.begun()
        node = self.start(c, SITE, UPLOAD, UPLOAD, UPLOAD)
        c.start_nodes([site for site in SITES if site != SITE])
        seeds = {}
        for slot in (1, 2, 3):
            tap.wait_halted(node)
            found = self.seeds(c)
            self.assertEqual(sorted(found), [slot, slot + 1, slot + 2])  # none before
            seeds.update(found)
            self.assertTrue(set(found) <= set(self.left(c, seeds)))  # the control: they are found where they are
            self.resume(node)
        c.finish(run_id)
        wait_for(lambda: " run_over " in c.log_of(SITE), "the last result")
        wait_for(lambda: not self.left(c, seeds), "clean files, the database's log among them")

    def test_void_round(self):
        """Two sites are lost; the round is void, is tried again and succeeds."""
        c, run_id = self.begun(rounds__deadline="5s")
        lost = [self.start(c, site, bars.UPLOADING) for site in SITES[2:]]
        node = self.start(c, SITE, UPLOAD, UPLOAD, ("o", tap.MASKED_UPLOAD, 2))
        c.start_nodes(["b"])
        tap.wait_halted(node)
        self.resume(node)
        tap.wait_halted(node)
        seeds = self.seeds(c)
        self.resume(node)
        for other in lost:
            tap.wait_halted(other)
            other.kill()
        wait_for(lambda: "round_void run=toy round=1 " in c.log_of("coordinator"), "the end of slot 2", 60)
        c.start_nodes(SITES[2:])
        tap.wait_halted(node)  # in the evaluation: round 1 has its result
        self.assertNotIn(2, self.seeds(c))
        self.assertIn(2, seeds)
        self.resume(node)
        c.finish(run_id)
        wait_for(lambda: " run_over " in c.log_of(SITE), "the last result")
        self.assertEqual(node.stop(), 0)
        self.assertEqual(self.left(c, seeds), [])


if __name__ == "__main__":
    unittest.main()
