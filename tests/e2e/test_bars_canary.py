"""Patterns of each site's update, planted by its training, are nowhere at the coordinator: not in its memory while uploads lie in its spool,
while answers come and once the sum is open, not in its files and logs, not in what came and went through TLS; nor in any other site's memory.

The patterns are 32 bytes long: trained weights and updates (float32), ring words (lanes of 32 and 64 bits, and packed, at every bit of a
byte), the words beside them (rows, counts, loss), those of the statistics round (sums of the columns), and rows of the site's file. Logs are at their loudest. With the masks left out they are found.
"""
import os
import re
import sqlite3
import struct
import unittest

import bars
import tap
from bars import SITES

LEN = 32
LOST = "a"


def windows(data, step):
    """Three patterns of the data, none of them poor in different bytes."""
    places = [at for at in range(0, len(data) - LEN, step) if len(set(data[at:at + LEN])) >= 10]
    return [data[at:at + LEN] for at in (places[0], places[len(places) // 2], places[-1])]


def shifted(pattern, bits):
    """LEN bytes of the pattern's LEN + 1, as they stand `bits` further up in a stream of bits."""
    whole = int.from_bytes(pattern, "little") << bits
    return whole.to_bytes(LEN + 2, "little")[1:LEN + 1]


def statistics_of(path):
    """Words of the site's first contribution, behind rows and clipped cells: count, sum and sum of squares of each column."""
    store = sqlite3.connect("file:%s?mode=ro" % os.path.join(path, "state.db"), uri=True)
    (words,), = store.execute("SELECT aux FROM work WHERE slot = 1").fetchall()
    store.close()
    return [words[at:at + LEN] for at in range(16, len(words) - LEN + 1, 8)]


def patterns_of(contribution, rows):
    """{form: patterns}"""
    words = [word for segment in contribution.words for word in segment]
    packed = b"".join(contribution.packed())
    long = [packed[packed.index(window):][:LEN + 1] for window in windows(packed[:-1], 1)]
    aux, share = contribution.aux, struct.pack("<Q", contribution.share)
    return {
        "trained": windows(contribution.trained, 4),
        "update": windows(struct.pack("<%df" % len(words), *contribution.update), 4),
        "lanes of 32 bits": windows(struct.pack("<%di" % len(words), *words), 4),
        "lanes of 64 bits": [struct.pack("<4q", *words[at:at + 4]) for at in (0, 8, 16)],
        "packed": [shifted(pattern, bits) for pattern in long for bits in range(8)],
        "aux": [struct.pack("<4Q", *aux[:4]), struct.pack("<4Q", *aux[2:6]), struct.pack("<4Q", *aux[4:8])],
        "share": [share] if len(set(share)) >= 5 else [],  # 3/16 and the like are anywhere
        "rows": [line.encode() for line in rows.splitlines()[1:4]],
    }


def short(data):
    """Without long runs of zeros, which no pattern has and which make searching slow."""
    return re.sub(rb"\0{64,}", bytes(64), data)


def memory_of(process):
    """Whatever the process could have written to, as a core would have it."""
    parts = []
    with open("/proc/%d/maps" % process.child.pid, encoding="ascii") as maps, open("/proc/%d/mem" % process.child.pid, "rb", 0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not found:
                continue
            begin, end = (int(n, 16) for n in found.groups())
            memory.seek(begin)
            left = end - begin
            while left > 0 and (part := memory.read(min(left, 1 << 24))):
                parts.append(part)
                left -= len(part)
    return short(b"".join(parts))


def files_of(folder):
    parts = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    parts.append(file.read())
    return short(b"\0".join(parts))


class Canary(bars.Bars):
    def hits(self, unmasked=False, lost=None):
        """{(place, form): sites whose patterns were found}"""
        halts = [("o", tap.MASKS, len(SITES) + 1), ("o", tap.CUT, 1), ("i", tap.SHARES, 3), ("o", tap.RESULT, 1)]
        c, run_id = self.begun(unmasked=unmasked, halts_of_service=halts, rounds__deadline="6s", model__hidden=[16], scaling="federated",
                               debug=True)
        plains, places, statistics, first = {}, {}, {}, ("o", tap.MASKED_UPLOAD, 1)
        nodes = {site: self.start(c, site, first, first, *([("o", tap.CHUNK, 3)] if site == lost else [])) for site in SITES}
        for site, node in nodes.items():
            tap.wait_halted(node)
            statistics[site] = statistics_of(c.path(site))
            self.resume(node)
        tap.wait_halted(c.service)
        self.resume(c.service)
        for site, node in nodes.items():
            tap.wait_halted(node)
            with open(c.path(site + ".csv"), encoding="ascii") as file:
                plains[site] = dict(patterns_of(self.contribution(c, site), file.read()), statistics=statistics[site])
            self.resume(node)
        if lost is not None:
            tap.wait_halted(nodes[lost])
            nodes[lost].kill()
        for place in ("memory before the cut", "memory as answers come", "memory when the sum is open"):
            tap.wait_halted(c.service)
            places[place] = memory_of(c.service)
            self.assertIn(bytes.fromhex(run_id), places[place])  # it was read
            places["files"] = places.get("files", b"") + files_of(c.home)
            self.resume(c.service)
            if place == "memory when the sum is open":
                others = {site: memory_of(nodes[site]) for site in SITES if site != lost}
        if lost is not None:
            c.start_node(lost)
        c.finish(run_id)
        places["files"] += files_of(c.home) + c.log_of("coordinator").encode()
        places["stream"] = b"".join(m.data for m in self.messages("coordinator")) + \
            b"".join(data for _, _, data in tap.pieces(self.captures["coordinator"][0]))
        self.assertEqual(len(set(str(p) for p in plains.values())), len(SITES))
        hits = {}
        for site, forms in plains.items():
            for form, patterns in forms.items():
                for place, data in [*places.items(), *((other, data) for other, data in others.items() if other != site)]:
                    if any(pattern in data for pattern in patterns):
                        hits.setdefault((place, form), []).append(site)
        for site, data in others.items():
            self.assertTrue(any(pattern in data for patterns in plains[site].values() for pattern in patterns), site)  # its own are there
        return hits

    def test_masked(self):
        self.assertEqual(self.hits(), {})

    def test_masked_with_a_lost_site(self):
        """Killed in the middle of its upload: its masks are taken off the sum, and the part that came stays unreadable."""
        self.assertEqual(self.hits(lost=LOST), {})

    def test_unmasked(self):
        hits = self.hits(unmasked=True)
        for place in ("files", "stream"):
            for form in ("packed", "aux", "share"):
                self.assertEqual(hits.get((place, form)), SITES, (place, form, hits))
        self.assertEqual(hits.get(("stream", "statistics")), SITES)
        self.assertEqual(len({place for place, _ in hits if place.startswith("memory")}), 3, hits)


if __name__ == "__main__":
    unittest.main()
