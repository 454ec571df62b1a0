"""No two different contributions leave under one ticket: not after kill -9 at any point, not when directories go back in time.

Every chunk that came to the coordinator is compared with every other of the same run, slot, site and place: they are equal, or
independent (their difference passes the chi^2 of test_bars_random.py)."""
import glob
import itertools
import os
import shutil
import unittest

import bars
import consortium
import plain
import tap
from bars import SITES, UPLOADING
from consortium import wait_for
from test_bars_random import SAMPLES, TRAINED, looks_random

ROUNDS = 60
BACK = "a"  # its directory goes back in time
LARGE = dict(TRAINED, aggregation__bits=32)  # lanes of whole bytes; 2^20 bytes in one chunk
AT_MASKS, IN_UPLOAD = ("i", tap.MASKS, 2), ("o", tap.CHUNK, 4)  # a ticket was left, nothing done yet; the third chunk is one of 2^20 bytes

# Where a site and the coordinator are killed: before the message leaves, or is taken.
SITE_POINTS = [("i", tap.OFFER, 1), ("o", tap.EPOCH, 1), ("i", tap.PEERS, 1), ("o", tap.TICKET, 1), ("o", tap.TICKET, 2),
               ("i", tap.MASKS, 1), ("i", tap.SPEC, 1), ("o", tap.FETCH, 1), ("i", tap.CHUNK, 1),
               ("o", tap.MASKED_UPLOAD, 1), ("i", tap.RESUME, 1), ("o", tap.CHUNK, 1), ("o", tap.CHUNK, 2), ("o", tap.CHUNK, 5),
               ("i", tap.RECEIPT, 1), ("i", tap.CUT, 1), ("o", tap.CUTSIG, 1), ("i", tap.CUT, 2), ("o", tap.SHARES, 1), ("i", tap.RESULT, 2)]
COORDINATOR_POINTS = [("i", tap.ANSWER, 3), ("i", tap.EPOCH, 4), ("o", tap.PEERS, 1), ("i", tap.TICKET, 4), ("o", tap.MASKS, 3),
                      ("o", tap.SPEC, 2), ("i", tap.FETCH, 1), ("o", tap.CHUNK, 2), ("i", tap.MASKED_UPLOAD, 3), ("o", tap.RESUME, 2),
                      ("i", tap.CHUNK, 7), ("o", tap.RECEIPT, 1), ("o", tap.RECEIPT, 4), ("o", tap.CUT, 1), ("o", tap.CUT, 3), ("i", tap.CUTSIG, 3),
                      ("i", tap.SHARES, 1), ("i", tap.SHARES, 3), ("o", tap.RESULT, 1), ("o", tap.RESULT, 3)]


def uploads(messages):
    """{(run, slot, site): [(nonce of the ticket, {place: chunk}) of each attempt]}, from what came to a coordinator."""
    found, current, transfers = {}, {}, {}
    for message in messages:
        fields = message.fields if message.kind in (tap.MASKED_UPLOAD, tap.RESUME, tap.CHUNK) else None
        if message.kind == tap.MASKED_UPLOAD and message.way == "i":
            header = plain.UploadHeader(fields[0])
            current[message.connection] = {}
            found.setdefault((header.run, header.slot, header.site), []).append((header.nonce, current[message.connection]))
        elif message.kind == tap.RESUME and message.way == "o":
            transfers[message.connection, fields[0]] = current[message.connection]
        elif message.kind == tap.CHUNK and message.way == "i":
            transfers[message.connection, fields[0]][fields[1]] = fields[3]
    return found


def difference(one, other):
    """Of words of 32 bits."""
    a, b = memoryview(one).cast("I"), memoryview(other).cast("I")
    return b"".join(((x - y) % 2**32).to_bytes(4, "little") for x, y in zip(a, b))


class Pairs:
    """What the chunks of one run, slot, site and place are to each other. Small ones of two tickets are not judged."""

    def __init__(self, captures):
        found = {}
        for path in captures:
            for key, attempts in uploads(tap.messages(path)).items():
                found.setdefault(key, []).extend(attempts)
        self.equal = self.independent = self.related = 0
        for attempts in found.values():
            for (one_nonce, one), (other_nonce, other) in itertools.combinations(attempts, 2):
                for place in one.keys() & other.keys():
                    self.judge(one_nonce == other_nonce, one[place], other[place])

    def judge(self, one_ticket, one, other):
        if one == other:
            self.equal += 1
        elif len(one) >= SAMPLES and looks_random(difference(one, other)) == (True, True):
            self.independent += 1
        elif one_ticket or len(one) >= SAMPLES:
            self.related += 1


