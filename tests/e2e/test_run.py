"""Whole runs: four sites train together, and what they get is what the arithmetic says."""
import os
import signal
import stat
import time
import unittest

import consortium
from consortium import Model, plan_text, rows_text

PLANS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "configs", "plans")


def files_under(path):
    for folder, _, names in os.walk(path):
        for name in names:
            if not name.endswith(".sock"):
                yield os.path.join(folder, name)


class Run(consortium.TestCase):
    def test_four_sites(self):
        c = self.consortium()
        consortium.run(consortium.NODE, "cohort", "--out", c.path("cohort"), "--seed", "1")
        for site in ("north", "east", "south", "west"):
            c.enrol(site)
            c.configure(site, "heart-disease", [{"path": c.path("cohort", site + ".csv")}], missing=["?", ""])
        with open(os.path.join(PLANS, "heart-disease.yaml"), encoding="utf-8") as file:
            text = file.read().replace("count: 15", "count: 4").replace("min_sites: 3", "min_sites: 4")
        run_id, shown, model = c.train(text)

        self.assertEqual([r["kind"] for r in shown["rounds"]], ["statistics"] + 4 * ["training"] + ["evaluation"])
        for attempt in shown["rounds"]:
            self.assertEqual(attempt["state"], "published")
            self.assertEqual({s["site"]: s["state"] for s in attempt["sites"]},
                             {site: "accepted" for site in ("north", "east", "south", "west")})
            if attempt["kind"] != "evaluation":  # masked: the sum is known, and no site's part of it
                self.assertGreater(attempt["weight"], 400)
                self.assertEqual({s["weight"] for s in attempt["sites"]}, {None})
        last = shown["rounds"][-1]
        self.assertGreater(last["accuracy"], 0.6)
        self.assertGreater(last["auc"], 0.7)
        self.assertLess(last["loss"], 0.69)
        text_shown = c.coordinator("show", run_id).out
        for site in c.sites:
            self.assertIn(site, text_shown)

        self.assertEqual(model.meta["run"], run_id)
        self.assertEqual(model.meta["round"], "4")
        self.assertEqual(model.meta["plan_hash"], shown["plan_hash"])
        self.assertEqual(sorted(t["dtype"] for t in model.tensors.values()), ["F32"] * len(model.tensors))
        end = 0
        for tensor in sorted(model.tensors.values(), key=lambda t: t["data_offsets"]):
            self.assertEqual(tensor["data_offsets"][0], end)
            end = tensor["data_offsets"][1]
        self.assertEqual(end, len(model.data))
        self.assertTrue(any(model.values))

        for site in c.sites:  # every site has what the coordinator exports, and its own rows of the table
            newest = Model(c.path(site, "models", run_id + "-newest.safetensors"))
            self.assertEqual(newest.sha256, model.sha256)
            c.node(site, "baseline", run_id)
            rows = c.node(site, "show", run_id, "--format", "json").data["rows"]
            self.assertLessEqual({"last", "alone"}, {row["model"] for row in rows})
            self.assertEqual(len(c.node(site, "log", run_id, "--format", "json").data), 6)
        self.check_secrets(c)

    def check_secrets(self, c):
        """Private keys are 0600 and lie in their owner's directory alone."""
        secrets = {}
        for path in files_under(c.dir):
            with open(path, "rb") as file:
                content = file.read()
            if b"PRIVATE KEY" in content:
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600, path)
                secrets[path] = b"".join(content.split(b"-----")[2].split())  # the key's base64
        self.assertEqual(len(secrets), 2 * len(c.sites) + 3)  # CA, and TLS and signing of the coordinator and of each site
        for path in files_under(c.dir):
            if path.endswith(("state.db", ".invitation", ".key", "seal")):
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600, path)
            with open(path, "rb") as file:
                content = b"".join(file.read().split())
            for owner, secret in secrets.items():
                if path != owner:
                    self.assertNotIn(secret, content, "%s holds the key of %s" % (path, owner))
        for site in c.sites:
            for name in ("coordinator", site):
                self.assertEqual(stat.S_IMODE(os.stat(c.path(name)).st_mode), 0o700)

    def test_one_site_is_local_training(self):
        """Seals, chunks, sums and five rounds of transport change no bit of what the site would have trained alone."""
        for changes in ({}, {"model__kind": "mlp", "model__hidden": [5], "train__optimiser": "adam", "train__rate": 0.01},
                        {"scaling": "site"}):
            with self.subTest(**changes):
                c = self.consortium(["alone"])
                run_id, _, model = c.train(plan_text(rounds__count=5, **changes))
                c.node("alone", "baseline", run_id)
                local = Model(c.path("alone", "models", run_id + "-alone.safetensors"))
                self.assertEqual(model.data, local.data)
                self.assertEqual(model.tensors, local.tensors)
                self.assertNotEqual(model.data, c.export(run_id, "--round", "0").data)

    def test_equal_sites_are_one(self):
        """Two sites with the same rows give what one gives. Full batches: the order of rows differs from site to site."""
        rows, text = rows_text(50, 9), plan_text(rounds__count=4, train__batch=1000)
        models = []
        for names in (["a"], ["a", "b"]):
            c = self.consortium()
            for name in names:
                c.enrol(name, rows)
            run_id, shown, model = c.train(text.replace('"min_sites": 1', '"min_sites": %d' % len(names)))
            self.assertEqual({len([s for s in r["sites"] if s["state"] == "accepted"]) for r in shown["rounds"]}, {len(names)})
            models.append(model)
        for one, two in zip(models[0].values, models[1].values):
            self.assertLess(abs(one - two), 1e-6)

    def test_order_of_sites(self):
        """The order and the times in which sites come change no bit; weights differ, so the sum is not symmetric by itself."""
        c = self.consortium()
        for seed, site in enumerate(("x", "y", "z")):
            c.enrol(site, rows_text(40 + 17 * seed, seed))
        text = plan_text(rounds__count=3, rounds__min_sites=3)
        models = []
        for order, delay in ((("x", "y", "z"), 0), (("z", "x", "y"), 0.3), (("y", "z", "x"), 0.1)):
            run_id = c.submit(text)
            c.accept(run_id)
            for site in order:
                c.start_node(site)
                time.sleep(delay)
            c.finish(run_id)
            models.append(c.export(run_id))
            for site in order:
                self.assertEqual(c.nodes[site].stop(signal.SIGTERM), consortium.OK)
        self.assertEqual(models[0].data, models[1].data)
        self.assertEqual(models[0].data, models[2].data)

    def test_start_from_a_model(self):
        c = self.consortium(["a", "b"])
        _, _, first = c.train(plan_text(rounds__min_sites=2))
        path = c.write("start.safetensors", "")
        with open(path, "wb") as file:
            file.write(first.bytes)
        run_id = c.submit(plan_text(rounds__min_sites=2, name="again"), "--model", path)
        self.assertEqual(c.export(run_id, "--round", "0").data, first.data)
        for process in c.nodes.values():
            process.stop()
        c.accept(run_id)
        c.start_nodes()
        c.finish(run_id)
        self.assertNotEqual(c.export(run_id).data, first.data)

    def test_old_models(self):
        c = self.consortium(["a"])
        run_id, _, _ = c.train(plan_text(rounds__count=13))
        kept = [n for n in range(14) if os.path.exists(os.path.join(c.home, "models", run_id, "%d.safetensors" % n))]
        self.assertLess(len(kept), 14)
        for number in range(14):
            if number in kept:
                c.export(run_id, "--round", str(number))
            else:
                refused = c.coordinator("export", run_id, "--round", str(number), "-o", c.path("old"), code=consortium.INVALID)
                self.assertIn("the model after round %d is not kept any more" % number, refused.err)
        os.remove(os.path.join(c.home, "models", run_id, "13.safetensors"))  # that one should be there
        c.coordinator("export", run_id, "--round", "13", "-o", c.path("lost"), code=consortium.LOCAL)

    def test_submit_once(self):
        c = self.consortium(["a"])
        first = c.submit(plan_text(), "--token", "t1")
        again = c.coordinator("submit", c.path("plan.yaml"), "--token", "t1", "--format", "json").data
        self.assertEqual(again, {"run": first, "submitted_before": True})
        self.assertEqual(len(c.coordinator("list", "--format", "json").data), 1)


if __name__ == "__main__":
    unittest.main()