class Restart(bars.Bars):
    def back(self, other_data=False, recover=False):
        """Site a is killed in its upload, and comes back from a copy made before it had seen the spec; the coordinator has lost what came."""
        c, run_id = self.begun(**dict(LARGE, rounds__deadline="8s" if recover else "30m", rounds__count=5 if recover else 1))
        node = self.start(c, BACK, AT_MASKS, IN_UPLOAD)
        c.start_nodes([site for site in SITES if site != BACK])
        tap.wait_halted(node)
        shutil.copytree(c.path(BACK), c.path("old"))
        self.resume(node)
        tap.wait_halted(node)
        node.kill()
        site_id = next(m for m in self.messages(BACK) if m.kind == tap.EPOCH).fields[0][:32].hex()
        spool, = glob.glob(os.path.join(c.home, "spool", "*-2-" + site_id))
        wait_for(lambda: os.path.getsize(spool) > SAMPLES, "a large chunk")
        c.service.kill()
        shutil.rmtree(c.path(BACK))
        os.rename(c.path("old"), c.path(BACK))
        os.remove(spool)
        if other_data:
            c.write(BACK + ".csv", consortium.rows_text(60, 99))
        if recover:
            c.node(BACK, "recover")
        c.serve(env=self.tap(c, "coordinator"))
        self.start(c, BACK)
        c.finish(run_id, 90)
        return c, run_id, Pairs(self.captures["coordinator"])

    def test_site_goes_back(self):
        """It does the same again: the same bytes."""
        c, run_id, pairs = self.back()
        self.assertEqual(self.took_part(self.of_round(c, run_id, 1)), SITES)
        self.assertGreaterEqual(pairs.equal, 3)
        self.assertEqual((pairs.independent, pairs.related), (0, 0))

    def test_site_goes_back_and_recovers(self):
        """With other data meanwhile. Nothing leaves under the ticket that was used; later it takes part again."""
        c, run_id, pairs = self.back(other_data=True, recover=True)
        self.assertEqual(pairs.related, 0)
        self.assertIn("recovered slot=", c.log_of(BACK))
        self.assertIn(BACK, self.took_part(self.of_round(c, run_id, 5)))

    def test_what_recover_is_for(self):
        """The control: the same without `recover`, which docs/privacy.md forbids, is noticed."""
        self.assertGreater(self.back(other_data=True)[2].related, 0)

    def copy_of(self, c):
        old = c.dir + "-old"
        self.addCleanup(shutil.rmtree, old, True)
        shutil.copytree(c.dir, old, ignore=shutil.ignore_patterns("*.sock", "*.log", "*.tap"))
        return old

    def put_back(self, c, old):
        for process in [*c.nodes.values(), c.service]:
            process.stop()
        for home in ["coordinator"] + SITES:
            shutil.rmtree(c.path(home))
            shutil.copytree(os.path.join(old, home), c.path(home))

    def test_kills(self):
        """kill -9 of a site at 20 points and of the coordinator at 20: the model is that of the same run left alone."""
        c, run_id = self.begun(rounds__count=ROUNDS, rounds__deadline="30m")
        c.service.stop()
        old = self.copy_of(c)
        c.serve(env=self.tap(c, "coordinator"))
        c.start_nodes([site for site in SITES if site != BACK])
        for point in SITE_POINTS:
            node = self.start(c, BACK, point)
            tap.wait_halted(node)
            node.kill()
        self.start(c, BACK)
        c.service.kill()
        for point in COORDINATOR_POINTS:
            c.serve(wait=False, env=self.tap(c, "coordinator", point))
            tap.wait_halted(c.service)
            c.service.kill()
        c.serve(env=self.tap(c, "coordinator"))
        c.finish(run_id, 90)
        model = c.export(run_id).data
        pairs = Pairs(self.captures["coordinator"])
        self.assertGreater(pairs.equal, 0)  # something was sent twice
        self.assertEqual(pairs.related, 0)
        self.put_back(c, old)
        c.serve()
        c.start_nodes()
        c.finish(run_id, 90)
        os.remove(c.path(run_id + ".safetensors"))
        self.assertEqual(c.export(run_id).data, model)

    def tried_again(self, unmasked=False):
        """Two of four sites are lost before their uploads: the round is void, its slot declared dead, and the other two send the same update under
        the next one. Do their large chunks of both slots look independent?"""
        c, run_id = self.begun(unmasked=unmasked, **dict(LARGE, rounds__deadline="5s"))
        lost = [self.start(c, site, UPLOADING) for site in SITES[:2]]
        c.start_nodes(SITES[2:])
        for node in lost:
            tap.wait_halted(node)
            node.kill()
        wait_for(lambda: "round_void run=toy round=1 " in c.log_of("coordinator"), "the end of slot 2", 60)
        c.start_nodes(SITES[:2])
        c.finish(run_id, 90)
        found = uploads(tap.messages(self.captures["coordinator"][0]))
        by_site = {}
        for (_, slot, site), attempts in found.items():
            for _, chunks in attempts:
                by_site.setdefault(site, {}).setdefault(slot, {}).update(chunks)
        return [looks_random(difference(slots[2][place], slots[3][place])) for slots in by_site.values() if 2 in slots
                for place in slots[2] if len(slots[2][place]) >= SAMPLES]

    def test_tried_again(self):
        self.assertEqual(self.tried_again(), 4 * [(True, True)])

    def test_tried_again_unmasked(self):
        self.assertEqual(self.tried_again(unmasked=True), 4 * [(False, False)])

    def everybody_back(self, unmasked=False):
        """All directories as they were before the run's tickets, one site with other data: the same slots once more, with other tickets."""
        c, run_id = self.begun(unmasked=unmasked, **LARGE)
        c.service.stop()
        old = self.copy_of(c)
        for again in (False, True):
            if again:
                self.put_back(c, old)
                c.write(BACK + ".csv", consortium.rows_text(60, 99))
            c.serve(env=self.tap(c, "coordinator"))
            c.start_nodes()
            c.finish(run_id, 90)
        return Pairs(self.captures["coordinator"])

    def test_everybody_goes_back(self):
        pairs = self.everybody_back()
        self.assertEqual(pairs.independent, 2 * len(SITES))
        self.assertEqual((pairs.equal, pairs.related), (0, 0))

    def test_everybody_goes_back_unmasked(self):
        self.assertGreater(self.everybody_back(unmasked=True).related, 0)


if __name__ == "__main__":
    unittest.main()
